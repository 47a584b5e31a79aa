// SPDX-License-Identifier: MPL-2.0

//! Frames are delivered complete, at once, in order and with timestamps.

use std::fs;

use gst::prelude::*;

use super::{
    fixture::ClientFixture,
    wire::{DEFAULT, FRAMINGS, Random, encode, framing, odd_pictures, pictures},
};
use crate::common::raw_server::RawServer;

/// Cuts a stream into random pieces of at most `longest` bytes.
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
fn every_framing_is_received_in_pieces_of_any_size() {
    let jpegs = [&odd_pictures(), pictures(4)].concat();
    for framing in FRAMINGS {
        let stream = framing.stream(&jpegs);
        let properties = format!("header={} payload={}", framing.header, framing.payload);
        for (longest, properties) in [
            (usize::MAX >> 1, ""),
            (usize::MAX >> 1, &properties[..]),
            (1, ""),
            (700, ""),
            (5000, &properties),
        ] {
            let server = RawServer::new();
            let mut client = ClientFixture::of(&server, &format!("reconnect=false {properties}"));
            let mut peer = server.accept();
            for piece in cut(&stream, longest) {
                peer.send(piece);
            }
            peer.close();
            client.expect_end();
            client.expect_frames(&jpegs);
            client.expect_stats(&[
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
            let stats = client.stats();
            assert_eq!(stats.get("header"), Ok(framing.header), "{stats}");
            assert_eq!(stats.get("payload"), Ok(framing.payload), "{stats}");
            assert_eq!(stats.get("connected"), Ok(false), "{stats}");
        }
    }
}

/// A frame is delivered with its last byte, without waiting for the next frame.
#[test]
fn frame_is_delivered_with_its_last_byte() {
    for framing in FRAMINGS {
        let server = RawServer::new();
        let mut client = ClientFixture::of(&server, "");
        let mut peer = server.accept();
        for jpeg in pictures(3) {
            let frame = framing.frame(jpeg);
            let (most, last) = frame.split_at(frame.len() - 1);
            peer.send(most).send(last);
            client.expect_frames(std::slice::from_ref(jpeg));
        }
        assert_eq!(client.stats().get("connected"), Ok(true));
    }
}

#[test]
fn variants_that_python_accepts_are_accepted() {
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
        let mut client = ClientFixture::of(&server, "reconnect=false");
        let mut peer = server.accept();
        peer.send(fs::read(format!("{dir}/{name}")).expect(name));
        peer.close();
        client.expect_end().expect_frames(&odd_pictures());
    }
}

/// Frames larger than one read of the socket.
#[test]
fn large_frames_are_received() {
    let jpegs = encode(3, 1920, 1080);
    assert!(jpegs[0].len() > 1 << 20);
    for framing in [DEFAULT, framing("none", "jpeg"), framing("lines", "base64")] {
        let server = RawServer::new();
        let mut client = ClientFixture::of(&server, "reconnect=false");
        let mut peer = server.accept();
        peer.send(framing.stream(&jpegs))
            .send(framing.stream(pictures(20)));
        peer.close();
        client.expect_end();
        client.expect_frames(&jpegs);
        client.expect_frames(pictures(20));
    }
}

#[test]
fn pad_events_are_in_order() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "reconnect=false");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    peer.close();
    client.expect_end().expect_frames(pictures(2));
    // Bus messages arrive independently of the pad, so leave them out.
    let pad = ["stream-start", "caps", "segment", "picture", "eos"];
    client.log.retain(|word| pad.contains(&&word[..]));
    assert_eq!(
        client.log,
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
fn caps_follow_frame_size() {
    let small = pictures(3);
    let large = &encode(3, 640, 480)[..];
    let jpegs = [small, large, small].concat();
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(&jpegs));
    let got = client.expect_frames(&jpegs);
    for (i, picture) in got.iter().enumerate() {
        let caps = picture.caps.as_ref().expect("caps");
        let (width, height) = if i / 3 == 1 { (640, 480) } else { (32, 24) };
        let expected = format!("image/jpeg,parsed=true,width={width},height={height}");
        assert_eq!(*caps, expected.parse::<gst::Caps>().unwrap(), "picture {i}");
    }
    let changes = client.log.iter().filter(|word| *word == "caps").count();
    assert_eq!(changes, 3);
}

#[test]
fn frames_have_increasing_timestamps() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    let mut times = vec![];
    for jpeg in pictures(10) {
        peer.send(DEFAULT.frame(jpeg));
        let picture = client.next(1).remove(0);
        let segment = picture.segment.as_ref().expect("a segment");
        assert_eq!(segment.format(), gst::Format::Time);
        let segment = segment.downcast_ref::<gst::ClockTime>().expect("of times");
        let pts = picture.buffer.pts().expect("a timestamp");
        times.push(segment.to_running_time(pts).expect("in the segment"));
        assert_eq!(picture.is_discont(), times.len() == 1);
    }
    assert!(times.is_sorted(), "{times:?}");
    let now = client
        .pipeline
        .0
        .current_running_time()
        .expect("a playing pipeline");
    assert!(
        times[9] <= now,
        "no timestamp in the future: {times:?}, {now}"
    );
}

/// Frames that arrive together have timestamps, too.
#[test]
fn burst_of_frames_has_timestamps() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "");
    server.accept().send(DEFAULT.stream(pictures(50)));
    let times: Vec<_> = client.next(50).iter().map(|p| p.buffer.pts()).collect();
    assert!(
        times.iter().all(Option::is_some) && times.is_sorted(),
        "{times:?}"
    );
}

#[test]
fn client_is_a_live_source() {
    let server = RawServer::new();
    let mut client = ClientFixture::new(&format!("host=127.0.0.1 port={}", server.port()));
    let pipeline = &client.pipeline.0;
    let change = pipeline.set_state(gst::State::Paused);
    assert_eq!(change, Ok(gst::StateChangeSuccess::NoPreroll));
    client.pipeline.play();
    let mut peer = server.accept();
    peer.send(DEFAULT.frame(&pictures(1)[0]));
    client.expect_frames(pictures(1));

    let pad = client.element.static_pad("src").expect("a pad");
    let mut latency = gst::query::Latency::new();
    assert!(pad.query(&mut latency));
    let zero = gst::ClockTime::ZERO;
    assert_eq!(latency.result(), (true, zero, gst::ClockTime::NONE));

    let mut seeking = gst::query::Seeking::new(gst::Format::Time);
    assert!(!pad.query(&mut seeking) || !seeking.result().0);
    assert!(
        client
            .pipeline
            .0
            .seek_simple(gst::SeekFlags::FLUSH, zero)
            .is_err()
    );
    assert_eq!(pad.query_duration::<gst::ClockTime>(), None);

    // The queries and the seek have not disturbed the stream.
    peer.send(DEFAULT.frame(&pictures(2)[1]));
    client.expect_frames(&pictures(2)[1..]);
}

/// Queries are answered while no server has sent anything.
#[test]
fn queries_before_first_frame_are_answered() {
    let server = RawServer::new();
    let client = ClientFixture::of(&server, "");
    let peer = server.accept();
    let pad = client.element.static_pad("src").expect("a pad");
    let mut latency = gst::query::Latency::new();
    assert!(pad.query(&mut latency));
    assert!(latency.result().0, "live");
    let caps = pad.query_caps(None);
    assert!(caps.can_intersect(&"image/jpeg,parsed=true".parse::<gst::Caps>().unwrap()));
    assert_eq!(client.stats().get("frames"), Ok(0_u64));
    drop(client);
    peer.expect_closed();
}
