// SPDX-License-Identifier: MPL-2.0

//! Any bytes as a stream, as a frame and as a JPEG, in a given or detected framing.

#![no_main]

use b64jpeg_wire::{Framing, OutgoingFrame, ParseProgress, ParseStatus, foreign, jpeg, parse};
use gst_plugin_b64jpeg_fuzz::{LIMITS, receive, split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    foreign(data);
    jpeg::Origin::of(data);
    let info = jpeg::JpegInfo::of(data);
    let complete = jpeg::with_tables(data);
    if let Ok(frame) = OutgoingFrame::new(data) {
        assert_eq!((*frame.info(), frame.jpeg()), (info, &*complete));
    }
    let Some((accept, stream)) = split(data) else {
        return;
    };
    for item in receive(accept, stream, &[usize::MAX]) {
        match item {
            Ok(jpeg) => {
                let info = jpeg::JpegInfo::received(&jpeg, &LIMITS);
                assert_eq!(info, Ok(jpeg::JpegInfo::of(&jpeg)));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    for framing in Framing::all() {
        match parse(stream, framing, &LIMITS, &mut ParseProgress::default()) {
            Ok(ParseStatus::Need(len)) => assert!(len > stream.len()),
            Ok(ParseStatus::Skip(len)) => assert!((1..=stream.len()).contains(&len)),
            Ok(ParseStatus::Frame(frame)) => {
                assert!(frame.len <= stream.len() && frame.payload.end <= frame.len);
                assert!(frame.payload.len() <= LIMITS.max_frame);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
