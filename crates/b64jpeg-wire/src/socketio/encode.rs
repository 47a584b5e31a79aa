// SPDX-License-Identifier: MPL-2.0

//! From packets to websocket messages.

use std::time::Duration;

use bytes::Bytes;

use super::{Args, Body, Json, Message, Open, Packet, ROOT};
use crate::{OutgoingFrame, Payload};

impl Packet<'_> {
    /// The message of text.
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

impl Open {
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

impl Message<'_> {
    /// The message of text. Its attachments follow it, each in a binary message.
    ///
    /// ```
    /// use b64jpeg_wire::socketio::{Body, Json, Message};
    ///
    /// let auth = Json::parse(r#"{"token":"secret"}"#)?;
    /// let message = Message::new("/lab", Body::Connect(Some(auth)));
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
            // Those with attachments have numbers of their own.
            attachments => format!("4{}{}-", kind.saturating_add(3), attachments.len()),
        };
        if self.namespace != ROOT {
            text.push_str(&self.namespace);
            text.push(',');
        }
        text.push_str(&id.map_or_else(String::new, |id| id.to_string()));
        let data = data.unwrap_or_default();
        if data.starts_with(|first: char| first.is_ascii_digit()) {
            // A number alone would be read as the number of the packet.
            text.push(' ');
        }
        text.push_str(&data);
        text
    }
}

/// The JSON of arguments, behind the name of an event.
fn list(name: Option<&str>, args: &Args) -> String {
    let name = name.map(|name| Json::from(name).to_string());
    let values = args.values.iter().map(Json::to_string);
    let values = name.into_iter().chain(values).collect::<Vec<_>>();
    format!("[{}]", values.join(","))
}

/// An event whose only argument is a picture, or an object with one under the name of
/// its camera. All but the picture is written beforehand.
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
/// // The JPEG itself is to follow this.
/// assert_eq!(
///     event.binary(),
///     r#"451-/lab,["stream",{"front":{"_placeholder":true,"num":0}}]"#
/// );
/// ```
#[derive(Debug, Clone)]
pub struct PictureEvent {
    /// The text up to where the picture belongs, and from there on.
    before: String,
    behind: String,
    binary: String,
}

impl PictureEvent {
    /// An event of this name; with a name for the camera the picture is in an object.
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
            Message::new(namespace, body).encode()
        };
        let text = encode("".into(), vec![]);
        // Inside the quotes of the empty string, behind which there are only brackets.
        let (before, behind) = text.rsplit_once("\"\"").unwrap_or((&text, ""));
        let (before, behind) = ([before, "\""].concat(), ["\"", behind].concat());
        Self {
            before,
            behind,
            binary: encode(Json::Binary(0), vec![Bytes::new()]),
        }
    }

    /// Bytes of the [`text`](Self::text) with this picture.
    pub fn text_len(&self, picture: &OutgoingFrame) -> usize {
        let around = self.before.len().saturating_add(self.behind.len());
        around.saturating_add(picture.payload_len(Payload::Base64))
    }

    /// The message of text with this picture, as base64.
    pub fn text(&self, picture: &OutgoingFrame) -> String {
        let mut text = Vec::with_capacity(self.text_len(picture));
        text.extend(self.before.as_bytes());
        let len = picture.payload_len(Payload::Base64);
        text.resize(text.len().saturating_add(len), 0);
        if let Some(room) = text.get_mut(self.before.len()..) {
            // Base64 has nothing that JSON would escape.
            picture.encode_payload(Payload::Base64, room);
        }
        text.extend(self.behind.as_bytes());
        #[expect(
            clippy::expect_used,
            reason = "our own text, and base64, which is ASCII"
        )]
        String::from_utf8(text).expect("base64 is ASCII")
    }

    /// The message of text that goes before a binary message with the JPEG.
    pub fn binary(&self) -> &str {
        &self.binary
    }
}
