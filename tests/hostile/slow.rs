// SPDX-License-Identifier: MPL-2.0

//! Servers that send single bytes and hardly ever a whole message.

use std::{slice::from_ref, thread, time::Duration};

use crate::common::{
    element_fixture::{ElementFixture, expect_parts},
    raw_server::{RawConnection, RawServer},
    wire::{DEFAULT, pictures},
};

/// A timeout much longer than the pause between two bytes.
const TIMEOUT: &str = "timeout=700000000";
const PAUSE: Duration = Duration::from_millis(20);

/// Connects a `b64jpegclientsrc` to this server.
#[track_caller]
fn client(sender: &RawServer) -> (ElementFixture, RawConnection) {
    let line = format!(
        "b64jpegclientsrc name=element host=127.0.0.1 port={} {TIMEOUT} \
         ! fakesink name=sink sync=false",
        sender.port()
    );
    let client = ElementFixture::launch(&line, "b64jpeg-connection");
    client.pipeline.play();
    let peer = sender.accept();
    (client, peer)
}

/// Sends single bytes until the client warns; returns the warning and the remaining
/// bytes.
#[track_caller]
fn send_slowly<'a>(
    client: &mut ElementFixture,
    mut bytes: &'a [u8],
    mut send: impl FnMut(&[u8]),
) -> (String, &'a [u8]) {
    while client.catch_up().warnings.is_empty() {
        let (first, rest) = bytes.split_at_checked(1).expect("a warning comes before");
        send(first);
        bytes = rest;
        thread::sleep(PAUSE);
    }
    (
        client.expect_warning(&["sends only", "still waiting"]),
        bytes,
    )
}

#[test]
fn slow_tcp_server_is_reported_once_per_frame() {
    let sender = RawServer::new();
    let (mut client, mut peer) = client(&sender);
    let [first, second, third] = pictures(3) else {
        unreachable!("there are three");
    };

    // From the first byte on, when the length of the frame is not known yet.
    let frame = DEFAULT.frame(first);
    let (warning, rest) = send_slowly(&mut client, &frame, |byte| {
        peer.send(byte);
    });
    let from = format!("127.0.0.1:{} sends only ", sender.port());
    expect_parts(
        &warning,
        &[&from, "no whole picture yet (frame 0 at byte 0, "],
    );
    let (more, rest) = rest.split_at(20);
    for byte in more.chunks(1) {
        peer.send(byte);
        thread::sleep(PAUSE);
    }
    assert_eq!(client.catch_up().warnings, [""; 0], "a second warning");
    peer.send(rest);
    client.expect_frames(from_ref(first));
    client.expect_states(&["connecting", "connected", "streaming"]);
    let infos = client.catch_up().infos.join("\n");
    expect_parts(&infos, &["Pictures come from"]);

    // After a frame in time, slowness is reported again.
    peer.send(DEFAULT.frame(second));
    client.expect_frames(from_ref(second));
    let before = frame.len() + DEFAULT.frame(second).len();
    let frame = DEFAULT.frame(third);
    peer.send(&frame[..40]);
    let (warning, rest) = send_slowly(&mut client, &frame[40..], |byte| {
        peer.send(byte);
    });
    let place = format!("(frame 2 at byte {before}, ");
    let length = format!(" of {} bytes are here)", frame.len());
    expect_parts(&warning, &[&place, &length]);
    peer.send(rest);
    client.expect_frames(from_ref(third));
    // The connection has been kept.
    client.expect_stats(&[("connections", 1), ("errors", 0), ("frames", 3)]);
    assert!(client.connections.is_empty(), "{:?}", client.connections);
    client.stop();
}

#[cfg(feature = "web")]
mod web {
    use std::io::Read;

    use base64::prelude::*;

    use super::*;
    use crate::hostile::websocket::{RawRelay, RawWebSocket, TEXT, WELCOME, frame};

    /// Accepts a client. The server promises to be silent for at most twice `silence` milliseconds.
    fn accept(relay: &RawRelay, silence: u32) -> RawWebSocket {
        let mut websocket = relay.upgrade();
        let open = format!(
            r#"0{{"sid":"a","upgrades":[],"pingInterval":{silence},"pingTimeout":{silence},"maxPayload":1000000}}"#
        );
        assert!(websocket.offer(&frame(TEXT, open)));
        // The client joins the namespace: two bytes, masked.
        websocket.0.read_exact(&mut [0; 8]).expect("a packet");
        assert!(websocket.offer(&frame(TEXT, WELCOME)));
        websocket
    }

    #[test]
    fn slow_socketio_server_is_reported_and_connection_is_kept() {
        const SILENCE: u32 = 1000;
        let relay = RawRelay::new();
        let url = relay.url();
        let line = format!(
            "socketioclientsrc name=element url={url} {TIMEOUT} \
             ! fakesink name=sink sync=false"
        );
        let mut client = ElementFixture::launch(&line, "socketio-connection");
        client.pipeline.play();
        let mut server = accept(&relay, SILENCE);
        client.expect_states(&["connecting", "connected"]);

        let picture = &pictures(1)[0];
        let event = frame(
            TEXT,
            format!(r#"42["stream","{}"]"#, BASE64_STANDARD.encode(picture)),
        );
        let (warning, rest) = send_slowly(&mut client, &event, |byte| {
            assert!(server.offer(byte));
        });
        expect_parts(&warning, &[&url, "sends only ", "no whole message yet"]);
        // Longer than the server promised to be silent at most.
        let (more, rest) = rest.split_at((3 * SILENCE / 20) as usize);
        for byte in more.chunks(1) {
            assert!(server.offer(byte));
            thread::sleep(PAUSE);
        }
        assert!(server.offer(rest));
        client.expect_frames(from_ref(picture));
        client.expect_state("streaming");
        client.expect_stats(&[("connections", 1), ("frames", 1)]);
        client.stop();
    }
}
