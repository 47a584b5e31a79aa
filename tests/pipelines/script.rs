// SPDX-License-Identifier: MPL-2.0

//! Starting scripts, and the terminals and displays they run in.

use std::{
    fs,
    path::Path,
    process::{Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::common::{
    self,
    process::{PATIENCE, Program},
    viewer::Viewer,
};

/// Environment variable that marks every process a script starts.
pub const MARK: &str = "B64JPEG_TEST_RUN";

/// A script that uses the plugin which cargo built for this test.
pub struct Script {
    pub command: Command,
    mark: String,
}

pub fn script(name: &str, args: &[&str]) -> Script {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("pipelines/{name}.sh"));
    let mut command = Command::new(path);
    command.args(args);
    Script::new(command)
}

impl Script {
    pub fn new(mut command: Command) -> Self {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let mark = format!(
            "{}-{}",
            std::process::id(),
            RUNS.fetch_add(1, Ordering::Relaxed)
        );
        common::process::with_plugin(&mut command)
            .env_remove("GST_PLUGIN_PATH")
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY")
            .env("B64JPEG_PLUGIN_DIR", common::plugin_dir())
            .env(MARK, &mark)
            .stdin(Stdio::null());
        Self { command, mark }
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The same script in a terminal.
    pub fn in_terminal(self) -> Self {
        // Not every shell replaces itself by its last command.
        let line = format!("exec {}", shell_words(&self.command));
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        for (name, value) in self.command.get_envs().filter(|(name, _)| *name != MARK) {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let mut terminal = Self { command, ..self };
        terminal
            .command
            .env(MARK, &terminal.mark)
            .stdin(Stdio::piped());
        terminal
    }

    #[track_caller]
    pub fn start(mut self) -> Running {
        let program = Program::start(&mut self.command);
        Running {
            program,
            mark: self.mark,
        }
    }

    /// Runs a script that ends by itself; returns its output.
    pub fn output(self) -> Output {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE.as_secs().to_string());
        command
            .arg(self.command.get_program())
            .args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command
            .stdin(Stdio::null())
            .output()
            .expect("a state change");
        assert_eq!(processes(&self.mark), []);
        output
    }
}

pub struct Running {
    pub program: Program,
    pub mark: String,
}

impl Running {
    /// Waits until a server listens; returns its address.
    #[track_caller]
    pub fn address(&mut self) -> String {
        let line = self.program.expect_line("; watch it");
        let (_, rest) = line.rsplit_once(" at ").expect("an address");
        rest.split(';').next().expect("an end").to_owned()
    }

    /// Connects a client to the server that the script runs.
    #[track_caller]
    pub fn viewer(&mut self) -> Viewer {
        Viewer::connect(self.address().parse().expect("an address"))
    }

    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        self.program.expect_line(text);
    }

    pub fn signal(&self, signal: &str) {
        kill(self.program.id(), signal);
    }

    /// Kills the pipeline of the script, as the kernel does when memory runs out.
    #[track_caller]
    pub fn kill_pipeline(&self) {
        self.signal_pipeline("KILL");
    }

    /// Sends a signal to the only pipeline of the script.
    #[track_caller]
    pub fn signal_pipeline(&self, signal: &str) {
        let mut pipelines = processes(&self.mark);
        pipelines.retain(|(_, line)| line.starts_with("gst-launch-1.0 "));
        let [(id, _)] = pipelines[..] else {
            panic!("one pipeline: {pipelines:?}");
        };
        kill(id, signal);
    }

    /// Waits for the end, which must leave no process; returns the status and the output.
    #[track_caller]
    pub fn wait(self) -> (ExitStatus, String) {
        let exit = self.program.wait();
        assert_eq!(processes(&self.mark), []);
        exit
    }

    /// Waits for a successful end; returns the output.
    #[track_caller]
    pub fn finish(self) -> String {
        let (status, output) = self.wait();
        assert!(status.success(), "{status}; it printed:\n{output}");
        output
    }
}

pub fn kill(id: u32, signal: &str) {
    let status = Command::new("kill")
        .args(["-s", signal, &id.to_string()])
        .status();
    assert!(status.expect("kill starts").success());
}

/// Ids and command lines of the processes with this mark.
pub fn processes(mark: &str) -> Vec<(u32, String)> {
    let entry = format!("{MARK}={mark}");
    let processes = fs::read_dir("/proc").expect("Linux");
    processes
        .filter_map(|process| {
            let path = process.ok()?.path();
            let environment = fs::read(path.join("environ")).ok()?;
            let marked = environment
                .split(|byte| *byte == 0)
                .any(|e| e == entry.as_bytes());
            let line = fs::read(path.join("cmdline")).ok()?;
            let id = path.file_name()?.to_str()?.parse().ok()?;
            marked.then(|| (id, String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .collect()
}

pub fn shell_words(command: &Command) -> String {
    [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().expect("UTF-8").replace('\'', r"'\''")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// An X server without a window manager.
pub struct Display {
    _server: Program,
    pub name: String,
}

impl Display {
    pub fn open() -> Self {
        let mut command = Command::new("Xvfb");
        command.args([
            "-displayfd",
            "1",
            "-screen",
            "0",
            "1280x720x24",
            "-nolisten",
            "tcp",
        ]);
        let mut server = Program::start(&mut command);
        let number = loop {
            let line = server.expect_line("");
            if line.parse::<u32>().is_ok() {
                break line;
            }
        };
        Self {
            _server: server,
            name: format!(":{number}"),
        }
    }

    pub fn xdotool(&self, args: &[&str]) {
        let mut command = Command::new("timeout");
        command
            .arg(PATIENCE.as_secs().to_string())
            .arg("xdotool")
            .args(args);
        let output = command
            .env("DISPLAY", &self.name)
            .output()
            .expect("xdotool");
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    /// Waits for the window with this title and does something to it.
    pub fn act_on(&self, title: &str, action: &[&str]) {
        let mut command = vec!["search", "--sync", "--onlyvisible", "--name", title];
        command.extend(action);
        self.xdotool(&command);
    }
}
