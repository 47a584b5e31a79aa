// SPDX-License-Identifier: MPL-2.0

//! Pictures as Socket.IO events: for programs that were there before us, and for our page.
//!
//! The first take what comes. Each picture is written once for all of them, and left out
//! for those who have not taken the one before. Our page tells when it has shown what it
//! got, and gets what is newest then: it is never behind, however slow it is.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::ready,
    sync::Arc,
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::{Extension, Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
    routing::{MethodRouter, any_service},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use socketioxide::{
    SocketIo,
    extract::{AckSender, SocketRef, TryData},
    handler::ConnectHandler,
};
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt;

use super::{
    Shared,
    cameras::{Camera, Frame},
    line::Line,
    routes::short,
    viewers::{Kind, Refusal, Seat},
};
use crate::capture;

/// Where our page connects to.
const VIEW: &str = "/view";
/// Pictures on their way to a page that it has not shown yet. With one the line would be
/// idle while the page shows it.
const IN_FLIGHT: usize = 2;
/// Pictures in one event: Socket.IO in browsers takes no more.
const AT_ONCE: usize = 10;
/// A page may rest for as long as it likes.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Pictures of several cameras go together: one is held up for the others for so long.
const GATHER: Duration = Duration::from_millis(20);

/// Whoever has an Engine.IO session has to come to the point within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often everybody is asked whether they are there, and how long they may take to
/// answer. A page that has stopped to read may have all that it is owed on its way, and
/// nothing else would tell.
const PING_INTERVAL: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(6);
/// What waits for a session besides pictures: pings, and what is said at the beginning.
const QUEUE: usize = 16;
/// Nobody has much to tell us.
const MAX_MESSAGE: usize = 64 << 10;

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
        .connect_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .ping_timeout(PING_TIMEOUT)
        .build_svc();
    (any_service(service), io)
}

/// Who was let in, and by whom.
#[derive(Clone)]
struct Admitted {
    shared: Arc<Shared>,
    seat: Arc<Seat>,
}

/// Stands before Engine.IO, to know of every session.
pub async fn follow(
    State(shared): State<Arc<Shared>>,
    Extension(line): Extension<Arc<Line>>,
    request: Request,
    next: Next,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if let Some(session) = query.split('&').find_map(|pair| pair.strip_prefix("sid=")) {
        shared.sessions.asks(session, &line);
        return next.run(request).await;
    }
    if !query.contains("transport=polling") {
        return next.run(request).await;
    }
    if shared.sessions.is_full() {
        shared.viewers.refuse(Refusal::Connections);
        return short(
            StatusCode::SERVICE_UNAVAILABLE,
            "There are too many sessions.",
        );
    }
    // A new one is answered with `0{"sid":"…",…}`.
    let (head, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, MAX_MESSAGE).await.unwrap_or_default();
    if let Some(Ok(opened)) = body.get(1..).map(serde_json::from_slice::<Opened>) {
        shared.sessions.add(&opened.sid, &line);
    }
    Response::from_parts(head, body.into())
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
        let uri = format!("/socket.io/?EIO=4&transport=polling&sid={session}");
        if let Ok(request) = Request::post(uri).body(Body::from("1")) {
            let _ = socket_io.clone().oneshot(request).await;
        }
    }
}

