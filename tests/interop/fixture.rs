// SPDX-License-Identifier: MPL-2.0

//! The clip, and pipelines that record their outcome.

use std::{path::PathBuf, process::Command, sync::LazyLock};

use crate::common::{
    peer::sum,
    pipeline::{Pipeline, make_clip},
    process::Program,
};

pub const FRAMES: usize = 90;

/// Buffers and messages of a pipeline.
pub struct Outcome {
    pub buffers: Vec<Vec<u8>>,
    pub warnings: Vec<String>,
    pub error: Option<String>,
}

impl Outcome {
    #[track_caller]
    pub fn is_clean(&self) {
        assert_eq!((&self.warnings[..], &self.error), (&[][..], &None));
    }

    pub fn sums(&self) -> Vec<String> {
        sums(&self.buffers)
    }
}

/// The checksum of each JPEG.
pub fn sums(pictures: &[Vec<u8>]) -> Vec<String> {
    pictures.iter().map(|picture| sum(picture)).collect()
}

/// Runs a pipeline, given without its sink, to its end.
pub fn run(line: &str) -> Outcome {
    let pipeline = Pipeline::launch(&format!("{line} ! fakesink name=sink sync=false"));
    let buffers = pipeline.collect("sink", "sink");
    pipeline.play();
    let (warnings, error) = pipeline.wait();
    Outcome {
        buffers: buffers.take(),
        warnings,
        error,
    }
}

pub static CLIP: LazyLock<PathBuf> = LazyLock::new(|| make_clip("clip.mkv", FRAMES));

/// Starts a serving peer, and runs the pipeline that `client` makes of its port.
pub fn receive(server: &mut Command, client: impl FnOnce(&str) -> String) -> (String, Outcome) {
    let mut server = Program::start(server);
    let line = server.expect_line("port ");
    let got = run(&client(line.trim_start_matches("port ")));
    let (status, printed) = server.wait();
    assert!(
        status.success(),
        "{:?}; the peer printed:\n{printed}",
        got.error
    );
    (printed, got)
}

pub fn stock_client(port: &str, tail: &str) -> String {
    format!("tcpclientsrc host=127.0.0.1 port={port} ! {tail}")
}
