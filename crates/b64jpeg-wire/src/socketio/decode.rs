// SPDX-License-Identifier: MPL-2.0

//! Decoding: from websocket messages to packets.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;

use super::{Args, Body, Handshake, Json, MAX_PING, Packet, ProtocolError, ROOT, SocketIoPacket};
use crate::FirstBytes;

/// The limits of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketLimits {
    /// Maximum length of its text and its attachments together, in bytes.
    pub max_packet: usize,
    /// Maximum number of attachments.
    pub max_attachments: usize,
    /// Maximum number of values in its JSON, including keys. Each needs more memory than text.
    pub max_values: usize,
}

impl Default for PacketLimits {
    /// 64 MiB, 64 attachments, 100,000 values.
    fn default() -> Self {
        Self {
            max_packet: 64 << 20,
            max_attachments: 64,
            max_values: 100_000,
        }
    }
}

/// Decodes the messages of one connection.
///
/// ```
/// use b64jpeg_wire::socketio::{Body, PacketDecoder, Json, PacketLimits, Packet};
///
/// let mut decoder = PacketDecoder::new(PacketLimits::default());
/// let text = r#"451-["stream",{"front":{"_placeholder":true,"num":0}}]"#;
/// assert_eq!(decoder.text(text)?, None);
/// let Some(Packet::Message(message)) = decoder.binary(&b"\xff\xd8\xff\xd9"[..])? else {
///     panic!("it has one attachment");
/// };
/// assert_eq!(message.namespace, "/");
/// let Body::Event { name, args, id: None } = message.body else {
///     panic!("it is an event without an id");
/// };
/// assert_eq!(name, "stream");
/// assert_eq!(args.values[0].get("front"), Some(&Json::Binary(0)));
/// assert_eq!(*args.attachments[0], *b"\xff\xd8\xff\xd9");
/// # Ok::<(), b64jpeg_wire::socketio::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct PacketDecoder {
    limits: PacketLimits,
    pending: Option<PendingPacket>,
}

/// A packet some of whose attachments have not arrived.
#[derive(Debug)]
struct PendingPacket {
    text: PacketText<'static>,
    attachments: Vec<Bytes>,
    /// Length of its text and its attachments so far, in bytes.
    len: usize,
}

/// The parsed text of a Socket.IO packet.
#[derive(Debug)]
struct PacketText<'a> {
    /// The digit of the packet type.
    kind: u8,
    attachment_count: usize,
    namespace: Cow<'a, str>,
    id: Option<u64>,
    data: Option<Json<'a>>,
}

impl PacketDecoder {
    /// Begins a connection.
    pub fn new(limits: PacketLimits) -> Self {
        Self {
            limits,
            pending: None,
        }
    }

    /// Decodes a text message. Returns `None` if the packet has attachments, which follow.
    /// Pings may arrive before them.
    ///
    /// # Errors
    ///
    /// Any [`ProtocolError`]. Begin a new connection then: the attachments of the bad packet may
    /// still follow.
    pub fn text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, ProtocolError> {
        self.check_len(text.len())?;
        let mut reader = TextReader { text, at: 0 };
        let packet = match reader.kind("an Engine.IO packet")? {
            b'0' => Packet::Open(self.open(reader)?),
            b'1' => Packet::Close,
            b'2' => Packet::Ping(reader.ping()?.into()),
            b'3' => Packet::Pong(reader.rest().into()),
            b'4' => return Ok(self.message(reader)?.map(Packet::Message)),
            b'5' => Packet::Upgrade,
            _ => Packet::Noop,
        };
        Ok(Some(packet))
    }

