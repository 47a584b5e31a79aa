// SPDX-License-Identifier: MPL-2.0

//! What the streaming thread and the connection's task share: the picture that waits to be
//! sent, and the counts.

use b64jpeg_net::socketio::Message;
use b64jpeg_wire::{OutgoingFrame, Payload, socketio::PictureEvent};

use super::SocketIoPayload;
use crate::common::stats::Stats;

/// The messages that send one picture.
pub struct PictureMessages {
    pub messages: Vec<Message>,
    /// Bytes of the picture, of all messages, and of the longest message.
    picture: usize,
    bytes: usize,
    longest: usize,
}

impl PictureMessages {
    /// Encodes a picture, which came in a buffer of `len` bytes.
    pub fn new(
        picture: &OutgoingFrame,
        event: &PictureEvent,
        payload: SocketIoPayload,
        len: usize,
    ) -> Self {
        let messages = match payload {
            SocketIoPayload::Base64 => vec![event.text(picture).into()],
            SocketIoPayload::Binary => {
                let mut jpeg = vec![0; picture.payload_len(Payload::Jpeg)];
                picture.encode_payload(Payload::Jpeg, &mut jpeg);
                vec![event.binary().into(), Message::Binary(jpeg.into())]
            }
        };
        Self {
            picture: len,
            bytes: messages.iter().map(Message::len).sum(),
            longest: messages.iter().map(Message::len).max().unwrap_or(0),
            messages,
        }
    }
}

/// Whether pictures can be sent.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub enum RelayState {
    /// The first attempt to connect is under way.
    #[default]
    Connecting,
    Connected,
    /// There is no connection, but there may be another one.
    Disconnected,
    /// There will be no further connection.
    Failed,
}

/// A message is longer than the relay accepts.
pub struct TooLong {
    pub len: usize,
    pub max: u64,
}

#[derive(Default)]
pub struct Outbox {
    pub relay: RelayState,
    /// The longest message that the relay accepts, in bytes, if it has said so.
    max_payload: Option<u64>,
    waiting: Option<PictureMessages>,
    /// Bytes of the picture that is being sent, and of its messages.
    in_flight: Option<(usize, usize)>,
    /// Whether the last picture was too long.
    too_long: bool,
    /// Pictures that have arrived from upstream.
    pub pictures: u64,
    pub stats: Stats,
    connections: u64,
    /// GstBaseSink wants the streaming thread to return.
    pub unlocked: bool,
}

impl Outbox {
    /// Whether a picture can be sent, now or soon.
    pub fn accepts_pictures(&self) -> bool {
        matches!(self.relay, RelayState::Connecting | RelayState::Connected)
    }

    /// Whether no picture waits to be sent or is being sent.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_none() && self.in_flight.is_none()
    }

    /// Drops the picture that waits.
    pub fn clear(&mut self) {
        let dropped = self.waiting.take().is_some();
        self.stats.dropped += u64::from(dropped);
    }

    /// Drops the waiting picture if its message is too long. Returns that for the first of
    /// several such pictures in a row.
    fn check_length(&mut self) -> Option<TooLong> {
        let (len, max) = (self.waiting.as_ref()?.longest, self.max_payload?);
        let too_long = len as u64 > max;
        let first = !std::mem::replace(&mut self.too_long, too_long);
        if too_long {
            self.clear();
        }
        (too_long && first).then_some(TooLong { len, max })
    }

    /// There is a connection.
    pub fn begin_connection(&mut self, max_payload: Option<u64>) -> Option<TooLong> {
        self.relay = RelayState::Connected;
        self.max_payload = max_payload;
        self.connections += 1;
        self.check_length()
    }

    /// There is no connection any more. Returns whether there was one.
    pub fn end_connection(&mut self, relay: RelayState) -> bool {
        self.clear();
        // The relay may have received a part of it, but not the whole.
        let cut = self.in_flight.take().is_some();
        self.stats.dropped += u64::from(cut);
        std::mem::replace(&mut self.relay, relay) == RelayState::Connected
    }

    /// Stores a picture in place of one that waits.
    pub fn put(&mut self, picture: PictureMessages) -> Option<TooLong> {
        // The connection may have been lost since the picture arrived.
        let dropped = match self.accepts_pictures() {
            true => self.waiting.replace(picture).is_some(),
            false => true,
        };
        self.stats.dropped += u64::from(dropped);
        self.check_length()
    }

    /// Takes the messages to send now.
    pub fn take_messages(&mut self) -> Option<Vec<Message>> {
        let picture = self.waiting.take()?;
        self.in_flight = Some((picture.picture, picture.bytes));
        Some(picture.messages)
    }

    /// The messages that were taken last have been sent.
    pub fn sent(&mut self) {
        if let Some((picture, bytes)) = self.in_flight.take() {
            self.stats.frame(picture, bytes);
        }
    }

    /// The counts as users read them.
    pub fn structure(&mut self) -> gst::Structure {
        let mut stats = self.stats.structure();
        stats.set("connected", self.relay == RelayState::Connected);
        stats.set("connections", self.connections);
        stats
    }
}
