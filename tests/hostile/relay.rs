// SPDX-License-Identifier: MPL-2.0

//! Hostile Socket.IO servers against `socketioclientsrc` and `socketioclientsink`.

use std::{io::Read, thread};

use gst::prelude::*;

use super::websocket::{BINARY, OPEN, PING, RawRelay, RawWebSocket, TEXT, fragment, frame};
use crate::common::{
    element_fixture::{ElementFixture, expect_parts},
    isolation::{in_own_process, process_status, reset_peak_memory},
    process::PATIENCE,
};

/// After this time without progress, the client closes the connection.
const TIMEOUT: &str = "timeout=1000000000";

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

/// Attacks the first connection, and expects that the client reconnects and stays connected.
/// Returns the cause of the loss.
#[track_caller]
fn attack_and_reconnect(
    launch: fn(&str, &str) -> ElementFixture,
    properties: &str,
    prepare: impl FnOnce(&ElementFixture),
    attack: impl FnOnce(&mut RawWebSocket) + Send + 'static,
    max_growth_mib: usize,
) -> (ElementFixture, String) {
    let relay = RawRelay::new();
    let url = relay.url();
    let mut fixture = launch(&url, properties);
    prepare(&fixture);
    // The test's own memory for a flood does not count.
    let before = reset_peak_memory();
    let attacker = thread::spawn(move || {
        let mut first = relay.accept_into_namespace();
        attack(&mut first);
        let second = relay.accept_into_namespace();
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
            let attack = move |websocket: &mut RawWebSocket| {
                assert!(
                    !(0..100).all(|_| websocket.offer(&ping)),
                    "the client stayed"
                );
            };
            let (mut fixture, cause) = attack_and_reconnect(launch, "", |_| {}, attack, 32);
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
                let attack = move |websocket: &mut RawWebSocket| {
                    assert!(!websocket.flood(&ping), "the client stayed");
                };
                let (_, cause) = attack_and_reconnect(launch, "", |_| {}, attack, 32);
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
            let attack = move |websocket: &mut RawWebSocket| {
                assert!(!websocket.flood(&event), "the client stayed");
            };
            // With frames blocked downstream, acknowledgements wait as well.
            let block = |fixture: &ElementFixture| {
                let sink: gst::Element = fixture.pipeline.element("sink");
                let pad = sink.static_pad("sink").expect("a pad");
                let kinds = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
                pad.add_probe(kinds, |_, _| gst::PadProbeReturn::Ok);
            };
            let (mut fixture, cause) =
                attack_and_reconnect(src, "timeout=4000000000", block, attack, 12);
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
            let attack = move |websocket: &mut RawWebSocket| {
                websocket.offer(&bytes);
                // Wait until the client has disconnected.
                let _ = websocket.0.read_to_end(&mut Vec::new());
            };
            let (mut fixture, cause) =
                attack_and_reconnect(src, "max-frame-size=1000000", |_| {}, attack, 32);
            assert!(cause.contains("over the limit of 1000000"), "{cause}");
            fixture.expect_warning(&["max-frame-size", "trying again"]);
        }
    });
}

/// The relay decides how long its texts are; messages show only the beginning.
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
            let relay = RawRelay::new();
            let mut fixture = src(&relay.url(), "camera=front max-frame-size=100000000");
            let before = reset_peak_memory();
            let mut websocket = match state {
                "refused" => relay.upgrade(),
                _ => relay.accept_into_namespace(),
            };
            if state == "refused" {
                websocket.offer(&frame(TEXT, OPEN));
            }
            assert!(websocket.offer(&frame(TEXT, message)));
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

/// The client answers an open packet with `auth`.
#[test]
fn second_open_packet_is_refused() {
    let relay = RawRelay::new();
    let mut fixture = src(&relay.url(), "");
    let mut websocket = relay.upgrade();
    websocket.offer(&frame(TEXT, OPEN).repeat(2));
    fixture.expect_state("connecting");
    fixture.expect_error(&["something else than Socket.IO", "second open packet"]);
    fixture.stop();
}

/// HTTP responses instead of an upgrade to a websocket.
#[test]
fn endless_http_response_is_reported() {
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
                let relay = RawRelay::new();
                let mut fixture = launch(&relay.url(), "");
                let before = reset_peak_memory();
                let attacker = thread::spawn(move || {
                    // The client's second request asks what kind of server this is.
                    for stream in relay.0.incoming().take(2) {
                        let mut websocket = RawWebSocket(stream.expect("a client"));
                        websocket
                            .0
                            .set_write_timeout(Some(PATIENCE))
                            .expect("an option");
                        let attack = [head, &tail.repeat(8 << 10)].concat();
                        websocket.offer(attack.as_bytes());
                        websocket.flood(tail.as_bytes());
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
