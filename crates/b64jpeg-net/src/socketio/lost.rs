// SPDX-License-Identifier: MPL-2.0

//! Why a connection was lost.

use std::{error::Error, fmt, io, time::Duration};

use b64jpeg_wire::socketio::ProtocolError;
use tokio_tungstenite::tungstenite;

/// Why a connection was lost.
#[derive(Debug)]
pub enum LostConnection {
    /// The server closed the connection as the protocol prescribes.
    ClosedByServer {
        /// The reason that the server gave.
        reason: Option<String>,
    },
    /// The server removed the client from the namespace.
    Disconnected,
    /// The stream ended without a closing handshake.
    Ended,
    /// The stream failed.
    Io(io::Error),
    /// The server accepted none of the bytes that were sent.
    NothingTaken {
        /// The timeout.
        after: Duration,
    },
    /// The server sent nothing, not even a ping.
    Silent {
        /// The longest silence that the server had announced.
        after: Duration,
    },
    /// A message is not what Socket.IO prescribes.
    BadMessage(ProtocolError),
    /// A message is over the limit.
    TooLong {
        /// Its length, in bytes.
        len: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// The server violates the WebSocket protocol.
    WebSocket(Box<tungstenite::Error>),
}

impl LostConnection {
    /// Whether the server announced that it closes the connection.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::ClosedByServer { .. } | Self::Disconnected)
    }

    /// Whether the connection was given up because of what the server sent.
    pub fn is_bad(&self) -> bool {
        matches!(
            self,
            Self::BadMessage(_) | Self::TooLong { .. } | Self::WebSocket(_)
        )
    }
}

impl fmt::Display for LostConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosedByServer { reason: None } => {
                f.write_str("the server closed the connection")
            }
            Self::ClosedByServer {
                reason: Some(reason),
            } => write!(f, "the server closed the connection: {reason}"),
            Self::Disconnected => f.write_str("the server disconnected us"),
            Self::Ended => f.write_str("the connection ended"),
            Self::Io(error) => error.fmt(f),
            Self::NothingTaken { after } => {
                write!(f, "the server took nothing for {} s", after.as_secs_f64())
            }
            Self::Silent { after } => {
                write!(f, "the server was silent for {} s", after.as_secs_f64())
            }
            Self::BadMessage(error) => write!(f, "its message is bad: {error}"),
            Self::TooLong { len, max } => {
                write!(f, "its message of {len} bytes is over the limit of {max}")
            }
            Self::WebSocket(error) => error.fmt(f),
        }
    }
}

impl Error for LostConnection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            Self::BadMessage(error) => Some(error),
            Self::WebSocket(error) => error.source(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_connection_cause_is_closed_or_bad_or_neither() {
        for (lost, closed, bad) in [
            (LostConnection::ClosedByServer { reason: None }, true, false),
            (LostConnection::Disconnected, true, false),
            (LostConnection::Ended, false, false),
            (LostConnection::TooLong { len: 2, max: 1 }, false, true),
        ] {
            assert_eq!((lost.is_closed(), lost.is_bad()), (closed, bad), "{lost}");
        }
    }
}
