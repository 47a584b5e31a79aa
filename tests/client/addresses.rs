// SPDX-License-Identifier: MPL-2.0

//! Servers that are there, under all their names, and servers that are not.

use gst::prelude::*;

use super::{
    fixture::{ClientFixture, expect_parts},
    wire::{DEFAULT, pictures},
};
use crate::common::raw_server::{RawServer, ReservedPort};

#[test]
fn every_way_to_name_this_machine() {
    for (host, port) in [
        ("127.0.0.1", ReservedPort::new()),
        ("::1", ReservedPort::v6()),
        ("[::1]", ReservedPort::v6()),
        // A name with two addresses, of which one has a server.
        ("localhost", ReservedPort::new()),
        ("localhost", ReservedPort::v6()),
    ] {
        let server = port.listen();
        let mut viewer = ClientFixture::playing(&format!("host={host} port={}", port.number()));
        server.accept().send(DEFAULT.stream(pictures(3)));
        viewer.expect_frames(pictures(3));
        viewer.expect_state("connecting");
        let connected = viewer.expect_state("connected");
        assert_eq!(connected.get("host"), Ok(host), "{connected}");
        let port = i32::from(port.number());
        let told = connected.value("port").expect("a port");
        assert_eq!(
            told.transform::<i32>().unwrap().get(),
            Ok(port),
            "{connected}"
        );
    }
}

/// The one error of a client that does not try again, which names `host` and `port`.
#[track_caller]
fn expect_failure(mut viewer: ClientFixture, host: &str, port: u16, cause: &str) {
    let error = viewer.expect_error(&[host, &port.to_string()]);
    let folded = error.to_lowercase();
    expect_parts(&folded, &[&cause.to_lowercase()]);
    viewer.stop();
    viewer.expect_nothing();
}

#[test]
fn nobody_listens() {
    for host in ["127.0.0.1", "localhost"] {
        let port = ReservedPort::new().number();
        let viewer = ClientFixture::playing(&format!("reconnect=false host={host} port={port}"));
        expect_failure(viewer, host, port, "refused");
    }
}

#[test]
fn nobody_has_the_name() {
    for host in ["camera.invalid", "a..b", "ünbekannt.invalid", "%"] {
        let viewer = ClientFixture::new("reconnect=false port=4711");
        viewer.element.set_property_from_str("host", host);
        viewer.pipeline.play();
        expect_failure(viewer, host, 4711, "");
    }
}

/// What can be no name is not looked up, and not tried again for ever.
#[test]
fn nobody_can_have_the_name() {
    for (host, what) in [
        ("", "empty"),
        ("no such host", "no such host"),
        ("b64jpeg://camera", "b64jpeg://camera"),
        ("camera/stream", "camera/stream"),
        ("camera:9999", "camera:9999"),
        ("127.0.0.1:9999", "127.0.0.1:9999"),
        ("[::1", "[::1"),
        ("[::1]:9999", "[::1]:9999"),
        ("me:secret@camera", "password"),
    ] {
        let mut viewer = ClientFixture::new("");
        viewer.element.set_property_from_str("host", host);
        let playing = viewer.pipeline.0.set_state(gst::State::Playing);
        assert!(playing.is_err(), "{host}");
        let error = viewer.expect_error(&[what, "`host`", "`port`", "`uri`"]);
        assert!(!error.contains("secret"), "{error}");
        viewer.stop();
        viewer.expect_nothing();

        // It can be put right.
        let server = RawServer::new();
        viewer.element.set_property("host", "127.0.0.1");
        viewer
            .element
            .set_property("port", i32::from(server.port()));
        viewer.pipeline.play();
        server.accept().send(DEFAULT.stream(pictures(1)));
        viewer.expect_frames(pictures(1));
    }
}

/// An IPv6 address is in brackets once, however it was given.
#[test]
fn brackets() {
    for host in ["::1", "[::1]"] {
        let port = ReservedPort::v6().number();
        let mut viewer =
            ClientFixture::playing(&format!("reconnect=false host={host} port={port}"));
        let error = viewer.expect_error(&[&format!(" [::1]:{port}")]);
        assert!(!error.contains("[["), "{error}");
        let uri = viewer.element.property::<String>("uri");
        assert!(uri.starts_with(&format!("b64jpeg://[::1]:{port}")), "{uri}");
    }
}

