// SPDX-License-Identifier: MPL-2.0

//! A connection: one of so many, and never stuck.

use std::{
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use b64jpeg_net::socket::Socket;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    accept::Room,
    rate_limiter::{Allowance, Budget},
};

/// Whoever has taken nothing for so long, although there was something, is cut off.
///
/// Nothing else would do it: engineioxide waits for as long as the connection is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a connection may send: 64 KiB at once, then 32 KiB a second. A browser that polls
/// because it has no websocket sends the most, some 1.5 KB for each picture.
const INCOMING: Allowance = Allowance {
    burst: 64 << 10,
    interval: Duration::from_nanos(1_000_000_000 / (32 << 10)),
};
/// What a request costs besides its own bytes, and one that only continues a session.
const REQUEST_COST: u32 = 512;
const SESSION_REQUEST_COST: u32 = 128;
/// What a packet costs besides its own bytes, and a read.
const PACKET_COST: u32 = 64;
/// Bytes that have to be allowed before a connection that has used up its budget is read again.
const LEAST: u32 = 256;

/// What is known of a connection.
#[derive(Debug)]
pub struct Line {
    pub address: SocketAddr,
    /// Whether the last write still waits for the peer.
    busy: AtomicBool,
    /// Whether anything was said since this was asked last.
    heard: AtomicBool,
    /// Bytes that were sent, over all connections.
    bytes: Arc<AtomicU64>,
    /// What the peer may send.
    budget: Mutex<Budget>,
    /// Whether the frames of a websocket follow the last request.
    websocket: AtomicBool,
    /// Ends the connection.
    cut: Notify,
}

impl Line {
    pub fn new(address: SocketAddr, bytes: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            address,
            busy: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            bytes,
            budget: Mutex::new(Budget::new(INCOMING, Instant::now())),
            websocket: AtomicBool::new(false),
            cut: Notify::new(),
        })
    }

    /// Whether anything was said since this was asked last.
    pub fn take_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }

    /// Whether the last write still waits for the peer.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that the peer has sent.
    fn spend(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.budget().spend(bytes, Instant::now());
    }

    /// Counts packets, or reads, whose bytes were counted.
    pub fn spend_packets(&self, packets: u32) {
        if packets > 0 {
            let cost = packets.saturating_mul(PACKET_COST);
            self.budget().spend(cost, Instant::now());
        }
    }

    /// Counts a request whose bytes were counted. To be called before anything behind its
    /// head is read.
    pub fn spend_request(&self, asks_for_websocket: bool, has_session: bool) {
        let cost = match has_session {
            true => SESSION_REQUEST_COST,
            false => REQUEST_COST,
        };
        self.budget().spend(cost, Instant::now());
        self.websocket.store(asks_for_websocket, Ordering::Relaxed);
    }

    /// Whether the frames of a websocket follow the last request.
    pub fn is_websocket(&self) -> bool {
        self.websocket.load(Ordering::Relaxed)
    }

    /// Ends the connection.
    pub fn cut(&self) {
        self.cut.notify_one();
    }

    /// Returns when the connection is to be ended.
    pub async fn is_cut(&self) {
        self.cut.notified().await;
    }
}

/// The stream of a connection.
pub struct Stream {
    tcp: Socket,
    line: Arc<Line>,
    /// When it is too late for what is to be sent. The timer stays from one wait to the next.
    deadline: Option<Pin<Box<Sleep>>>,
    /// When there is a budget again for what the peer sends.
    wait: Option<Pin<Box<Sleep>>>,
    /// Ready when the connection has to end.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// It goes with the connection, into whatever that is upgraded to.
    _room: Room,
}

impl Stream {
    pub fn new(
        tcp: Socket,
        line: Arc<Line>,
        end: impl Future<Output = ()> + Send + 'static,
        room: Room,
    ) -> Self {
        Self {
            tcp,
            line,
            deadline: None,
            wait: None,
            end: Some(Box::pin(end)),
            _room: room,
        }
    }

    /// Ready when the peer may send something; how many bytes.
    fn poll_budget(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            let left = self.line.budget().left(Instant::now());
            if left > 0 {
                return Poll::Ready(usize::try_from(left).unwrap_or(usize::MAX));
            }
            let when = self.line.budget().when_left(LEAST);
            let wait = self.wait.get_or_insert_with(|| Box::pin(sleep_until(when)));
            if wait.deadline() != when {
                wait.as_mut().reset(when);
            }
            ready!(wait.as_mut().poll(cx));
        }
    }

    /// Does not wait any longer than is right.
    fn bound<T>(&mut self, cx: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let was_busy = self.line.busy.swap(sent.is_pending(), Ordering::Relaxed);
        if sent.is_ready() {
            return sent;
        }
        if self.is_over(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let deadline = match &mut self.deadline {
            Some(deadline) => {
                if !was_busy {
                    deadline.as_mut().reset(Instant::now() + PATIENCE);
                }
                deadline
            }
            none => none.insert(Box::pin(sleep_until(Instant::now() + PATIENCE))),
        };
        ready!(deadline.as_mut().poll(cx));
        self.cut();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether the connection has to end.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(end) = &mut self.end {
            if end.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.end = None;
            self.cut();
        }
        true
    }

    /// Whoever reads or writes notices, and what nobody takes is not kept for later.
    fn cut(&self) {
        let socket = self.tcp.options();
        if self.line.busy.load(Ordering::Relaxed) {
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
        let _ = socket.shutdown(Shutdown::Both);
    }

    fn count(&self, sent: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(len)) = sent {
            self.line.bytes.fetch_add(*len as u64, Ordering::Relaxed);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_over(cx) {
            return Poll::Ready(Ok(()));
        }
        // Below TLS, where padding and empty records count as well.
        let left = ready!(self.poll_budget(cx));
        let room = left.min(buffer.remaining());
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut piece))?;
        let len = piece.filled().len();
        buffer.advance(len);
        if len > 0 {
            self.line.heard.store(true, Ordering::Relaxed);
            self.line.spend(len);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.tcp).poll_write(cx, bytes);
        self.count(&sent);
        self.bound(cx, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.tcp).poll_write_vectored(cx, slices);
        self.count(&sent);
        self.bound(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    // Neither of these ever waits: TCP has no buffer of ours to flush.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
