// SPDX-License-Identifier: MPL-2.0

//! Socket.IO: its sessions, and who is let in to watch.
//!
//! The namespace `/` is for programs that were there before us and take what comes
//! ([`events`](super::events)), `/view` for our page ([`pages`](super::pages)).

use std::{fmt, future::ready, sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::{Extension, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
    routing::{MethodRouter, any_service},
};
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
    events::broadcast,
    guard::Denied,
    line::Line,
    pages::{milliseconds, show},
    panic::{reported, reported_now},
    routes::short,
    sessions::{IDLE, NoRoom},
    viewers::{Kind, Refusal, Seat, Viewer},
};
use crate::capture;

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
    seat: Seat,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.shared.sessions.left(&self.seat.viewer.session);
    }
}

/// Stands before Engine.IO, to know of every session.
pub async fn follow(
    State(shared): State<Arc<Shared>>,
    Extension(line): Extension<Arc<Line>>,
    request: Request,
    next: Next,
) -> Response {
    if line.is_websocket() && has_body(request.headers()) {
        let text = "A request for a websocket has no body.";
        return short(StatusCode::BAD_REQUEST, text);
    }
    let query = request.uri().query().unwrap_or_default();
    if let Some(session) = query.split('&').find_map(|pair| pair.strip_prefix("sid=")) {
        shared.sessions.moved(session, &line);
        return match *request.method() {
            Method::POST => post(&line, request, next).await,
            _ => next.run(request).await,
        };
    }
    if !query.contains("transport=polling") {
        return next.run(request).await;
    }
    let share = match shared.sessions.reserve(&line) {
        Ok(share) => share,
        Err(no_room) => {
            let (refusal, text) = match no_room {
                NoRoom::Full => (Refusal::Connections, "There are too many sessions."),
                NoRoom::Share => (
                    Refusal::Address,
                    "There are too many sessions from this address: max-connections-per-address \
                     limits them.",
                ),
            };
            shared.viewers.refuse(refusal);
            return short(StatusCode::SERVICE_UNAVAILABLE, text);
        }
    };
    // A new one is answered with `0{"sid":"…",…}`.
    let (head, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, MAX_MESSAGE).await.unwrap_or_default();
    if let Some(Ok(opened)) = body.get(1..).map(serde_json::from_slice::<Opened>) {
        shared.sessions.add(&opened.sid, &line, Some(share));
    }
    Response::from_parts(head, body.into())
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}

/// Takes the packets of a session that polls, if there are not too many of them.
async fn post(line: &Line, request: Request, next: Next) -> Response {
    /// Stands between two packets.
    const SEPARATOR: u8 = 0x1e;
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_MESSAGE).await else {
        let text = format!("A request may have no more than {MAX_MESSAGE} bytes.");
        return short(StatusCode::PAYLOAD_TOO_LARGE, text);
    };
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
    let line = request.extensions.get::<Arc<Line>>();
    let line = line.ok_or(Refusal::Request)?;
    let refuse = |refusal| {
        line.count_refusal();
        refusal
    };
    let from = line.address.ip();
    let token = auth.and_then(|auth| auth.token);
    let checked = match shared.guard.check(token.as_deref(), from) {
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
    let session = socket.id.to_string();
    shared.sessions.add(&session, line, None);
    let seat = shared.viewers.admit(kind, line.address, session.clone());
    let seat = seat.ok_or_else(|| refuse(Refusal::Full))?;
    if !shared.sessions.watches(&session) {
        line.cut();
        return Err(Refusal::Request);
    }
    let viewer = seat.viewer.clone();
    let membership = Membership {
        shared: shared.clone(),
        seat,
    };
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
