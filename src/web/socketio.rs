// SPDX-License-Identifier: MPL-2.0

//! Socket.IO: admits viewers and starts what sends them frames.
//!
//! The namespace `/` serves programs that read [events](super::event_sender), `/view` serves the
//! [page](super::page_sender).

use std::{future::ready, sync::Arc, time::Duration};

use axum::routing::{MethodRouter, any_service};
use serde::Deserialize;
use socketioxide::{
    ParserConfig, SocketIo,
    extract::{AckSender, SocketRef, TryData},
    handler::ConnectHandler,
    socket::DisconnectReason,
};

use super::{
    access_control::AccessError,
    connection::HttpConnection,
    engineio::{MAX_MESSAGE, close_sessions},
    engineio_sessions::{IDLE_TIMEOUT, SessionViewer},
    event_sender::broadcast,
    origin_policy::is_cross_site,
    page_sender::{milliseconds, send_frames},
    refusals::RefusalReason,
    state::ServerState,
    task_panics::{call_reporting_panics, run_reporting_panics},
    viewers::{ViewerKind, ViewerRegistration},
};
use crate::common::capture_time;

/// The namespace of the page.
const PAGE_NAMESPACE: &str = "/view";

/// Interval of pings, and the timeout of their answers. A client that stopped reading while data
/// is already on its way is detected by nothing else.
const PING_INTERVAL: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(6);
/// Packets that may wait for a session besides frames: pings and the first messages.
const MAX_QUEUED_PACKETS: usize = 16;

/// What a client sends when it opens a namespace.
#[derive(Debug, Default, Deserialize)]
struct Auth {
    token: Option<String>,
}

