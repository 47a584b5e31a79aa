// SPDX-License-Identifier: MPL-2.0

//! Whole pipelines beside those of stock elements, on the same JPEGs in the same run.
//!
//! ```text
//!                ┌───── whole frames ─────┐
//!  JPEGs ─► payloader                depayloader ─► fakesink
//!                └─ cut to 4 KB, copied ──┘
//! ```
//!
//! Every figure comes from processes of its own, so that CPU and peak memory are its
//! alone. One pushes frames from its main thread and is charged for all its threads,
//! user and system, as the scheduler counts them. Rounds are interleaved and medians
//! printed: on a busy machine believe the ratios. What comes out is compared with
//! what went in before anything is measured.
//!
//! `cargo bench --bench elements [-- PART OF A NAME]`. With `--test`, and under
//! `cargo test --benches`: a few frames through everything, and no figures.

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Distinct frames that go round and round.
const FRAMES: usize = 32;
/// Some 61 KB each, which makes 82 KB of text, in a size that RTP can carry.
const CLIP: &str = "videotestsrc pattern=zone-plate kx2=14 ky2=14 kt=30 ! \
    video/x-raw,format=I420,width=800,height=448,framerate=25/1 ! jpegenc quality=80";
const CAPS: &str = "image/jpeg,width=800,height=448,framerate=25/1";

const ROUNDS: usize = 15;
/// How long one process of one round measures.
const BUDGET: Duration = Duration::from_millis(300);

/// How much `tcpclientsrc` puts into a buffer.
const CHUNK: usize = 4096;

/// Hostile streams: the limit that is set, the bytes sent, and how many at a time.
const MAX_FRAME_SIZE: usize = 8 << 20;
const HOSTILE_BYTES: usize = 256 << 20;
const READ: usize = 64 << 10;

/// A payloader and its depayloader.
struct Pair {
    name: &'static str,
    pay: &'static str,
    depay: &'static str,
    /// Whether the same bytes come out. RTP writes the headers anew.
    exact: bool,
}

const OURS: &Pair = &Pair {
    name: "b64jpegpay ! b64jpegdepay",
    pay: "b64jpegpay",
    depay: "b64jpegdepay",
    exact: true,
};

const PEER: &Pair = &Pair {
    name: "gdppay ! gdpdepay",
    pay: "gdppay",
    depay: "gdpdepay",
    exact: true,
};

const PAIRS: [&Pair; 5] = [
    &Pair {
        name: "identity ! identity",
        pay: "identity",
        depay: "identity",
        exact: true,
    },
    OURS,
    PEER,
    &Pair {
        name: "multipartmux ! multipartdemux",
        pay: "multipartmux",
        depay: "multipartdemux single-stream=true",
        exact: true,
    },
    &Pair {
        name: "rtpjpegpay ! rtpstreampay, back",
        pay: "rtpjpegpay ! rtpstreampay",
        depay: "rtpstreamdepay ! rtpjpegdepay",
        exact: false,
    },
];
