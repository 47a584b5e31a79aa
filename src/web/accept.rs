// SPDX-License-Identifier: MPL-2.0

//! Accepts connections and serves HTTP on them, within limits on their number, their time and
//! the size of requests.

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
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::{
    connection::{ConnectionStream, HttpConnection},
    connection_limits::{ConnectionLimits, ConnectionPermit},
    engineio_query::session_id,
    metered_stream::MeteredStream,
    refusals::RefusalReason,
    state::ServerState,
    task_panics::run_reporting_panics,
    viewers::WebServerEvent,
};

/// Maximum size of the head of a request, in bytes and in headers.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// Maximum time for the head of a request, including the wait for its first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after the system failed to accept a connection.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Accepts connections and serves HTTP on them.
#[derive(Clone)]
pub struct ConnectionAcceptor {
    /// The state of the server.
    pub state: Arc<ServerState>,
    /// Handles the requests.
    pub router: Router,
    /// Set if the server speaks TLS.
    pub tls: Option<TlsAcceptor>,
    /// Limits the number of connections.
    pub limits: ConnectionLimits,
    /// True when all connections must be closed.
    pub closing: watch::Receiver<bool>,
}

impl ConnectionAcceptor {
    /// Accepts connections for ever.
    pub async fn accept(self, listener: TcpListener) -> Infallible {
        let mut failure_reported = false;
        loop {
            match listener.accept().await {
                Ok((tcp, address)) => {
                    failure_reported = false;
                    match self.limits.try_acquire(address.ip()) {
                        Ok(permit) => {
                            let viewers = self.state.viewers.clone();
                            let serve = self.clone().serve(tcp, address, permit);
                            tokio::spawn(run_reporting_panics(viewers, "a connection", serve));
                        }
                        Err(reason) => self.state.viewers.count_refusal(reason),
                    }
                }
                // The peer closed the connection before it was accepted.
                Err(error) if is_caused_by_peer(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failure_reported, true) {
                        let event = WebServerEvent::AcceptFailed(error);
                        self.state.viewers.notify(&event);
                    }
                    sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        }
    }

    async fn serve(self, tcp: TcpStream, address: SocketAddr, permit: ConnectionPermit) {
        tune(&tcp);
        let connection = HttpConnection::new(address, self.state.bytes_served.clone());
        let mut closing = self.closing.clone();
        let aborted = connection.clone();
        let closing = async move {
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => {}
                () = aborted.aborted() => {}
            }
        };
        let stream = ConnectionStream::new(tcp.into(), connection.clone(), closing, permit);
        let Some(tls) = &self.tls else {
            return self.serve_http(stream, connection).await;
        };
        match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve_http(stream, connection).await,
            Ok(Err(_)) | Err(_) => self.state.viewers.count_refusal(RefusalReason::Tls),
        }
    }

    /// Serves HTTP until the connection is closed or upgraded to a WebSocket.
    async fn serve_http(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        connection: Arc<HttpConnection>,
    ) {
        connection.take_received();
        let viewers = self.state.viewers.clone();
        let stream = MeteredStream::new(stream, connection.clone());
        let request_connection = connection.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            // Charged here and not in a future: the stream must know of an upgrade before
            // anything behind the head is read.
            let session = session_id(request.uri().query().unwrap_or_default());
            let is_upgrade = is_websocket_upgrade(request.headers());
            request_connection.charge_request(is_upgrade, session.is_some());
            request_connection.take_received();
            request.extensions_mut().insert(request_connection.clone());
            self.router.clone().oneshot(request.map(Body::new))
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
        // Other errors are no refusals: the peer closed the connection, did not read, or sent no
        // request at all, as browsers do that connect in advance.
        let is_refusal = |error: hyper::Error| {
            error.is_parse() || error.is_timeout() && connection.take_received()
        };
        if served.is_err_and(is_refusal) {
            viewers.count_refusal(RefusalReason::Request);
        }
    }
}

fn is_caused_by_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Whether a request asks for a WebSocket.
fn is_websocket_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE);
    upgrade.is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
