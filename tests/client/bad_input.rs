// SPDX-License-Identifier: MPL-2.0

//! Servers that speak something else, or our language badly.

use std::{thread, time::Duration};

use gst::prelude::*;

use super::{
    fixture::{ClientFixture, FAST_RECONNECT, expect_parts},
    wire::{DEFAULT, Random, pictures},
};
use crate::common::{
    isolation::{in_own_process, resident_memory},
    raw_server::RawServer,
};

const MIB: usize = 1 << 20;

/// A stream that will never make sense is not tried again: one error says what it is.
#[test]
fn foreign_protocols() {
    let pickle = b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05numpy\x94".to_vec();
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10".to_vec();
    for (bytes, name, advice) in [
        (
            b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n".to_vec(),
            "SSH",
            "host and port",
        ),
        (
            b"HTTP/1.0 400 Bad Request\r\nServer: x\r\n\r\n".to_vec(),
            "HTTP",
            "souphttpsrc",
        ),
        (
            b"--frame\r\nContent-Type: image/jpeg\r\n\r\n".to_vec(),
            "multipart",
            "multipartdemux",
        ),
        (
            b"RTSP/1.0 400 Bad Request\r\nCSeq: 1\r\n\r\n".to_vec(),
            "RTSP",
            "rtspsrc",
        ),
        (
            b"\x16\x03\x03\0\x40\x02\0\0\x3c\x03\x03".to_vec(),
            "TLS",
            "host and port",
        ),
        (DEFAULT.wrap(&pickle), "pickle", "never loaded"),
        (pickle, "pickle", "never loaded"),
        (DEFAULT.wrap(&png), "PNG", "imencode"),
    ] {
        for reconnect in [false, true] {
            for closes in [false, true] {
                let server = RawServer::new();
                let mut viewer =
                    ClientFixture::of(&server, &format!("{FAST_RECONNECT} reconnect={reconnect}"));
                let mut peer = server.accept();
                // Enough to be sure.
                peer.offer([&bytes[..], &[b'\n'; 100]].concat());
                let mut peer = Some(peer);
                if closes {
                    drop(peer.take());
                }
                let port = server.port().to_string();
                viewer.expect_error(&[name, advice, "127.0.0.1", &port]);
                if let Some(peer) = peer {
                    peer.expect_closed();
                }
                viewer.stop();
                assert!(server.try_accept().is_none(), "it does not try again");
            }
        }
    }
}

/// After good frames it is a server that was replaced, perhaps for a moment.
#[test]
fn another_service_for_a_while() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, FAST_RECONNECT);
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(3)));
    peer.close();
    viewer.expect_frames(pictures(3));
    for _ in 0..5 {
        let mut peer = server.accept();
        peer.offer(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n");
        peer.expect_closed();
    }
    server.accept().send(DEFAULT.stream(pictures(2)));
    let got = viewer.expect_frames(pictures(2));
    assert!(got[0].is_discont());
    viewer.expect_warning(&["HTTP", "127.0.0.1", &server.port().to_string()]);
    // Once is enough: the drop of the viewer finds no other one.
}

/// Bad frames are reported where they are, and cost nothing else.
#[test]
fn bad_frames() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    let bad = DEFAULT.wrap(b"/9j/4AA!/9k=");
    let good = DEFAULT.stream(pictures(2));
    peer.send([&good[..], &bad, &DEFAULT.stream(&pictures(5)[2..])].concat());
    let got = viewer.expect_frames(pictures(5));
    let disconts: Vec<_> = got
        .iter()
        .map(super::fixture::Picture::is_discont)
        .collect();
    assert_eq!(disconts, [true, false, true, false, false]);
    viewer.expect_warning(&[
        &format!("Frame 2 at byte {}: ", good.len()),
        "byte 7 of its text is 0x21",
        "going on with the next good frame",
    ]);
    viewer.expect_stats(&[
        ("errors", 1),
        ("resyncs", 1),
        ("frames", 5),
        ("connections", 1),
    ]);
}

#[test]
fn frames_over_the_limit() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "max-frame-size=100000");
    let mut peer = server.accept();
    let first = DEFAULT.stream(pictures(2));
    let long = DEFAULT.wrap(&[b"/9j/".to_vec(), vec![b'A'; 100_000]].concat());
    peer.send(&first)
        .send(long)
        .send(DEFAULT.stream(pictures(4)));
    viewer.expect_frames(pictures(2));
    viewer.expect_frames(pictures(4));
    viewer.expect_warning(&[
        &format!("Frame 2 at byte {}: ", first.len()),
        "100004 bytes",
        "limit of 100000",
        "max-frame-size",
    ]);
    // What follows is searched for the next frame, which takes as many bytes.
    viewer.expect_warning(&["no frame begins in the next 100001 bytes"]);
}

