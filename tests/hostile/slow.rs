// SPDX-License-Identifier: MPL-2.0

//! Servers that send a byte now and then, and never anything whole.

use std::{slice::from_ref, thread, time::Duration};

use crate::common::{
    element_fixture::{ElementFixture, expect_parts},
    raw_server::{RawConnection, RawServer},
    wire::{DEFAULT, pictures},
};

/// Bytes come so much faster than the timeout that none of them is late.
const TIMEOUT: &str = "timeout=700000000";
const PAUSE: Duration = Duration::from_millis(20);

/// A client of `b64jpegclientsrc` at this server.
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

/// Sends bytes one by one until the client warns; returns the warning and the bytes that
/// are left.
#[track_caller]
fn drip<'a>(
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
fn tcp_server_that_drips_is_reported_once_per_slow_picture() {
    let sender = RawServer::new();
    let (mut client, mut peer) = client(&sender);
    let [first, second, third] = pictures(3) else {
        unreachable!("there are three");
    };

    // From the first byte on: nothing is known of the frame yet.
    let frame = DEFAULT.frame(first);
    let (warning, rest) = drip(&mut client, &frame, |byte| {
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
    assert_eq!(client.catch_up().warnings, [""; 0], "it is reported once");
    peer.send(rest);
    client.expect_frames(from_ref(first));
    client.expect_states(&["connecting", "connected", "streaming"]);
    let infos = client.catch_up().infos.join("\n");
    expect_parts(&infos, &["Pictures come from"]);

    // After a picture that came in time it is reported again.
    peer.send(DEFAULT.frame(second));
    client.expect_frames(from_ref(second));
    let before = frame.len() + DEFAULT.frame(second).len();
    let frame = DEFAULT.frame(third);
    peer.send(&frame[..40]);
    let (warning, rest) = drip(&mut client, &frame[40..], |byte| {
        peer.send(byte);
    });
    let place = format!("(frame 2 at byte {before}, ");
    let length = format!(" of {} bytes are here)", frame.len());
    expect_parts(&warning, &[&place, &length]);
    peer.send(rest);
    client.expect_frames(from_ref(third));
    // The connection has stayed.
    client.expect_stats(&[("connections", 1), ("errors", 0), ("frames", 3)]);
    assert!(client.connections.is_empty(), "{:?}", client.connections);
    client.stop();
}

#[cfg(feature = "web")]
mod web {
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, TcpListener, TcpStream},
    };

    use base64::prelude::*;
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

    use super::*;

    /// A Socket.IO server of one client, over a websocket, byte by byte.
    struct Server(TcpStream);

    impl Server {
        /// `silence` is how many milliseconds it promises to be silent at most, twice.
        fn accept(listener: &TcpListener, silence: u32) -> Self {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                request.extend(byte);
            }
            let request = String::from_utf8(request).expect("UTF-8");
            let key = request
                .lines()
                .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
            let accept = derive_accept_key(key.expect("a key").as_bytes());
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).expect("it listens");
            let mut server = Self(stream);
            server.send(&frame(&format!(
                r#"0{{"sid":"a","upgrades":[],"pingInterval":{silence},"pingTimeout":{silence},"maxPayload":1000000}}"#
            )));
            // The client gets into the namespace: two bytes, masked.
            server.0.read_exact(&mut [0; 8]).expect("a packet");
            server.send(&frame(r#"40{"sid":"b"}"#));
            server
        }

        fn send(&mut self, bytes: &[u8]) {
            self.0.write_all(bytes).expect("the client is there");
        }
    }

    /// A text message in one websocket frame.
    fn frame(text: &str) -> Vec<u8> {
        let len = text.len() as u16;
        let head = match len {
            0..126 => vec![0x81, len as u8],
            _ => [&[0x81, 126][..], &len.to_be_bytes()].concat(),
        };
        [&head, text.as_bytes()].concat()
    }

    #[test]
    fn socketio_server_that_drips_is_reported_and_not_given_up() {
        const SILENCE: u32 = 1000;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let line = format!(
            "socketioclientsrc name=element url=http://127.0.0.1:{port} {TIMEOUT} \
             ! fakesink name=sink sync=false"
        );
        let mut client = ElementFixture::launch(&line, "socketio-connection");
        client.pipeline.play();
        let mut server = Server::accept(&listener, SILENCE);
        client.expect_states(&["connecting", "connected"]);

        let picture = &pictures(1)[0];
        let event = frame(&format!(
            r#"42["stream","{}"]"#,
            BASE64_STANDARD.encode(picture)
        ));
        let (warning, rest) = drip(&mut client, &event, |byte| server.send(byte));
        let url = format!("http://127.0.0.1:{port}");
        expect_parts(&warning, &[&url, "sends only ", "no whole message yet"]);
        // Longer than the server may be silent.
        let (more, rest) = rest.split_at((3 * SILENCE / 20) as usize);
        for byte in more.chunks(1) {
            server.send(byte);
            thread::sleep(PAUSE);
        }
        server.send(rest);
        client.expect_frames(from_ref(picture));
        client.expect_state("streaming");
        client.expect_stats(&[("connections", 1), ("frames", 1)]);
        client.stop();
    }
}
