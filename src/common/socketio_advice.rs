// SPDX-License-Identifier: MPL-2.0

//! Advice to users whose element cannot connect to a Socket.IO server, or loses it.
//!
//! `b64jpeg-net` states facts; only the elements have the properties that advice names.

use std::fmt;

use b64jpeg_net::{
    socketio::{CertificateProblem, ConnectError, ConnectStage, LostConnection, NonHttp, UrlError},
    tls::TlsError,
};
use b64jpeg_wire::socketio as protocol;

/// Why there is no connection, and what the user can do about it. Follows the URL of the
/// server and a colon.
pub fn describe(error: &ConnectError) -> String {
    with_advice(error, connect_advice(error))
}

/// Why a connection was lost, and what the user can do about it.
pub fn describe_lost(lost: &LostConnection) -> String {
    with_advice(lost, lost_advice(lost))
}

/// What is wrong with the property `url`.
pub fn describe_url(error: &UrlError) -> String {
    format!("`url` {error}")
}

/// Why there is no TLS with the certificates of the property `ca-file`.
pub fn describe_ca_file(error: &TlsError) -> String {
    let advice = matches!(error, TlsError::NoTrustAnchors).then_some("name some");
    format!("`ca-file`: {}", with_advice(error, advice))
}

fn with_advice(fact: &impl fmt::Display, advice: Option<&str>) -> String {
    match advice {
        Some(advice) => format!("{fact}; {advice}"),
        None => fact.to_string(),
    }
}

fn connect_advice(error: &ConnectError) -> Option<&'static str> {
    const MAYBE_HTTP: &str = "use http:// if it is meant not to";
    match error {
        ConnectError::NoAnswer {
            stage: ConnectStage::Tls,
            ..
        }
        | ConnectError::NotTls => Some(MAYBE_HTTP),
        ConnectError::TlsClosed => Some("use http:// if it is meant not to speak TLS"),
        ConnectError::NeedsTls => Some("use https://"),
        ConnectError::Certificate(problem) => certificate_advice(problem),
        ConnectError::NotHttp(NonHttp::Frames) => Some("b64jpegclientsrc receives them"),
        ConnectError::HeadTooLong { .. } | ConnectError::TooManyHeaders { .. } => {
            Some("is there a proxy that adds headers, such as cookies?")
        }
        ConnectError::NoSocketIoAtPath { .. } => Some(
            "the path in `url` is that of the Socket.IO endpoint, usually none, and a namespace \
             belongs in `namespace`",
        ),
        ConnectError::OldSocketIo => Some(
            "upgrade the server to python-socketio 5, Flask-SocketIO 5, Node socket.io 3 or newer",
        ),
        ConnectError::NoWebSockets => Some(
            "allow them there (transports), and for an old Flask-SocketIO: pip install \
             simple-websocket",
        ),
        ConnectError::Mjpeg => Some("use souphttpsrc ! multipartdemux"),
        ConnectError::Moved {
            location: Some(_), ..
        } => Some("set `url` to that"),
        ConnectError::AccessDenied { .. } => {
            Some("does `url` have the user, password or token that it wants?")
        }
        ConnectError::ForeignWebSocketAnswer => {
            Some("is there a proxy that does not know websockets?")
        }
        ConnectError::NamespaceRefused {
            namespace,
            message,
            sent_auth,
        } => Some(namespace_advice(namespace, message, *sent_auth)),
        ConnectError::Lost(lost) => lost_advice(lost),
        ConnectError::NoAnswer {
            stage: ConnectStage::Dial | ConnectStage::Http | ConnectStage::SocketIo,
            ..
        }
        | ConnectError::Moved { location: None, .. }
        | ConnectError::NotHttp(NonHttp::Protocol(_) | NonHttp::Unknown(_))
        | ConnectError::Io(_)
        | ConnectError::Full
        | ConnectError::HeadCut { .. }
        | ConnectError::ClosedBeforeWebSocket { .. }
        | ConnectError::Unavailable { .. }
        | ConnectError::InvalidServerName { .. }
        | ConnectError::TlsRefused(_)
        | ConnectError::NoStatus { .. }
        | ConnectError::BadHeaders
        | ConnectError::NotSocketIo { .. }
        | ConnectError::UnexpectedMessage(_) => None,
    }
}

