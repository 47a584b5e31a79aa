// SPDX-License-Identifier: MPL-2.0

//! A model of the protocol: slow, short, and independent of the crate but for its limits.
//!
//! Packets are written as in `tests/vectors/socketio/cases.json`.

use b64jpeg_wire::socketio::PacketLimits;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Map, Value, json};

/// A websocket message.
#[derive(Debug, Clone, PartialEq)]
pub enum Ws {
    Text(String),
    Binary(Vec<u8>),
}

/// A packet, if it is complete, or the name of the error.
pub type ReadResult = Result<Option<Value>, &'static str>;

/// Encodes a packet.
pub fn encode(case: &Value) -> Vec<Ws> {
    let text = |value: Option<&Value>| match value {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(object)) => in_order(object),
        Some(other) => other.to_string(),
    };
    if let Some(engine) = case["engine"].as_str() {
        let kind = ENGINE.iter().position(|name| *name == engine).unwrap();
        return vec![Ws::Text(format!("{kind}{}", text(case.get("data"))))];
    }
    let mut kind = case["type"].as_u64().unwrap();
    let mut data = case.get("data").cloned();
    let mut attachments = vec![];
    if let Some(data) = &mut data {
        take_attachments(data, &mut attachments);
    }
    let mut count = String::new();
    if !attachments.is_empty() {
        kind += 3;
        count = format!("{}-", attachments.len());
    }
    let namespace = match text(case.get("nsp")) {
        root if root == "/" => String::new(),
        other => other + ",",
    };
    let id = text(case.get("id"));
    let data = match data {
        Some(Value::Object(object)) if kind == 4 => in_order(&object),
        Some(data) => data.to_string(),
        None => String::new(),
    };
    let message = Ws::Text(format!("4{kind}{count}{namespace}{id}{data}"));
    let attachments = attachments.into_iter().map(Ws::Binary);
    [message].into_iter().chain(attachments).collect()
}

const ENGINE: [&str; 7] = [
    "open", "close", "ping", "pong", "message", "upgrade", "noop",
];

/// Encodes an object with the keys of the protocol in the order of the specification.
fn in_order(object: &Map<String, Value>) -> String {
    const KEYS: [&str; 7] = [
        "sid",
        "upgrades",
        "pingInterval",
        "pingTimeout",
        "maxPayload",
        "message",
        "data",
    ];
    let entry = |key| Some(format!("{key:?}:{}", object.get(key)?));
    let entries = KEYS.into_iter().filter_map(entry).collect::<Vec<_>>();
    format!("{{{}}}", entries.join(","))
}

/// Replaces the binary values by placeholders.
fn take_attachments(value: &mut Value, attachments: &mut Vec<Vec<u8>>) {
    if let Some(text) = value.get("$binary") {
        let bytes = BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap();
        *value = json!({"_placeholder": true, "num": attachments.len()});
        return attachments.push(bytes);
    }
    for value in values(value) {
        take_attachments(value, attachments);
    }
}

fn values(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(values) => values.iter_mut().collect(),
        Value::Object(entries) => entries.values_mut().collect(),
        _ => vec![],
    }
}

/// Decodes the messages of a connection.
pub struct PacketDecoder {
    limits: PacketLimits,
    pending: Option<PendingPacket>,
}

struct PendingPacket {
    packet: Value,
    want: usize,
    attachments: Vec<Vec<u8>>,
    len: usize,
}

impl PacketDecoder {
    pub fn new(limits: PacketLimits) -> Self {
        Self {
            limits,
            pending: None,
        }
    }

    pub fn take(&mut self, message: &Ws) -> ReadResult {
        match message {
            Ws::Text(text) if text.len() > self.limits.max_packet => Err("TooLong"),
            Ws::Text(text) => self.text(text),
            Ws::Binary(bytes) => {
                let mut pending = self.pending.take().ok_or("Stray")?;
                pending.len += bytes.len();
                if pending.len > self.limits.max_packet {
                    return Err("TooLong");
                }
                pending.attachments.push(bytes.clone());
                self.complete(pending)
            }
        }
    }

    fn complete(&mut self, mut pending: PendingPacket) -> ReadResult {
        if pending.attachments.len() < pending.want {
            self.pending = Some(pending);
            return Ok(None);
        }
        if let Some(data) = pending.packet.get_mut("data").filter(|_| pending.want > 0) {
            let attachments = pending.attachments.into_iter().map(Some);
            put_attachments(data, &mut attachments.collect::<Vec<_>>())?;
        }
        valid(&pending.packet).map(Some)
    }