/// With reconnect a stream that has gone bad is left, and joined again.
#[test]
fn too_many_bad_frames() {
    for reconnect in [false, true] {
        let server = RawServer::new();
        let mut viewer = ClientFixture::of(
            &server,
            &format!("{FAST_RECONNECT} max-errors=3 reconnect={reconnect}"),
        );
        let mut peer = server.accept();
        peer.send(DEFAULT.stream(pictures(2)));
        viewer.expect_frames(pictures(2));
        peer.send(DEFAULT.wrap(b"/9j/4AA!/9k=").repeat(4));
        // A bad frame is one when another has followed, or could have.
        peer.offer(DEFAULT.stream(pictures(2)));
        for _ in 0..3 {
            viewer.expect_warning(&["Frame 2 at byte", "0x21"]);
        }
        let parts = ["Frame 2 at byte", "0x21", "max-errors=3"];
        if reconnect {
            peer.expect_closed();
            server.accept().send(DEFAULT.stream(pictures(2)));
            viewer.expect_frames(pictures(2));
            viewer.expect_states(&["connecting", "connected", "streaming"]);
            let lost = viewer.expect_state("lost");
            expect_parts(lost.get("cause").expect("a cause"), &parts);
        } else {
            viewer.expect_error(&parts);
            peer.expect_closed();
        }
    }
}

#[test]
fn any_number_of_bad_frames() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "max-errors=-1");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    peer.send(DEFAULT.wrap(b"/9j/4AA!/9k=").repeat(100));
    peer.send(DEFAULT.frame(&pictures(1)[0]));
    viewer.expect_frames(pictures(2));
    viewer.expect_frames(pictures(1));
    for _ in 0..100 {
        viewer.expect_warning(&["0x21"]);
    }
}

/// Noise that is no protocol at all.
#[test]
fn noise() {
    let mut random = Random::new(42);
    for _ in 0..10 {
        let server = RawServer::new();
        let mut viewer = ClientFixture::of(&server, "reconnect=false");
        let mut peer = server.accept();
        let len = 1 + random.below(20_000);
        let mut noise = random.bytes(len);
        noise[0] = 1;
        peer.offer(noise);
        drop(peer);
        let error = viewer.expect_error(&["127.0.0.1", &server.port().to_string()]);
        expect_parts(&error, &["Frame 0 at byte"]);
        viewer.catch_up();
        viewer.warnings.clear();
        viewer.pictures.clear();
    }
}

/// A header and a payload that do not go together are a mistake of the user's.
#[test]
fn framings_that_are_none() {
    for (header, payload) in [("lines", "jpeg"), ("none", "base64")] {
        let server = RawServer::new();
        let mut viewer = ClientFixture::new(&format!(
            "host=127.0.0.1 port={} header={header} payload={payload}",
            server.port()
        ));
        let change = viewer.pipeline.0.set_state(gst::State::Playing);
        assert!(change.is_err());
        let sentence = format!("header={header} and payload={payload} do not go together");
        viewer.expect_error(&[&sentence]);
        assert!(server.try_accept().is_none());
    }
}

/// Peak of what one client takes while it is fed 100 MiB of one byte behind `start`.
fn fed(properties: &str, start: &[u8], fill: u8) -> usize {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(
        &server,
        &format!("{FAST_RECONNECT} max-errors=-1 {properties}"),
    );
    let mut peer = server.accept();
    peer.send(start);
    let piece = vec![fill; MIB];
    let mut highest = 0;
    for _ in 0..100 {
        if !peer.offer(&piece) {
            break;
        }
        highest = highest.max(resident_memory());
    }
    drop(peer);
    viewer.stop();
    viewer.warnings.clear();
    viewer.pictures.clear();
    highest
}

#[test]
fn memory_is_bounded() {
    in_own_process(|| {
        pictures(1);
        fed("", b"", b'x');
        let before = resident_memory();
        let limit = "max-frame-size=1048576";
        for (properties, start, fill, most) in [
            // A line, a bare JPEG, a length, and a search that never end.
            (limit, &b"/9j/4AAQ"[..], b'A', 20),
            (limit, b"\xff\xd8\xff\xda\0\x02", b'A', 20),
            (limit, b"\0\x10\0\0/9j/4AAQ", b'!', 20),
            (limit, b"\xff\xff\xff\xff/9j/4AAQ", 0, 20),
            (limit, b"9999999999999999\xff\xd8\xff\xe0", 0, 20),
            // A frame as long as allowed.
            ("", b"\x04\0\0\0/9j/4AAQ", b'A', 64 * 3 + 20),
        ] {
            let highest = fed(properties, start, fill);
            assert!(
                highest < before + most * MIB,
                "{} MiB before, {} MiB with {properties} and {} behind {}",
                before / MIB,
                highest / MIB,
                fill.escape_ascii(),
                start.escape_ascii(),
            );
        }
    });
}

#[test]
fn a_declared_length_is_not_allocated() {
    in_own_process(|| {
        let server = RawServer::new();
        let mut all = vec![];
        let before = resident_memory();
        for _ in 0..20 {
            let mut viewer = ClientFixture::of(&server, "max-frame-size=1073741824");
            let mut peer = server.accept();
            viewer.expect_states(&["connecting", "connected"]);
            peer.send(b"\x3f\xff\xff\xff/9j/4AAQSkZJRgABAQAAAQABAAD");
            all.push((viewer, peer));
        }
        // Time for the bytes to arrive; less would only hide a fault.
        thread::sleep(Duration::from_millis(200));
        assert!(
            resident_memory() < before + 50 * MIB,
            "{} MiB",
            resident_memory() / MIB
        );
        for (viewer, _) in &mut all {
            viewer.stop();
            viewer.warnings.clear();
        }
    });
}
