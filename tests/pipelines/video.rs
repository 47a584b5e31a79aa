// SPDX-License-Identifier: MPL-2.0

//! Videos for the scripts, and frames of their output.

use std::{fs, net::TcpListener};

use base64::prelude::*;

use super::script::script;
use crate::common::pipeline::{make_file, scratch};

pub const FRAMES: usize = 90;

/// A video whose name needs quoting everywhere.
pub fn clip() -> String {
    static MADE: std::sync::Once = std::sync::Once::new();
    let path = scratch("a 'clip' \"ü\" \\ !.avi");
    MADE.call_once(|| {
        make_file(
            &format!(
                "videotestsrc pattern=ball num-buffers={FRAMES} \
                 ! video/x-raw,width=320,height=240,framerate=30/1 \
                 ! avenc_mpeg4 bitrate=2000000 ! avimux"
            ),
            &path,
        );
    });
    path.to_str().expect("UTF-8").to_owned()
}

/// The payloads of a recording in the default framing.
pub fn frames(recording: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = recording;
    while let Some((length, after)) = rest.split_first_chunk() {
        let (frame, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        frames.push(frame);
        rest = after;
    }
    assert!(rest.is_empty(), "the recording ends inside a frame");
    frames
}

/// The JPEGs of a recording, without their capture times.
pub fn pictures(recording: &[u8]) -> Vec<Vec<u8>> {
    let jpeg = |frame| BASE64_STANDARD.decode(frame).expect("base64");
    let frames = frames(recording).into_iter();
    frames.map(|frame| unstamped(jpeg(frame))).collect()
}

/// A JPEG without its first comment segment, which holds the capture time.
pub fn unstamped(mut jpeg: Vec<u8>) -> Vec<u8> {
    if let [_, _, 0xff, 0xfe, high, low, ..] = jpeg[..] {
        jpeg.drain(2..4 + usize::from(u16::from_be_bytes([high, low])));
    }
    jpeg
}

/// Path of a file that does not exist yet.
pub fn fresh(name: &str) -> String {
    let path = scratch(name);
    let _ = fs::remove_file(&path);
    path.to_str().expect("UTF-8").to_owned()
}

pub fn size(path: &str) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Records a stream to its end.
#[track_caller]
pub fn record(address: &str, name: &str) -> Vec<u8> {
    let path = fresh(name);
    script("record", &["--once", address, &path])
        .start()
        .finish();
    fs::read(path).expect("a recording")
}

/// The recording of a video that is served to a single viewer as fast as possible.
#[track_caller]
pub fn served_fast(clip: &str, name: &str) -> Vec<u8> {
    let ipv6 = TcpListener::bind("[::1]:0").is_ok();
    let host = if ipv6 { "::1" } else { "localhost" };
    let args = ["--fast", "--host", host, "--port=0", clip];
    let mut server = script("serve", &args).start();
    let recording = record(&server.address(), name);
    let output = server.finish();
    assert!(output.contains("The video has ended."), "{output}");
    recording
}