    fn text(&mut self, text: &str) -> ReadResult {
        let kind = text.chars().next().ok_or("Expected")?;
        let kind = kind.to_digit(7).ok_or("Expected")?;
        let rest = &text[1..];
        let packet = match kind {
            0 => {
                let open: Value = serde_json::from_str(rest).map_err(|_| "Json")?;
                let ms = |key: &str| open[key].as_u64().ok_or("Missing");
                let upgrades = open["upgrades"].as_array().cloned().unwrap_or_default();
                let upgrades = upgrades.into_iter().filter(|name| name.is_string());
                let mut data = json!({
                    "sid": open["sid"].as_str().ok_or("Missing")?,
                    "upgrades": upgrades.collect::<Vec<_>>(),
                    "pingInterval": ms("pingInterval")?,
                    "pingTimeout": ms("pingTimeout")?,
                });
                if let Some(max) = open["maxPayload"].as_u64() {
                    data["maxPayload"] = max.into();
                }
                json!({"engine": "open", "data": data})
            }
            2 if rest.len() > 125 => return Err("PingTooLong"),
            2 | 3 if !rest.is_empty() => json!({"engine": ENGINE[kind as usize], "data": rest}),
            4 => return self.message(rest, text.len()),
            _ => json!({"engine": ENGINE[kind as usize]}),
        };
        Ok(Some(packet))
    }

    fn message(&mut self, text: &str, len: usize) -> ReadResult {
        if self.pending.take().is_some() {
            return Err("Interrupted");
        }
        let kind = text.chars().next().ok_or("Expected")?;
        let kind = kind.to_digit(7).ok_or("Expected")?;
        let mut rest = &text[1..];
        let number = |rest: &mut &str| {
            let end = rest.find(|c: char| !c.is_ascii_digit());
            let (digits, after) = rest.split_at(end.unwrap_or(rest.len()));
            *rest = after;
            match digits {
                "" => Ok(None),
                digits => digits.parse::<u64>().map(Some).map_err(|_| "Expected"),
            }
        };
        let mut want = 0;
        if kind > 4 {
            let count = number(&mut rest)?.ok_or("Expected")?;
            rest = rest.strip_prefix('-').ok_or("Expected")?;
            if count > self.limits.max_attachments as u64 {
                return Err("Attachments");
            }
            want = count as usize;
        }
        let mut packet = json!({"type": if kind > 4 { kind - 3 } else { kind }, "nsp": "/"});
        if rest.starts_with('/') {
            let end = rest.find(',').unwrap_or(rest.len());
            packet["nsp"] = rest[..end].split('?').next().into();
            rest = rest[end..].strip_prefix(',').unwrap_or("");
        }
        if let Some(id) = number(&mut rest)? {
            packet["id"] = id.into();
        }
        if !rest.is_empty() {
            packet["data"] = serde_json::from_str(rest).map_err(|_| "Json")?;
        }
        if kind > 4 {
            let mut missing = vec![Some(vec![]); want];
            if let Some(data) = packet.get("data") {
                put_attachments(&mut data.clone(), &mut missing)?;
            }
            if missing.iter().any(Option::is_some) {
                return Err("Placeholders");
            }
        }
        self.complete(PendingPacket {
            packet,
            want,
            attachments: vec![],
            len,
        })
    }
}

/// Replaces each placeholder by its attachment, which may have only one.
fn put_attachments(
    value: &mut Value,
    attachments: &mut [Option<Vec<u8>>],
) -> Result<(), &'static str> {
    if value["_placeholder"] == true {
        let number = value["num"].as_u64().ok_or("Placeholder")?;
        let attachment = attachments.get_mut(number as usize).ok_or("Placeholder")?;
        let bytes = attachment.take().ok_or("Placeholder")?;
        *value = json!({"$binary": BASE64_STANDARD.encode(bytes)});
        return Ok(());
    }
    let mut values = values(value).into_iter();
    values.try_for_each(|value| put_attachments(value, attachments))
}

/// The packet with only the data that its type has, if it has them.
fn valid(packet: &Value) -> Result<Value, &'static str> {
    let mut valid = json!({"type": packet["type"], "nsp": packet["nsp"]});
    let mut keep = |key: &str, value: Option<&Value>| {
        if let Some(value) = value {
            valid[key] = value.clone();
        }
    };
    let data = packet.get("data");
    match packet["type"].as_u64().unwrap() {
        0 => keep("data", data),
        1 => {}
        2 if data.is_some_and(|data| data[0].is_string() || data[0].is_number()) => {
            let mut data = data.unwrap().clone();
            if data[0].is_number() {
                data[0] = data[0].to_string().into();
            }
            keep("id", packet.get("id"));
            keep("data", Some(&data));
        }
        3 if data.is_some_and(Value::is_array) && packet.get("id").is_some() => {
            keep("id", packet.get("id"));
            keep("data", data);
        }
        4 => match data {
            Some(Value::String(message)) => keep("data", Some(&json!({"message": message}))),
            Some(object) if object["message"].is_string() => {
                let mut data = json!({"message": object["message"]});
                if let Some(more) = object.get("data") {
                    data["data"] = more.clone();
                }
                keep("data", Some(&data));
            }
            _ => return Err("Missing"),
        },
        _ => return Err("Missing"),
    }
    Ok(valid)
}
