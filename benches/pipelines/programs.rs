// SPDX-License-Identifier: MPL-2.0

//! Programs and their words.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use gst::glib;

use crate::common::{self, Result, process::Process};

/// Where words are to name the port of the connection, and the clips.
pub const PORT: &str = "{port}";
const CLIP: &str = "{clip}";
const JPEGS: &str = "{jpegs}";

pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

/// The pipeline that a script runs.
pub fn script(name: &str, arguments: &[&str]) -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("pipelines")
        .join(name);
    let output = Command::new(path)
        .args(arguments)
        .arg("--dry-run")
        .stderr(Stdio::inherit())
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    let line = said
        .lines()
        .find_map(|line| line.split_once(" gst-launch-1.0 "));
    let (_, line) = line.ok_or_else(|| format!("{name} prints no pipeline"))?;
    let words = glib::shell_parse_argv(line)?;
    Ok(words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .skip_while(|word| word.starts_with('-'))
        .collect())
}

/// A program, with its words.
#[derive(Clone)]
pub enum Program {
    /// A role of `tests/peers/pair.py`.
    Python(Vec<String>),
    /// A role of this program.
    Child(&'static str, Vec<String>),
    Ffmpeg(Vec<String>),
}

impl Program {
    pub fn python(line: &str) -> Self {
        Self::Python(words(line))
    }

    pub fn sender(line: &str) -> Self {
        Self::Child("send", words(line))
    }

    pub fn receiver(line: &str) -> Self {
        Self::Child("receive", words(line))
    }

    /// Whether it connects to somebody who listens.
    pub fn calls(&self) -> bool {
        self.words().iter().any(|word| word.contains(PORT))
    }

    fn words(&self) -> &[String] {
        let (Self::Python(words) | Self::Child(_, words) | Self::Ffmpeg(words)) = self;
        words
    }

    /// On two processors, also where there are more.
    pub fn start(&self, clips: &Clips, port: Option<u16>) -> Result<Process> {
        let mut command = match self {
            Self::Python(_) => crate::peer::peer("pair.py"),
            Self::Child(role, _) => {
                let mut command = common::child()?;
                command.arg(role);
                command
            }
            Self::Ffmpeg(_) => {
                let mut command = Command::new("ffmpeg");
                command.args(["-nostdin", "-v", "fatal"]);
                command
            }
        };
        for word in self.words() {
            let port = port.map(|port| port.to_string()).unwrap_or_default();
            let word = word.replace(PORT, &port);
            command.arg(word.replace(CLIP, clips.h264).replace(JPEGS, clips.jpegs));
        }
        if thread::available_parallelism()?.get() > 2 {
            let mut pinned = Command::new("taskset");
            pinned.args(["-c", "0,1"]).arg(command.get_program());
            pinned.args(command.get_args());
            for (name, value) in command.get_envs() {
                pinned.env(name, value.unwrap_or_default());
            }
            command = pinned;
        }
        Process::start(command)
    }
}

/// The clip, and the same in JPEGs.
pub struct Clips<'a> {
    pub h264: &'a str,
    pub jpegs: &'a str,
}

/// Where a program listens, which it says first.
pub fn port_of(program: &mut Process) -> Result<u16> {
    let line = program.hear()?;
    let port = line
        .strip_prefix("port ")
        .ok_or("it does not say where it listens")?;
    Ok(port.parse()?)
}

/// Of a program that does not say when it listens.
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