/// A server without a sign of life: it accepts no connection, or says nothing, at first,
/// between two frames, or inside one.
#[test]
fn silence() {
    let full = ReservedPort::new().fill();
    let viewer = |port| {
        ClientFixture::playing(&format!(
            "reconnect=false timeout=200000000 host=127.0.0.1 port={port}"
        ))
    };
    let port = full.number();
    expect_failure(viewer(port), "127.0.0.1", port, "0.2 s");

    let stream = DEFAULT.stream(pictures(3));
    let two = DEFAULT.stream(pictures(2)).len();
    for len in [0, 2, two, two + 3, stream.len() - 1] {
        let server = RawServer::new();
        let mut viewer = viewer(server.port());
        let mut peer = server.accept();
        peer.send(&stream[..len]);
        let whole = if len < two { 0 } else { 2 };
        viewer.expect_frames(&pictures(2)[..whole]);
        expect_failure(viewer, "127.0.0.1", server.port(), "0.2 s");
        peer.expect_closed();
    }
}

/// Without a timeout silence is no error: the client waits until there is something.
#[test]
fn silence_without_a_timeout() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "reconnect=false timeout=0");
    let mut peer = server.accept();
    std::thread::sleep(std::time::Duration::from_millis(300));
    peer.send(DEFAULT.stream(pictures(3)));
    viewer.expect_frames(pictures(3));
    peer.close();
    viewer.expect_end();
}

/// Nor is one that takes longer than any counter, and both ways there is no hurry.
#[test]
fn timeouts_of_any_length() {
    for timeout in [1_u64 << 32, 1 << 52, 4_294_967_296_000_000, i64::MAX as u64] {
        let server = RawServer::new();
        let mut viewer = ClientFixture::of(&server, &format!("reconnect=false timeout={timeout}"));
        let mut peer = server.accept();
        peer.send(DEFAULT.stream(pictures(1)));
        viewer.expect_frames(pictures(1));
        peer.send(DEFAULT.stream(pictures(2)));
        viewer.expect_frames(pictures(2));
        peer.close();
        viewer.expect_end();
    }
}

/// A stream may be slow; only silence runs out of time.
#[test]
fn a_trickle_is_not_silence() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "reconnect=false timeout=300000000");
    let mut peer = server.accept();
    let frame = DEFAULT.frame(&pictures(1)[0]);
    for piece in frame.chunks(frame.len() / 15) {
        std::thread::sleep(std::time::Duration::from_millis(40));
        peer.send(piece);
    }
    viewer.expect_frames(pictures(1));
    peer.close();
    viewer.expect_end();
}

#[test]
fn a_clean_end() {
    for n in [0, 1, 5] {
        let server = RawServer::new();
        let mut viewer = ClientFixture::of(&server, "reconnect=false");
        let mut peer = server.accept();
        peer.send(DEFAULT.stream(pictures(n)));
        peer.close();
        viewer.expect_end().expect_frames(pictures(n));
    }
}

/// Everything before the cut is delivered, and then there is one error.
#[test]
fn a_torn_end() {
    let stream = DEFAULT.stream(pictures(3));
    let two = DEFAULT.stream(pictures(2)).len();
    for len in [two + 1, two + 4, two + 100, stream.len() - 1] {
        let server = RawServer::new();
        let mut viewer = ClientFixture::of(&server, "reconnect=false");
        let mut peer = server.accept();
        peer.send(&stream[..len]);
        peer.close();
        viewer.expect_frames(pictures(2));
        let have = format!("after {}", len - two);
        expect_failure(viewer, "127.0.0.1", server.port(), &have);
    }
}

/// As of a server that was killed.
#[test]
fn a_reset() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "reconnect=false");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    viewer.expect_frames(pictures(2));
    peer.reset();
    expect_failure(viewer, "127.0.0.1", server.port(), "reset");
}
