// SPDX-License-Identifier: MPL-2.0

//! Our elements at a relay, and where on it.

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

/// Pictures of some 140 KB, no two alike.
pub fn pictures(n: usize) -> &'static [Vec<u8>] {
    static PICTURES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| encode(8, 640, 360));
    &PICTURES[..n]
}

/// Where on a relay the pictures are: what is to be said to the relay, to other programs
/// and to our elements.
pub struct RelayLocation {
    relay: Vec<String>,
    others: Vec<String>,
    properties: String,
    url: String,
}

impl RelayLocation {
    /// Nothing as it is by default: TLS and a token, a path, a query, a namespace, an event.
    pub fn non_default(name: &str) -> Self {
        let authority = Authority::new(name);
        let certified = authority.certify("127.0.0.1");
        let ca = authority.file();
        let place = "--path /video/socket.io --namespace /cam --event picture";
        let relay = format!(
            "{place} --auth secret --certificate {} --key {}",
            certified.certificate, certified.key
        );
        let others = format!(r#"{place} --auth {{"token":"secret"}} --ca {ca}"#);
        let split = |text: String| text.split(' ').map(String::from).collect();
        Self {
            relay: split(relay),
            others: split(others),
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

    /// For viewers and streamers.
    pub fn args(&self) -> Vec<&str> {
        strs(&self.others)
    }

    pub fn url(&self, relay: &Relay) -> String {
        format!("{}{}", relay.url, self.url)
    }

    pub fn properties(&self) -> &str {
        &self.properties
    }
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Somebody with a camera, in Python, who sends 30 pictures a second. They are all
/// different for three seconds.
pub struct Streamer(Program);

impl Streamer {
    #[track_caller]
    pub fn start(url: &str, args: &[&str]) -> Self {
        Self::after_words(url, args).0
    }

    /// One who first sends the JSON that is written there, line by line until it is dropped.
    #[track_caller]
    pub fn after_words(url: &str, args: &[&str]) -> (Self, ChildStdin) {
        static CLIP: LazyLock<PathBuf> = LazyLock::new(|| make_clip("streamer.mkv", 90));
        let mut command = peer("streamer.py");
        command
            .args(args)
            .arg(url)
            .arg(&*CLIP)
            .stdin(Stdio::piped());
        let mut program = Program::start(&mut command);
        let words = program.stdin().expect("piped");
        program.expect_line("connected");
        (Self(program), words)
    }

    /// Expects that these pictures of a camera came from here, each once and in order, and
    /// returns how many there are between them that did not come.
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
