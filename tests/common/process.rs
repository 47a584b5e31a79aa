// SPDX-License-Identifier: MPL-2.0

//! Child processes that are killed when the test that started them ends.

use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program in a process group of its own, with every line it prints.
///
/// Dropping it kills the whole group by its id.
pub struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    what: String,
}

/// Adds the environment in which a child process finds our plugin, has a GStreamer registry of
/// its own, and aborts on every GLib warning.
pub fn with_plugin(command: &mut Command) -> &mut Command {
    let dir = super::plugin_dir();
    command
        .env("GST_REGISTRY", dir.with_file_name("registry.bin"))
        .env("GST_PLUGIN_PATH", &dir)
        .env("G_DEBUG", "fatal-warnings")
}

impl Program {
    /// Starts `command`; its standard output and error are collected line by line.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        let mut child = command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|err| panic!("{what}: {err}"));
        let (sender, lines) = mpsc::channel();
        read_lines(child.stdout.take().expect("piped"), sender.clone());
        read_lines(child.stderr.take().expect("piped"), sender);
        Self {
            child,
            lines,
            seen: Vec::new(),
            what,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child's standard input, if it was piped.
    pub fn stdin(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for a line that contains `text` and returns it.
    #[track_caller]
    pub fn expect_line(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(err) => panic!(
                    "{}: no line with {text:?} ({err}); it printed:\n{}",
                    self.what,
                    self.seen.join("\n")
                ),
            }
        }
    }

    /// Returns everything printed so far.
    pub fn printed(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }

    /// Sends `signal` (a name without `SIG`) to the program's process group, as a terminal does.
    pub fn signal_group(&self, signal: &str) {
        let _ = Command::new("kill")
            .args([
                &format!("-{signal}"),
                "--",
                &format!("-{}", self.child.id()),
            ])
            .stderr(Stdio::null())
            .status();
    }

    /// Waits for the exit; returns the status and everything printed.
    #[track_caller]
    pub fn wait(self) -> (ExitStatus, String) {
        self.wait_within(PATIENCE)
    }

    #[track_caller]
    fn wait_within(mut self, patience: Duration) -> (ExitStatus, String) {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            if Instant::now() > deadline {
                self.seen.extend(self.lines.try_iter());
                panic!(
                    "{}: still runs; it printed:\n{}",
                    self.what,
                    self.seen.join("\n")
                );
            }
            thread::sleep(Duration::from_millis(20));
        };
        // The reader threads end when the last process in the group closes its end.
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(5)) {
            self.seen.push(line);
        }
        (status, self.seen.join("\n"))
    }

    /// As `wait`, but fails the test if the program failed.
    #[track_caller]
    pub fn finish(self) -> String {
        self.finish_within(PATIENCE)
    }

    /// As `finish`, with another timeout.
    #[track_caller]
    pub fn finish_within(self, patience: Duration) -> String {
        let what = self.what.clone();
        let (status, output) = self.wait_within(patience);
        assert!(status.success(), "{what}: {status}; it printed:\n{output}");
        output
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal_group("KILL");
        let _ = self.child.wait();
    }
}

fn read_lines(stream: impl Read + Send + 'static, lines: mpsc::Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
}
