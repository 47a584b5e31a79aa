// SPDX-License-Identifier: MPL-2.0

//! Relays with other than default settings, and a sender in Python.

use std::{
    path::PathBuf,
    process::{ChildStdin, Stdio},
    sync::LazyLock,
};

use crate::common::{
    certificates::Authority,
    element_fixture::Picture,
    peer::{peer, sum},
    pipeline::make_clip,
    process::Program,
    relay::{Relay, RelayKind},
    wire::{bytes, encode},
};

/// JPEGs of some 140 KB, no two of which are equal.
pub fn pictures(n: usize) -> &'static [Vec<u8>] {
    static PICTURES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| encode(8, 640, 360));
    &PICTURES[..n]
}

/// Settings of one relay, as options of the relay and of the peers, and as properties of our
/// elements.
pub struct RelaySettings {
    relay: Vec<String>,
    peers: Vec<String>,
    properties: String,
    url: String,
}

impl RelaySettings {
    /// No setting has its default: TLS and a token, a path, a query, a namespace, an event.
    pub fn non_default(name: &str) -> Self {
        let authority = Authority::new(name);
        let certified = authority.certify("127.0.0.1");
        let ca = authority.file();
        let settings = "--path /video/socket.io --namespace /cam --event picture";
        let relay = format!(
            "{settings} --auth secret --certificate {} --key {}",
            certified.certificate, certified.key
        );
        let peers = format!(r#"{settings} --auth {{"token":"secret"}} --ca {ca}"#);
        let split = |text: String| text.split(' ').map(String::from).collect();
        Self {
            relay: split(relay),
            peers: split(peers),
            properties: format!(
                r#"namespace=/cam event=picture auth="{{\"token\":\"secret\"}}" ca-file={ca}"#
            ),
            url: "/video/socket.io/?room=7".into(),
        }
    }

    #[track_caller]
    pub fn start(&self, kind: RelayKind) -> Relay {
        Relay::start(kind, &strs(&self.relay))
    }

    /// Options for viewers and senders.
    pub fn args(&self) -> Vec<&str> {
        strs(&self.peers)
    }

    pub fn url(&self, relay: &Relay) -> String {
        format!("{}{}", relay.url, self.url)
    }

    pub fn properties(&self) -> &str {
        &self.properties
    }
}

fn strs(input: &[String]) -> Vec<&str> {
    input.iter().map(String::as_str).collect()
}

/// A camera process in Python that sends 30 frames per second. No two frames within three seconds
/// are equal.
pub struct Streamer(Program);

impl Streamer {
    #[track_caller]
    pub fn start(url: &str, args: &[&str]) -> Self {
        Self::start_with_input(url, args).0
    }

    /// Sends first the JSON lines written to its input, until the input is closed.
    #[track_caller]
    pub fn start_with_input(url: &str, args: &[&str]) -> (Self, ChildStdin) {
        static CLIP: LazyLock<PathBuf> = LazyLock::new(|| make_clip("streamer.mkv", 90));
        let mut command = peer("streamer.py");
        command
            .args(args)
            .arg(url)
            .arg(&*CLIP)
            .stdin(Stdio::piped());
        let mut program = Program::start(&mut command);
        let input = program.stdin().expect("piped");
        program.expect_line("connected");
        (Self(program), input)
    }

    /// Expects that these frames were sent for this camera, each once and in order. Returns the number
    /// of frames between them that are missing.
    #[track_caller]
    pub fn expect_sent(self, camera: &str, pictures: &[Picture]) -> u64 {
        self.0.signal_group("TERM");
        let (_, output) = self.0.wait();
        let prefix = ["sent ", camera, " "].concat().replace("  ", " ");
        let sent = output.lines().filter_map(|line| line.strip_prefix(&prefix));
        let sent: Vec<_> = sent.collect();
        let got = pictures.iter().map(|picture| sum(&bytes(&picture.buffer)));
        let mut next = None;
        let mut missing = 0;
        for got in got {
            let from = next.unwrap_or(0);
            let there = sent[from..].iter().position(|sent| *sent == got);
            let there = there.unwrap_or_else(|| panic!("{got} is none of {sent:?}[{from}..]"));
            missing += next.map_or(0, |_| there);
            next = Some(from + there + 1);
        }
        missing as u64
    }
}