/// Lets viewers in; the future serves them, as long as it is not dropped.
pub fn serve(io: SocketIo, shared: &Arc<Shared>) -> impl Future<Output = ()> + use<> {
    let admission = |kind| {
        let shared = shared.clone();
        move |socket: SocketRef, TryData(auth): TryData<Auth>| {
            ready(admit(&shared, kind, &socket, auth.ok()))
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
    let token = auth.and_then(|auth| auth.token);
    if !shared.guard.accepts(token.as_deref())
        && !shared.guard.accepts_request(&request.headers, &request.uri)
    {
        shared.viewers.refuse(Refusal::Token);
        return Err(Refusal::Token);
    }
    let line = request.extensions.get::<Arc<Line>>();
    let line = line.ok_or(Refusal::Request)?;
    let session = socket.id.to_string();
    if !shared.sessions.has(&session) {
        shared.sessions.add(&session, line);
    }
    let seat = shared.viewers.admit(kind, line.address, session);
    socket.extensions.insert(Admitted {
        shared: shared.clone(),
        seat: Arc::new(seat.ok_or(Refusal::Full)?),
    });
    Ok(())
}

/// Leaves the seat to the next one.
fn leave(socket: &SocketRef) {
    drop(socket.extensions.remove::<Admitted>());
}

/// Somebody takes what comes, beginning with what is there.
async fn join(socket: SocketRef) {
    let Some(Admitted { shared, seat }) = socket.extensions.get() else {
        return;
    };
    socket.join(seat.viewer.session.clone());
    socket.on_disconnect(async |socket: SocketRef| leave(&socket));
    let frames = newest(&shared.cameras.all());
    if let Some(event) = Event::of(&frames)
        && socket.emit(&shared.event, &event).is_ok()
    {
        seat.viewer.sent(1);
    }
}

/// A camera and its picture.
type Pair = (Arc<Camera>, Arc<Frame>);

fn newest(cameras: &[Arc<Camera>]) -> Vec<Pair> {
    let pairs = cameras
        .iter()
        .map(|camera| Some((camera.clone(), camera.newest()?)));
    pairs.flatten().collect()
}

/// What these programs take: base64, or base64 by the names of the cameras.
#[derive(Serialize)]
#[serde(untagged)]
enum Event<'a> {
    Bare(&'a str),
    Named(BTreeMap<&'a str, &'a str>),
}

impl<'a> Event<'a> {
    fn of(frames: &'a [Pair]) -> Option<Self> {
        match frames {
            [] => None,
            [(camera, frame)] if camera.name.is_empty() => Some(Self::Bare(frame.text())),
            frames => {
                let named = frames
                    .iter()
                    .map(|(camera, frame)| (&*camera.name, frame.text()));
                Some(Self::Named(named.collect()))
            }
        }
    }
}

/// Sends what is newest to all who take what comes.
async fn broadcast(io: SocketIo, shared: Arc<Shared>) {
    let mut changes = shared.cameras.changes();
    let mut sent = Vec::<Pair>::new();
    while changes.changed().await.is_ok() {
        let viewers = shared.viewers.of(Kind::SocketIo);
        if viewers.is_empty() {
            sent.clear();
            continue;
        }
        let deadline = Instant::now() + GATHER;
        let cameras = shared.cameras.all();
        let was_sent = |(_, frame): &Pair| sent.iter().any(|(_, sent)| Arc::ptr_eq(frame, sent));
        while newest(&cameras).iter().any(was_sent) {
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                break;
            }
        }
        let frames = newest(&cameras);
        let mut ready = Vec::new();
        for viewer in viewers {
            if shared.sessions.is_busy(&viewer.session) {
                viewer.dropped(1);
            } else {
                viewer.sent(1);
                ready.push(viewer.session.clone());
            }
        }
        if let Some(event) = Event::of(&frames)
            && !ready.is_empty()
        {
            // Who has gone meanwhile gets nothing.
            let _ = io
                .within(ready)
                .volatile()
                .emit(&shared.event, &event)
                .await;
        }
        sent = frames;
    }
}

/// A picture as our page gets it.
#[derive(Serialize)]
struct Shown<'a> {
    camera: &'a str,
    number: u64,
    /// Milliseconds since 1970.
    captured: f64,
    jpeg: &'a Bytes,
}

#[derive(Serialize)]
struct Hello<'a> {
    cameras: &'a [String],
    name: &'a str,
    version: &'a str,
}

/// Milliseconds since 1970, as pages count.
fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Somebody with our page.
async fn watch(socket: SocketRef) {
    let Some(admitted) = socket.extensions.get() else {
        return;
    };
    socket.on("time", async |ack: AckSender| {
        // Who asks too much at once gets no answer.
        let _ = ack.send(&milliseconds(capture::now()));
    });
    // It holds the socket, which would never go.
    let showing = tokio::spawn(show(socket.clone(), admitted)).abort_handle();
    socket.on_disconnect(async move |socket: SocketRef| {
        showing.abort();
        leave(&socket);
    });
}

/// Shows the newest pictures to a page whenever it has shown those before.
async fn show(socket: SocketRef, admitted: Admitted) {
    let shared = admitted.shared;
    let viewer = admitted.seat.viewer.clone();
    drop(admitted.seat);
    let mut names = shared.cameras.names();
    names.mark_changed();
    let mut changes = shared.cameras.changes();
    changes.mark_changed();
    let mut shown = HashMap::<String, Pair>::new();
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Ok(()) = names.changed() => {
                let names = names.borrow_and_update().clone();
                let hello = Hello {
                    cameras: &names,
                    name: env!("CARGO_PKG_NAME"),
                    version: env!("CARGO_PKG_VERSION"),
                };
                if socket.emit("hello", &hello).is_err() {
                    return;
                }
            }
            Some(_) = in_flight.next(), if !in_flight.is_empty() => {}
            Ok(()) = changes.changed(), if in_flight.len() < IN_FLIGHT => {
                let mut frames = newest(&shared.cameras.all());
                frames.retain(|(camera, frame)| {
                    let before = shown.get(&camera.name);
                    !before.is_some_and(|(_, before)| Arc::ptr_eq(before, frame))
                });
                if frames.is_empty() {
                    continue;
                }
                if frames.len() > AT_ONCE {
                    frames.truncate(AT_ONCE);
                    changes.mark_changed();
                }
                let parts = frames.iter().map(|(camera, frame)| Shown {
                    camera: &camera.name,
                    number: frame.number,
                    captured: milliseconds(frame.captured),
                    jpeg: &frame.jpeg,
                });
                let parts: Vec<_> = parts.collect();
                // A tuple would be spread, an array in one is not.
                let sent = socket.timeout(FOREVER).emit_with_ack::<_, IgnoredAny>("frames", &(parts,));
                let Ok(ack) = sent else { return };
                in_flight.push(ack);
                viewer.sent(frames.len() as u64);
                for (camera, frame) in frames {
                    let before = shown.insert(camera.name.clone(), (camera.clone(), frame.clone()));
                    if let Some((same, before)) = before && Arc::ptr_eq(&same, &camera) {
                        viewer.dropped((frame.number - before.number).saturating_sub(1));
                    }
                }
            }
            else => return,
        }
    }
}
