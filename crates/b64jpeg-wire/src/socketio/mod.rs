// SPDX-License-Identifier: MPL-2.0

//! The packets of Engine.IO and Socket.IO, from and to websocket messages; no sockets, no time.
//!
//! ```text
//!  4 2 /lab, 17 ["stream","/9j/4AAQ…"]              a text message
//!  │ │ │     │  └ JSON: name and arguments of the event
//!  │ │ │     └ id, if the sender requests an ack
//!  │ │ └ namespace and comma, unless it is "/"
//!  │ └ Socket.IO: 0 connect, 1 disconnect, 2 event, 3 ack, 4 connect error,
//!  │              5 binary event, 6 binary ack
//!  └ Engine.IO: 0 open, 1 close, 2 ping, 3 pong, 4 message, 5 upgrade, 6 noop
//!
//!  4 5 1- ["stream",{"_placeholder":true,"num":0}]  a text message
//!      └ number of attachments, each in a binary message:
//!  ff d8 ff …                                       a binary message
//! ```
//!
//! This is [Engine.IO protocol v4] over websockets, with [Socket.IO protocol v5] inside, as in
//! servers and clients of Socket.IO 3 and 4.
//!
//! - [`PacketDecoder`] decodes, and joins an event with its attachments.
//! - [`Packet::encode`] and [`SocketIoPacket::encode`] encode.
//! - [`PictureEvent`] encodes events with a JPEG, of which most is prepared once.
//!
//! [Engine.IO protocol v4]: https://socket.io/docs/v4/engine-io-protocol/
//! [Socket.IO protocol v5]: https://socket.io/docs/v4/socket-io-protocol/

mod decode;
mod encode;
mod error;
mod json;

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;

pub use decode::{PacketDecoder, PacketLimits};
pub use encode::PictureEvent;
pub use error::ProtocolError;
pub use json::Json;

/// Maximum length of the text of a ping, in bytes, which is that of a websocket ping. Servers
/// send pings without a text, or with `probe`.
pub const MAX_PING: usize = 125;

/// The default namespace.
pub const ROOT: &str = "/";

/// An Engine.IO packet.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet<'a> {
    /// The first packet of a connection, from the server.
    Open(Handshake),
    /// The sender closes the connection.
    Close,
    /// Requests a [`Pong`](Self::Pong) with the same text, of up to [`MAX_PING`] bytes and
    /// usually empty.
    Ping(Cow<'a, str>),
    /// The answer to a [`Ping`](Self::Ping).
    Pong(Cow<'a, str>),
    /// A Socket.IO packet.
    Message(SocketIoPacket<'a>),
    /// Completes a change to this transport.
    Upgrade,
    /// No operation.
    Noop,
}

/// The parameters of a connection, from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// The id of the session.
    pub sid: String,
    /// The transports to which the client may change.
    pub upgrades: Vec<String>,
    /// Interval of the server's pings.
    pub ping_interval: Duration,
    /// How long the server waits for a pong. A server that is silent for longer than the sum of
    /// both is lost.
    pub ping_timeout: Duration,
    /// Maximum length of a message to the server, in bytes. Servers before Engine.IO 6 do not
    /// send it.
    pub max_payload: Option<u64>,
}

/// A Socket.IO packet.
#[derive(Debug, Clone, PartialEq)]
pub struct SocketIoPacket<'a> {
    /// A valid namespace: see [`check_namespace`].
    pub namespace: Cow<'a, str>,
    /// The type of the packet and its data.
    pub body: Body<'a>,
}

/// The type of a [`SocketIoPacket`] and its data.
#[derive(Debug, Clone, PartialEq)]
pub enum Body<'a> {
    /// From a client: a request to join the namespace, with its credentials. From a server: the
    /// client has joined, with `{"sid": …}`; without data the server has another version of the
    /// protocol.
    Connect(Option<Json<'a>>),
    /// The sender leaves the namespace.
    Disconnect,
    /// An event.
    Event {
        /// Its name.
        name: Cow<'a, str>,
        /// Its arguments.
        args: Args<'a>,
        /// The id of the [`Ack`](Self::Ack) that the sender requests.
        id: Option<u64>,
    },
    /// The acknowledgement of an event.
    Ack {
        /// The id of the event.
        id: u64,
        /// The arguments.
        args: Args<'a>,
    },
    /// The server refuses a [`Connect`](Self::Connect).
    ConnectError {
        /// The reason.
        message: Cow<'a, str>,
        /// Further data.
        data: Option<Json<'a>>,
    },
}

/// The arguments of an event or an ack.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Args<'a> {
    /// The values, in which [`Json::Binary`] is the number of an attachment.
    pub values: Vec<Json<'a>>,
    /// The contents of the binary messages that follow the text message.
    pub attachments: Vec<Bytes>,
}

impl<'a> SocketIoPacket<'a> {
    /// Creates a packet.
    pub fn new(namespace: impl Into<Cow<'a, str>>, body: Body<'a>) -> Self {
        Self {
            namespace: namespace.into(),
            body,
        }
    }

    /// The ack of this event, if the sender requests one.
    pub fn answer(&self, args: Args<'a>) -> Option<Self> {
        match self.body {
            Body::Event { id: Some(id), .. } => {
                Some(Self::new(self.namespace.clone(), Body::Ack { id, args }))
            }
            _ => None,
        }
    }
}

impl Body<'_> {
    /// The contents of the binary messages that follow the text message.
    pub fn attachments(&self) -> &[Bytes] {
        match self {
            Self::Event { args, .. } | Self::Ack { args, .. } => &args.attachments,
            _ => &[],
        }
    }
}

/// Checks that a namespace can be encoded and is what a server calls it.
///
/// # Errors
///
/// [`ProtocolError::Namespace`] if it does not begin with a slash, or contains a comma or a
/// question mark.
pub fn check_namespace(namespace: &str) -> Result<(), ProtocolError> {
    match namespace.starts_with('/') && !namespace.contains([',', '?']) {
        true => Ok(()),
        false => Err(ProtocolError::Namespace),
    }
}
