// SPDX-License-Identifier: MPL-2.0

//! Any messages of a connection, of text and, after a "b", of bytes. The packets have to be within
//! the limits, and the same after they are encoded and decoded again.

#![no_main]

use b64jpeg_wire::socketio::{Args, Body, Json, Packet, PacketDecoder, PacketLimits};
use libfuzzer_sys::fuzz_target;

/// Limits that inputs of some kilobytes reach.
const LIMITS: PacketLimits = PacketLimits {
    max_packet: 2000,
    max_attachments: 4,
    max_values: 100,
};

fuzz_target!(|data: &[u8]| {
    let mut decoder = PacketDecoder::new(LIMITS);
    // Separated as in the files of golden packets.
    for message in data.split(|byte| matches!(byte, 0x1e | b'\n')) {
        let packet = match (message.strip_prefix(b"b"), str::from_utf8(message)) {
            (Some(bytes), _) => decoder.binary(bytes.to_vec()),
            (None, Ok(text)) => decoder.text(text),
            (None, Err(_)) => continue,
        };
        match packet {
            Ok(None) => {}
            Ok(Some(packet)) => check(&packet),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});

fn check(packet: &Packet) {
    let mut attachments = &[][..];
    if let Packet::Message(message) = packet {
        attachments = message.body.attachments();
        assert!(attachments.len() <= LIMITS.max_attachments);
        if let Body::Event { args, .. } | Body::Ack { args, .. } = &message.body {
            let Args { values, .. } = args;
            let mut seen = vec![];
            values.iter().for_each(|value| numbers(value, &mut seen));
            seen.sort();
            assert!(seen.into_iter().eq(0..attachments.len()));
        }
    }
    // Escapes and placeholders may make the packet longer than the limits.
    let mut decoder = PacketDecoder::new(PacketLimits::default());
    let text = packet.encode();
    let mut again = decoder.text(&text).expect("it was good");
    for bytes in attachments {
        assert!(again.is_none());
        again = decoder.binary(bytes.clone()).expect("it was good");
    }
    let again = again.expect("nothing is missing");
    assert_eq!(without_numbers(&again.encode()), without_numbers(&text));
}

/// Removes the numbers, whose last bit may change.
fn without_numbers(text: &str) -> String {
    text.replace(|c: char| c.is_ascii_digit() || ".e+-".contains(c), "")
}

/// Collects the numbers of the attachments in `json`.
fn numbers(json: &Json, seen: &mut Vec<usize>) {
    match json {
        Json::Array(values) => values.iter().for_each(|value| numbers(value, seen)),
        Json::Object(entries) => entries.iter().for_each(|(_, value)| numbers(value, seen)),
        Json::Binary(number) => seen.push(*number),
        _ => {}
    }
}
