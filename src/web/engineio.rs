// SPDX-License-Identifier: MPL-2.0

//! Limits and ends Engine.IO sessions, in front of engineioxide.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Extension, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
    routing::MethodRouter,
};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use super::{
    connection::HttpConnection,
    engineio_query::{parameter, session_id},
    engineio_sessions::{IDLE_TIMEOUT, SessionLimitError},
    refusals::RefusalReason,
    responses,
    state::ServerState,
};

/// Maximum number of bytes in a message from a client, and in the body of a request. Clients
/// have little to send.
pub const MAX_MESSAGE: usize = 64 << 10;
/// Maximum number of packets in the body of a request. A polling page sends one for each frame.
const MAX_PACKETS: usize = 64;
/// Between two packets in the body of a request.
const PACKET_SEPARATOR: u8 = 0x1e;
/// Interval at which idle sessions are looked for.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Tracks and limits the session that a request opens or belongs to.
pub async fn track_sessions(
    State(state): State<Arc<ServerState>>,
    Extension(connection): Extension<Arc<HttpConnection>>,
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let is_websocket = parameter(query, "transport") == Some("websocket");
    // Engine.IO accepts other upgrade requests as well, whose frames would not be counted.
    if is_websocket && (!connection.is_websocket() || has_body(request.headers())) {
        let text = "A WebSocket request needs `Upgrade: websocket` and must not have a body.";
        return responses::text(StatusCode::BAD_REQUEST, text);
    }
    if let Some(id) = session_id(query) {
        state.sessions.set_connection(id, &connection);
        return match *request.method() {
            Method::POST if !state.sessions.contains(id) => {
                responses::text(StatusCode::BAD_REQUEST, "There is no such session.")
            }
            Method::POST => receive_packets(&connection, request, next).await,
            _ => next.run(request).await,
        };
    }
    if is_websocket {
        let permit = match state.sessions.reserve_websocket(&connection) {
            Ok(permit) => permit,
            Err(error) => return refuse(&state, error),
        };
        tokio::spawn(async move {
            sleep(IDLE_TIMEOUT).await;
            drop(permit);
        });
        return next.run(request).await;
    }
    let permit = match state.sessions.reserve_polling(&connection) {
        Ok(permit) => permit,
        Err(error) => return refuse(&state, error),
    };
    // The response that opens a session is `0{"sid":"…",…}`.
    let (head, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, MAX_MESSAGE).await.unwrap_or_default();
    if let Some(Ok(open)) = body.get(1..).map(serde_json::from_slice::<OpenPacket>) {
        state.sessions.insert(&open.sid, &connection, Some(permit));
    }
    Response::from_parts(head, body.into())
}

fn refuse(state: &ServerState, error: SessionLimitError) -> Response {
    state.viewers.count_refusal(match error {
        SessionLimitError::Total => RefusalReason::Connections,
        SessionLimitError::Address => RefusalReason::Address,
    });
    responses::text(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Passes on the packets that a polling session sends, if they are not too many or too large.
async fn receive_packets(connection: &HttpConnection, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let mut chunks = body.into_data_stream();
    // Copied, because a chunk of one byte may keep the whole buffer that it was read into.
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return responses::text(StatusCode::BAD_REQUEST, "The request is incomplete.");
        };
        if body.len() + chunk.len() > MAX_MESSAGE {
            let text = format!("A request must not have more than {MAX_MESSAGE} bytes.");
            return responses::text(StatusCode::PAYLOAD_TOO_LARGE, text);
        }
        connection.charge_packets(1);
        body.extend_from_slice(&chunk);
    }
    let packets = 1 + memchr::memchr_iter(PACKET_SEPARATOR, &body).count();
    if packets > MAX_PACKETS {
        let text = format!("A request must not have more than {MAX_PACKETS} packets.");
        return responses::text(StatusCode::PAYLOAD_TOO_LARGE, text);
    }
    connection.charge_packets(u32::try_from(packets).unwrap_or(u32::MAX));
    next.run(Request::from_parts(head, body.into())).await
}

/// The packet that opens a session.
#[derive(Deserialize)]
struct OpenPacket {
    sid: String,
}

/// Ends all sessions. engineioxide would keep sessions that no client closes.
pub async fn close_sessions(state: &ServerState, socket_io: &MethodRouter) {
    for id in state.sessions.ids() {
        close_polling_session(&id, socket_io).await;
    }
}

/// Ends a polling session as its client would, because engineioxide offers no other way. Returns
/// whether it was a polling session.
async fn close_polling_session(id: &str, socket_io: &MethodRouter) -> bool {
    let uri = format!("/socket.io/?EIO=4&transport=polling&sid={id}");
    let Ok(request) = Request::post(uri).body(Body::from("1")) else {
        return false;
    };
    let response = socket_io.clone().oneshot(request).await;
    response.is_ok_and(|response| response.status().is_success())
}

/// Ends sessions without viewers, for ever.
pub async fn close_idle_sessions(state: Arc<ServerState>, socket_io: MethodRouter) {
    loop {
        sleep(IDLE_CHECK_INTERVAL).await;
        for idle in state.sessions.take_idle(Instant::now()) {
            let was_polling = close_polling_session(&idle.id, &socket_io).await;
            // A connection that was used for polling may carry other requests.
            let websocket = idle
                .connection
                .filter(|connection| !was_polling && connection.is_websocket());
            if let Some(websocket) = websocket {
                websocket.abort();
            }
        }
    }
}