    /// Decodes a binary message. Returns `None` until the last attachment has arrived.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Stray`] and [`ProtocolError::TooLong`].
    pub fn binary(
        &mut self,
        data: impl Into<Bytes>,
    ) -> Result<Option<Packet<'static>>, ProtocolError> {
        let data = data.into();
        let Some(mut pending) = self.pending.take() else {
            return Err(ProtocolError::Stray {
                len: data.len(),
                first: FirstBytes::of(&data),
            });
        };
        pending.len = pending.len.saturating_add(data.len());
        self.check_len(pending.len)?;
        pending.attachments.push(data);
        if pending.attachments.len() < pending.text.attachment_count {
            self.pending = Some(pending);
            return Ok(None);
        }
        let message = pending.text.with_attachments(pending.attachments)?;
        Ok(Some(Packet::Message(message)))
    }

    fn check_len(&self, len: usize) -> Result<(), ProtocolError> {
        let max = self.limits.max_packet;
        match len <= max {
            true => Ok(()),
            false => Err(ProtocolError::TooLong { len, max }),
        }
    }

    fn open(&self, reader: TextReader) -> Result<Handshake, ProtocolError> {
        let json = reader.json(&self.limits)?;
        let sid = json.get("sid").and_then(Json::as_str);
        let millis = |key| {
            let value = json.get(key).and_then(Json::as_u64);
            let value = value.map(Duration::from_millis);
            value.ok_or(ProtocolError::Missing { what: key })
        };
        let upgrades = match json.get("upgrades") {
            Some(Json::Array(upgrades)) => &upgrades[..],
            _ => &[],
        };
        let upgrades = upgrades.iter().filter_map(Json::as_str);
        Ok(Handshake {
            sid: sid.ok_or(ProtocolError::Missing { what: "sid" })?.into(),
            upgrades: upgrades.map(Into::into).collect(),
            ping_interval: millis("pingInterval")?,
            ping_timeout: millis("pingTimeout")?,
            max_payload: json.get("maxPayload").and_then(Json::as_u64),
        })
    }

    fn message<'a>(
        &mut self,
        reader: TextReader<'a>,
    ) -> Result<Option<SocketIoPacket<'a>>, ProtocolError> {
        if let Some(pending) = self.pending.take() {
            return Err(ProtocolError::Interrupted {
                have: pending.attachments.len(),
                want: pending.text.attachment_count,
            });
        }
        let text = self.packet_text(reader)?;
        if text.attachment_count == 0 {
            return Ok(Some(text.with_attachments(vec![])?));
        }
        self.pending = Some(PendingPacket {
            text: text.into_owned(),
            attachments: vec![],
            len: reader.text.len(),
        });
        Ok(None)
    }

    fn packet_text<'a>(&self, mut reader: TextReader<'a>) -> Result<PacketText<'a>, ProtocolError> {
        let kind = reader.kind("a Socket.IO packet")?;
        let binary = matches!(kind, b'5' | b'6');
        let attachment_count = match binary {
            true => self.attachment_count(&mut reader)?,
            false => 0,
        };
        let namespace = reader.namespace();
        let id = reader.number("an id below 2^64")?;
        let mut data = match reader.rest().is_empty() {
            true => None,
            false => Some(reader.json(&self.limits)?),
        };
        if binary {
            let mut seen = vec![false; attachment_count];
            data.iter_mut()
                .try_for_each(|data| data.resolve_placeholders(&mut seen))?;
            let placeholders = seen.into_iter().filter(|seen| *seen).count();
            if placeholders < attachment_count {
                return Err(ProtocolError::Placeholders {
                    placeholders,
                    count: attachment_count,
                });
            }
        }
        Ok(PacketText {
            kind,
            attachment_count,
            namespace,
            id,
            data,
        })
    }

    /// Reads the number of attachments.
    fn attachment_count(&self, reader: &mut TextReader) -> Result<usize, ProtocolError> {
        const WHAT: &str = "a number of attachments and a hyphen";
        let max = self.limits.max_attachments;
        let at = reader.at;
        let count = reader.number(WHAT)?;
        let Some(count) = count.filter(|_| reader.rest().starts_with('-')) else {
            return Err(reader.expected(at, WHAT));
        };
        reader.skip(1);
        let fits = usize::try_from(count).ok().filter(|count| *count <= max);
        fits.ok_or(ProtocolError::Attachments { count, max })
    }
}

