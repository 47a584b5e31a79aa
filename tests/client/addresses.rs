// SPDX-License-Identifier: MPL-2.0

//! Server addresses in every form, and servers that cannot be reached or do not answer.

use gst::prelude::*;

use super::{
    fixture::{ClientFixture, expect_parts},
    wire::{DEFAULT, pictures},
};
use crate::common::raw_server::{RawServer, ReservedPort};

#[test]
fn client_connects_to_every_form_of_loopback_address() {
    for (host, port) in [
        ("127.0.0.1", ReservedPort::new()),
        ("::1", ReservedPort::v6()),
        ("[::1]", ReservedPort::v6()),
        // A name with two addresses, only one of which has a server.
        ("localhost", ReservedPort::new()),
        ("localhost", ReservedPort::v6()),
    ] {
        let server = port.listen();
        let mut client = ClientFixture::playing(&format!("host={host} port={}", port.number()));
        server.accept().send(DEFAULT.stream(pictures(3)));
        client.expect_frames(pictures(3));
        client.expect_state("connecting");
        let connected = client.expect_state("connected");
        assert_eq!(connected.get("host"), Ok(host), "{connected}");
        let port = i32::from(port.number());
        let reported = connected.value("port").expect("a port");
        assert_eq!(
            reported.transform::<i32>().unwrap().get(),
            Ok(port),
            "{connected}"
        );
    }
}

/// Expects the only error of a client that does not reconnect; it contains `host` and `port`.
#[track_caller]
fn expect_failure(mut client: ClientFixture, host: &str, port: u16, cause: &str) {
    let error = client.expect_error(&[host, &port.to_string()]);
    let folded = error.to_lowercase();
    expect_parts(&folded, &[&cause.to_lowercase()]);
    client.stop();
    client.expect_nothing();
}

#[test]
fn refused_connection_is_an_error() {
    for host in ["127.0.0.1", "localhost"] {
        let port = ReservedPort::new().number();
        let client = ClientFixture::playing(&format!("reconnect=false host={host} port={port}"));
        expect_failure(client, host, port, "refused");
    }
}

#[test]
fn unknown_host_name_is_an_error() {
    for host in ["camera.invalid", "a..b", "ünbekannt.invalid", "%"] {
        let client = ClientFixture::new("reconnect=false port=4711");
        client.element.set_property_from_str("host", host);
        client.pipeline.play();
        expect_failure(client, host, 4711, "");
    }
}

/// An invalid host name is an error at once; the client neither looks it up nor retries.
#[test]
fn invalid_host_is_refused_at_start() {
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
        let mut client = ClientFixture::new("");
        client.element.set_property_from_str("host", host);
        let playing = client.pipeline.0.set_state(gst::State::Playing);
        assert!(playing.is_err(), "{host}");
        let error = client.expect_error(&[what, "`host`", "`port`", "`uri`"]);
        assert!(!error.contains("secret"), "{error}");
        client.stop();
        client.expect_nothing();

        // The client works once the property is corrected.
        let server = RawServer::new();
        client.element.set_property("host", "127.0.0.1");
        client
            .element
            .set_property("port", i32::from(server.port()));
        client.pipeline.play();
        server.accept().send(DEFAULT.stream(pictures(1)));
        client.expect_frames(pictures(1));
    }
}

/// Messages have brackets around an IPv6 address exactly once, in whichever form it was given.
#[test]
fn bracketed_ipv6_host_is_accepted() {
    for host in ["::1", "[::1]"] {
        let port = ReservedPort::v6().number();
        let mut client =
            ClientFixture::playing(&format!("reconnect=false host={host} port={port}"));
        let error = client.expect_error(&[&format!(" [::1]:{port}")]);
        assert!(!error.contains("[["), "{error}");
        let uri = client.element.property::<String>("uri");
        assert!(uri.starts_with(&format!("b64jpeg://[::1]:{port}")), "{uri}");
    }
}

/// The server does not accept the connection, or stops sending: at the start, between two
/// frames, or inside one.
#[test]
fn silent_server_times_out() {
    let full = ReservedPort::new().fill();
    let client = |port| {
        ClientFixture::playing(&format!(
            "reconnect=false timeout=200000000 host=127.0.0.1 port={port}"
        ))
    };
    let port = full.number();
    expect_failure(client(port), "127.0.0.1", port, "0.2 s");

    let stream = DEFAULT.stream(pictures(3));
    let two = DEFAULT.stream(pictures(2)).len();
    for len in [0, 2, two, two + 3, stream.len() - 1] {
        let server = RawServer::new();
        let mut client = client(server.port());
        let mut peer = server.accept();
        peer.send(&stream[..len]);
        let whole = if len < two { 0 } else { 2 };
        client.expect_frames(&pictures(2)[..whole]);
        expect_failure(client, "127.0.0.1", server.port(), "0.2 s");
        peer.expect_closed();
    }
}

/// Without a timeout the client waits.
#[test]
fn timeout_zero_waits_for_ever() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "reconnect=false timeout=0");
    let mut peer = server.accept();
    std::thread::sleep(std::time::Duration::from_millis(300));
    peer.send(DEFAULT.stream(pictures(3)));
    client.expect_frames(pictures(3));
    peer.close();
    client.expect_end();
}

/// Timeouts that overflow a counter of any unit work.
#[test]
fn huge_timeouts_are_accepted() {
    for timeout in [1_u64 << 32, 1 << 52, 4_294_967_296_000_000, i64::MAX as u64] {
        let server = RawServer::new();
        let mut client = ClientFixture::of(&server, &format!("reconnect=false timeout={timeout}"));
        let mut peer = server.accept();
        peer.send(DEFAULT.stream(pictures(1)));
        client.expect_frames(pictures(1));
        peer.send(DEFAULT.stream(pictures(2)));
        client.expect_frames(pictures(2));
        peer.close();
        client.expect_end();
    }
}

/// The timeout is for silence, not for a whole frame.
#[test]
fn slow_frame_does_not_time_out() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "reconnect=false timeout=300000000");
    let mut peer = server.accept();
    let frame = DEFAULT.frame(&pictures(1)[0]);
    for piece in frame.chunks(frame.len() / 15) {
        std::thread::sleep(std::time::Duration::from_millis(40));
        peer.send(piece);
    }
    client.expect_frames(pictures(1));
    peer.close();
    client.expect_end();
}

#[test]
fn closed_connection_ends_stream() {
    for n in [0, 1, 5] {
        let server = RawServer::new();
        let mut client = ClientFixture::of(&server, "reconnect=false");
        let mut peer = server.accept();
        peer.send(DEFAULT.stream(pictures(n)));
        peer.close();
        client.expect_end().expect_frames(pictures(n));
    }
}

/// Frames before the cut are delivered; then there is one error.
#[test]
fn connection_closed_inside_frame_is_an_error() {
    let stream = DEFAULT.stream(pictures(3));
    let two = DEFAULT.stream(pictures(2)).len();
    for len in [two + 1, two + 4, two + 100, stream.len() - 1] {
        let server = RawServer::new();
        let mut client = ClientFixture::of(&server, "reconnect=false");
        let mut peer = server.accept();
        peer.send(&stream[..len]);
        peer.close();
        client.expect_frames(pictures(2));
        let have = format!("after {}", len - two);
        expect_failure(client, "127.0.0.1", server.port(), &have);
    }
}

/// As of a server that was killed.
#[test]
fn reset_connection_is_an_error() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "reconnect=false");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    client.expect_frames(pictures(2));
    peer.reset();
    expect_failure(client, "127.0.0.1", server.port(), "reset");
}
