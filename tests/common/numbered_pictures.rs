// SPDX-License-Identifier: MPL-2.0

//! JPEGs that carry their own number, so that a test knows which frames arrived.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use base64::prelude::*;

use super::{pipeline::scratch, wire::comment_segment};

const JPEG: &[u8] = include_bytes!("../vectors/grey.jpg");
const SOI: usize = 2;

/// Duration of a frame at 25 frames per second.
pub const FRAME_TIME: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// Length in bytes for JPEGs whose length does not matter.
pub const SMALL: usize = 1000;

/// A valid JPEG of exactly `len` bytes, with `number` in a comment segment and further comment
/// segments as padding.
pub fn picture(number: usize, len: usize) -> Vec<u8> {
    let (start, rest) = JPEG.split_at(SOI);
    let mut jpeg = start.to_vec();
    jpeg.extend(comment_segment(format!("{number:08}").as_bytes()));
    while let fill @ 1.. = (len - rest.len()).saturating_sub(jpeg.len()) {
        // A comment segment has at least 4 bytes, so leave enough for the last one.
        let fill = if fill > 60_000 { 50_000 } else { fill };
        jpeg.extend(comment_segment(&vec![number as u8; fill - 4]));
    }
    jpeg.extend_from_slice(rest);
    assert_eq!(jpeg.len(), len);
    jpeg
}

/// Returns the number of a JPEG and asserts that the JPEG is the one [`picture`] made.
#[track_caller]
pub fn number(jpeg: &[u8]) -> usize {
    let digits = jpeg.get(SOI + 4..SOI + 12).expect("a picture");
    let digits = std::str::from_utf8(digits).expect("digits");
    let number = digits.parse().expect("a number");
    assert!(
        jpeg == picture(number, jpeg.len()),
        "picture {number} is not what was sent"
    );
    number
}

/// Writes a recording of `frames` numbered JPEGs in the default framing, as the Python
/// scripts write it.
pub fn recording(frames: usize, len: usize) -> PathBuf {
    static RECORDINGS: AtomicU32 = AtomicU32::new(0);
    let recording = RECORDINGS.fetch_add(1, Ordering::Relaxed);
    let path = scratch(&format!(
        "recording-{}-{recording}.b64jpeg",
        std::process::id()
    ));
    let mut bytes = Vec::new();
    for number in 0..frames {
        let text = BASE64_STANDARD.encode(picture(number, len));
        bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    fs::write(&path, bytes).expect("a file");
    path
}

/// A buffer with the timestamp and duration of this frame number.
pub fn buffer(number: usize, jpeg: Vec<u8>) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(jpeg);
    let fields = buffer.get_mut().expect("the only reference");
    fields.set_pts(FRAME_TIME * number as u64);
    fields.set_duration(FRAME_TIME);
    buffer
}
