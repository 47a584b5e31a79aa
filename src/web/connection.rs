// SPDX-License-Identifier: MPL-2.0

//! An accepted connection: limits how fast its peer sends and how long writes may stall.

use std::{
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use b64jpeg_net::{socket::Socket, sync::lock};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    connection_limits::ConnectionPermit,
    rate_limiter::{RateLimit, RateLimiter},
};

/// How long a write may make no progress before the connection is aborted.
///
/// engineioxide itself waits for as long as the connection exists.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a peer may send: 64 KiB at once, then 32 KiB a second. A browser that polls because it
/// cannot use WebSockets sends the most, some 1.5 KB for each frame.
const INCOMING: RateLimit = RateLimit {
    burst: 64 << 10,
    interval: Duration::from_nanos(1_000_000_000 / (32 << 10)),
};
/// What a request costs besides its bytes, and one that continues an Engine.IO session.
const REQUEST_COST: u32 = 512;
const SESSION_REQUEST_COST: u32 = 128;
/// What a packet, or a read, costs besides its bytes.
const PACKET_COST: u32 = 64;
/// Bytes that must be available before reading resumes on a connection that reached its limit.
const MIN_RESUME: u32 = 256;

/// What is known of an accepted connection. Requests that arrive on it carry it as an extension.
#[derive(Debug)]
pub struct HttpConnection {
    /// Address of the peer.
    pub address: SocketAddr,
    /// Whether the last write waits for the peer.
    write_blocked: AtomicBool,
    /// Whether bytes arrived since [`take_received`](Self::take_received).
    received: AtomicBool,
    /// Bytes sent over all connections of the server.
    bytes_sent: Arc<AtomicU64>,
    /// Bounds what the peer sends.
    incoming: Mutex<RateLimiter>,
    /// Whether WebSocket frames follow the last request.
    websocket: AtomicBool,
    abort: Notify,
}

impl HttpConnection {
    /// A new connection that adds what it sends to `bytes_sent`.
    pub fn new(address: SocketAddr, bytes_sent: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            address,
            write_blocked: AtomicBool::new(false),
            received: AtomicBool::new(false),
            bytes_sent,
            incoming: Mutex::new(RateLimiter::new(INCOMING, Instant::now())),
            websocket: AtomicBool::new(false),
            abort: Notify::new(),
        })
    }

    /// Whether bytes arrived since the last call.
    pub fn take_received(&self) -> bool {
        self.received.swap(false, Ordering::Relaxed)
    }

    /// Whether the last write waits for the peer.
    pub fn is_write_blocked(&self) -> bool {
        self.write_blocked.load(Ordering::Relaxed)
    }

    fn incoming(&self) -> MutexGuard<'_, RateLimiter> {
        lock(&self.incoming)
    }

    /// Charges bytes that the peer sent.
    fn charge_bytes(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.incoming().spend(bytes, Instant::now());
    }

    /// Charges packets, or reads, whose bytes are already charged.
    pub fn charge_packets(&self, packets: u32) {
        if packets > 0 {
            let cost = packets.saturating_mul(PACKET_COST);
            self.incoming().spend(cost, Instant::now());
        }
    }

    /// Charges a request whose bytes are already charged. Must be called before anything behind
    /// its head is read.
    pub fn charge_request(&self, is_upgrade: bool, has_session: bool) {
        let cost = match has_session {
            true => SESSION_REQUEST_COST,
            false => REQUEST_COST,
        };
        self.incoming().spend(cost, Instant::now());
        self.websocket.store(is_upgrade, Ordering::Relaxed);
    }

    /// Whether WebSocket frames follow the last request.
    pub fn is_websocket(&self) -> bool {
        self.websocket.load(Ordering::Relaxed)
    }

    /// Makes its stream close the connection.
    pub fn abort(&self) {
        self.abort.notify_one();
    }

    /// ReconnectSettings for [`abort`](Self::abort).
    pub async fn aborted(&self) {
        self.abort.notified().await;
    }
}

/// The byte stream of a connection.
pub struct ConnectionStream {
    tcp: Socket,
    connection: Arc<HttpConnection>,
    /// When the blocked write times out. The timer is reused from one write to the next.
    write_deadline: Option<Pin<Box<Sleep>>>,
    /// When the peer may send again.
    read_pause: Option<Pin<Box<Sleep>>>,
    /// Completes when the connection must be closed; `None` once it has.
    closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Held until the stream is dropped, also after an upgrade.
    _permit: ConnectionPermit,
}

impl ConnectionStream {
    /// The stream of a connection, which is closed when `closing` completes.
    pub fn new(
        tcp: Socket,
        connection: Arc<HttpConnection>,
        closing: impl Future<Output = ()> + Send + 'static,
        permit: ConnectionPermit,
    ) -> Self {
        Self {
            tcp,
            connection,
            write_deadline: None,
            read_pause: None,
            closing: Some(Box::pin(closing)),
            _permit: permit,
        }
    }

    /// ReconnectSettings until the peer may send; the number of bytes that it may send.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            let available = self.connection.incoming().available(Instant::now());
            if available > 0 {
                return Poll::Ready(usize::try_from(available).unwrap_or(usize::MAX));
            }
            let resume = self.connection.incoming().available_at(MIN_RESUME);
            let pause = self
                .read_pause
                .get_or_insert_with(|| Box::pin(sleep_until(resume)));
            if pause.deadline() != resume {
                pause.as_mut().reset(resume);
            }
            ready!(pause.as_mut().poll(cx));
        }
    }

    /// Fails a write that is blocked for too long, or whose connection must be closed.
    fn bound_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        sent: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let blocked = &self.connection.write_blocked;
        let was_blocked = blocked.swap(sent.is_pending(), Ordering::Relaxed);
        if sent.is_ready() {
            return sent;
        }
        if self.poll_closing(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let deadline = match &mut self.write_deadline {
            Some(deadline) => {
                if !was_blocked {
                    deadline.as_mut().reset(Instant::now() + WRITE_TIMEOUT);
                }
                deadline
            }
            none => none.insert(Box::pin(sleep_until(Instant::now() + WRITE_TIMEOUT))),
        };
        ready!(deadline.as_mut().poll(cx));
        self.close();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether the connection must be closed. Closes it the first time.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(closing) = &mut self.closing {
            if closing.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.closing = None;
            self.close();
        }
        true
    }

    /// Shuts the socket down, so that pending reads and writes end. If the peer does not read,
    /// unsent data is discarded.
    fn close(&self) {
        let socket = self.tcp.options();
        if self.connection.write_blocked.load(Ordering::Relaxed) {
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
        let _ = socket.shutdown(Shutdown::Both);
    }

    fn count_sent(&self, sent: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(len)) = sent {
            let bytes_sent = &self.connection.bytes_sent;
            bytes_sent.fetch_add(*len as u64, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for ConnectionStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.poll_closing(cx) {
            return Poll::Ready(Ok(()));
        }
        // Below TLS, so that padding and empty records count as well.
        let available = ready!(self.poll_incoming(cx));
        let len = available.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(len));
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut part))?;
        let len = part.filled().len();
        buffer.advance(len);
        if len > 0 {
            self.connection.received.store(true, Ordering::Relaxed);
            self.connection.charge_bytes(len);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ConnectionStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.count_sent(&sent);
        self.bound_write(cx, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.tcp).poll_write_vectored(cx, slices);
        self.count_sent(&sent);
        self.bound_write(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    // Flush and shutdown never block: a TCP socket has no buffer in this process.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
