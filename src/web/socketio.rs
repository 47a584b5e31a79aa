// SPDX-License-Identifier: MPL-2.0

//! Socket.IO: its sessions, and who is let in to watch.
//!
//! The namespace `/` is for programs that were there before us and take what comes
//! ([`events`](super::event_sender)), `/view` for our page ([`pages`](super::page_sender)).

use std::{fmt, future::ready, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Extension, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
    routing::{MethodRouter, any_service},
};
use futures_util::StreamExt;
use serde::Deserialize;
use socketioxide::{
    ParserConfig, SocketIo,
    extract::{AckSender, SocketRef, TryData},
    handler::ConnectHandler,
    socket::DisconnectReason,
};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use super::{
    Shared,
    access_control::Denied,
    connection::Line,
    engineio_sessions::{IDLE, SessionsFull},
    event_sender::broadcast,
    origin_policy::is_cross_site,
    page_sender::{milliseconds, show},
    routes::short,
    task_panics::{reported, reported_now},
    viewers::{Kind, Refusal, Seat, Viewer},
};
use crate::common::capture;

/// Where our page connects to.
const VIEW: &str = "/view";

/// How often everybody is asked whether they are there, and how long they may take to
/// answer. A page that has stopped to read may have all that it is owed on its way, and
/// nothing else would tell.
const PING_INTERVAL: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(6);
/// What waits for a session besides pictures: pings, and what is said at the beginning.
const QUEUE: usize = 16;
/// Nobody has much to tell us.
const MAX_MESSAGE: usize = 64 << 10;
/// Packets in the body of one request. A page that polls has an answer for each picture.
const MAX_PACKETS: usize = 64;
/// How often those are looked for that watch nothing.
const SWEEP: Duration = Duration::from_secs(2);

/// What is sent with a handshake.
#[derive(Debug, Default, Deserialize)]
struct Auth {
    token: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What answers to Socket.IO, and a handle of it.
pub fn service() -> (MethodRouter, SocketIo) {
    let (service, io) = SocketIo::builder()
        .max_payload(MAX_MESSAGE as u64)
        .ws_max_message_size(MAX_MESSAGE)
        .ws_max_frame_size(MAX_MESSAGE)
        .max_buffer_size(QUEUE)
        // Pictures go one way: what comes in has no attachments.
        .with_parser(
            ParserConfig::common()
                .max_incoming_binaries(0)
                .max_incoming_binary_buf_size(0),
        )
        .connect_timeout(IDLE)
        .ping_interval(PING_INTERVAL)
        .ping_timeout(PING_TIMEOUT)
        .build_svc();
    (any_service(service), io)
}

/// Somebody who was let in, kept by the socket for as long as it watches.
#[derive(Clone)]
struct Admitted {
    shared: Arc<Shared>,
    viewer: Arc<Viewer>,
    _membership: Arc<Membership>,
}

/// What ends when a socket watches no more.
struct Membership {
    shared: Arc<Shared>,
    session: String,
    /// None until there is one.
    _seat: Option<Seat>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.shared.sessions.end_watching(&self.session);
    }
}

