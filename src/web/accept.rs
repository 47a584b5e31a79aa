// SPDX-License-Identifier: MPL-2.0

//! From a listening socket to HTTP: how many may come, how long they may take, and how
//! much they may say before they are let in.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, header},
};
use b64jpeg_net::listen::tune;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{
    Shared,
    connection::{Line, Stream},
    metered_stream::Metered,
    per_address::{Share, Shares},
    socketio::session_of,
    task_panics::reported,
    viewers::{Event, Refusal},
};

/// Connections at the same time, of whatever kind.
pub const MAX_CONNECTIONS: usize = 1000;
/// Bytes of a request's head.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// How long a head may take, and also the pause before the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before accepting again when the system could not accept a connection.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What a connection is served with.
#[derive(Clone)]
pub struct Service {
    pub shared: Arc<Shared>,
    pub router: Router,
    pub tls: Option<TlsAcceptor>,
    /// Room for so many.
    pub connections: Arc<Semaphore>,
    /// And for so many of one address.
    pub shares: Arc<Shares>,
    /// True when they have to end.
    pub end: watch::Receiver<bool>,
}

/// What a connection takes of the room that there is, until it is dropped.
#[derive(Debug)]
pub struct Room {
    _permit: OwnedSemaphorePermit,
    _share: Share,
}

/// Accepts for ever.
pub async fn accept(listener: TcpListener, service: Service) -> Infallible {
    let mut told_no_room = false;
    loop {
        match listener.accept().await {
            Ok((tcp, address)) => {
                told_no_room = false;
                match service.room(address) {
                    Ok(room) => {
                        let viewers = service.shared.viewers.clone();
                        let serve = service.clone().serve(tcp, address, room);
                        tokio::spawn(reported(viewers, "a connection", serve));
                    }
                    Err(refusal) => service.shared.viewers.refuse(refusal),
                }
            }
            // The peer hung up before we accepted it.
            Err(error) if is_fault_of_peer(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut told_no_room, true) {
                    service
                        .shared
                        .viewers
                        .tell(&Event::CannotAccept(error.to_string()));
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_fault_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Whether a request asks for a websocket.
fn asks_for_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE);
    upgrade.is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

impl Service {
    /// Room for a connection, if there is some.
    fn room(&self, address: SocketAddr) -> Result<Room, Refusal> {
        let share = self.shares.take(address.ip()).ok_or(Refusal::Address)?;
        let permit = self.connections.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Refusal::Connections)?;
        Ok(Room {
            _permit: permit,
            _share: share,
        })
    }

    async fn serve(self, tcp: TcpStream, address: SocketAddr, room: Room) {
        tune(&tcp);
        let line = Line::new(address, self.shared.bytes.clone());
        let mut end = self.end.clone();
        let cut = line.clone();
        let end = async move {
            tokio::select! {
                _ = end.wait_for(|end| *end) => {}
                () = cut.is_cut() => {}
            }
        };
        let stream = Stream::new(tcp.into(), line.clone(), end, room);
        let Some(tls) = &self.tls else {
            return self.speak(stream, line).await;
        };
        match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak(stream, line).await,
            Ok(Err(_)) | Err(_) => self.shared.viewers.refuse(Refusal::Tls),
        }
    }

    /// Speaks HTTP, until it is over or becomes a websocket.
    async fn speak(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        line: Arc<Line>,
    ) {
        line.take_heard();
        let viewers = self.shared.viewers.clone();
        let stream = Metered::new(stream, line.clone());
        let of_request = line.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            // At once, and not when the answer is waited for: the stream has to know before
            // anything behind the head is read.
            let session = session_of(request.uri().query().unwrap_or_default());
            let websocket = asks_for_websocket(request.headers());
            of_request.spend_request(websocket, session.is_some());
            of_request.take_heard();
            request.extensions_mut().insert(of_request.clone());
            self.router.clone().oneshot(request.map(Body::new))
        });
        let spoken = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        // Others have gone away, take nothing, or had nothing to ask for: browsers connect
        // ahead, and stay for a while.
        let refused =
            |error: hyper::Error| error.is_parse() || error.is_timeout() && line.take_heard();
        if spoken.is_err_and(refused) {
            viewers.refuse(Refusal::Request);
        }
    }
}
