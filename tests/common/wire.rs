// SPDX-License-Identifier: MPL-2.0

//! Test data: real JPEGs, and their frames by an implementation independent of the crates.

use std::{sync::LazyLock, time::SystemTime};

use super::pipeline::Pipeline;
use base64::prelude::*;

/// A header and a payload, as the properties name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    pub header: &'static str,
    pub payload: &'static str,
}

/// `struct.pack(">L", len(text)) + text`
pub const DEFAULT: Framing = framing("be32", "base64");

/// Every valid pair of header and payload.
pub const FRAMINGS: [Framing; 12] = [
    DEFAULT,
    framing("be32", "jpeg"),
    framing("le32", "base64"),
    framing("le32", "jpeg"),
    framing("be64", "base64"),
    framing("be64", "jpeg"),
    framing("le64", "base64"),
    framing("le64", "jpeg"),
    framing("ascii16", "base64"),
    framing("ascii16", "jpeg"),
    framing("lines", "base64"),
    framing("none", "jpeg"),
];

pub const fn framing(header: &'static str, payload: &'static str) -> Framing {
    Framing { header, payload }
}

impl Framing {
    /// The payload for one JPEG.
    pub fn payload(self, jpeg: &[u8]) -> Vec<u8> {
        match self.payload {
            "base64" => BASE64_STANDARD.encode(jpeg).into_bytes(),
            _ => jpeg.to_vec(),
        }
    }

    /// The frame around a payload.
    pub fn wrap(self, payload: &[u8]) -> Vec<u8> {
        let len = payload.len();
        let header = match self.header {
            "be32" => (len as u32).to_be_bytes().to_vec(),
            "le32" => (len as u32).to_le_bytes().to_vec(),
            "be64" => (len as u64).to_be_bytes().to_vec(),
            "le64" => (len as u64).to_le_bytes().to_vec(),
            "ascii16" => format!("{len:<16}").into_bytes(),
            _ => Vec::new(),
        };
        let trailer: &[u8] = if self.header == "lines" { b"\n" } else { b"" };
        [&header, payload, trailer].concat()
    }

    /// The frame for one JPEG.
    pub fn frame(self, jpeg: &[u8]) -> Vec<u8> {
        self.wrap(&self.payload(jpeg))
    }

    /// The frames for several JPEGs, back to back.
    pub fn stream(self, jpegs: &[Vec<u8>]) -> Vec<u8> {
        jpegs.iter().flat_map(|jpeg| self.frame(jpeg)).collect()
    }
}

/// The first `n` of 250 noisy JPEGs, no two of which are equal.
pub fn pictures(n: usize) -> &'static [Vec<u8>] {
    static PICTURES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| encode(250, 32, 24));
    &PICTURES[..n]
}

/// JPEGs written by OpenCV and libjpeg: one with restart markers, one in greyscale, and a
/// progressive one with a whole JPEG as its thumbnail.
pub fn odd_pictures() -> Vec<Vec<u8>> {
    [
        &include_bytes!("../vectors/restart.jpg")[..],
        include_bytes!("../vectors/grey.jpg"),
        include_bytes!("../vectors/thumbnail.jpg"),
    ]
    .map(<[u8]>::to_vec)
    .into()
}

/// Encodes `n` noisy JPEGs of a size.
pub fn encode(n: usize, width: u32, height: u32) -> Vec<Vec<u8>> {
    let pipeline = Pipeline::launch(&format!(
        "videotestsrc pattern=snow num-buffers={n} ! video/x-raw,width={width},height={height}
         ! jpegenc name=encoder ! fakesink"
    ));
    let jpegs = pipeline.collect("encoder", "src");
    pipeline.play();
    pipeline.wait_for_clean_end();
    let jpegs = jpegs.take();
    assert_eq!(jpegs.len(), n);
    jpegs
}

/// A comment segment.
pub fn comment_segment(text: &[u8]) -> Vec<u8> {
    let len = u16::try_from(text.len() + 2).expect("a short text");
    [b"\xff\xfe", &len.to_be_bytes()[..], text].concat()
}

/// A JPEG with a comment segment in front.
pub fn with_comment(jpeg: &[u8], text: impl AsRef<[u8]>) -> Vec<u8> {
    [&jpeg[..2], &comment_segment(text.as_ref()), &jpeg[2..]].concat()
}

/// A JPEG with a comment segment that holds its capture time in nanoseconds since 1970.
pub fn stamped(jpeg: &[u8], time: u64) -> Vec<u8> {
    with_comment(jpeg, format!("b64jpeg capture-time-unix-ns={time:019}"))
}

/// Current time in nanoseconds since 1970.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("not so long ago").as_nanos() as u64
}

/// Capture time in the buffer's `GstReferenceTimestampMeta`, as other elements read it.
pub fn capture_time(buffer: &gst::BufferRef) -> Option<u64> {
    let mut metas = buffer.iter_meta::<gst::ReferenceTimestampMeta>();
    let unix = metas.find(|meta| meta.reference().to_string() == "timestamp/x-unix");
    unix.map(|meta| meta.timestamp().nseconds())
}

/// Contents of a buffer.
pub fn bytes(buffer: &gst::BufferRef) -> Vec<u8> {
    buffer.map_readable().expect("readable memory").to_vec()
}

/// Samples of a JPEG, decoded by `jpegdec`.
pub fn decode(jpeg: &[u8]) -> Vec<u8> {
    super::init();
    let mut decoder = gst_check::Harness::new("jpegdec");
    decoder.set_src_caps_str("image/jpeg");
    decoder
        .push(gst::Buffer::from_slice(jpeg.to_vec()))
        .expect("jpegdec takes it");
    decoder.push_event(gst::event::Eos::new());
    bytes(&decoder.pull().expect("a picture"))
}

/// Like `assert_eq!` for JPEGs: reports which one differs and prints no bytes.
#[track_caller]
pub fn assert_same(got: &[Vec<u8>], expected: &[Vec<u8>], what: &str) {
    let same = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
    let at = |frames: &[Vec<u8>]| frames.get(same).map(|frame| frame.len());
    assert!(
        got.len() == expected.len() && same == got.len(),
        "{what}: of {} pictures {} arrived, and the first {same} are equal; then {:?} bytes arrived instead of {:?}",
        expected.len(),
        got.len(),
        at(got),
        at(expected),
    );
}

/// Small pseudo-random numbers, the same in every run (xorshift).
pub struct Random(u32);

impl Random {
    pub fn new(seed: u32) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % n
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.below(256) as u8).collect()
    }
}
