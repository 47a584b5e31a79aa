// SPDX-License-Identifier: MPL-2.0

//! From websocket messages to packets.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;

use super::{Args, Body, Json, MAX_PING, Message, Open, Packet, ProtocolError, ROOT};
use crate::FirstBytes;

/// What a packet may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketLimits {
    /// Bytes of its text and its attachments together.
    pub max_packet: usize,
    /// How many attachments it may have.
    pub max_attachments: usize,
    /// How many values its JSON may be made of, keys among them. Each takes more memory than
    /// it takes text.
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

/// Reads the messages of one connection.
///
/// ```
/// use b64jpeg_wire::socketio::{Body, PacketDecoder, Json, PacketLimits, Packet};
///
/// let mut decoder = PacketDecoder::new(PacketLimits::default());
/// let text = r#"451-["stream",{"front":{"_placeholder":true,"num":0}}]"#;
/// assert_eq!(decoder.text(text)?, None);
/// let Some(Packet::Message(message)) = decoder.binary(&b"\xff\xd8\xff\xd9"[..])? else {
///     panic!("that was its only attachment");
/// };
/// assert_eq!(message.namespace, "/");
/// let Body::Event { name, args, id: None } = message.body else {
///     panic!("it is an event that wants no answer");
/// };
/// assert_eq!(name, "stream");
/// assert_eq!(args.values[0].get("front"), Some(&Json::Binary(0)));
/// assert_eq!(*args.attachments[0], *b"\xff\xd8\xff\xd9");
/// # Ok::<(), b64jpeg_wire::socketio::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct PacketDecoder {
    limits: PacketLimits,
    waiting: Option<Waiting>,
}

/// A packet whose attachments have not all come.
#[derive(Debug)]
struct Waiting {
    head: Head<'static>,
    attachments: Vec<Bytes>,
    /// Bytes so far.
    len: usize,
}

/// What a message of text says about a packet of Socket.IO.
#[derive(Debug)]
struct Head<'a> {
    /// The digit.
    kind: u8,
    /// How many attachments there are to be.
    want: usize,
    namespace: Cow<'a, str>,
    id: Option<u64>,
    data: Option<Json<'a>>,
}

impl PacketDecoder {
    /// A decoder for a connection that begins.
    pub fn new(limits: PacketLimits) -> Self {
        Self {
            limits,
            waiting: None,
        }
    }

    /// Takes a message of text. `None` until the attachments that it has announced are there.
    /// Pings may come before they are.
    ///
    /// # Errors
    ///
    /// Any [`ProtocolError`]. The attachments of a packet that was refused may still follow:
    /// to go on, begin a new connection.
    pub fn text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, ProtocolError> {
        self.check_len(text.len())?;
        let mut cursor = Cursor { text, at: 0 };
        let packet = match cursor.kind("an Engine.IO packet")? {
            b'0' => Packet::Open(self.open(cursor)?),
            b'1' => Packet::Close,
            b'2' => Packet::Ping(cursor.ping()?.into()),
            b'3' => Packet::Pong(cursor.rest().into()),
            b'4' => return Ok(self.message(cursor)?.map(Packet::Message)),
            b'5' => Packet::Upgrade,
            _ => Packet::Noop,
        };
        Ok(Some(packet))
    }

