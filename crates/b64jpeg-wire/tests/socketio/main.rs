// SPDX-License-Identifier: MPL-2.0

//! The packets of Socket.IO, compared with a naive model and the packets of other
//! implementations, and on damaged connections.

mod naive;
#[path = "../common/property.rs"]
mod property;

use std::{borrow::Cow, fs, iter, path::Path, time::Duration};

use b64jpeg_wire::{
    OutgoingFrame,
    socketio::{
        Args, Body, Handshake, Json, Packet, PacketDecoder, PacketLimits, PictureEvent,
        ProtocolError, SocketIoPacket,
    },
};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use naive::{ReadResult, Ws};
use property::check;
use proptest::{
    collection::{hash_map, vec},
    option,
    prelude::*,
    sample::{Index, select},
};
use serde_json::{Value, json};

/// Limits that the packets here sometimes exceed.
const SMALL: PacketLimits = PacketLimits {
    max_packet: 120,
    max_attachments: 3,
    max_values: 10_000,
};

// Packets from and to the form of `tests/vectors/socketio/cases.json`

fn packet(case: &Value) -> Packet<'_> {
    let text = || Cow::from(case["data"].as_str().unwrap_or_default());
    match case["engine"].as_str() {
        Some("open") => {
            let data = &case["data"];
            let ms = |key: &str| Duration::from_millis(data[key].as_u64().unwrap());
            let upgrades = data["upgrades"].as_array().unwrap().iter();
            Packet::Open(Handshake {
                sid: data["sid"].as_str().unwrap().into(),
                upgrades: upgrades.map(|name| name.as_str().unwrap().into()).collect(),
                ping_interval: ms("pingInterval"),
                ping_timeout: ms("pingTimeout"),
                max_payload: data["maxPayload"].as_u64(),
            })
        }
        Some("close") => Packet::Close,
        Some("ping") => Packet::Ping(text()),
        Some("pong") => Packet::Pong(text()),
        Some("upgrade") => Packet::Upgrade,
        Some("noop") => Packet::Noop,
        Some(other) => panic!("{other}"),
        None => Packet::Message(message(case)),
    }
}

fn message(case: &Value) -> SocketIoPacket<'_> {
    let mut attachments = vec![];
    let data = case.get("data").map(|data| json(data, &mut attachments));
    let args = |values| Args {
        values,
        attachments,
    };
    let id = case["id"].as_u64();
    let body = match (case["type"].as_u64(), data) {
        (Some(0), data) => Body::Connect(data),
        (Some(1), None) => Body::Disconnect,
        (Some(2), Some(Json::Array(mut values))) => {
            let Json::String(name) = values.remove(0) else {
                panic!("{case}");
            };
            let args = args(values);
            Body::Event { name, args, id }
        }
        (Some(3), Some(Json::Array(values))) => Body::Ack {
            id: id.unwrap(),
            args: args(values),
        },
        (Some(4), Some(data)) => Body::ConnectError {
            message: data
                .get("message")
                .and_then(Json::as_str)
                .unwrap()
                .to_owned()
                .into(),
            data: data.get("data").cloned(),
        },
        _ => panic!("{case}"),
    };
    SocketIoPacket::new(case["nsp"].as_str().unwrap(), body)
}

fn json<'a>(value: &'a Value, attachments: &mut Vec<Bytes>) -> Json<'a> {
    if let Some(text) = value.get("$binary") {
        let bytes = BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap();
        attachments.push(bytes.into());
        return Json::Binary(attachments.len() - 1);
    }
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) => Json::Number(number.clone()),
        Value::String(text) => text.as_str().into(),
        Value::Array(values) => Json::Array(
            values
                .iter()
                .map(|value| json(value, attachments))
                .collect(),
        ),
        Value::Object(entries) => {
            let entries = entries.iter();
            Json::Object(
                entries
                    .map(|(k, v)| (k.into(), json(v, attachments)))
                    .collect(),
            )
        }
    }
}

