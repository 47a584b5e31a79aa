// SPDX-License-Identifier: MPL-2.0

//! Why there is no connection.
//!
//! The texts are facts that follow the name of the server and a colon. Advice to users names
//! settings of the program around this crate, and so belongs there. The enums are exhaustive so
//! that the compiler asks that program for advice about every new variant.

use std::{error::Error, fmt, io, time::Duration};

use b64jpeg_wire::{FirstBytes, ForeignProtocol, socketio::ProtocolError};

use super::{certificate::CertificateProblem, lost::LostConnection};

/// Why a connection could not be made.
#[derive(Debug)]
pub enum ConnectError {
    /// The name look-up, the connection or the stream failed.
    Io(io::Error),
    /// The server did not respond in time.
    NoAnswer {
        /// The timeout.
        after: Duration,
        /// How far the attempt had come.
        stage: ConnectStage,
    },
    /// The server has as many clients as it accepts.
    Full,
    /// The server closed the connection during the TLS handshake.
    TlsClosed,
    /// The server closed the connection inside the head of its HTTP response.
    HeadCut {
        /// Bytes of the head that came.
        len: usize,
    },
    /// The server closed the connection instead of sending an HTTP response.
    ClosedBeforeWebSocket {
        /// The path that was requested.
        path: String,
    },
    /// The server reports a temporary failure.
    Unavailable {
        /// Status, reason and body of its response.
        said: String,
    },
    /// The connection was lost before the server admitted the client to the namespace.
    Lost(LostConnection),

    /// The certificate of the server was rejected.
    Certificate(CertificateProblem),
    /// No certificate can be valid for this host name.
    InvalidServerName {
        /// Host name of the URL.
        host: String,
    },
    /// The server does not speak TLS.
    NotTls,
    /// The TLS handshake failed.
    TlsRefused(rustls::Error),
    /// The server speaks TLS, and was addressed without.
    NeedsTls,
    /// The response is not HTTP.
    NotHttp(NonHttp),
    /// The head of the HTTP response is over the limit.
    HeadTooLong {
        /// The limit, in bytes.
        max: usize,
    },
    /// The HTTP response has more headers than the limit.
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
    /// The status line of the HTTP response has no status.
    NoStatus {
        /// The status line.
        line: String,
    },
    /// The headers of the HTTP response are malformed.
    BadHeaders,
    /// There is no Socket.IO endpoint at the path.
    NoSocketIoAtPath {
        /// The path that was requested.
        path: String,
        /// Status, reason and body of the response.
        said: String,
    },
    /// The server speaks Socket.IO 2 (Engine.IO 3).
    OldSocketIo,
    /// The server speaks Socket.IO, but does not accept WebSockets.
    NoWebSockets,
    /// The server sends MJPEG over HTTP.
    Mjpeg,
    /// The server redirects to another location.
    Moved {
        /// The new location, without its query.
        location: Option<String>,
        /// Status, reason and body of the response.
        said: String,
    },
    /// The HTTP server requires other credentials.
    AccessDenied {
        /// Status, reason and body of the response.
        said: String,
    },
    /// The server gives another response than one of a Socket.IO server.
    NotSocketIo {
        /// Status, reason and body of the response.
        said: String,
    },
    /// The WebSocket response belongs to another request.
    ForeignWebSocketAnswer,
    /// The server sends something on the WebSocket that is not part of a Socket.IO handshake.
    UnexpectedMessage(UnexpectedMessage),

    /// The server does not admit the client to the namespace.
    NamespaceRefused {
        /// The namespace.
        namespace: String,
        /// Text of the server.
        message: String,
        /// Whether the client sent authentication data.
        sent_auth: bool,
    },
}

/// What a failed attempt means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectErrorKind {
    /// Temporary: the server is absent or not ready, and may be there later.
    Unreachable,
    /// Permanent: not a usable Socket.IO server; retrying will not help.
    Unusable,
    /// The server rejects this client.
    Refused,
}

