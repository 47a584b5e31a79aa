// SPDX-License-Identifier: MPL-2.0

//! Pictures as they should come: whole, at once, in order, and timed.

use std::fs;

use gst::prelude::*;

use super::{
    fixture::ClientFixture,
    wire::{DEFAULT, FRAMINGS, Random, encode, framing, odd_pictures, pictures},
};
use crate::common::raw_server::RawServer;

/// How a server cuts what it sends.
fn cut(stream: &[u8], longest: usize) -> Vec<&[u8]> {
    let mut random = Random::new(longest as u32);
    let mut rest = stream;
    let mut pieces = vec![];
    while !rest.is_empty() {
        let piece;
        (piece, rest) = rest.split_at(rest.len().min(1 + random.below(longest)));
        pieces.push(piece);
    }
    pieces
}

#[test]
fn every_framing_in_pieces_of_every_size() {
    let jpegs = [&odd_pictures(), pictures(4)].concat();
    for framing in FRAMINGS {
        let stream = framing.stream(&jpegs);
        let told = format!("header={} payload={}", framing.header, framing.payload);
        for (longest, told) in [
            (usize::MAX >> 1, ""),
            (usize::MAX >> 1, &told[..]),
            (1, ""),
            (700, ""),
            (5000, &told),
        ] {
            let server = RawServer::new();
            let mut viewer = ClientFixture::of(&server, &format!("reconnect=false {told}"));
            let mut peer = server.accept();
            for piece in cut(&stream, longest) {
                peer.send(piece);
            }
            peer.close();
            viewer.expect_end();
            viewer.expect_frames(&jpegs);
            viewer.expect_stats(&[
                ("frames", jpegs.len() as u64),
                ("bytes-in", stream.len() as u64),
                (
                    "bytes-out",
                    jpegs.iter().map(Vec::len).sum::<usize>() as u64,
                ),
                ("errors", 0),
                ("resyncs", 0),
                ("dropped", 0),
                ("connections", 1),
            ]);
            let stats = viewer.stats();
            assert_eq!(stats.get("header"), Ok(framing.header), "{stats}");
            assert_eq!(stats.get("payload"), Ok(framing.payload), "{stats}");
            assert_eq!(stats.get("connected"), Ok(false), "{stats}");
        }
    }
}

/// A frame is there with its last byte, not with the first of the next one.
#[test]
fn frames_do_not_wait_for_the_next() {
    for framing in FRAMINGS {
        let server = RawServer::new();
        let mut viewer = ClientFixture::of(&server, "");
        let mut peer = server.accept();
        for jpeg in pictures(3) {
            let frame = framing.frame(jpeg);
            let (most, last) = frame.split_at(frame.len() - 1);
            peer.send(most).send(last);
            viewer.expect_frames(std::slice::from_ref(jpeg));
        }
        assert_eq!(viewer.stats().get("connected"), Ok(true));
    }
}

#[test]
fn what_python_decoders_take() {
    for name in [
        "ascii16-zero-base64.bin",
        "ascii16-zero-jpeg.bin",
        "be32-line-breaks.bin",
        "be32-unpadded.bin",
        "be32-zero-lengths.bin",
        "lines-blank.bin",
        "lines-crlf.bin",
    ] {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
        let server = RawServer::new();
        let mut viewer = ClientFixture::of(&server, "reconnect=false");
        let mut peer = server.accept();
        peer.send(fs::read(format!("{dir}/{name}")).expect(name));
        peer.close();
        viewer.expect_end().expect_frames(&odd_pictures());
    }
}

/// Many times what one look at the socket brings.
#[test]
fn large_frames() {
    let jpegs = encode(3, 1920, 1080);
    assert!(jpegs[0].len() > 1 << 20);
    for framing in [DEFAULT, framing("none", "jpeg"), framing("lines", "base64")] {
        let server = RawServer::new();
        let mut viewer = ClientFixture::of(&server, "reconnect=false");
        let mut peer = server.accept();
        peer.send(framing.stream(&jpegs))
            .send(framing.stream(pictures(20)));
        peer.close();
        viewer.expect_end();
        viewer.expect_frames(&jpegs);
        viewer.expect_frames(pictures(20));
    }
}

