// SPDX-License-Identifier: MPL-2.0

//! Why a server does not open a WebSocket.
//!
//! Some servers only show what they are when they are asked in another way, so a second
//! connection may be made to find out.

use std::{io, time::Duration};

use b64jpeg_wire::{self as wire, FirstBytes};
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    dial::{connect, dial},
    error::{ConnectError, ConnectStage, NonHttp},
    http::{HttpError, HttpResponse, MAX_HEAD, MAX_HEADERS, status_and_summary, transport_request},
    stream::ByteStream,
    target::Target,
    text::printable,
};
use crate::tls;

/// Time limit of the second connection.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there was no HTTP response.
pub async fn no_response(target: &Target, error: HttpError) -> ConnectError {
    match error {
        // A server may reset the connection before it has read the request.
        HttpError::Io(error) if error.kind() != io::ErrorKind::ConnectionReset => {
            ConnectError::Io(error)
        }
        HttpError::Closed | HttpError::Io(_) => {
            if !target.url.tls && speaks_tls(target).await {
                return ConnectError::NeedsTls;
            }
            let path = target.url.path().to_owned();
            match probe_polling(target).await {
                Some((404, _)) => ConnectError::NoSocketIoAtPath {
                    path,
                    said: "404".into(),
                },
                _ => ConnectError::ClosedBeforeWebSocket { path },
            }
        }
        HttpError::NotHttp(bytes) => match (&*bytes, wire::foreign(&bytes)) {
            // A TLS alert, or a handshake.
            ([0x15 | 0x16, 3, ..], _) => ConnectError::NeedsTls,
            (_, Some(protocol)) => ConnectError::NotHttp(NonHttp::Protocol(protocol)),
            _ if wire::recognise(&bytes).is_some() => ConnectError::NotHttp(NonHttp::Frames),
            _ => ConnectError::NotHttp(NonHttp::Unknown(FirstBytes::of(&bytes))),
        },
        HttpError::HeadTooLong => ConnectError::HeadTooLong { max: MAX_HEAD },
        HttpError::HeadCut { len } => ConnectError::HeadCut { len },
        HttpError::TooManyHeaders => ConnectError::TooManyHeaders { max: MAX_HEADERS },
        HttpError::NoStatus(line) => ConnectError::NoStatus { line },
        HttpError::BadHeaders => ConnectError::BadHeaders,
    }
}

/// Why a response does not open a WebSocket.
pub async fn no_websocket(
    target: &Target,
    response: HttpResponse,
    mut stream: Box<dyn ByteStream>,
) -> ConnectError {
    let status = response.status;
    let status_line = response.status_line();
    let location = response.header("location").map(|location| {
        // The query may be secret.
        let shown = location.split(['?', '#']).next().unwrap_or_default();
        printable(shown)
    });
    let media_type = response.header("content-type").unwrap_or_default();
    if media_type.starts_with("multipart/x-mixed-replace") {
        return ConnectError::Mjpeg;
    }
    let body = response.body(&mut stream).await;
    drop(stream);
    if is_old_socketio(&body) {
        return ConnectError::OldSocketIo;
    }
    let said = status_and_summary(status_line, &body);
    let path = target.url.path().to_owned();
    match status {
        300..=399 => ConnectError::Moved { location, said },
        401 | 403 | 407 => ConnectError::AccessDenied { said },
        404 => ConnectError::NoSocketIoAtPath { path, said },
        408 | 425 | 429 | 502..=504 => ConnectError::Unavailable { said },
        _ => match probe_polling(target).await {
            Some((_, body)) if is_old_socketio(&body) => ConnectError::OldSocketIo,
            Some((_, body)) if body.contains("\"sid\"") => ConnectError::NoWebSockets,
            Some((404, _)) => ConnectError::NoSocketIoAtPath { path, said },
            _ if status == 500 => ConnectError::Unavailable { said },
            _ => ConnectError::NotSocketIo { said },
        },
    }
}

/// Why a server does not admit the client to the namespace, by the message that it sends.
pub fn namespace_refused(target: &Target, message: &str) -> ConnectError {
    let message = printable(message);
    // This is what socketioserversink says; a client may leave later.
    if message.eq_ignore_ascii_case("full") {
        return ConnectError::Full;
    }
    ConnectError::NamespaceRefused {
        namespace: target.namespace.clone(),
        message,
        sent_auth: target.auth.is_some(),
    }
}

/// Whether a body is what servers respond that speak an older Engine.IO, or only know one.
fn is_old_socketio(body: &str) -> bool {
    let body = body.to_ascii_lowercase();
    ["unsupported version of the", "unsupported protocol version"]
        .iter()
        .any(|text| body.contains(text))
}

/// Status and body of the response to a client that uses HTTP polling.
async fn probe_polling(target: &Target) -> Option<(u16, String)> {
    let probe = async {
        let mut stage = ConnectStage::Dial;
        let mut stream = connect(target, &mut stage).await.ok()?;
        let request = transport_request(target, "polling", "Connection: close\r\n");
        let response = HttpResponse::receive(&mut stream, &request).await.ok()?;
        Some((response.status, response.body(&mut stream).await))
    };
    timeout(PROBE_TIMEOUT, probe).await.ok()?
}

/// Whether a server speaks TLS, whatever its certificate.
async fn speaks_tls(target: &Target) -> bool {
    let Ok(tls) = tls::client_config("") else {
        return false;
    };
    let url = &target.url;
    let probe = async {
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
    matches!(timeout(PROBE_TIMEOUT, probe).await, Ok(Some(())))
}
