// SPDX-License-Identifier: MPL-2.0

//! Why there is no connection to a Socket.IO server, and what to do about it.

use std::{io, time::Duration};

use b64jpeg_wire::{self as wire, FirstBytes, socketio as protocol};
use rustls::{CertificateError, pki_types::ServerName};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    connection::{Error, Target},
    dial::{Io, connect, dial},
    http::{self, Answer, request},
};
use crate::tls;

/// How long it may take to find out.
const SECOND_LOOK: Duration = Duration::from_secs(2);

const NEEDS_TLS: &str = "it speaks TLS; use https://";
/// What is to be said of a server of Socket.IO 2.
pub const TOO_OLD: &str = "it speaks an old Socket.IO (Engine.IO 3); upgrade the server: to \
    python-socketio 5, Flask-SocketIO 5, Node socket.io 3, or newer ones";

/// Why a server does not let us into the namespace, which it says with a message.
pub fn turned_away(target: &Target, message: &str) -> Error {
    let message = http::printable(message);
    let lower = message.to_ascii_lowercase();
    // As socketioserversink says it; there may be room later.
    if lower == "full" {
        return Error::Unreachable("it is full".into());
    }
    let namespace = &target.namespace;
    // The second is what python-socketio says.
    let unknown =
        lower.contains("namespace") || lower == "unable to connect" && namespace != protocol::ROOT;
    let advice = if unknown {
        "is `namespace` right?"
    } else if target.auth.is_some() {
        "is `auth` right?"
    } else {
        "does it want a token in `auth`?"
    };
    Error::Refused(format!(
        "it does not let us into the namespace {namespace}: {message:?}; {advice}"
    ))
}

/// Why there is no TLS.
pub fn no_tls(error: &io::Error) -> Error {
    use rustls::Error as Tls;
    let inner = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<Tls>());
    let wrong = match inner {
        Some(Tls::InvalidCertificate(error)) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired; it has to be renewed there, if the clock here is \
                 right"
                    .into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; is the clock here right?".into()
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => {
                let names = presented
                    .iter()
                    // DnsName("…"), IpAddress(…)
                    .map(|name| name.split(['"', '(', ')']).rfind(|part| !part.is_empty()))
                    .map(Option::unwrap_or_default)
                    .collect::<Vec<_>>();
                format!(
                    "its certificate is for {}, and not for {}; `url` has to name it like that",
                    names.join(", "),
                    expected.to_str()
                )
            }
            error if *error == CertificateError::UnknownIssuer || tls::is_self_signed(error) => {
                "its certificate is from somebody whom this machine does not know; if it is \
                 right, name that one's certificate, or its own, with ca-file"
                    .into()
            }
            error => format!("its certificate cannot be trusted: {error}"),
        },
        Some(Tls::InvalidMessage(_)) => {
            "it does not speak TLS; use http:// if it is meant not to".into()
        }
        Some(error) => format!("it refuses TLS: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Error::Unreachable(
                "it closed the connection when TLS was to begin; use http:// if it is meant \
                 not to speak TLS"
                    .into(),
            );
        }
        None => return Error::Unreachable(error.to_string()),
    };
    Error::Wrong(wrong)
}

/// Why there is no HTTP.
pub async fn no_http(target: &Target, error: http::Error) -> Error {
    match error {
        // Some do not wait until it was written.
        http::Error::Io(error) if error.kind() != io::ErrorKind::ConnectionReset => {
            Error::Unreachable(error.to_string())
        }
        http::Error::Closed | http::Error::Io(_) => {
            if !target.url.tls && speaks_tls(target).await {
                return Error::Wrong(NEEDS_TLS.into());
            }
            match polling(target).await {
                Some((404, _)) => Error::Wrong(no_socket_io(target, "404")),
                _ => Error::Unreachable(format!(
                    "it closed the connection instead of opening a websocket at {}",
                    target.url.path()
                )),
            }
        }
        http::Error::Foreign(bytes) => {
            let what = match (&*bytes, wire::foreign(&bytes)) {
                // An alert, or a handshake.
                ([0x15 | 0x16, 3, ..], _) => NEEDS_TLS.into(),
                (_, Some(foreign)) => format!("it does not speak HTTP, but {foreign}"),
                _ if wire::recognise(&bytes).is_some() => {
                    "it does not speak HTTP, but sends pictures over TCP; \
                     b64jpegclientsrc takes them"
                        .into()
                }
                _ => format!(
                    "it does not speak HTTP: its answer begins with {}",
                    FirstBytes::of(&bytes)
                ),
            };
            Error::Wrong(what)
        }
        http::Error::HeadTooLong => Error::Wrong(format!(
            "the head of its HTTP answer is too long: it does not end within {} bytes, the \
             limit; is there a proxy that adds headers, such as cookies?",
            http::MAX_HEAD
        )),
        http::Error::HeadCut { len } => Error::Unreachable(format!(
            "it closed the connection inside the head of its HTTP answer, after {len} bytes"
        )),
        http::Error::NoStatus(line) => Error::Wrong(format!(
            "its HTTP answer has no status: it begins with {line:?}"
        )),
    }
}

