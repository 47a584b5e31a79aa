// SPDX-License-Identifier: MPL-2.0

//! Servers that send another protocol or bad frames.

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

/// A foreign protocol is one error with advice, and the client does not retry.
#[test]
fn foreign_protocol_is_an_error_with_advice() {
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
                let mut client =
                    ClientFixture::of(&server, &format!("{FAST_RECONNECT} reconnect={reconnect}"));
                let mut peer = server.accept();
                // Enough bytes for a decision.
                peer.offer([&bytes[..], &[b'\n'; 100]].concat());
                let mut peer = Some(peer);
                if closes {
                    drop(peer.take());
                }
                let port = server.port().to_string();
                client.expect_error(&[name, advice, "127.0.0.1", &port]);
                if let Some(peer) = peer {
                    peer.expect_closed();
                }
                client.stop();
                assert!(
                    server.try_accept().is_none(),
                    "the client does not reconnect"
                );
            }
        }
    }
}

/// After good frames, another service on the port may be temporary: the client reconnects.
#[test]
fn foreign_protocol_after_good_frames_is_retried() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, FAST_RECONNECT);
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(3)));
    peer.close();
    client.expect_frames(pictures(3));
    for _ in 0..5 {
        let mut peer = server.accept();
        peer.offer(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n");
        peer.expect_closed();
    }
    server.accept().send(DEFAULT.stream(pictures(2)));
    let got = client.expect_frames(pictures(2));
    assert!(got[0].is_discont());
    client.expect_warning(&["HTTP", "127.0.0.1", &server.port().to_string()]);
    // There is no second warning; dropping the fixture asserts that.
}

/// A bad frame is reported with its position, and only that frame is lost.
#[test]
fn bad_frame_is_skipped_with_warning() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    let bad = DEFAULT.wrap(b"/9j/4AA!/9k=");
    let good = DEFAULT.stream(pictures(2));
    peer.send([&good[..], &bad, &DEFAULT.stream(&pictures(5)[2..])].concat());
    let got = client.expect_frames(pictures(5));
    let disconts: Vec<_> = got
        .iter()
        .map(super::fixture::Picture::is_discont)
        .collect();
    assert_eq!(disconts, [true, false, true, false, false]);
    client.expect_warning(&[
        &format!("Frame 2 at byte {}: ", good.len()),
        "byte 7 of its text is 0x21",
        "going on with the next good frame",
    ]);
    client.expect_stats(&[
        ("errors", 1),
        ("resyncs", 1),
        ("frames", 5),
        ("connections", 1),
    ]);
}

#[test]
fn frame_above_max_frame_size_is_skipped() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "max-frame-size=100000");
    let mut peer = server.accept();
    let first = DEFAULT.stream(pictures(2));
    let long = DEFAULT.wrap(&[b"/9j/".to_vec(), vec![b'A'; 100_000]].concat());
    peer.send(&first)
        .send(long)
        .send(DEFAULT.stream(pictures(4)));
    client.expect_frames(pictures(2));
    client.expect_frames(pictures(4));
    client.expect_warning(&[
        &format!("Frame 2 at byte {}: ", first.len()),
        "100004 bytes",
        "limit of 100000",
        "max-frame-size",
    ]);
    // The parser then searches as many bytes for the next frame.
    client.expect_warning(&["no frame begins in the next 100001 bytes"]);
}

/// With `reconnect` the client connects again; without, it fails.
#[test]
fn errors_above_max_errors_end_connection() {
    for reconnect in [false, true] {
        let server = RawServer::new();
        let mut client = ClientFixture::of(
            &server,
            &format!("{FAST_RECONNECT} max-errors=3 reconnect={reconnect}"),
        );
        let mut peer = server.accept();
        peer.send(DEFAULT.stream(pictures(2)));
        client.expect_frames(pictures(2));
        peer.send(DEFAULT.wrap(b"/9j/4AA!/9k=").repeat(4));
        // A bad frame counts once the next frame has arrived, or could have.
        peer.offer(DEFAULT.stream(pictures(2)));
        for _ in 0..3 {
            client.expect_warning(&["Frame 2 at byte", "0x21"]);
        }
        let parts = ["Frame 2 at byte", "0x21", "max-errors=3"];
        if reconnect {
            peer.expect_closed();
            server.accept().send(DEFAULT.stream(pictures(2)));
            client.expect_frames(pictures(2));
            client.expect_states(&["connecting", "connected", "streaming"]);
            let lost = client.expect_state("lost");
            expect_parts(lost.get("cause").expect("a cause"), &parts);
        } else {
            client.expect_error(&parts);
            peer.expect_closed();
        }
    }
}