fn case(packet: &Packet) -> Value {
    let engine = |kind: &str, text: &str| match text {
        "" => json!({"engine": kind}),
        text => json!({"engine": kind, "data": text}),
    };
    let SocketIoPacket { namespace, body } = match packet {
        Packet::Open(open) => {
            let mut data = json!({
                "sid": open.sid,
                "upgrades": open.upgrades,
                "pingInterval": open.ping_interval.as_millis() as u64,
                "pingTimeout": open.ping_timeout.as_millis() as u64,
            });
            if let Some(max) = open.max_payload {
                data["maxPayload"] = max.into();
            }
            return json!({"engine": "open", "data": data});
        }
        Packet::Close => return engine("close", ""),
        Packet::Ping(text) => return engine("ping", text),
        Packet::Pong(text) => return engine("pong", text),
        Packet::Upgrade => return engine("upgrade", ""),
        Packet::Noop => return engine("noop", ""),
        Packet::Message(message) => message,
    };
    let value = |json: &Json| value(json, body.attachments());
    let (kind, id, data) = match body {
        Body::Connect(data) => (0, None, data.as_ref().map(value)),
        Body::Disconnect => (1, None, None),
        Body::Event { name, args, id } => {
            let name = Value::from(&**name);
            let values = iter::once(name).chain(args.values.iter().map(value));
            (2, *id, Some(values.collect()))
        }
        Body::Ack { id, args } => (3, Some(*id), Some(args.values.iter().map(value).collect())),
        Body::ConnectError { message, data } => {
            let mut object = json!({"message": message});
            if let Some(data) = data {
                object["data"] = value(data);
            }
            (4, None, Some(object))
        }
    };
    let mut case = json!({"type": kind, "nsp": namespace});
    if let Some(id) = id {
        case["id"] = id.into();
    }
    if let Some(data) = data {
        case["data"] = data;
    }
    case
}

fn value(json: &Json, attachments: &[Bytes]) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => number.clone().into(),
        Json::String(text) => (**text).into(),
        Json::Array(values) => values.iter().map(|json| value(json, attachments)).collect(),
        Json::Object(entries) => {
            let entries = entries.iter();
            entries
                .map(|(k, v)| (k.to_string(), value(v, attachments)))
                .collect()
        }
        Json::Binary(number) => json!({"$binary": BASE64_STANDARD.encode(&attachments[*number])}),
    }
}

// Messages

fn encode(packet: &Packet) -> Vec<Ws> {
    let attachments = match packet {
        Packet::Message(message) => message.body.attachments(),
        _ => &[],
    };
    let attachments = attachments.iter().map(|bytes| Ws::Binary(bytes.to_vec()));
    iter::once(Ws::Text(packet.encode()))
        .chain(attachments)
        .collect()
}

fn take<'a>(
    decoder: &mut PacketDecoder,
    message: &'a Ws,
) -> Result<Option<Packet<'a>>, ProtocolError> {
    match message {
        Ws::Text(text) => decoder.text(text),
        Ws::Binary(bytes) => decoder.binary(bytes.clone()),
    }
}

/// Decodes a message like the model, and checks that an error has a message and a valid offset.
fn read(decoder: &mut PacketDecoder, message: &Ws) -> Result<Option<Value>, String> {
    let packet = take(decoder, message).map_err(|error| {
        assert!(error.to_string().len() > 10, "{error}");
        if let (
            Ws::Text(text),
            ProtocolError::Expected { offset, .. } | ProtocolError::Json { offset, .. },
        ) = (message, &error)
        {
            assert!(*offset <= text.len(), "{error}");
        }
        let name = format!("{error:?}");
        name.split([' ', '(']).next().unwrap().to_owned()
    })?;
    Ok(packet.as_ref().map(case))
}

#[track_caller]
fn whole(messages: &[Ws]) -> Value {
    let mut decoder = PacketDecoder::new(PacketLimits::default());
    let (last, first) = messages.split_last().unwrap();
    for message in first {
        assert_eq!(read(&mut decoder, message), Ok(None));
    }
    read(&mut decoder, last).unwrap().unwrap()
}

