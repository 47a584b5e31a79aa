// SPDX-License-Identifier: MPL-2.0

//! Programs that are charged.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use super::{Result, child, cpu_time};

/// A child that never outlives its case.
pub struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().ok_or("it has no output")?),
            child,
        })
    }

    /// This program again.
    pub fn again(arguments: &[&str]) -> Result<Self> {
        let mut command = child()?;
        command.args(arguments);
        Self::start(command)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its connection.
    pub fn accept(&mut self, listener: &TcpListener) -> Result<TcpStream> {
        listener.set_nonblocking(true)?;
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(status.to_string().into());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A line that it prints; none at the end.
    pub fn next(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Ok(None),
            _ => Ok(Some(line.trim().into())),
        }
    }

    /// As [`next`](Self::next), when it is to go on.
    pub fn hear(&mut self) -> Result<String> {
        Ok(self.next()?.ok_or("the child has failed")?)
    }

    /// Where it listens, if that is what it says next.
    pub fn port(&mut self) -> Result<u16> {
        let line = self.hear()?;
        let port = line.strip_prefix("port ");
        Ok(port.ok_or("it does not say where it listens")?.parse()?)
    }

    /// What it answers.
    pub fn ask(&mut self, words: &str) -> Result<String> {
        let input = self.input.as_mut().ok_or("it has no input")?;
        writeln!(input, "{words}")?;
        self.hear()
    }

    /// Has it do what it is told.
    pub fn tell(&mut self, words: &str) -> Result<()> {
        self.ask(words).map(drop)
    }

    /// What it has used up when it does nothing any more.
    pub fn cpu_at_rest(&self) -> Result<Duration> {
        const LOOK: Duration = Duration::from_millis(20);
        const LOOKS: usize = 500;
        let mut before = Duration::ZERO;
        for _ in 0..LOOKS {
            let now = cpu_time(self.child.id())?;
            if now == before && self.sleeps()? {
                return Ok(now);
            }
            before = now;
            thread::sleep(LOOK);
        }
        Err("it never rests".into())
    }

    /// Whether none of its threads even waits for a processor, or ends.
    fn sleeps(&self) -> Result<bool> {
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else {
                return Ok(false);
            };
            let (_, behind_name) = stat.rsplit_once(") ").ok_or("no states in /proc")?;
            if !behind_name.starts_with('S') {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub fn finish(mut self) -> Result<()> {
        self.input = None;
        match self.child.wait()? {
            status if status.success() => Ok(()),
            status => Err(status.to_string().into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a program that does not say when it listens.
pub fn wait_for_listener(port: u16) -> Result<()> {
    let listening = format!(":{port:04X} 00000000:0000 0A ");
    for _ in 0..2000 {
        if fs::read_to_string("/proc/net/tcp")?.contains(&listening) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err("it does not listen".into())
}
