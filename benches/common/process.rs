// SPDX-License-Identifier: MPL-2.0

//! Child processes whose CPU time is measured.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use super::{Result, child, cpu_time};

/// A child process, which is killed when this is dropped.
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
            output: BufReader::new(child.stdout.take().ok_or("the child has no output")?),
            child,
        })
    }

    /// Starts this program as a child with a task.
    pub fn again(arguments: &[&str]) -> Result<Self> {
        let mut command = child()?;
        command.args(arguments);
        Self::start(command)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Accepts a connection of the child.
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

    /// Reads a line of its output; `None` at the end.
    pub fn next(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Ok(None),
            _ => Ok(Some(line.trim().into())),
        }
    }

    /// Reads a line of its output; the end of the output is an error.
    pub fn read_line(&mut self) -> Result<String> {
        Ok(self.next()?.ok_or("the child has failed")?)
    }

    /// Reads the line with the port that it listens on.
    pub fn port(&mut self) -> Result<u16> {
        let line = self.read_line()?;
        let port = line.strip_prefix("port ");
        Ok(port.ok_or("the child did not print its port")?.parse()?)
    }

    /// Sends a line and reads the line of the answer.
    pub fn ask(&mut self, request: &str) -> Result<String> {
        let input = self.input.as_mut().ok_or("the child has no input")?;
        writeln!(input, "{request}")?;
        self.read_line()
    }

    /// Sends a command and waits until it is done.
    pub fn command(&mut self, command: &str) -> Result<()> {
        self.ask(command).map(drop)
    }

    /// Its CPU time once it is idle.
    pub fn cpu_at_rest(&self) -> Result<Duration> {
        const INTERVAL: Duration = Duration::from_millis(20);
        const ATTEMPTS: usize = 500;
        let mut before = Duration::ZERO;
        for _ in 0..ATTEMPTS {
            let now = cpu_time(self.child.id())?;
            if now == before && self.is_asleep()? {
                return Ok(now);
            }
            before = now;
            thread::sleep(INTERVAL);
        }
        Err("the child never becomes idle".into())
    }

    /// Whether all its threads sleep: none runs, waits for a processor or ends.
    fn is_asleep(&self) -> Result<bool> {
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

/// Waits until a program that does not report it listens on a port.
pub fn wait_for_listener(port: u16) -> Result<()> {
    let listening = format!(":{port:04X} 00000000:0000 0A ");
    for _ in 0..2000 {
        if fs::read_to_string("/proc/net/tcp")?.contains(&listening) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err("the program does not listen".into())
}