fn certificate_advice(problem: &CertificateProblem) -> Option<&'static str> {
    match problem {
        CertificateProblem::Expired => {
            Some("it has to be renewed there, if the clock here is right")
        }
        CertificateProblem::NotYetValid => Some("is the clock here right?"),
        CertificateProblem::WrongName { .. } => Some("`url` has to use one of those names"),
        CertificateProblem::UnknownIssuer => Some(
            "if it can be trusted, name the certificate of that authority, or the server's own, \
             with ca-file",
        ),
        CertificateProblem::Other(_) => None,
    }
}

fn namespace_advice(namespace: &str, message: &str, sent_auth: bool) -> &'static str {
    let message = message.to_ascii_lowercase();
    // The second is what python-socketio says.
    let unknown = message.contains("namespace")
        || message == "unable to connect" && namespace != protocol::ROOT;
    if unknown {
        "is `namespace` right?"
    } else if sent_auth {
        "is `auth` right?"
    } else {
        "does it want a token in `auth`?"
    }
}

fn lost_advice(lost: &LostConnection) -> Option<&'static str> {
    match lost {
        LostConnection::TooLong { .. } => Some("if it is right, raise max-frame-size"),
        LostConnection::ClosedByServer { .. }
        | LostConnection::Disconnected
        | LostConnection::Ended
        | LostConnection::Io(_)
        | LostConnection::NothingTaken { .. }
        | LostConnection::Silent { .. }
        | LostConnection::BadMessage(_)
        | LostConnection::WebSocket(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use b64jpeg_net::socketio::UnexpectedMessage;
    use b64jpeg_wire::{FirstBytes, ForeignProtocol, socketio::ProtocolError};
    use rustls::CertificateError;
    use tokio_tungstenite::tungstenite;

    use super::*;

    const TWO_SECONDS: Duration = Duration::from_secs(2);

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    fn no_answer(stage: ConnectStage) -> ConnectError {
        ConnectError::NoAnswer {
            after: TWO_SECONDS,
            stage,
        }
    }

    fn namespace_refused(namespace: &str, message: &str, sent_auth: bool) -> ConnectError {
        ConnectError::NamespaceRefused {
            namespace: namespace.into(),
            message: message.into(),
            sent_auth,
        }
    }

    #[test]
    fn describe_temporary_error_is_fact_and_advice() {
        for (error, text) in [
            (ConnectError::Io(refused()), "connection refused"),
            (
                no_answer(ConnectStage::Dial),
                "no answer for 2 s; it cannot be reached",
            ),
            (
                no_answer(ConnectStage::Tls),
                "no answer for 2 s; it accepts connections, but does not speak TLS; use http:// \
                 if it is meant not to",
            ),
            (
                no_answer(ConnectStage::Http),
                "no answer for 2 s; it accepts connections, but does not speak HTTP",
            ),
            (
                no_answer(ConnectStage::SocketIo),
                "no answer for 2 s; it opens a websocket, but does not speak Socket.IO on it",
            ),
            (ConnectError::Full, "it is full"),
            (
                ConnectError::TlsClosed,
                "it closed the connection during the TLS handshake; use http:// if it is meant \
                 not to speak TLS",
            ),
            (
                ConnectError::HeadCut { len: 7 },
                "it closed the connection inside the head of its HTTP response, after 7 bytes",
            ),
            (
                ConnectError::ClosedBeforeWebSocket {
                    path: "/video/".into(),
                },
                "it closed the connection instead of opening a websocket at /video/",
            ),
            (
                ConnectError::Unavailable {
                    said: "503 Busy".into(),
                },
                "it answers 503 Busy",
            ),
            (
                ConnectError::Lost(LostConnection::TooLong { len: 2, max: 1 }),
                "its message of 2 bytes is over the limit of 1; if it is right, raise \
                 max-frame-size",
            ),
        ] {
            assert_eq!(describe(&error), text);
        }
    }

    #[test]
    fn describe_tls_error_is_fact_and_advice() {
        let certificate = ConnectError::Certificate;
        for (error, text) in [
            (
                certificate(CertificateProblem::Expired),
                "its certificate has expired; it has to be renewed there, if the clock here is \
                 right",
            ),
            (
                certificate(CertificateProblem::NotYetValid),
                "its certificate is not valid yet; is the clock here right?",
            ),
            (
                certificate(CertificateProblem::WrongName {
                    presented: vec!["relay".into(), "::1".into()],
                    expected: "localhost".into(),
                }),
                "its certificate is for relay, ::1, and not for localhost; `url` has to use one \
                 of those names",
            ),
            (
                certificate(CertificateProblem::UnknownIssuer),
                "its certificate is signed by an authority that this machine does not know; if \
                 it can be trusted, name the certificate of that authority, or the server's own, \
                 with ca-file",
            ),
            (
                certificate(CertificateProblem::Other(CertificateError::Revoked)),
                "its certificate cannot be trusted: Revoked",
            ),
            (
                ConnectError::InvalidServerName { host: "a_b".into() },
                "no certificate can be for \"a_b\"",
            ),
            (
                ConnectError::NotTls,
                "it does not speak TLS; use http:// if it is meant not to",
            ),
            (
                ConnectError::TlsRefused(rustls::Error::DecryptError),
                "it refuses TLS: cannot decrypt peer's message",
            ),
            (ConnectError::NeedsTls, "it speaks TLS; use https://"),
        ] {
            assert_eq!(describe(&error), text);
        }
    }

    #[test]
    fn describe_http_error_is_fact_and_advice() {
        for (error, text) in [
            (
                ConnectError::NotHttp(NonHttp::Protocol(ForeignProtocol::Ssh)),
                "it does not speak HTTP, but SSH",
            ),
            (
                ConnectError::NotHttp(NonHttp::Frames),
                "it does not speak HTTP, but sends pictures over TCP; b64jpegclientsrc receives \
                 them",
            ),
            (
                ConnectError::NotHttp(NonHttp::Unknown(FirstBytes::of(&[1, 2]))),
                "it does not speak HTTP: its response begins with 01 02 (\"\\x01\\x02\")",
            ),
            (
                ConnectError::HeadTooLong { max: 16 },
                "the head of its HTTP response is too long: it does not end within 16 bytes, the \
                 limit; is there a proxy that adds headers, such as cookies?",
            ),
            (
                ConnectError::TooManyHeaders { max: 16 },
                "its HTTP response has more headers than 16, the limit; is there a proxy that \
                 adds headers, such as cookies?",
            ),
            (
                ConnectError::NoStatus {
                    line: "HTTP/1.1 ok".into(),
                },
                "its HTTP response has no status: it begins with \"HTTP/1.1 ok\"",
            ),
            (
                ConnectError::BadHeaders,
                "the headers of its HTTP response are malformed",
            ),
            (
                ConnectError::Mjpeg,
                "it is not a Socket.IO server, but sends MJPEG; use souphttpsrc ! multipartdemux",
            ),
            (
                ConnectError::Moved {
                    location: Some("http://b/".into()),
                    said: "301 Moved".into(),
                },
                "it has moved to http://b/ (301 Moved); set `url` to that",
            ),
            (
                ConnectError::Moved {
                    location: None,
                    said: "301 Moved".into(),
                },
                "it has moved (301 Moved)",
            ),
            (
                ConnectError::AccessDenied {
                    said: "403 Forbidden".into(),
                },
                "it denies access (403 Forbidden); does `url` have the user, password or token \
                 that it wants?",
            ),
        ] {
            assert_eq!(describe(&error), text);
        }
    }

    #[test]
    fn describe_socketio_error_is_fact_and_advice() {
        for (error, text) in [
            (
                ConnectError::NoSocketIoAtPath {
                    path: "/video/".into(),
                    said: "404".into(),
                },
                "there is no Socket.IO at /video/ (404); the path in `url` is that of the \
                 Socket.IO endpoint, usually none, and a namespace belongs in `namespace`",
            ),
            (
                ConnectError::OldSocketIo,
                "it speaks an old Socket.IO (Engine.IO 3); upgrade the server to python-socketio \
                 5, Flask-SocketIO 5, Node socket.io 3 or newer",
            ),
            (
                ConnectError::NoWebSockets,
                "it speaks Socket.IO, but without websockets; allow them there (transports), and \
                 for an old Flask-SocketIO: pip install simple-websocket",
            ),
            (
                ConnectError::NotSocketIo {
                    said: "200 OK".into(),
                },
                "it is not a Socket.IO server: it answers 200 OK to the request for a websocket",
            ),
            (
                ConnectError::ForeignWebSocketAnswer,
                "its websocket response belongs to another request; is there a proxy that does \
                 not know websockets?",
            ),
            (
                ConnectError::UnexpectedMessage(UnexpectedMessage::SecondOpen),
                "it speaks something else than Socket.IO on its websocket: a second open packet",
            ),
            (
                namespace_refused("/cam", "Invalid namespace", true),
                "it does not let us into the namespace /cam: \"Invalid namespace\"; is \
                 `namespace` right?",
            ),
            (
                namespace_refused("/cam", "Unable to connect", true),
                "it does not let us into the namespace /cam: \"Unable to connect\"; is \
                 `namespace` right?",
            ),
            (
                namespace_refused("/", "Unable to connect", true),
                "it does not let us into the namespace /: \"Unable to connect\"; is `auth` \
                 right?",
            ),
            (
                namespace_refused("/", "wrong token", false),
                "it does not let us into the namespace /: \"wrong token\"; does it want a token \
                 in `auth`?",
            ),
        ] {
            assert_eq!(describe(&error), text);
        }
    }

    #[test]
    fn describe_lost_each_cause_is_fact_and_advice() {
        for (lost, text) in [
            (
                LostConnection::ClosedByServer { reason: None },
                "the server closed the connection",
            ),
            (
                LostConnection::ClosedByServer {
                    reason: Some("restart".into()),
                },
                "the server closed the connection: restart",
            ),
            (LostConnection::Disconnected, "the server disconnected us"),
            (LostConnection::Ended, "the connection ended"),
            (LostConnection::Io(refused()), "connection refused"),
            (
                LostConnection::NothingTaken { after: TWO_SECONDS },
                "the server took nothing for 2 s",
            ),
            (
                LostConnection::Silent { after: TWO_SECONDS },
                "the server was silent for 2 s",
            ),
            (
                LostConnection::BadMessage(ProtocolError::Values { max: 3 }),
                "its message is bad: it has more than 3 values",
            ),
            (
                LostConnection::TooLong { len: 2, max: 1 },
                "its message of 2 bytes is over the limit of 1; if it is right, raise \
                 max-frame-size",
            ),
            (
                LostConnection::WebSocket(Box::new(tungstenite::Error::AttackAttempt)),
                "Attack attempt detected",
            ),
        ] {
            assert_eq!(describe_lost(&lost), text);
        }
    }

    #[test]
    fn describe_property_error_names_the_property() {
        let error = "ftp://relay".parse::<b64jpeg_net::socketio::Url>();
        assert_eq!(
            describe_url(&error.expect_err("no scheme of ours")),
            "`url` \"ftp://relay\": it does not begin with http://, https://, ws:// or wss://"
        );
        assert_eq!(
            describe_ca_file(&TlsError::NoTrustAnchors),
            "`ca-file`: this machine trusts no certificates; name some"
        );
    }
}
