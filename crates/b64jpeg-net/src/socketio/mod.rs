// SPDX-License-Identifier: MPL-2.0

//! A client connection to a Socket.IO server.
//!
//! Each file uses only what is below it:
//!
//! ```text
//!                connection    the WebSocket, and Socket.IO on it: `Connection`
//!                    │
//!                diagnosis     why a server opens no WebSocket
//!                    │
//!           ┌────────┴────────┐
//!         dial               http     TCP and TLS; a request and the head of its response
//!           │                 │
//!         stream              │       byte streams, and their counters
//!           └────────┬────────┘
//!      target · error · url · text    what to connect to; why that failed; texts for logs
//! ```

mod connection;
mod diagnosis;
mod dial;
mod error;
mod http;
mod stream;
mod target;
mod text;
mod url;

pub use self::{
    connection::{Connection, IncomingEvent, Message, Progress},
    error::{
        CertificateProblem, ConnectError, ConnectErrorKind, ConnectStage, LostConnection, NonHttp,
        UnexpectedMessage,
    },
    target::Target,
    text::printable,
    url::{Url, UrlError, UrlErrorKind},
};
