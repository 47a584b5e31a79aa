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
//!   target · error · lost · certificate · url · text
//!                                     what to connect to; why that failed; texts for logs
//! ```

mod certificate;
mod connection;
mod diagnosis;
mod dial;
mod error;
mod http;
mod lost;
mod stream;
mod target;
mod text;
mod url;

pub use self::{
    certificate::CertificateProblem,
    connection::{Connection, IncomingEvent, Message, Progress},
    error::{ConnectError, ConnectErrorKind, ConnectStage, NonHttp, UnexpectedMessage},
    lost::LostConnection,
    target::Target,
    text::printable,
    url::{Url, UrlError, UrlErrorKind},
};
