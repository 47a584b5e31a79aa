// SPDX-License-Identifier: MPL-2.0

//! Hostile Socket.IO servers against `socketioclientsrc` and `socketioclientsink`.
//!
//! The relay is a plain TCP socket, so that it can send what no library would. It never
//! reads after the handshake.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use gst::prelude::*;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::common::{
    element_fixture::{ElementFixture, expect_parts},
    isolation::{in_own_process, process_status, reset_peak_memory},
    process::PATIENCE,
};

const OPEN: &str = r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
const WELCOME: &str = r#"40{"sid":"s"}"#;
/// Bytes of one attack, at most.
const FLOOD: usize = 100 << 20;
/// Reconnects at once, and gives a relay up that takes nothing.
const TIMEOUT: &str = "timeout=1000000000";

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;

struct Relay(TcpListener);

impl Relay {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        // What the kernel takes in its place is not what the client has to hold.
        let small = socket2::SockRef::from(&listener).set_recv_buffer_size(4096);
        small.expect("an option");
        Self(listener)
    }

    fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("bound"))
    }

    /// The next client, and its request.
    fn accept(&self) -> (Wire, String) {
        let (stream, _) = self.0.accept().expect("a client");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.set_write_timeout(Some(PATIENCE)).expect("an option");
        let mut wire = Wire(stream);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            wire.0.read_exact(&mut byte).expect("a request");
            request.extend(byte);
        }
        (wire, String::from_utf8(request).expect("ASCII"))
    }

    /// The next client, with a websocket.
    fn upgrade(&self) -> Wire {
        let (mut wire, request) = self.accept();
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .expect("a key");
        let accept = derive_accept_key(key.trim().as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        assert!(wire.offer(head.as_bytes()));
        wire
    }

    /// The next client, let into the namespace.
    fn welcome(&self) -> Wire {
        let mut wire = self.upgrade();
        assert!(wire.offer(&frame(TEXT, OPEN)) && wire.offer(&frame(TEXT, WELCOME)));
        wire
    }
}

struct Wire(TcpStream);

impl Wire {
    /// Sends; tells whether the client is still there.
    fn offer(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Sends the same again and again, until the client is gone or the flood is over.
    fn flood(&mut self, bytes: &[u8]) -> bool {
        let block = bytes.repeat((64 << 10) / bytes.len() + 1);
        (0..FLOOD / block.len() + 1).all(|_| self.offer(&block))
    }
}

/// A websocket frame of a server that ends its message.
fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    fragment(0x80 | opcode, payload.as_ref())
}