/// The HTTP service of Socket.IO, and a handle to it.
pub fn service() -> (MethodRouter, SocketIo) {
    let (service, io) = SocketIo::builder()
        .max_payload(MAX_MESSAGE as u64)
        .ws_max_message_size(MAX_MESSAGE)
        .ws_max_frame_size(MAX_MESSAGE)
        .max_buffer_size(MAX_QUEUED_PACKETS)
        // Clients send no pictures, so no attachments.
        .with_parser(
            ParserConfig::common()
                .max_incoming_binaries(0)
                .max_incoming_binary_buf_size(0),
        )
        .connect_timeout(IDLE_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .ping_timeout(PING_TIMEOUT)
        .build_svc();
    (any_service(service), io)
}

/// A viewer by Socket.IO. Kept by its socket; dropping it removes the viewer.
struct AdmittedViewer {
    _session: SessionViewer,
    registration: ViewerRegistration,
    state: Arc<ServerState>,
}

/// Closes all namespaces and sessions.
///
/// Not with [`SocketIo::close`], which does not send Disconnect packets to viewers.
pub async fn close(io: &SocketIo, state: &ServerState, socket_io: &MethodRouter) {
    for namespace in ["/", PAGE_NAMESPACE] {
        io.delete_ns(namespace);
    }
    close_sessions(state, socket_io).await;
}

/// Opens the namespaces. The future sends events to viewers until it is dropped.
pub fn serve(io: SocketIo, state: &Arc<ServerState>) -> impl Future<Output = ()> + use<> {
    let admission = |kind| {
        let state = state.clone();
        move |socket: SocketRef, TryData(auth): TryData<Auth>| {
            let admit = || admit(&state, kind, &socket, auth.ok());
            let name = "the admission of viewers";
            let admitted = call_reporting_panics(&state.viewers, name, admit);
            ready(admitted.unwrap_or(Err(RefusalReason::Request)))
        }
    };
    io.ns("/", serve_events.with(admission(ViewerKind::SocketIo)));
    let page_admission = admission(ViewerKind::Page);
    io.ns(PAGE_NAMESPACE, serve_page.with(page_admission));
    broadcast(io, state.clone())
}

/// Registers a viewer that has the token, if the server is not full.
fn admit(
    state: &Arc<ServerState>,
    kind: ViewerKind,
    socket: &SocketRef,
    auth: Option<Auth>,
) -> Result<(), RefusalReason> {
    let request = socket.req_parts();
    let session_id = socket.id.to_string();
    // The socket has the connection of the request that opened the session. By now the session
    // may have another one.
    let first = request.extensions.get::<Arc<HttpConnection>>();
    let first = first.ok_or(RefusalReason::Request)?;
    state.sessions.insert(&session_id, first, None);
    let connection = state.sessions.connection(&session_id);
    let connection = connection.unwrap_or_else(|| first.clone());
    let refuse = |reason| {
        if state.sessions.count_refusal(&session_id) && connection.is_websocket() {
            connection.abort();
        }
        reason
    };
    if state.sessions.is_refused(&session_id) {
        return Err(refuse(RefusalReason::Request));
    }
    let from = connection.address.ip();
    let cross_site = is_cross_site(&request.headers);
    let token = auth.and_then(|auth| auth.token);
    let checked = match state.access.check_token(token.as_deref(), from, cross_site) {
        Err(AccessError::Token) => {
            let (headers, uri) = (&request.headers, &request.uri);
            state.access.check_request_token(headers, uri, from)
        }
        checked => checked,
    };
    if checked.is_err() {
        state.viewers.count_refusal(RefusalReason::Token);
        return Err(refuse(RefusalReason::Token));
    }
    let Some(session) = state.sessions.add_viewer(&session_id) else {
        connection.abort();
        return Err(RefusalReason::Request);
    };
    let registration = (state.viewers).register(kind, connection.address, session_id.clone());
    let registration = registration.ok_or_else(|| refuse(RefusalReason::Full))?;
    socket.extensions.insert(Arc::new(AdmittedViewer {
        _session: session,
        registration,
        state: state.clone(),
    }));
    Ok(())
}

/// Removes the viewer of a socket, and its session if that is closed, too.
fn remove_viewer(socket: &SocketRef, reason: DisconnectReason) {
    use DisconnectReason::{ClientNSDisconnect, ServerNSDisconnect};
    let Some(admitted) = socket.extensions.remove::<Arc<AdmittedViewer>>() else {
        return;
    };
    if !matches!(reason, ClientNSDisconnect | ServerNSDisconnect) {
        let session_id = &admitted.registration.viewer.session_id;
        admitted.state.sessions.remove(session_id);
    }
}

/// Serves a program that reads events, beginning with the newest frames.
async fn serve_events(socket: SocketRef) {
    let Some(admitted) = socket.extensions.get::<Arc<AdmittedViewer>>() else {
        return;
    };
    let viewer = admitted.registration.viewer.clone();
    socket.join(viewer.session_id.clone());
    socket.on_disconnect(async |socket: SocketRef, reason: DisconnectReason| {
        remove_viewer(&socket, reason);
    });
    admitted.state.new_viewers.add(viewer);
}

/// Serves the page.
async fn serve_page(socket: SocketRef) {
    let Some(admitted) = socket.extensions.get::<Arc<AdmittedViewer>>() else {
        return;
    };
    socket.on("time", async |ack: AckSender| {
        // Fails if the queue of the session is full: the page asks again.
        let _ = ack.send(&milliseconds(capture_time::now()));
    });
    let state = admitted.state.clone();
    let (viewers, viewer) = (state.viewers.clone(), admitted.registration.viewer.clone());
    let sender = send_frames(socket.clone(), state, viewer);
    let sender = run_reporting_panics(viewers, "the sender to a page", sender);
    // The task holds the socket, which would otherwise never be dropped.
    let sender = tokio::spawn(sender).abort_handle();
    socket.on_disconnect(async move |socket: SocketRef, reason: DisconnectReason| {
        sender.abort();
        remove_viewer(&socket, reason);
    });
}
