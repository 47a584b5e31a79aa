// SPDX-License-Identifier: MPL-2.0

//! Encoding: from packets to websocket messages.

use std::time::Duration;

use bytes::Bytes;

use super::{Args, Body, Handshake, Json, Packet, ROOT, SocketIoPacket};
use crate::{OutgoingFrame, Payload};

impl Packet<'_> {
    /// Encodes the text message.
    ///
    /// ```
    /// use b64jpeg_wire::socketio::Packet;
    ///
    /// assert_eq!(Packet::Pong("".into()).encode(), "3");
    /// ```
    pub fn encode(&self) -> String {
        match self {
            Self::Open(open) => format!("0{}", open.json()),
            Self::Close => "1".into(),
            Self::Ping(text) => format!("2{text}"),
            Self::Pong(text) => format!("3{text}"),
            Self::Message(message) => message.encode(),
            Self::Upgrade => "5".into(),
            Self::Noop => "6".into(),
        }
    }
}

impl Handshake {
    fn json(&self) -> Json<'_> {
        let millis = |time: Duration| Json::Number((time.as_millis() as u64).into());
        let upgrades = self.upgrades.iter().map(|name| Json::from(&**name));
        let mut entries = vec![
            ("sid".into(), Json::from(&*self.sid)),
            ("upgrades".into(), Json::Array(upgrades.collect())),
            ("pingInterval".into(), millis(self.ping_interval)),
            ("pingTimeout".into(), millis(self.ping_timeout)),
        ];
        let max = self.max_payload.map(|max| Json::Number(max.into()));
        entries.extend(max.map(|max| ("maxPayload".into(), max)));
        Json::Object(entries)
    }
}

impl SocketIoPacket<'_> {
    /// Encodes the text message. The attachments follow it, each in a binary message.
    ///
    /// ```
    /// use b64jpeg_wire::socketio::{Body, Json, SocketIoPacket};
    ///
    /// let auth = Json::parse(r#"{"token":"secret"}"#)?;
    /// let message = SocketIoPacket::new("/lab", Body::Connect(Some(auth)));
    /// assert_eq!(message.encode(), r#"40/lab,{"token":"secret"}"#);
    /// # Ok::<(), b64jpeg_wire::socketio::ProtocolError>(())
    /// ```
    pub fn encode(&self) -> String {
        let (kind, id, data) = match &self.body {
            Body::Connect(data) => (0_u8, None, data.as_ref().map(Json::to_string)),
            Body::Disconnect => (1, None, None),
            Body::Event { name, args, id } => (2, *id, Some(list(Some(name), args))),
            Body::Ack { id, args } => (3, Some(*id), Some(list(None, args))),
            Body::ConnectError { message, data } => {
                let mut entries = vec![("message".into(), Json::from(&**message))];
                entries.extend(data.clone().map(|data| ("data".into(), data)));
                (4, None, Some(Json::Object(entries).to_string()))
            }
        };
        let mut text = match self.body.attachments() {
            [] => format!("4{kind}"),
            // Packets with attachments have types of their own.
            attachments => format!("4{}{}-", kind.saturating_add(3), attachments.len()),
        };
        if self.namespace != ROOT {
            text.push_str(&self.namespace);
            text.push(',');
        }
        text.push_str(&id.map_or_else(String::new, |id| id.to_string()));
        let data = data.unwrap_or_default();
        if data.starts_with(|first: char| first.is_ascii_digit()) {
            // A number alone would be read as the id of the packet.
            text.push(' ');
        }
        text.push_str(&data);
        text
    }
}

/// The JSON array of the arguments, with the name of an event in front.
fn list(name: Option<&str>, args: &Args) -> String {
    let name = name.map(|name| Json::from(name).to_string());
    let values = args.values.iter().map(Json::to_string);
    let values = name.into_iter().chain(values).collect::<Vec<_>>();
    format!("[{}]", values.join(","))
}

/// An event whose only argument is a JPEG, or an object that maps the name of a camera to one.
///
/// Everything but the JPEG is encoded once, by [`new`](Self::new).
///
/// ```
/// use b64jpeg_wire::{OutgoingFrame, socketio::PictureEvent};
///
/// let picture = OutgoingFrame::new(b"\xff\xd8\xff\xd9").expect("it is one");
/// let event = PictureEvent::new("/", "stream", None);
/// assert_eq!(event.text(&picture), r#"42["stream","/9j/2Q=="]"#);
///
/// let event = PictureEvent::new("/lab", "stream", Some("front"));
/// assert_eq!(event.text(&picture), r#"42/lab,["stream",{"front":"/9j/2Q=="}]"#);
/// // Followed by a binary message with the JPEG.
/// assert_eq!(
///     event.binary(),
///     r#"451-/lab,["stream",{"front":{"_placeholder":true,"num":0}}]"#
/// );
/// ```
#[derive(Debug, Clone)]
pub struct PictureEvent {
    /// The text message in front of the JPEG, and after it.
    before: String,
    after: String,
    /// The text message in front of a binary message.
    binary: String,
}

impl PictureEvent {
    /// Creates the event. With a `camera`, the argument is an object.
    pub fn new(namespace: &str, event: &str, camera: Option<&str>) -> Self {
        let encode = |picture, attachments| {
            let value = match camera {
                Some(camera) => Json::Object(vec![(camera.into(), picture)]),
                None => picture,
            };
            let args = Args {
                values: vec![value],
                attachments,
            };
            let name = event.into();
            let body = Body::Event {
                name,
                args,
                id: None,
            };
            SocketIoPacket::new(namespace, body).encode()
        };
        let text = encode("".into(), vec![]);
        // Between the quotes of the empty string, after which only brackets follow.
        let (before, after) = text.rsplit_once("\"\"").unwrap_or((&text, ""));
        let (before, after) = ([before, "\""].concat(), ["\"", after].concat());
        Self {
            before,
            after,
            binary: encode(Json::Binary(0), vec![Bytes::new()]),
        }
    }

    /// Length of [`text`](Self::text) with this JPEG, in bytes.
    pub fn text_len(&self, picture: &OutgoingFrame) -> usize {
        let around = self.before.len().saturating_add(self.after.len());
        around.saturating_add(picture.payload_len(Payload::Base64))
    }

    /// The text message with this JPEG as base64.
    pub fn text(&self, picture: &OutgoingFrame) -> String {
        let mut text = Vec::with_capacity(self.text_len(picture));
        text.extend(self.before.as_bytes());
        let len = picture.payload_len(Payload::Base64);
        text.resize(text.len().saturating_add(len), 0);
        if let Some(room) = text.get_mut(self.before.len()..) {
            // JSON escapes no character of base64.
            picture.encode_payload(Payload::Base64, room);
        }
        text.extend(self.after.as_bytes());
        #[expect(
            clippy::expect_used,
            reason = "it consists of strings and base64, which is ASCII"
        )]
        String::from_utf8(text).expect("base64 is ASCII")
    }

    /// The text message that a binary message with the JPEG follows.
    pub fn binary(&self) -> &str {
        &self.binary
    }
}