    /// Takes a binary message. `None` until the last attachment of the packet is there.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Stray`] and [`ProtocolError::TooLong`].
    pub fn binary(
        &mut self,
        data: impl Into<Bytes>,
    ) -> Result<Option<Packet<'static>>, ProtocolError> {
        let data = data.into();
        let Some(mut waiting) = self.waiting.take() else {
            return Err(ProtocolError::Stray {
                len: data.len(),
                first: FirstBytes::of(&data),
            });
        };
        waiting.len = waiting.len.saturating_add(data.len());
        self.check_len(waiting.len)?;
        waiting.attachments.push(data);
        if waiting.attachments.len() < waiting.head.want {
            self.waiting = Some(waiting);
            return Ok(None);
        }
        let message = waiting.head.message(waiting.attachments)?;
        Ok(Some(Packet::Message(message)))
    }

    fn check_len(&self, len: usize) -> Result<(), ProtocolError> {
        let max = self.limits.max_packet;
        match len <= max {
            true => Ok(()),
            false => Err(ProtocolError::TooLong { len, max }),
        }
    }

    fn open(&self, cursor: Cursor) -> Result<Open, ProtocolError> {
        let json = cursor.json(&self.limits)?;
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
        Ok(Open {
            sid: sid.ok_or(ProtocolError::Missing { what: "sid" })?.into(),
            upgrades: upgrades.map(Into::into).collect(),
            ping_interval: millis("pingInterval")?,
            ping_timeout: millis("pingTimeout")?,
            max_payload: json.get("maxPayload").and_then(Json::as_u64),
        })
    }

    fn message<'a>(&mut self, cursor: Cursor<'a>) -> Result<Option<Message<'a>>, ProtocolError> {
        if let Some(waiting) = self.waiting.take() {
            return Err(ProtocolError::Interrupted {
                have: waiting.attachments.len(),
                want: waiting.head.want,
            });
        }
        let head = self.head(cursor)?;
        if head.want == 0 {
            return Ok(Some(head.message(vec![])?));
        }
        self.waiting = Some(Waiting {
            head: head.into_owned(),
            attachments: vec![],
            len: cursor.text.len(),
        });
        Ok(None)
    }

    fn head<'a>(&self, mut cursor: Cursor<'a>) -> Result<Head<'a>, ProtocolError> {
        let kind = cursor.kind("a Socket.IO packet")?;
        let binary = matches!(kind, b'5' | b'6');
        let want = match binary {
            true => self.attachments(&mut cursor)?,
            false => 0,
        };
        let namespace = cursor.namespace();
        let id = cursor.number("an id below 2^64")?;
        let mut data = match cursor.rest().is_empty() {
            true => None,
            false => Some(cursor.json(&self.limits)?),
        };
        if binary {
            let mut seen = vec![false; want];
            data.iter_mut().try_for_each(|data| data.place(&mut seen))?;
            let placeholders = seen.into_iter().filter(|seen| *seen).count();
            if placeholders < want {
                return Err(ProtocolError::Placeholders {
                    placeholders,
                    count: want,
                });
            }
        }
        Ok(Head {
            kind,
            want,
            namespace,
            id,
            data,
        })
    }

    /// How many attachments are announced.
    fn attachments(&self, cursor: &mut Cursor) -> Result<usize, ProtocolError> {
        const WHAT: &str = "a number of attachments and a hyphen";
        let max = self.limits.max_attachments;
        let at = cursor.at;
        let count = cursor.number(WHAT)?;
        let Some(count) = count.filter(|_| cursor.rest().starts_with('-')) else {
            return Err(cursor.expected(at, WHAT));
        };
        cursor.skip(1);
        let fits = usize::try_from(count).ok().filter(|count| *count <= max);
        fits.ok_or(ProtocolError::Attachments { count, max })
    }
}

/// What is still to be read of a message.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Goes on by `len` bytes, which were seen.
    fn skip(&mut self, len: usize) {
        self.at = self.at.saturating_add(len).min(self.text.len());
    }

    /// The text of a ping. The answer repeats it, so it has a limit of its own.
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

    /// The digit that says what follows.
    fn kind(&mut self, what: &'static str) -> Result<u8, ProtocolError> {
        match self.text.as_bytes().get(self.at) {
            Some(kind @ b'0'..=b'6') => {
                self.skip(1);
                Ok(*kind)
            }
            _ => Err(self.expected(self.at, what)),
        }
    }

    /// A number, if one is there.
    fn number(&mut self, what: &'static str) -> Result<Option<u64>, ProtocolError> {
        let rest = self.rest();
        let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = rest.strip_suffix(behind).unwrap_or_default();
        if digits.is_empty() {
            return Ok(None);
        }
        let number = digits.parse();
        let number = number.map_err(|_| self.expected(self.at, what))?;
        self.skip(digits.len());
        Ok(Some(number))
    }

    /// The namespace. A query behind it, as some clients send, is not part of its name.
    fn namespace(&mut self) -> Cow<'a, str> {
        let rest = self.rest();
        if !rest.starts_with('/') {
            return ROOT.into();
        }
        let (namespace, _) = rest.split_once(',').unwrap_or((rest, ""));
        // And the comma, if there is one.
        self.skip(namespace.len().saturating_add(1));
        let (name, _) = namespace.split_once('?').unwrap_or((namespace, ""));
        name.into()
    }

    fn json(&self, limits: &PacketLimits) -> Result<Json<'a>, ProtocolError> {
        Json::parse_at(self.text, self.at, limits.max_values)
    }
}

impl<'a> Head<'a> {
    fn into_owned(self) -> Head<'static> {
        Head {
            kind: self.kind,
            want: self.want,
            namespace: self.namespace.into_owned().into(),
            id: self.id,
            data: self.data.map(Json::into_owned),
        }
    }

    fn message(self, attachments: Vec<Bytes>) -> Result<Message<'a>, ProtocolError> {
        let missing = |what| Err(ProtocolError::Missing { what });
        let body = match (self.kind, self.data) {
            (b'0', data) => Body::Connect(data),
            (b'1', _) => Body::Disconnect,
            (b'2' | b'5', Some(Json::Array(values))) => {
                let mut values = values.into_iter();
                let name = match values.next() {
                    Some(Json::String(name)) => name,
                    // JavaScript makes no difference.
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
        Ok(Message::new(self.namespace, body))
    }
}