/// Why a server gives no websocket.
pub async fn refused(target: &Target, answer: Answer, mut stream: Box<dyn Io>) -> Error {
    let status = answer.status;
    let reason = answer.reason();
    let location = answer.header("location").map(|location| {
        let shown = location.split(['?', '#']).next().unwrap_or_default();
        http::printable(shown)
    });
    let kind = answer.header("content-type").unwrap_or_default();
    if kind.starts_with("multipart/x-mixed-replace") {
        return Error::Wrong(
            "it is no Socket.IO server, but sends MJPEG; use souphttpsrc ! multipartdemux".into(),
        );
    }
    let body = answer.body(&mut stream).await;
    drop(stream);
    if is_too_old(&body) {
        return Error::Wrong(TOO_OLD.into());
    }
    let gist = http::gist(&body);
    let said = if gist.to_lowercase().contains(&reason.to_lowercase()) {
        gist
    } else if gist.is_empty() || reason.contains(&gist) {
        reason
    } else {
        format!("{reason}: {gist}")
    };
    match status {
        300..=399 => Error::Wrong(match location {
            Some(location) => format!("it is at {location} now ({said}); set `url` to that"),
            None => format!("it is somewhere else now ({said})"),
        }),
        401 | 403 | 407 => Error::Wrong(format!(
            "it lets nobody in like that ({said}); has `url` the user, password or token it \
             wants?"
        )),
        404 => Error::Wrong(no_socket_io(target, &said)),
        408 | 425 | 429 | 502..=504 => Error::Unreachable(format!("it answers {said}")),
        _ => match polling(target).await {
            Some((_, body)) if is_too_old(&body) => Error::Wrong(TOO_OLD.into()),
            Some((_, body)) if body.contains("\"sid\"") => Error::Wrong(
                "it speaks Socket.IO, but without websockets; allow them there (transports), and \
                 for an old Flask-SocketIO: pip install simple-websocket"
                    .into(),
            ),
            Some((404, _)) => Error::Wrong(no_socket_io(target, &said)),
            _ if status == 500 => Error::Unreachable(format!("it answers {said}")),
            _ => Error::Wrong(format!(
                "it is no Socket.IO server: it answers {said} where a websocket ought to be"
            )),
        },
    }
}

/// Whether this is what servers say that are too old, or too old for us.
fn is_too_old(body: &str) -> bool {
    let body = body.to_ascii_lowercase();
    ["unsupported version of the", "unsupported protocol version"]
        .iter()
        .any(|text| body.contains(text))
}

/// What to do about a path at which there is nothing.
fn no_socket_io(target: &Target, said: &str) -> String {
    format!(
        "there is no Socket.IO at {} ({said}); the path in `url` is that of Socket.IO, mostly \
         none, and a namespace is for `namespace`",
        target.url.path()
    )
}

/// What a server answers to a client that does without websockets.
async fn polling(target: &Target) -> Option<(u16, String)> {
    let ask = async {
        let mut stream = connect(target, &mut "").await.ok()?;
        let request = request(target, "polling", "Connection: close\r\n");
        let answer = Answer::to(&mut stream, &request).await.ok()?;
        Some((answer.status, answer.body(&mut stream).await))
    };
    timeout(SECOND_LOOK, ask).await.ok()?
}

/// Whether a server answers to TLS, whatever its certificate.
async fn speaks_tls(target: &Target) -> bool {
    let Ok(tls) = tls::client("") else {
        return false;
    };
    let url = &target.url;
    let ask = async {
        let stream = dial(&url.host, url.port).await.ok()?;
        let name = ServerName::try_from(url.host.clone()).ok()?;
        match TlsConnector::from(tls).connect(name, stream).await {
            Ok(_) => Some(()),
            Err(error) => {
                let inner = error.get_ref()?.downcast_ref()?;
                matches!(inner, rustls::Error::InvalidCertificate(_)).then_some(())
            }
        }
    };
    matches!(timeout(SECOND_LOOK, ask).await, Ok(Some(())))
}