// Strategies

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z0-9]{0,5}",
        1 => select(&["/9j/2Q==", "data:image/jpeg;base64,/9j/2Q==", "\"", "\\", "\n\u{1}\u{7f}", "ß😀\u{2028}", "a-b,c/d?[]{}"][..]).prop_map_into(),
        1 => any::<String>(),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let numbers = prop_oneof![
        any::<i64>().prop_map_into(),
        any::<u64>().prop_map_into(),
        // The last bit of some other numbers changes.
        any::<i32>().prop_map(|n| (f64::from(n) / 8.0).into()),
    ];
    let leaves = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map_into(),
        2 => numbers,
        3 => texts().prop_map_into(),
        2 => binary(),
    ];
    leaves.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map_into(),
            hash_map(texts(), inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn binary() -> impl Strategy<Value = Value> {
    vec(any::<u8>(), 0..20).prop_map(|bytes| json!({"$binary": BASE64_STANDARD.encode(bytes)}))
}

/// Values without attachments.
fn plain() -> impl Strategy<Value = Value> {
    values().prop_map(|mut value| {
        fn strip(value: &mut Value) {
            match value {
                Value::Object(entries) if entries.contains_key("$binary") => *value = Value::Null,
                Value::Object(entries) => entries.values_mut().for_each(strip),
                Value::Array(values) => values.iter_mut().for_each(strip),
                _ => {}
            }
        }
        strip(&mut value);
        value
    })
}

fn namespaces() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/".to_owned()),
        "/[a-z0-9-]{1,5}",
        any::<String>().prop_map(|name| format!("/{}", name.replace([',', '?'], ""))),
    ]
}

fn cases() -> impl Strategy<Value = Value> {
    let with = |kind: u8, id: Option<u64>, data: Option<Value>| (kind, id, data);
    let event = (option::of(any::<u64>()), texts(), vec(values(), 0..4)).prop_map(
        move |(id, name, mut args)| {
            args.insert(0, name.into());
            with(2, id, Some(args.into()))
        },
    );
    let messages = prop_oneof![
        // A number could be taken for an id.
        1 => option::of(plain().prop_filter("a number", |v| !v.is_number()))
            .prop_map(move |data| with(0, None, data)),
        1 => Just(with(1, None, None)),
        4 => event,
        2 => (any::<u64>(), vec(values(), 0..4))
            .prop_map(move |(id, args)| with(3, Some(id), Some(args.into()))),
        1 => (texts(), option::of(plain())).prop_map(move |(message, data)| {
            let mut object = json!({"message": message});
            if let Some(data) = data {
                object["data"] = data;
            }
            with(4, None, Some(object))
        }),
    ];
    let messages = (namespaces(), messages).prop_map(|(namespace, (kind, id, data))| {
        let mut case = json!({"type": kind, "nsp": namespace});
        if let Some(id) = id {
            case["id"] = id.into();
        }
        if let Some(data) = data {
            case["data"] = data;
        }
        case
    });
    let open = (
        texts(),
        vec(texts(), 0..3),
        any::<[u64; 2]>(),
        option::of(any::<u64>()),
    );
    let open = open.prop_map(|(sid, upgrades, [interval, timeout], max)| {
        let mut data = json!({
            "sid": sid, "upgrades": upgrades, "pingInterval": interval, "pingTimeout": timeout,
        });
        if let Some(max) = max {
            data["maxPayload"] = max.into();
        }
        json!({"engine": "open", "data": data})
    });
    prop_oneof![8 => messages, 1 => open, 1 => engine()]
}

/// Engine.IO packets that may arrive between others.
fn engine() -> impl Strategy<Value = Value> {
    let probes = (
        select(&["ping", "pong"][..]),
        texts().prop_filter("a long ping", |t| t.len() <= 125),
    )
        .prop_map(|(kind, text)| match &*text {
            "" => json!({"engine": kind}),
            text => json!({"engine": kind, "data": text}),
        });
    let others = select(&["close", "upgrade", "noop"][..]).prop_map(|kind| json!({"engine": kind}));
    prop_oneof![probes, others]
}