/// Reads a text message from front to back.
#[derive(Clone, Copy)]
struct TextReader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> TextReader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Skips `len` bytes.
    fn skip(&mut self, len: usize) {
        self.at = self.at.saturating_add(len).min(self.text.len());
    }

    /// Reads the text of a ping. The pong repeats it, so it has a limit of its own.
    fn ping(&self) -> Result<&'a str, ProtocolError> {
        let (text, max) = (self.rest(), MAX_PING);
        match text.len() {
            len if len > max => Err(ProtocolError::PingTooLong { len, max }),
            _ => Ok(text),
        }
    }

    fn expected(&self, offset: usize, what: &'static str) -> ProtocolError {
        ProtocolError::Expected {
            offset,
            what,
            found: FirstBytes::of(self.text.as_bytes().get(offset..).unwrap_or_default()),
        }
    }

    /// Reads the digit of the packet type.
    fn kind(&mut self, what: &'static str) -> Result<u8, ProtocolError> {
        match self.text.as_bytes().get(self.at) {
            Some(kind @ b'0'..=b'6') => {
                self.skip(1);
                Ok(*kind)
            }
            _ => Err(self.expected(self.at, what)),
        }
    }

    /// Reads a number, if there is one.
    fn number(&mut self, what: &'static str) -> Result<Option<u64>, ProtocolError> {
        let rest = self.rest();
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = rest.strip_suffix(after).unwrap_or_default();
        if digits.is_empty() {
            return Ok(None);
        }
        let number = digits.parse();
        let number = number.map_err(|_| self.expected(self.at, what))?;
        self.skip(digits.len());
        Ok(Some(number))
    }

    /// Reads the namespace. Some clients send a query after it, which is not part of the name.
    fn namespace(&mut self) -> Cow<'a, str> {
        let rest = self.rest();
        if !rest.starts_with('/') {
            return ROOT.into();
        }
        let (namespace, _) = rest.split_once(',').unwrap_or((rest, ""));
        // With the comma, if there is one.
        self.skip(namespace.len().saturating_add(1));
        let (name, _) = namespace.split_once('?').unwrap_or((namespace, ""));
        name.into()
    }

    fn json(&self, limits: &PacketLimits) -> Result<Json<'a>, ProtocolError> {
        Json::parse_at(self.text, self.at, limits.max_values)
    }
}

impl<'a> PacketText<'a> {
    fn into_owned(self) -> PacketText<'static> {
        PacketText {
            kind: self.kind,
            attachment_count: self.attachment_count,
            namespace: self.namespace.into_owned().into(),
            id: self.id,
            data: self.data.map(Json::into_owned),
        }
    }

    fn with_attachments(
        self,
        attachments: Vec<Bytes>,
    ) -> Result<SocketIoPacket<'a>, ProtocolError> {
        let missing = |what| Err(ProtocolError::Missing { what });
        let body = match (self.kind, self.data) {
            (b'0', data) => Body::Connect(data),
            (b'1', _) => Body::Disconnect,
            (b'2' | b'5', Some(Json::Array(values))) => {
                let mut values = values.into_iter();
                let name = match values.next() {
                    Some(Json::String(name)) => name,
                    // Socket.IO allows numbers as names.
                    Some(Json::Number(name)) => name.to_string().into(),
                    _ => return missing("name"),
                };
                let values = values.collect();
                Body::Event {
                    name,
                    args: Args {
                        values,
                        attachments,
                    },
                    id: self.id,
                }
            }
            (b'3' | b'6', Some(Json::Array(values))) => {
                let Some(id) = self.id else {
                    return missing("id");
                };
                let args = Args {
                    values,
                    attachments,
                };
                Body::Ack { id, args }
            }
            (b'4', Some(Json::String(message))) => Body::ConnectError {
                message,
                data: None,
            },
            (b'4', Some(mut data)) => {
                let Some(Json::String(message)) = data.take("message") else {
                    return missing("message");
                };
                let data = data.take("data");
                Body::ConnectError { message, data }
            }
            (b'4', None) => return missing("message"),
            _ => return missing("array of arguments"),
        };
        Ok(SocketIoPacket::new(self.namespace, body))
    }
}