/// Stands before Engine.IO, to know of every session.
pub async fn follow(
    State(shared): State<Arc<Shared>>,
    Extension(line): Extension<Arc<Line>>,
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let session = session_of(query);
    let websocket = parameter(query, "transport") == Some("websocket");
    // Engine.IO would take others as well, and their frames would not be counted.
    if websocket && (!line.is_websocket() || has_body(request.headers())) {
        let text = "A websocket is asked for with `Upgrade: websocket`, and without a body.";
        return short(StatusCode::BAD_REQUEST, text);
    }
    if let Some(session) = session {
        shared.sessions.set_line(session, &line);
        return match *request.method() {
            Method::POST if !shared.sessions.contains(session) => {
                short(StatusCode::BAD_REQUEST, "There is no such session.")
            }
            Method::POST => post(&line, request, next).await,
            _ => next.run(request).await,
        };
    }
    let full = |full| {
        let (refusal, text) = match full {
            SessionsFull::All => (Refusal::Connections, "There are too many sessions."),
            SessionsFull::Address => (
                Refusal::Address,
                "There are too many sessions from this address: max-connections-per-address \
                 limits them.",
            ),
        };
        shared.viewers.refuse(refusal);
        short(StatusCode::SERVICE_UNAVAILABLE, text)
    };
    if websocket {
        let share = match shared.sessions.reserve_websocket(&line) {
            Ok(share) => share,
            Err(error) => return full(error),
        };
        tokio::spawn(async move {
            sleep(IDLE).await;
            drop(share);
        });
        return next.run(request).await;
    }
    let share = match shared.sessions.reserve(&line) {
        Ok(share) => share,
        Err(error) => return full(error),
    };
    // A new one is answered with `0{"sid":"…",…}`.
    let (head, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, MAX_MESSAGE).await.unwrap_or_default();
    if let Some(Ok(opened)) = body.get(1..).map(serde_json::from_slice::<Opened>) {
        shared.sessions.add(&opened.sid, &line, Some(share));
    }
    Response::from_parts(head, body.into())
}

/// A parameter of a query, as Engine.IO reads it: the first of its name.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .into_iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The Engine.IO session that a request belongs to.
pub fn session_of(query: &str) -> Option<&str> {
    parameter(query, "sid")
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Takes the packets of a session that polls, if there are not too many of them.
async fn post(line: &Line, request: Request, next: Next) -> Response {
    /// Stands between two packets.
    const SEPARATOR: u8 = 0x1e;
    let (head, body) = request.into_parts();
    let mut chunks = body.into_data_stream();
    // Copied: a chunk may be a byte, and keep the whole buffer that it was read into.
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else {
            return short(StatusCode::BAD_REQUEST, "This request was cut off.");
        };
        if body.len() + chunk.len() > MAX_MESSAGE {
            let text = format!("A request may have no more than {MAX_MESSAGE} bytes.");
            return short(StatusCode::PAYLOAD_TOO_LARGE, text);
        }
        line.spend_packets(1);
        body.extend_from_slice(&chunk);
    }
    let packets = 1 + memchr::memchr_iter(SEPARATOR, &body).count();
    if packets > MAX_PACKETS {
        let text = format!("A request may have no more than {MAX_PACKETS} packets.");
        return short(StatusCode::PAYLOAD_TOO_LARGE, text);
    }
    line.spend_packets(u32::try_from(packets).unwrap_or(u32::MAX));
    next.run(Request::from_parts(head, body.into())).await
}

#[derive(Deserialize)]
struct Opened {
    sid: String,
}

/// Closes what [`follow`] knows of: nothing else ends sessions that came to nothing, and
/// they would keep everything.
///
/// Not by [`SocketIo::close`], which forgets to tell those who watch.
pub async fn close(io: &SocketIo, sessions: Vec<String>, socket_io: &MethodRouter) {
    for namespace in ["/", VIEW] {
        io.delete_ns(namespace);
    }
    for session in sessions {
        end_polling(&session, socket_io).await;
    }
}