/// Messages of which some are changed, moved, removed or added.
fn damaged(messages: Vec<Ws>, damage: &[(Index, Index, usize, &str)]) -> Vec<Ws> {
    let mut messages = messages;
    for (which, place, len, put) in damage {
        if messages.is_empty() {
            return messages;
        }
        let at = which.index(messages.len());
        match &mut messages[at] {
            Ws::Text(text) if *len < 4 => {
                let chars = text.chars().collect::<Vec<_>>();
                let start = place.index(chars.len() + 1);
                let end = chars.len().min(start + len);
                *text = chars[..start]
                    .iter()
                    .copied()
                    .chain(put.chars())
                    .chain(chars[end..].iter().copied())
                    .collect();
            }
            _ if *len < 4 => {
                messages.swap(at, 0);
            }
            _ if *len == 4 => {
                messages.remove(at);
            }
            _ => messages.insert(at, Ws::Binary(vec![1, 2, 3])),
        }
    }
    messages
}

// Other implementations

#[test]
fn golden_packets_are_decoded_and_encoded() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/socketio");
    let file = |name: &str| fs::read_to_string(vectors.join(name)).expect(name);
    let cases: Vec<Value> = serde_json::from_str(&file("cases.json")).unwrap();
    for maker in ["python.txt", "node.txt"] {
        let text = file(maker);
        assert_eq!(text.lines().count(), cases.len());
        for (line, wanted) in text.lines().zip(&cases) {
            let mut wanted = wanted.clone();
            let exact = match wanted.as_object_mut().unwrap().remove("same") {
                Some(Value::Object(same)) => {
                    wanted.as_object_mut().unwrap().extend(same);
                    false
                }
                _ => maker == "node.txt",
            };
            let messages = line
                .split('\u{1e}')
                .map(|part| match part.strip_prefix('b') {
                    Some(text) => Ws::Binary(BASE64_STANDARD.decode(text).unwrap()),
                    None => Ws::Text(part.to_owned()),
                });
            let messages = messages.collect::<Vec<_>>();
            assert_eq!(whole(&messages), wanted, "{line}");
            if exact {
                assert_eq!(encode(&packet(&wanted)), messages, "{line}");
            }
        }
    }
}

// Packets

#[test]
fn packet_encodes_like_model() {
    check(1000, cases(), |case| {
        assert_eq!(encode(&packet(&case)), naive::encode(&case));
    });
}

#[test]
fn decoder_reads_what_model_encodes() {
    check(1000, cases(), |case| {
        assert_eq!(whole(&naive::encode(&case)), case);
    });
}

#[test]
fn picture_event_encodes_like_model() {
    let values = (
        namespaces(),
        texts(),
        option::of(texts()),
        vec(any::<u8>(), 0..50),
    );
    check(500, values, |(namespace, name, camera, bytes)| {
        let jpeg = [b"\xff\xd8\xff", &bytes[..], b"\xff\xd9"].concat();
        let jpeg = b64jpeg_wire::jpeg::with_tables(&jpeg);
        let text = BASE64_STANDARD.encode(&jpeg);
        let case = |picture: Value| {
            let arg = match &camera {
                Some(camera) => json!({camera: picture}),
                None => picture,
            };
            json!({"type": 2, "nsp": namespace, "data": [name, arg]})
        };
        let event = PictureEvent::new(&namespace, &name, camera.as_deref());

        let picture = OutgoingFrame::new(&jpeg).unwrap();
        let written = event.text(&picture);
        assert_eq!(event.text_len(&picture), written.len());
        assert_eq!(
            [Ws::Text(written)],
            *naive::encode(&case(text.clone().into()))
        );

        let written = [Ws::Text(event.binary().into()), Ws::Binary(jpeg.to_vec())];
        assert_eq!(written, *naive::encode(&case(json!({"$binary": text}))));
    });
}