impl ConnectError {
    /// What the failure means for the next attempt.
    pub fn kind(&self) -> ConnectErrorKind {
        match self {
            Self::Io(_)
            | Self::NoAnswer { .. }
            | Self::Full
            | Self::TlsClosed
            | Self::HeadCut { .. }
            | Self::ClosedBeforeWebSocket { .. }
            | Self::Unavailable { .. }
            | Self::Lost(_) => ConnectErrorKind::Unreachable,
            Self::Certificate(_)
            | Self::InvalidServerName { .. }
            | Self::NotTls
            | Self::TlsRefused(_)
            | Self::NeedsTls
            | Self::NotHttp(_)
            | Self::HeadTooLong { .. }
            | Self::TooManyHeaders { .. }
            | Self::NoStatus { .. }
            | Self::BadHeaders
            | Self::NoSocketIoAtPath { .. }
            | Self::OldSocketIo
            | Self::NoWebSockets
            | Self::Mjpeg
            | Self::Moved { .. }
            | Self::AccessDenied { .. }
            | Self::NotSocketIo { .. }
            | Self::ForeignWebSocketAnswer
            | Self::UnexpectedMessage(_) => ConnectErrorKind::Unusable,
            Self::NamespaceRefused { .. } => ConnectErrorKind::Refused,
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<LostConnection> for ConnectError {
    fn from(lost: LostConnection) -> Self {
        Self::Lost(lost)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NoAnswer { after, stage } => {
                write!(f, "no answer for {} s; {stage}", after.as_secs_f64())
            }
            Self::Full => f.write_str("it is full"),
            Self::TlsClosed => f.write_str("it closed the connection during the TLS handshake"),
            Self::HeadCut { len } => write!(
                f,
                "it closed the connection inside the head of its HTTP response, after {len} bytes"
            ),
            Self::ClosedBeforeWebSocket { path } => write!(
                f,
                "it closed the connection instead of opening a websocket at {path}"
            ),
            Self::Unavailable { said } => write!(f, "it answers {said}"),
            Self::Lost(lost) => lost.fmt(f),
            Self::Certificate(problem) => problem.fmt(f),
            Self::InvalidServerName { host } => write!(f, "no certificate can be for {host:?}"),
            Self::NotTls => f.write_str("it does not speak TLS"),
            Self::TlsRefused(error) => write!(f, "it refuses TLS: {error}"),
            Self::NeedsTls => f.write_str("it speaks TLS"),
            Self::NotHttp(found) => write!(f, "it does not speak HTTP{found}"),
            Self::HeadTooLong { max } => write!(
                f,
                "the head of its HTTP response is too long: it does not end within {max} bytes, \
                 the limit"
            ),
            Self::TooManyHeaders { max } => write!(
                f,
                "its HTTP response has more headers than {max}, the limit"
            ),
            Self::NoStatus { line } => write!(
                f,
                "its HTTP response has no status: it begins with {line:?}"
            ),
            Self::BadHeaders => f.write_str("the headers of its HTTP response are malformed"),
            Self::NoSocketIoAtPath { path, said } => {
                write!(f, "there is no Socket.IO at {path} ({said})")
            }
            Self::OldSocketIo => f.write_str("it speaks an old Socket.IO (Engine.IO 3)"),
            Self::NoWebSockets => f.write_str("it speaks Socket.IO, but without websockets"),
            Self::Mjpeg => f.write_str("it is not a Socket.IO server, but sends MJPEG"),
            Self::Moved {
                location: Some(location),
                said,
            } => write!(f, "it has moved to {location} ({said})"),
            Self::Moved {
                location: None,
                said,
            } => write!(f, "it has moved ({said})"),
            Self::AccessDenied { said } => write!(f, "it denies access ({said})"),
            Self::NotSocketIo { said } => write!(
                f,
                "it is not a Socket.IO server: it answers {said} to the request for a websocket"
            ),
            Self::ForeignWebSocketAnswer => {
                f.write_str("its websocket response belongs to another request")
            }
            Self::UnexpectedMessage(found) => write!(
                f,
                "it speaks something else than Socket.IO on its websocket: {found}"
            ),
            Self::NamespaceRefused {
                namespace, message, ..
            } => write!(
                f,
                "it does not let us into the namespace {namespace}: {message:?}"
            ),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(error) => error.source(),
            Self::Lost(lost) => lost.source(),
            Self::TlsRefused(error) => Some(error),
            _ => None,
        }
    }
}

/// How far an attempt to connect had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectStage {
    /// Before there was a TCP connection.
    Dial,
    /// In the TLS handshake.
    Tls,
    /// Before the HTTP response.
    Http,
    /// On the WebSocket, before the namespace was entered.
    SocketIo,
}

impl fmt::Display for ConnectStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dial => "it cannot be reached",
            Self::Tls => "it accepts connections, but does not speak TLS",
            Self::Http => "it accepts connections, but does not speak HTTP",
            Self::SocketIo => "it opens a websocket, but does not speak Socket.IO on it",
        })
    }
}

/// What a server speaks that is not HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NonHttp {
    /// A known protocol.
    Protocol(ForeignProtocol),
    /// Frames over TCP.
    Frames,
    /// Something that begins with these bytes.
    Unknown(FirstBytes),
}

impl fmt::Display for NonHttp {
    /// Continues "it does not speak HTTP".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(protocol) => write!(f, ", but {protocol}"),
            Self::Frames => f.write_str(", but sends pictures over TCP"),
            Self::Unknown(first) => write!(f, ": its response begins with {first}"),
        }
    }
}

/// A message that is not part of a Socket.IO handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnexpectedMessage {
    /// A binary message, by its first bytes.
    Binary(FirstBytes),
    /// A text message that is not a packet.
    BadPacket(ProtocolError),
    /// A second open packet.
    SecondOpen,
}

impl fmt::Display for UnexpectedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary(first) => write!(f, "a binary message, {first}"),
            Self::BadPacket(error) => error.fmt(f),
            Self::SecondOpen => f.write_str("a second open packet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_error_kind_tells_whether_to_retry() {
        for (error, kind) in [
            (ConnectError::Full, ConnectErrorKind::Unreachable),
            (
                ConnectError::Lost(LostConnection::TooLong { len: 2, max: 1 }),
                ConnectErrorKind::Unreachable,
            ),
            (ConnectError::OldSocketIo, ConnectErrorKind::Unusable),
            (
                ConnectError::NamespaceRefused {
                    namespace: "/".into(),
                    message: "no".into(),
                    sent_auth: false,
                },
                ConnectErrorKind::Refused,
            ),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