/// Ends a session that polls as its other side would, which is the only way there is. Returns
/// whether it was one.
async fn end_polling(session: &str, socket_io: &MethodRouter) -> bool {
    let uri = format!("/socket.io/?EIO=4&transport=polling&sid={session}");
    let Ok(request) = Request::post(uri).body(Body::from("1")) else {
        return false;
    };
    let answer = socket_io.clone().oneshot(request).await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

/// Ends the sessions that watch nothing, from time to time.
pub async fn end_idle(shared: Arc<Shared>, socket_io: MethodRouter) {
    loop {
        sleep(SWEEP).await;
        for (session, line) in shared.sessions.take_idle(Instant::now()) {
            let polls = end_polling(&session, &socket_io).await;
            // A connection that was polled over may be of use for something else.
            if let Some(line) = line.filter(|line| !polls && line.is_websocket()) {
                line.cut();
            }
        }
    }
}

/// Lets viewers in; the future serves them, as long as it is not dropped.
pub fn serve(io: SocketIo, shared: &Arc<Shared>) -> impl Future<Output = ()> + use<> {
    let admission = |kind| {
        let shared = shared.clone();
        move |socket: SocketRef, TryData(auth): TryData<Auth>| {
            let admit = || admit(&shared, kind, &socket, auth.ok());
            let admitted = reported_now(&shared.viewers, "the admission of viewers", admit);
            ready(admitted.unwrap_or(Err(Refusal::Request)))
        }
    };
    io.ns("/", join.with(admission(Kind::SocketIo)));
    io.ns(VIEW, watch.with(admission(Kind::View)));
    broadcast(io, shared.clone())
}

/// Whoever has the token gets a seat, if there is one.
fn admit(
    shared: &Arc<Shared>,
    kind: Kind,
    socket: &SocketRef,
    auth: Option<Auth>,
) -> Result<(), Refusal> {
    let request = socket.req_parts();
    let session = socket.id.to_string();
    // Of the request that began the session; it may have moved since.
    let line = request.extensions.get::<Arc<Line>>();
    let first = line.ok_or(Refusal::Request)?;
    shared.sessions.add(&session, first, None);
    let line = shared.sessions.line(&session);
    let line = line.unwrap_or_else(|| first.clone());
    let refuse = |refusal| {
        if shared.sessions.refuse(&session) && line.is_websocket() {
            line.cut();
        }
        refusal
    };
    if shared.sessions.is_refused(&session) {
        return Err(refuse(Refusal::Request));
    }
    let from = line.address.ip();
    let foreign = is_cross_site(&request.headers);
    let token = auth.and_then(|auth| auth.token);
    let checked = match shared.guard.check(token.as_deref(), from, foreign) {
        Err(Denied::Token) => {
            let (headers, uri) = (&request.headers, &request.uri);
            shared.guard.check_request(headers, uri, from)
        }
        checked => checked,
    };
    if checked.is_err() {
        shared.viewers.refuse(Refusal::Token);
        return Err(refuse(Refusal::Token));
    }
    if !shared.sessions.begin_watching(&session) {
        line.cut();
        return Err(Refusal::Request);
    }
    let mut membership = Membership {
        shared: shared.clone(),
        session: session.clone(),
        _seat: None,
    };
    let seat = shared.viewers.admit(kind, line.address, session.clone());
    let seat = seat.ok_or_else(|| refuse(Refusal::Full))?;
    let viewer = seat.viewer.clone();
    membership._seat = Some(seat);
    socket.extensions.insert(Admitted {
        shared: shared.clone(),
        viewer,
        _membership: Arc::new(membership),
    });
    Ok(())
}

/// Leaves the seat to the next one.
fn leave(socket: &SocketRef, reason: DisconnectReason) {
    let Some(admitted) = socket.extensions.remove::<Admitted>() else {
        return;
    };
    use DisconnectReason::{ClientNSDisconnect, ServerNSDisconnect};
    if !matches!(reason, ClientNSDisconnect | ServerNSDisconnect) {
        let session = &admitted.viewer.session;
        admitted.shared.sessions.remove(session);
    }
}

/// Somebody takes what comes, beginning with what is there.
async fn join(socket: SocketRef) {
    let Some(Admitted { shared, viewer, .. }) = socket.extensions.get() else {
        return;
    };
    socket.join(viewer.session.clone());
    socket.on_disconnect(async |socket: SocketRef, reason: DisconnectReason| {
        leave(&socket, reason);
    });
    shared.newcomers.add(viewer);
}

/// Somebody with our page.
async fn watch(socket: SocketRef) {
    let Some(Admitted { shared, viewer, .. }) = socket.extensions.get() else {
        return;
    };
    socket.on("time", async |ack: AckSender| {
        // Who asks too much at once gets no answer.
        let _ = ack.send(&milliseconds(capture::now()));
    });
    let viewers = shared.viewers.clone();
    let show = show(socket.clone(), shared, viewer);
    // It holds the socket, which would never go.
    let showing = tokio::spawn(reported(viewers, "the sender to a page", show)).abort_handle();
    socket.on_disconnect(async move |socket: SocketRef, reason: DisconnectReason| {
        showing.abort();
        leave(&socket, reason);
    });
}