#[test]
fn events_in_order() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "reconnect=false");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    peer.close();
    viewer.expect_end().expect_frames(pictures(2));
    // What travels on the pad; the rest goes over the bus, on its own time.
    let pad = ["stream-start", "caps", "segment", "picture", "eos"];
    viewer.log.retain(|word| pad.contains(&&word[..]));
    assert_eq!(
        viewer.log,
        [
            "stream-start",
            "caps",
            "segment",
            "picture",
            "picture",
            "eos"
        ]
    );
}

#[test]
fn caps_follow_the_pictures() {
    let small = pictures(3);
    let large = &encode(3, 640, 480)[..];
    let jpegs = [small, large, small].concat();
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(&jpegs));
    let got = viewer.expect_frames(&jpegs);
    for (i, picture) in got.iter().enumerate() {
        let caps = picture.caps.as_ref().expect("caps");
        let (width, height) = if i / 3 == 1 { (640, 480) } else { (32, 24) };
        let expected = format!("image/jpeg,parsed=true,width={width},height={height}");
        assert_eq!(*caps, expected.parse::<gst::Caps>().unwrap(), "picture {i}");
    }
    let changes = viewer.log.iter().filter(|word| *word == "caps").count();
    assert_eq!(changes, 3);
}

#[test]
fn every_picture_is_timed() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    let mut times = vec![];
    for jpeg in pictures(10) {
        peer.send(DEFAULT.frame(jpeg));
        let picture = viewer.next(1).remove(0);
        let segment = picture.segment.as_ref().expect("a segment");
        assert_eq!(segment.format(), gst::Format::Time);
        let segment = segment.downcast_ref::<gst::ClockTime>().expect("of times");
        let pts = picture.buffer.pts().expect("every picture has its time");
        times.push(segment.to_running_time(pts).expect("in the segment"));
        assert_eq!(picture.is_discont(), times.len() == 1);
    }
    assert!(times.is_sorted(), "{times:?}");
    let now = viewer.pipeline.0.current_running_time().expect("it plays");
    assert!(times[9] <= now, "none is from the future: {times:?}, {now}");
}

/// Several frames that come at once have come at the same time.
#[test]
fn a_burst_is_timed_too() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "");
    server.accept().send(DEFAULT.stream(pictures(50)));
    let times: Vec<_> = viewer.next(50).iter().map(|p| p.buffer.pts()).collect();
    assert!(
        times.iter().all(Option::is_some) && times.is_sorted(),
        "{times:?}"
    );
}

#[test]
fn a_live_source() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::new(&format!("host=127.0.0.1 port={}", server.port()));
    let pipeline = &viewer.pipeline.0;
    let change = pipeline.set_state(gst::State::Paused);
    assert_eq!(change, Ok(gst::StateChangeSuccess::NoPreroll));
    viewer.pipeline.play();
    let mut peer = server.accept();
    peer.send(DEFAULT.frame(&pictures(1)[0]));
    viewer.expect_frames(pictures(1));

    let pad = viewer.element.static_pad("src").expect("a pad");
    let mut latency = gst::query::Latency::new();
    assert!(pad.query(&mut latency));
    let zero = gst::ClockTime::ZERO;
    assert_eq!(latency.result(), (true, zero, gst::ClockTime::NONE));

    let mut seeking = gst::query::Seeking::new(gst::Format::Time);
    assert!(!pad.query(&mut seeking) || !seeking.result().0);
    assert!(
        viewer
            .pipeline
            .0
            .seek_simple(gst::SeekFlags::FLUSH, zero)
            .is_err()
    );
    assert_eq!(pad.query_duration::<gst::ClockTime>(), None);

    // And nothing of that has done any harm.
    peer.send(DEFAULT.frame(&pictures(2)[1]));
    viewer.expect_frames(&pictures(2)[1..]);
}

/// An application that asks before there is a server is not kept waiting.
#[test]
fn queries_before_the_first_frame() {
    let server = RawServer::new();
    let viewer = ClientFixture::of(&server, "");
    let peer = server.accept();
    let pad = viewer.element.static_pad("src").expect("a pad");
    let mut latency = gst::query::Latency::new();
    assert!(pad.query(&mut latency));
    assert!(latency.result().0, "it is live");
    let caps = pad.query_caps(None);
    assert!(caps.can_intersect(&"image/jpeg,parsed=true".parse::<gst::Caps>().unwrap()));
    assert_eq!(viewer.stats().get("frames"), Ok(0_u64));
    drop(viewer);
    peer.expect_closed();
}
