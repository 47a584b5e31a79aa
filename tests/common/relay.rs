// SPDX-License-Identifier: MPL-2.0

//! Socket.IO relays and their viewers: the programs in `tests/peers`.

use std::process::Command;

use super::{
    peer::{node_peer, peer, sum},
    process::Program,
};

/// The server libraries for which people write relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayKind {
    Flask,
    PythonSocketio,
    Node,
}

impl RelayKind {
    pub const ALL: [Self; 3] = [Self::Flask, Self::PythonSocketio, Self::Node];

    fn command(self) -> Command {
        match self {
            Self::Flask => peer("flask_relay.py"),
            Self::PythonSocketio => peer("socketio_relay.py"),
            Self::Node => node_peer("relay.js"),
        }
    }
}

/// A relay that is running.
pub struct Relay {
    pub program: Program,
    /// Base URL: `http://127.0.0.1:PORT`, or `https://…`.
    pub url: String,
}

impl Relay {
    #[track_caller]
    pub fn start(kind: RelayKind, args: &[&str]) -> Self {
        let mut program = Program::start(kind.command().args(args));
        let line = program.expect_line("unning on http");
        let url = line.split(' ').find(|word| word.starts_with("http"));
        Self {
            url: url.expect("a URL").into(),
            program,
        }
    }

    /// Waits for the next client; returns the query of the client's URL.
    #[track_caller]
    pub fn expect_client(&mut self) -> String {
        let line = self.program.expect_line("client ");
        line.trim_start_matches("client ").into()
    }

    /// Stops the process of the relay, as on a machine that is suspended.
    pub fn suspend(&self) {
        self.program.signal_group("STOP");
    }

    pub fn resume(&self) {
        self.program.signal_group("CONT");
    }

    /// Connects a viewer in Python and one in Node, and waits until both are connected.
    #[track_caller]
    pub fn viewers(&self, args: &[&str]) -> [RelayViewer; 2] {
        viewers(&self.url, args)
    }
}

/// As [`Relay::viewers`], for any server.
#[track_caller]
pub fn viewers(url: &str, args: &[&str]) -> [RelayViewer; 2] {
    [peer("viewer.py"), node_peer("viewer.js")].map(|mut command| {
        let mut program = Program::start(command.args(args).arg(url));
        program.expect_line("connected");
        RelayViewer(program)
    })
}

/// A viewer that prints the checksum of every JPEG it receives.
pub struct RelayViewer(pub Program);

impl RelayViewer {
    /// Expects the next JPEG to be this one, of this camera. The name of the camera is empty if
    /// it has none.
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
