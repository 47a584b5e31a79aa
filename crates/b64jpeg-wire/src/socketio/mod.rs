// SPDX-License-Identifier: MPL-2.0

//! Engine.IO and Socket.IO: websocket messages in, websocket messages out, and nothing of
//! sockets or time.
//!
//! ```text
//!  4 2 /lab, 17 ["stream","/9j/4AAQ…"]              a message of text
//!  │ │ │     │  └ JSON: the event's name, its arguments
//!  │ │ │     └ a number, if the sender wants an answer
//!  │ │ └ the namespace and a comma, unless it is "/"
//!  │ └ Socket.IO: 0 connect, 1 disconnect, 2 event, 3 ack, 4 connect error,
//!  │              5 binary event, 6 binary ack
//!  └ Engine.IO: 0 open, 1 close, 2 ping, 3 pong, 4 message, 5 upgrade, 6 noop
//!
//!  4 5 1- ["stream",{"_placeholder":true,"num":0}]  a message of text
//!      └ so many binary messages follow:
//!  ff d8 ff …                                       a binary message
//! ```
//!
//! That is [Engine.IO protocol v4] over websockets with [Socket.IO protocol v5] inside, what
//! the servers and clients of Socket.IO 3 and 4 speak.
//!
//! - [`PacketDecoder`] reads, and joins an event with its attachments.
//! - [`Packet::encode`] and [`Message::encode`] write.
//! - [`PictureEvent`] writes pictures, thirty times a second.
//!
//! [Engine.IO protocol v4]: https://socket.io/docs/v4/engine-io-protocol/
//! [Socket.IO protocol v5]: https://socket.io/docs/v4/socket-io-protocol/

// What is parsed comes from anybody: nothing in here may panic on it. Where an index or a
// sum stays, its `expect` says why it cannot.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

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

/// Longest text of a ping, in bytes: that of a websocket's own pings. Servers send none, or
/// `probe`.
pub const MAX_PING: usize = 125;

/// The namespace that everybody has.
pub const ROOT: &str = "/";

/// A packet of Engine.IO.
#[derive(Debug, Clone, PartialEq)]
pub enum Packet<'a> {
    /// The first one, from the server.
    Open(Open),
    /// The sender is about to go.
    Close,
    /// To be answered by a [`Pong`](Self::Pong) with the same text, mostly none, and never
    /// more than [`MAX_PING`] bytes.
    Ping(Cow<'a, str>),
    /// The answer to a [`Ping`](Self::Ping).
    Pong(Cow<'a, str>),
    /// What it is all about.
    Message(Message<'a>),
    /// From now on on this transport.
    Upgrade,
    /// Nothing.
    Noop,
}

/// What a server says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The name of the session.
    pub sid: String,
    /// The transports that the client may change to.
    pub upgrades: Vec<String>,
    /// How often the server sends a ping.
    pub ping_interval: Duration,
    /// How long it waits for the answer. A server that has been silent for both is lost.
    pub ping_timeout: Duration,
    /// It takes no longer messages, in bytes. Servers before Engine.IO 6 do not tell.
    pub max_payload: Option<u64>,
}

/// A packet of Socket.IO.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// Begins with a slash and has no comma, see [`check_namespace`].
    pub namespace: Cow<'a, str>,
    /// All else.
    pub body: Body<'a>,
}

/// What a [`Message`] says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body<'a> {
    /// From a client, what it has to say for itself; from a server, `{"sid": …}` and welcome.
    /// One without from a server: it speaks another version of the protocol.
    Connect(Option<Json<'a>>),
    /// The sender leaves the namespace.
    Disconnect,
    /// Something happened.
    Event {
        /// What.
        name: Cow<'a, str>,
        /// Its details.
        args: Args<'a>,
        /// The number of the answer that the sender wants.
        id: Option<u64>,
    },
    /// The answer to an event.
    Ack {
        /// What the event gave as its number.
        id: u64,
        /// The answer.
        args: Args<'a>,
    },
    /// The server does not let the client into the namespace.
    ConnectError {
        /// Why.
        message: Cow<'a, str>,
        /// More about it.
        data: Option<Json<'a>>,
    },
}

/// The arguments of an event or an answer.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Args<'a> {
    /// [`Json::Binary`] in them is the number of an attachment.
    pub values: Vec<Json<'a>>,
    /// Binary messages behind the message of text.
    pub attachments: Vec<Bytes>,
}

impl<'a> Message<'a> {
    /// A packet for a namespace.
    pub fn new(namespace: impl Into<Cow<'a, str>>, body: Body<'a>) -> Self {
        Self {
            namespace: namespace.into(),
            body,
        }
    }

    /// The answer to this event, if it wants one.
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
    /// What follows the message of text.
    pub fn attachments(&self) -> &[Bytes] {
        match self {
            Self::Event { args, .. } | Self::Ack { args, .. } => &args.attachments,
            _ => &[],
        }
    }
}

/// Whether a namespace can be written, and is what a server knows it by.
///
/// # Errors
///
/// [`ProtocolError::Namespace`] if it does not begin with a slash, or has a comma or a
/// question mark.
pub fn check_namespace(namespace: &str) -> Result<(), ProtocolError> {
    match namespace.starts_with('/') && !namespace.contains([',', '?']) {
        true => Ok(()),
        false => Err(ProtocolError::Namespace),
    }
}