#[test]
fn decoder_long_text_is_not_copied() {
    let base64 = "/9j/2Q==".repeat(1000);
    let text = format!(r#"42["stream",{{"front":"{base64}"}}]"#);
    let packet = PacketDecoder::new(PacketLimits::default()).text(&text);
    let Ok(Some(Packet::Message(message))) = &packet else {
        panic!("{packet:?}");
    };
    let Body::Event { args, .. } = &message.body else {
        panic!("{message:?}");
    };
    let Some(Json::String(Cow::Borrowed(picture))) = args.values[0].get("front") else {
        panic!("{args:?}");
    };
    assert_eq!(*picture, base64);
}

#[test]
fn answer_has_namespace_and_id_of_event() {
    let values = (cases(), vec(values(), 0..3));
    check(300, values, |(case, args)| {
        let Packet::Message(event) = packet(&case) else {
            return;
        };
        let answer = json!({"type": 3, "nsp": "/", "id": 0, "data": args});
        let Body::Ack { args: ours, .. } = message(&answer).body else {
            panic!("{answer}");
        };
        let wanted = (case["type"] == 2).then(|| case["id"].as_u64()).flatten();
        let wanted =
            wanted.map(|id| json!({"type": 3, "nsp": case["nsp"], "id": id, "data": args}));
        let answer = event.answer(ours).map(Packet::Message);
        assert_eq!(answer.as_ref().map(self::case), wanted);
    });
}

// Whole connections

/// Packets, with pings between messages, and damage.
fn connections() -> impl Strategy<Value = Vec<Ws>> {
    let between = vec((any::<Index>(), engine()), 0..4);
    let bits = select(
        &[
            "",
            "0",
            "1",
            "2",
            "4",
            "5",
            "6",
            "-",
            "/",
            ",",
            "?",
            "\"",
            "[",
            "]",
            "{",
            "}",
            ":",
            "\\",
            " ",
            "\n",
            "ß",
            "99999999999999999999",
            "true",
            "_placeholder",
            "{\"_placeholder\":true,\"num\":0}",
            "{\"message\":1}",
        ][..],
    );
    let damage = vec((any::<Index>(), any::<Index>(), 0..6_usize, bits), 0..4);
    (vec(cases(), 1..5), between, damage).prop_map(|(cases, between, damage)| {
        let mut messages = cases.iter().flat_map(naive::encode).collect::<Vec<_>>();
        for (at, case) in between {
            let at = at.index(messages.len() + 1);
            messages.splice(at..at, naive::encode(&case));
        }
        damaged(messages, &damage)
    })
}

#[test]
fn decoder_damaged_connections_read_like_model() {
    let values = (connections(), select(vec![SMALL, PacketLimits::default()]));
    check(5000, values, |(messages, limits)| {
        let mut decoder = PacketDecoder::new(limits);
        let mut model = naive::PacketDecoder::new(limits);
        for message in &messages {
            let read = read(&mut decoder, message);
            let model: ReadResult = model.take(message);
            assert_eq!(
                read,
                model.map_err(Into::into),
                "{message:?} of {messages:?}"
            );
        }
    });
}

#[test]
fn decoder_any_text_reads_like_model() {
    let kinds = "(4[0-6])?[0-9]{0,3}-?(/[a-z]{0,3},)?[0-9]{0,2}";
    let values = (kinds, any::<String>(), vec(any::<u8>(), 0..9));
    check(2000, values, |(kind, rest, bytes)| {
        let mut decoder = PacketDecoder::new(SMALL);
        let mut model = naive::PacketDecoder::new(SMALL);
        for message in [Ws::Text(kind + &rest), Ws::Binary(bytes)] {
            let model = model.take(&message).map_err(Into::into);
            assert_eq!(read(&mut decoder, &message), model, "{message:?}");
        }
    });
}

#[test]
fn decoder_odd_packets_read_like_model() {
    for text in [
        r#"44{"message":"first","message":"last","data":1,"data":2}"#,
        r#"451-["a",{"_placeholder":false,"_placeholder":true,"num":7,"num":0}]"#,
        r#"42["a",{"_placeholder":true,"num":0}]"#,
        r#"42/lab?token=1,7["a"]"#,
        r#"450-["a"]"#,
        r#"41"transport close""#,
        "40/lab",
        "4007",
        "1 and more",
    ] {
        let mut decoder = PacketDecoder::new(PacketLimits::default());
        let mut model = naive::PacketDecoder::new(PacketLimits::default());
        for message in [Ws::Text(text.into()), Ws::Binary(vec![7])] {
            let model = model.take(&message).map_err(Into::into);
            assert_eq!(read(&mut decoder, &message), model, "{text}");
        }
    }
}

// Limits and errors

/// The first error of some messages, of which binary ones begin with a "b".
fn error(limits: PacketLimits, messages: &[&str]) -> Option<ProtocolError> {
    let mut decoder = PacketDecoder::new(limits);
    messages
        .iter()
        .find_map(|message| match message.strip_prefix('b') {
            Some(bytes) => decoder.binary(bytes.to_owned()).err(),
            None => decoder.text(message).err(),
        })
}

#[test]
fn decoder_packet_over_any_limit_is_refused() {
    let event = r#"452-["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    let fits = PacketLimits {
        max_packet: event.len() + 5,
        max_attachments: 2,
        max_values: 12,
    };
    let messages = [event, "b123", "b45"];
    assert_eq!(error(fits, &messages), None);

    let limits = PacketLimits {
        max_packet: fits.max_packet - 1,
        ..fits
    };
    let too_long = |len, max| Some(ProtocolError::TooLong { len, max });
    assert_eq!(
        error(limits, &messages),
        too_long(fits.max_packet, limits.max_packet)
    );
    let text = "2".repeat(fits.max_packet);
    assert_eq!(error(fits, &[&text]), None);
    assert_eq!(
        error(limits, &[&text]),
        too_long(text.len(), limits.max_packet)
    );

    let limits = PacketLimits {
        max_attachments: 1,
        ..fits
    };
    let wanted = ProtocolError::Attachments { count: 2, max: 1 };
    assert_eq!(error(limits, &messages), Some(wanted));

    // An array, the name, two objects with two keys and two values each.
    let limits = PacketLimits {
        max_values: 11,
        ..fits
    };
    assert_eq!(
        error(limits, &messages),
        Some(ProtocolError::Values { max: 11 })
    );
}