fn fragment(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(len as u8),
        len @ 126..0x10000 => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

fn src(url: &str, properties: &str) -> ElementFixture {
    ElementFixture::socketio_source(url, &format!("{TIMEOUT} {properties}"))
}

fn sink(url: &str, properties: &str) -> ElementFixture {
    ElementFixture::socketio_sink(url, &format!("{TIMEOUT} {properties}"))
}

#[track_caller]
fn expect_growth(before: usize, max_mib: usize) {
    let growth = process_status("VmHWM").saturating_sub(before) / 1024;
    println!("peak RSS grew by {growth} MiB");
    assert!(growth <= max_mib, "{growth} MiB");
}

/// Runs an attack on the first connection; the client comes back, and the second one is left
/// in peace. Returns the cause of the loss.
#[track_caller]
fn survive(
    launch: fn(&str, &str) -> ElementFixture,
    properties: &str,
    prepare: impl FnOnce(&ElementFixture),
    attack: impl FnOnce(&mut Wire) + Send + 'static,
    max_growth_mib: usize,
) -> (ElementFixture, String) {
    let relay = Relay::new();
    let url = relay.url();
    let mut fixture = launch(&url, properties);
    prepare(&fixture);
    // What the test itself needs for a flood is not counted.
    let before = reset_peak_memory();
    let attacker = thread::spawn(move || {
        let mut first = relay.welcome();
        attack(&mut first);
        let second = relay.welcome();
        (relay, first, second)
    });
    fixture.expect_states(&["connecting", "connected"]);
    let lost = loop {
        let connection = fixture.next_connection();
        match connection.get::<&str>("state") {
            Ok("streaming") => {}
            state => {
                break state
                    .is_ok_and(|state| state == "lost")
                    .then_some(connection);
            }
        }
    };
    let lost = lost.unwrap_or_else(|| panic!("not lost: {:#?}", fixture.log));
    fixture.expect_state("connected");
    let relay = attacker.join().expect("the attack ends");
    expect_growth(before, max_growth_mib);
    fixture.stop();
    drop(relay);
    (fixture, lost.get("cause").expect("a cause"))
}

#[test]
fn pings_of_a_megabyte_end_the_connection() {
    in_own_process(|| {
        for launch in [src, sink] {
            let ping = frame(TEXT, format!("2{}", "x".repeat(1 << 20)));
            let attack = move |wire: &mut Wire| {
                assert!(!(0..100).all(|_| wire.offer(&ping)), "the client stayed");
            };
            let (mut fixture, cause) = survive(launch, "", |_| {}, attack, 32);
            expect_parts(&cause, &["ping", "1048576 bytes", "limit of 125"]);
            fixture.expect_warning(&["is lost", "limit of 125", "trying again"]);
        }
    });
}

#[test]
fn small_pings_while_nothing_is_read_are_bounded() {
    in_own_process(|| {
        for launch in [src, sink] {
            for ping in [
                frame(TEXT, format!("2{}", "x".repeat(125))),
                frame(TEXT, "2"),
                frame(PING, [b'x'; 125]),
                frame(PING, []),
            ] {
                let attack = move |wire: &mut Wire| {
                    assert!(!wire.flood(&ping), "the client stayed");
                };
                let (_, cause) = survive(launch, "", |_| {}, attack, 32);
                assert!(cause.contains("took nothing"), "{cause}");
            }
        }
    });
}

#[test]
fn answers_while_nothing_is_read_are_bounded() {
    in_own_process(|| {
        for (event, warned) in [
            (r#"421["stream","/9j/2Q=="]"#, false),
            (r#"4218446744073709551615["stream",1]"#, true),
        ] {
            let event = frame(TEXT, event);
            let attack = move |wire: &mut Wire| {
                assert!(!wire.flood(&event), "the client stayed");
            };
            // No picture is taken, so that answers wait for that, too.
            let block = |fixture: &ElementFixture| {
                let sink: gst::Element = fixture.pipeline.element("sink");
                let pad = sink.static_pad("sink").expect("a pad");
                let kinds = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
                pad.add_probe(kinds, |_, _| gst::PadProbeReturn::Ok);
            };
            let (mut fixture, cause) = survive(src, "timeout=4000000000", block, attack, 12);
            assert!(cause.contains("took nothing"), "{cause}");
            if warned {
                fixture.expect_warning(&["no picture as its first argument"]);
            }
            fixture.pictures.clear();
        }
    });
}

#[test]
fn message_that_never_ends_is_bounded() {
    in_own_process(|| {
        // By fragments, by one frame, and by attachments.
        let part = "x".repeat(1 << 18);
        let fragments = [
            fragment(TEXT, b"42[\"stream\",\""),
            fragment(0, part.as_bytes()).repeat(20),
        ]
        .concat();
        let mut frame_of_exabytes = vec![0x80 | TEXT, 127];
        frame_of_exabytes.extend((1_u64 << 62).to_be_bytes());
        let placeholders: Vec<_> = (0..64)
            .map(|n| format!(r#"{{"_placeholder":true,"num":{n}}}"#))
            .collect();
        let head = format!(r#"4564-["stream",{}]"#, placeholders.join(","));
        let attachments = [frame(TEXT, head), frame(BINARY, &part).repeat(20)].concat();
        for bytes in [fragments, frame_of_exabytes, attachments] {
            let attack = move |wire: &mut Wire| {
                wire.offer(&bytes);
                // Waits until the client is gone.
                let _ = wire.0.read_to_end(&mut Vec::new());
            };
            let (mut fixture, cause) = survive(src, "max-frame-size=1000000", |_| {}, attack, 32);
            assert!(cause.contains("over the limit of 1000000"), "{cause}");
            fixture.expect_warning(&["max-frame-size", "trying again"]);
        }
    });
}

/// The relay chooses how long its texts are; messages show the beginning only.
#[test]
fn long_texts_are_shown_in_part() {
    in_own_process(|| {
        let long = "word\u{1f}".repeat(2 << 20);
        let json = long.replace('\u{1f}', " ");
        for (message, state) in [
            (format!(r#"44{{"message":"{json}"}}"#), "refused"),
            (format!(r#"42["{json}","/9j/2Q=="]"#), "connected"),
            (format!(r#"42["stream",{{"{json}":1}}]"#), "connected"),
        ] {
            let relay = Relay::new();
            let mut fixture = src(&relay.url(), "camera=front max-frame-size=100000000");
            let before = reset_peak_memory();
            let mut wire = match state {
                "refused" => relay.upgrade(),
                _ => relay.welcome(),
            };
            if state == "refused" {
                wire.offer(&frame(TEXT, OPEN));
            }
            assert!(wire.offer(&frame(TEXT, message)));
            fixture.expect_states(&["connecting", state]);
            let text = match state {
                "refused" => fixture.expect_error(&["does not let us in", "word word"]),
                _ => fixture.expect_warning(&["word word", "…"]),
            };
            assert!(text.len() < 1000, "{} bytes", text.len());
            expect_growth(before, 96);
            fixture.stop();
        }
    });
}

/// Each open packet is answered with `auth`.
#[test]
fn second_open_packet_is_refused() {
    let relay = Relay::new();
    let mut fixture = src(&relay.url(), "");
    let mut wire = relay.upgrade();
    wire.offer(&frame(TEXT, OPEN).repeat(2));
    fixture.expect_state("connecting");
    fixture.expect_error(&["something else than Socket.IO", "second open packet"]);
    fixture.stop();
}

/// What an HTTP server can do instead of giving a websocket.
#[test]
fn http_answer_without_end_is_named() {
    in_own_process(|| {
        for (head, tail, part) in [
            (
                "HTTP/1.1 101 Switching Protocols\r\n",
                "X: y\r\n",
                "does not end within 16384 bytes",
            ),
            (
                "HTTP/1.1 101 \r\nX: ",
                "\0",
                "does not end within 16384 bytes",
            ),
            ("HTTP/1.1 yes\r\n\r\n", "\0", "no status"),
            ("", "HTTP/1.1 103 Early Hints\r\n\r\n", "103 Early Hints"),
            (
                "HTTP/1.1 400 Bad\r\nContent-Length: 1000000000000000000000000000000\r\n\r\n",
                "no ",
                "400 Bad",
            ),
            (
                "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n",
                "ffffffffffffffff\r\nno\r\n",
                "400 Bad",
            ),
        ] {
            for launch in [src, sink] {
                let relay = Relay::new();
                let mut fixture = launch(&relay.url(), "");
                let before = reset_peak_memory();
                let attacker = thread::spawn(move || {
                    // The second is asked in another way what kind of server it is.
                    for stream in relay.0.incoming().take(2) {
                        let mut wire = Wire(stream.expect("a client"));
                        wire.0.set_write_timeout(Some(PATIENCE)).expect("an option");
                        let attack = [head, &tail.repeat(8 << 10)].concat();
                        wire.offer(attack.as_bytes());
                        wire.flood(tail.as_bytes());
                        if part.contains("16384") || part.contains("status") {
                            break;
                        }
                    }
                });
                fixture.expect_state("connecting");
                fixture.expect_error(&[part]);
                attacker.join().expect("the attack ends");
                expect_growth(before, 32);
                fixture.stop();
            }
        }
    });
}