#[test]
fn max_errors_minus_one_tolerates_any_number() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "max-errors=-1");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    peer.send(DEFAULT.wrap(b"/9j/4AA!/9k=").repeat(100));
    peer.send(DEFAULT.frame(&pictures(1)[0]));
    client.expect_frames(pictures(2));
    client.expect_frames(pictures(1));
    for _ in 0..100 {
        client.expect_warning(&["0x21"]);
    }
}

/// Random bytes are an error at frame 0.
#[test]
fn random_bytes_are_an_error() {
    let mut random = Random::new(42);
    for _ in 0..10 {
        let server = RawServer::new();
        let mut client = ClientFixture::of(&server, "reconnect=false");
        let mut peer = server.accept();
        let len = 1 + random.below(20_000);
        let mut noise = random.bytes(len);
        noise[0] = 1;
        peer.offer(noise);
        drop(peer);
        let error = client.expect_error(&["127.0.0.1", &server.port().to_string()]);
        expect_parts(&error, &["Frame 0 at byte"]);
        client.catch_up();
        client.warnings.clear();
        client.pictures.clear();
    }
}

/// A header and a payload that do not go together are a configuration error.
#[test]
fn invalid_header_payload_pair_is_refused() {
    for (header, payload) in [("lines", "jpeg"), ("none", "base64")] {
        let server = RawServer::new();
        let mut client = ClientFixture::new(&format!(
            "host=127.0.0.1 port={} header={header} payload={payload}",
            server.port()
        ));
        let change = client.pipeline.0.set_state(gst::State::Playing);
        assert!(change.is_err());
        let sentence = format!("header={header} and payload={payload} do not go together");
        client.expect_error(&[&sentence]);
        assert!(server.try_accept().is_none());
    }
}

/// Peak memory while a client is fed `start` and then 100 MiB of the byte `fill`.
fn peak_memory_of(properties: &str, start: &[u8], fill: u8) -> usize {
    let server = RawServer::new();
    let mut client = ClientFixture::of(
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
    client.stop();
    client.warnings.clear();
    client.pictures.clear();
    highest
}

#[test]
fn endless_input_is_bounded_in_memory() {
    in_own_process(|| {
        pictures(1);
        peak_memory_of("", b"", b'x');
        let before = resident_memory();
        let limit = "max-frame-size=1048576";
        for (properties, start, fill, most) in [
            // A line, a bare JPEG, a length, and a search, none of which ends.
            (limit, &b"/9j/4AAQ"[..], b'A', 20),
            (limit, b"\xff\xd8\xff\xda\0\x02", b'A', 20),
            (limit, b"\0\x10\0\0/9j/4AAQ", b'!', 20),
            (limit, b"\xff\xff\xff\xff/9j/4AAQ", 0, 20),
            (limit, b"9999999999999999\xff\xd8\xff\xe0", 0, 20),
            // A frame of the default limit.
            ("", b"\x04\0\0\0/9j/4AAQ", b'A', 64 * 3 + 20),
        ] {
            let highest = peak_memory_of(properties, start, fill);
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
fn declared_length_is_not_allocated() {
    in_own_process(|| {
        let server = RawServer::new();
        let mut all = vec![];
        let before = resident_memory();
        for _ in 0..20 {
            let mut client = ClientFixture::of(&server, "max-frame-size=1073741824");
            let mut peer = server.accept();
            client.expect_states(&["connecting", "connected"]);
            peer.send(b"\x3f\xff\xff\xff/9j/4AAQSkZJRgABAQAAAQABAAD");
            all.push((client, peer));
        }
        // Time for the bytes to arrive; on a slower machine the test would only be less strict.
        thread::sleep(Duration::from_millis(200));
        assert!(
            resident_memory() < before + 50 * MIB,
            "{} MiB",
            resident_memory() / MIB
        );
        for (client, _) in &mut all {
            client.stop();
            client.warnings.clear();
        }
    });
}
