// SPDX-License-Identifier: MPL-2.0

//! Programs and their arguments.

use std::{process::Command, thread};

use crate::common::{self, Result, launch::words, process::Process};

/// Placeholders in arguments for the port of the connection and the clips.
pub const PORT: &str = "{port}";
const CLIP: &str = "{clip}";
const JPEGS: &str = "{jpegs}";

/// A program with its arguments.
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

    /// Whether it connects to the other program, which listens.
    pub fn connects(&self) -> bool {
        self.words().iter().any(|word| word.contains(PORT))
    }

    fn words(&self) -> &[String] {
        let (Self::Python(words) | Self::Child(_, words) | Self::Ffmpeg(words)) = self;
        words
    }

    /// Starts the program on two processors, even if there are more.
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

/// The clip as H.264 and as JPEGs.
pub struct Clips<'a> {
    pub h264: &'a str,
    pub jpegs: &'a str,
}