#[test]
fn decoder_ping_longer_than_limit_is_refused() {
    let limits = PacketLimits::default();
    for len in [0, 5, 125] {
        let text = "x".repeat(len);
        let mut decoder = PacketDecoder::new(limits);
        let ping = decoder
            .text(&["2", &text].concat())
            .map(|packet| packet.map(|p| p.encode()));
        assert_eq!(ping, Ok(Some(format!("2{text}"))));
    }
    for len in [126, 1 << 20] {
        let ping = format!("2{}", "x".repeat(len));
        let too_long = ProtocolError::PingTooLong { len, max: 125 };
        assert_eq!(error(limits, &[&ping]), Some(too_long));
    }
    // A pong is not answered, so it has no such limit.
    assert_eq!(error(limits, &[&format!("3{}", "x".repeat(126))]), None);
}

#[test]
fn decoder_deep_nesting_is_refused() {
    let nested = |depth| format!("42{}{}", "[".repeat(depth), "]".repeat(depth));
    let missing = ProtocolError::Missing { what: "name" };
    assert_eq!(
        error(PacketLimits::default(), &[&nested(127)]),
        Some(missing)
    );
    let wanted = ProtocolError::Json {
        offset: 2 + 127,
        reason: "recursion limit exceeded".into(),
    };
    assert_eq!(
        error(PacketLimits::default(), &[&nested(128)]),
        Some(wanted.clone())
    );
    assert_eq!(
        error(PacketLimits::default(), &[&nested(1_000_000)]),
        Some(wanted)
    );
}

