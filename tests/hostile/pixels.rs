// SPDX-License-Identifier: MPL-2.0

//! Short JPEGs whose headers claim a huge size.

use gst::prelude::*;

use super::{
    receivers::{Receiver, ReceiverKind},
    wire::{FRAMINGS, encode, pictures},
};

/// Offset of the frame header of a JPEG.
fn frame_header(jpeg: &[u8]) -> usize {
    let at = jpeg.windows(4).position(|bytes| bytes == b"\xff\xc0\0\x11");
    at.expect("a frame header of three components")
}

/// A JPEG with another size in its frame header.
fn resized(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let at = frame_header(jpeg);
    let mut jpeg = jpeg.to_vec();
    jpeg[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

/// Expects the warning about frame `number`.
#[track_caller]
fn expect_warning(receiver: &mut Receiver, kind: ReceiverKind, number: u64, numbers: &[&str]) {
    let place = match kind {
        ReceiverKind::Depay | ReceiverKind::ClientSrc => format!("Frame {number} at byte "),
        ReceiverKind::Check => format!("Frame {} is dropped", receiver.before + number),
        #[cfg(feature = "web")]
        ReceiverKind::SocketIoClientSrc => format!("Picture {}: ", receiver.before + number),
    };
    let warning = receiver
        .fixture
        .expect_warning(&[&place, "raise max-pixels"]);
    for number in numbers {
        assert!(warning.contains(number), "no {number} in {warning}");
    }
}

#[test]
fn huge_picture_is_dropped_and_the_next_one_passes() {
    let small = &encode(1, 200, 100)[0];
    for &kind in ReceiverKind::ALL {
        let mut receiver = Receiver::new(kind, "");
        receiver.pass(&pictures(1)[0]);
        // The data itself is short.
        let huge = resized(&pictures(1)[0], 30_000, 30_000);
        assert!(huge.len() < 2_000);
        receiver.send(&huge);
        let numbers = ["30000 x 30000 = 900000000", "100000000"];
        expect_warning(&mut receiver, kind, 1, &numbers);
        receiver.pass(small);
        receiver.send(&resized(&pictures(1)[0], u16::MAX, u16::MAX));
        let number = match kind {
            ReceiverKind::Depay | ReceiverKind::ClientSrc => 2,
            _ => 3,
        };
        let numbers = ["65535 x 65535 = 4294836225", "100000000"];
        expect_warning(&mut receiver, kind, number, &numbers);
        receiver.pass(small);
        let frames = receiver.before + 3;
        receiver
            .fixture
            .expect_stats(&[("frames", frames), ("errors", 2)]);
    }
}

#[test]
fn max_pixels_is_exact() {
    let jpeg = &encode(1, 200, 100)[0];
    let huge = &resized(&pictures(1)[0], u16::MAX, u16::MAX);
    for &kind in ReceiverKind::ALL {
        Receiver::new(kind, "max-pixels=20000").pass(jpeg);
        let mut receiver = Receiver::new(kind, "max-pixels=19999");
        receiver.send(jpeg);
        expect_warning(&mut receiver, kind, 0, &["200 x 100 = 20000", "19999"]);
        for any in ["max-pixels=0", "max-pixels=4294967295"] {
            Receiver::new(kind, any).pass(huge);
        }
    }
}

#[test]
fn huge_picture_is_dropped_in_every_framing() {
    let jpegs = pictures(3);
    let huge = resized(&jpegs[1], 30_000, 30_000);
    for framing in FRAMINGS {
        for kind in [ReceiverKind::Depay, ReceiverKind::ClientSrc] {
            let mut receiver = Receiver::of_framing(kind, framing, "");
            // Also as the first frame, from which the framing is detected.
            receiver.send(&huge);
            receiver.send(&jpegs[0]);
            receiver.send(&huge);
            receiver.send(&jpegs[2]);
            receiver
                .fixture
                .expect_frames(&[jpegs[0].clone(), jpegs[2].clone()]);
            let len = framing.frame(&huge).len();
            let offset = len + framing.frame(&jpegs[0]).len();
            for (frame, offset) in [(0, 0), (1, offset)] {
                let place = format!("Frame {frame} at byte {offset}: ");
                receiver.fixture.expect_warning(&[&place, "30000 x 30000"]);
            }
            // The frame was complete, so that no resynchronisation was needed.
            receiver
                .fixture
                .expect_stats(&[("errors", 2), ("resyncs", 0)]);
        }
    }
}

#[test]
fn huge_pictures_end_the_stream_only_by_max_errors() {
    let jpeg = &pictures(1)[0];
    let huge = resized(jpeg, 30_000, 30_000);
    let properties = "max-errors=2";
    for &kind in ReceiverKind::ALL
        .iter()
        .filter(|kind| **kind != ReceiverKind::Check)
    {
        let reconnect = match kind {
            ReceiverKind::ClientSrc => " reconnect=false",
            _ => "",
        };
        let mut receiver = Receiver::new(kind, &format!("{properties}{reconnect}"));
        for _ in 0..3 {
            receiver.pass(jpeg);
            for _ in 0..2 {
                receiver.send(&huge);
                receiver.fixture.expect_warning(&["raise max-pixels"]);
            }
        }
        receiver.send(&huge);
        receiver
            .fixture
            .expect_error(&["30000 x 30000", "max-errors=2"]);
        if kind == ReceiverKind::Depay {
            // The source reports the flow error as well.
            receiver
                .fixture
                .expect_error(&["Internal data stream error"]);
        }
        receiver.fixture.stop();
    }
}

#[test]
fn max_pixels_is_100_million_by_default() {
    crate::common::init();
    for kind in ReceiverKind::ALL {
        let element = gst::ElementFactory::make(kind.factory()).build();
        let element = element.expect("the element is registered");
        assert_eq!(element.property::<u32>("max-pixels"), 100_000_000);
        let pspec = element.find_property("max-pixels").expect("a property");
        let pspec = pspec.downcast_ref::<gst::glib::ParamSpecUInt>();
        assert_eq!(pspec.map(|pspec| pspec.default_value()), Some(100_000_000));
    }
}
