// SPDX-License-Identifier: MPL-2.0

//! Socket.IO relays, and who watches them: the programs in `tests/peers`.

use std::process::Command;

use super::{
    peer::{node_peer, peer, sum},
    process::Program,
};

/// The servers that people write relays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Flask,
    PythonSocketio,
    Node,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Flask, Self::PythonSocketio, Self::Node];

    fn command(self) -> Command {
        match self {
            Self::Flask => peer("flask_relay.py"),
            Self::PythonSocketio => peer("socketio_relay.py"),
            Self::Node => node_peer("relay.js"),
        }
    }
}

/// A relay that runs.
pub struct Relay {
    pub program: Program,
    /// `http://127.0.0.1:PORT`, or `https`.
    pub url: String,
}

impl Relay {
    #[track_caller]
    pub fn start(kind: Kind, args: &[&str]) -> Self {
        let mut program = Program::start(kind.command().args(args));
        let line = program.expect_line("unning on http");
        let url = line.split(' ').find(|word| word.starts_with("http"));
        Self {
            url: url.expect("a URL").into(),
            program,
        }
    }

    /// The next client that it takes; returns the client's query.
    #[track_caller]
    pub fn expect_client(&mut self) -> String {
        let line = self.program.expect_line("client ");
        line.trim_start_matches("client ").into()
    }

    /// Has it do nothing at all, as on a machine that sleeps.
    pub fn stall(&self) {
        self.program.signal_group("STOP");
    }

    pub fn go_on(&self) {
        self.program.signal_group("CONT");
    }

    /// Somebody in Python, and somebody with the program that pages have, both connected.
    #[track_caller]
    pub fn watchers(&self, args: &[&str]) -> [Watcher; 2] {
        watchers(&self.url, args)
    }
}

/// As [`Relay::watchers`], of any server.
#[track_caller]
pub fn watchers(url: &str, args: &[&str]) -> [Watcher; 2] {
    [peer("viewer.py"), node_peer("viewer.js")].map(|mut command| {
        let mut program = Program::start(command.args(args).arg(url));
        program.expect_line("connected");
        Watcher(program)
    })
}

/// Somebody who watches, and tells of every picture.
pub struct Watcher(pub Program);

impl Watcher {
    /// Expects the next picture to be this one, of a camera that may have no name.
    #[track_caller]
    pub fn expect(&mut self, camera: &str, jpeg: &[u8]) {
        let line = self.0.expect_line("frame ");
        let words: Vec<_> = line.split(' ').skip(1).collect();
        let (name, seen) = match words[..] {
            [_, sum] => ("", sum),
            [name, _, sum] => (name, sum),
            _ => panic!("{line}"),
        };
        assert_eq!((name, seen), (camera, &sum(jpeg)[..]), "{line}");
    }
}