#[test]
fn decoder_errors_name_the_cause() {
    let one = r#"451-["a",{"_placeholder":true,"num":0}]"#;
    let twice = one
        .replace("51-", "52-")
        .replace("]", r#",{"_placeholder":true,"num":0}]"#);
    for (messages, sentence) in [
        (
            &[""][..],
            "it ends at byte 0, where an Engine.IO packet is expected",
        ),
        (
            &["7"],
            r#"at byte 0 it has 37 ("7") instead of an Engine.IO packet"#,
        ),
        (
            &["4"],
            "it ends at byte 1, where a Socket.IO packet is expected",
        ),
        (
            &["4<html>"],
            r#"at byte 1 it has 3c 68 74 6d 6c 3e ("<html>") instead of a Socket.IO packet"#,
        ),
        (
            &[&*format!("2{}", "x".repeat(126))],
            "its ping has 126 bytes of text, over the limit of 125",
        ),
        (&["0{}"], "it has no sid"),
        (
            &[r#"0{"sid":"x","pingInterval":"1"}"#],
            "it has no pingInterval",
        ),
        (
            &[r#"45["a"]"#],
            r#"at byte 2 it has 5b 22 61 22 5d ("[\"a\"]") instead of a number of attachments and a hyphen"#,
        ),
        (
            &["451"],
            r#"at byte 2 it has 31 ("1") instead of a number of attachments and a hyphen"#,
        ),
        (
            &["42/lab,18446744073709551616[]"],
            r#"at byte 7 it has 31 38 34 34 36 37 34 34 ("18446744") instead of an id below 2^64"#,
        ),
        (
            &[r#"42["a","#],
            "it is not JSON at byte 7: EOF while parsing a value",
        ),
        (
            &["42[\"a\",\n\n x]"],
            "it is not JSON at byte 10: expected value",
        ),
        (
            &[r#"42["a"]["b"]"#],
            "it is not JSON at byte 7: trailing characters",
        ),
        (&["42"], "it has no array of arguments"),
        (&["42[]"], "it has no name"),
        (&["42[null]"], "it has no name"),
        (&["43[]"], "it has no id"),
        (&["44{}"], "it has no message"),
        (&["44"], "it has no message"),
        (&["4565-[]"], "its 65 attachments are over the limit of 64"),
        (
            &[&one.replace("num\":0", "num\":1")],
            "placeholder 1 occurs twice, or is not one of its 1 attachments",
        ),
        (
            &[&twice],
            "placeholder 0 occurs twice, or is not one of its 2 attachments",
        ),
        (
            &[&one.replace(":0", ":-1")],
            "a placeholder for one of its 1 attachments has no number",
        ),
        (
            &[&one.replace("51-", "53-")],
            "it has 1 placeholders for 3 attachments",
        ),
        (
            &[one, "41"],
            "it arrived after 0 of the 1 attachments of the packet before it",
        ),
        (
            &["bjpeg"],
            r#"no packet has announced these 4 bytes, which begin with 6a 70 65 67 ("jpeg")"#,
        ),
        (
            &[one, "b1", "b2"],
            r#"no packet has announced these 1 bytes, which begin with 32 ("2")"#,
        ),
        (
            &[&"2".repeat((64 << 20) + 1)],
            "its length of 67108865 bytes is over the limit of 67108864",
        ),
    ] {
        let error = error(PacketLimits::default(), messages).expect("an error");
        let shown = messages.iter().map(|text| &text[..text.len().min(80)]);
        assert_eq!(
            error.to_string(),
            sentence,
            "{:?}",
            shown.collect::<Vec<_>>()
        );
    }
}

#[test]
fn check_namespace_other_than_path_is_refused() {
    use b64jpeg_wire::socketio::{ROOT, check_namespace};
    for name in [ROOT, "/lab", "/größe/\"[0"] {
        assert_eq!(check_namespace(name), Ok(()), "{name}");
    }
    for name in ["", "lab", "/a,b", "/lab?token=1"] {
        assert_eq!(
            check_namespace(name),
            Err(ProtocolError::Namespace),
            "{name}"
        );
    }
}

#[test]
fn decoder_after_error_begins_anew() {
    let event = r#"451-["a",{"_placeholder":true,"num":0}]"#;
    let mut decoder = PacketDecoder::new(PacketLimits::default());
    decoder.text(event).unwrap();
    assert!(decoder.text("41").is_err());
    assert_eq!(
        decoder.text("41"),
        Ok(Some(Packet::Message(SocketIoPacket::new(
            "/",
            Body::Disconnect
        ))))
    );
    assert_eq!(decoder.text(event), Ok(None));
    assert!(decoder.binary(&b"1"[..]).unwrap().is_some());
}

/// Found by the fuzzer: a number as the data of a connect packet was read as its id.
#[test]
fn connect_number_as_data_is_read_back() {
    let mut decoder = PacketDecoder::new(PacketLimits::default());
    let packet = decoder.text("40 88").expect("JSON may begin with a space");
    let text = packet.expect("it is whole").encode();
    assert_eq!(text, "40 88");
}
