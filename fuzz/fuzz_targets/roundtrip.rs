// SPDX-License-Identifier: MPL-2.0

//! JPEGs sent in a framing are received, whether the receiver knows the framing or detects it.

#![no_main]

use b64jpeg_wire::{AcceptedFramings, Framing, Header, OutgoingFrame, jpeg};
use gst_plugin_b64jpeg_fuzz::{LIMITS, receive};
use libfuzzer_sys::fuzz_target;

/// The contents of a JPEG, and its capture time.
type Contents = (Vec<u8>, Option<u64>);

fuzz_target!(|input: (u8, Vec<Contents>)| {
    let (framing, pictures) = input;
    let framings = Framing::all().collect::<Vec<_>>();
    let framing = framings[usize::from(framing) % framings.len()];

    let mut stream = vec![];
    let mut sent = vec![];
    for (contents, time) in pictures {
        let jpeg = picture(&contents, framing);
        if jpeg::JpegInfo::received(&jpeg, &LIMITS).is_err() {
            // It contains a frame header with too many pixels.
            return;
        }
        let mut picture = OutgoingFrame::new(&jpeg).expect("it begins like a JPEG");
        if let Some(time) = time {
            picture = picture.captured_at(time);
        }
        let len = picture.wire_len(framing).expect("it is short");
        if len > LIMITS.max_frame {
            return;
        }
        let start = stream.len();
        stream.resize(start + len, 0);
        picture.encode(framing, &mut stream[start..]);
        sent.push((jpeg, time.map(|time| time.min(9_999_999_999_999_999_999))));
    }

    for accept in [AcceptedFramings::from(framing), AcceptedFramings::default()] {
        let received = receive(accept, &stream, &[usize::MAX]);
        assert_eq!(received.len(), sent.len());
        for (received, (jpeg, time)) in received.iter().zip(&sent) {
            let received = received.as_ref().expect("a good frame");
            let complete = jpeg::with_tables(jpeg);
            assert!(received.ends_with(&complete[2..]));
            match time {
                Some(_) => assert_eq!(jpeg::JpegInfo::of(received).capture_time, *time),
                None => assert_eq!(*received, *complete),
            }
        }
    }
});

/// A JPEG with these contents. Without a length it needs the structure of a JPEG, so the contents
/// become a comment.
fn picture(contents: &[u8], framing: Framing) -> Vec<u8> {
    let mut jpeg = b"\xff\xd8\xff".to_vec();
    if framing.header() == Header::None {
        let contents = &contents[..contents.len().min(60_000)];
        jpeg.push(0xfe);
        jpeg.extend((contents.len() as u16 + 2).to_be_bytes());
        jpeg.extend(contents);
    } else {
        jpeg.extend(contents);
    }
    jpeg.extend(b"\xff\xd9");
    jpeg
}
