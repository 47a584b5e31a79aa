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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    extract::{Extension, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
    routing::{MethodRouter, any_service},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use socketioxide::{
    ParserConfig, SocketIo,
    extract::{AckSender, SocketRef, TryData},
    handler::ConnectHandler,
    socket::DisconnectReason,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};
use tower::ServiceExt;

use super::{
    Shared,
    cameras::{Camera, Frame},
    guard::Denied,
    line::Line,
    panic::{reported, reported_now},
    routes::short,
    sessions::{IDLE, NoRoom},
    viewers::{Kind, Refusal, Seat, Viewer},
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

/// Programs that have joined and got no picture yet.
///
/// All events are sent by one task, [`broadcast`]: if the first one were sent where a program
/// joins, it might be sent twice.
#[derive(Debug, Default)]
pub struct Newcomers {
    list: Mutex<Vec<Arc<Viewer>>>,
    came: Notify,
}

impl Newcomers {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<Viewer>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, viewer: Arc<Viewer>) {
        self.list().push(viewer);
        self.came.notify_one();
    }

    fn take(&self) -> Vec<Arc<Viewer>> {
        std::mem::take(&mut *self.list())
    }
}

/// Sends what is newest to all who take what comes.
async fn broadcast(io: SocketIo, shared: Arc<Shared>) {
    let mut changes = shared.cameras.changes();
    let mut sent = Vec::<Pair>::new();
    loop {
        let changed = tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
            () = shared.newcomers.came.notified() => false,
        };
        let cameras = shared.cameras.all();
        let was_sent = |(_, frame): &Pair| sent.iter().any(|(_, sent)| Arc::ptr_eq(frame, sent));
        let deadline = Instant::now() + GATHER;
        while changed && newest(&cameras).iter().any(was_sent) {
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                break;
            }
        }
        let frames = newest(&cameras);
        let newcomers = shared.newcomers.take();
        let mut followers = shared.viewers.of(Kind::SocketIo);
        followers.retain(|viewer| viewer.follows());
        newcomers.iter().for_each(|viewer| viewer.follow());
        if frames.iter().all(was_sent) {
            followers.clear();
        }
        if let Some(event) = Event::of(&frames) {
            followers.retain(|viewer| {
                let ready = !shared.sessions.is_busy(&viewer.session);
                if !ready {
                    viewer.dropped(1);
                }
                ready
            });
            // Who has gone meanwhile gets nothing.
            if !newcomers.is_empty() {
                let rooms = rooms_of(&newcomers);
                let _ = io.within(rooms).emit(&shared.event, &event).await;
            }
            if !followers.is_empty() {
                let rooms = io.within(rooms_of(&followers)).volatile();
                let _ = rooms.emit(&shared.event, &event).await;
            }
            let served = newcomers.iter().chain(&followers);
            served.for_each(|viewer| viewer.sent(1));
        }
        sent = frames;
    }
}

/// Each viewer is in a room that is called like its session.
fn rooms_of(viewers: &[Arc<Viewer>]) -> Vec<String> {
    let rooms = viewers.iter().map(|viewer| viewer.session.clone());
    rooms.collect()
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

/// Shows the newest pictures to a page whenever it has shown those before.
async fn show(socket: SocketRef, shared: Arc<Shared>, viewer: Arc<Viewer>) {
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
