// SPDX-License-Identifier: MPL-2.0

//! A connection: one of so many, and never stuck.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};

/// Whoever has taken nothing for so long, although there was something, is cut off.
///
/// Nothing else would do it: engineioxide waits for as long as the connection is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of a connection.
#[derive(Debug)]
pub struct Line {
    pub address: SocketAddr,
    /// Whether what was to be sent last is still to be.
    busy: AtomicBool,
    /// Bytes that were sent, over all connections.
    bytes: Arc<AtomicU64>,
}

impl Line {
    pub fn new(address: SocketAddr, bytes: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            address,
            busy: AtomicBool::new(false),
            bytes,
        })
    }
}

/// Which connection each Engine.IO session has now: it may begin with polling, and go on
/// with a websocket.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, Weak<Line>>>);

impl Sessions {
    fn lines(&self) -> MutexGuard<'_, HashMap<String, Weak<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, session: &str, line: &Arc<Line>) {
        let mut lines = self.lines();
        if lines.len() == lines.capacity() {
            lines.retain(|_, line| line.strong_count() > 0);
        }
        lines.insert(session.into(), Arc::downgrade(line));
    }

    /// As [`put`](Self::put), if nothing is known of it.
    pub fn put_first(&self, session: &str, line: &Arc<Line>) {
        let known = self.lines().contains_key(session);
        if !known {
            self.put(session, line);
        }
    }

    /// Whether what was to be sent to it last is still to be.
    pub fn is_busy(&self, session: &str) -> bool {
        let line = self.lines().get(session).and_then(Weak::upgrade);
        line.is_some_and(|line| line.busy.load(Ordering::Relaxed))
    }
}

/// The stream of a connection.
pub struct Stream {
    tcp: TcpStream,
    line: Arc<Line>,
    /// When it is too late for what is to be sent. The timer stays from one wait to the next.
    deadline: Option<Pin<Box<Sleep>>>,
    /// It goes with the connection, into whatever that is upgraded to.
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    pub fn new(tcp: TcpStream, line: Arc<Line>, permit: OwnedSemaphorePermit) -> Self {
        Self {
            tcp,
            line,
            deadline: None,
            _permit: permit,
        }
    }

    /// Does not wait any longer than is right.
    fn bound<T>(&mut self, cx: &mut Context<'_>, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let was_busy = self.line.busy.swap(sent.is_pending(), Ordering::Relaxed);
        if sent.is_ready() {
            return sent;
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
        // Whoever reads has to notice, too; and what nobody takes is not kept for later.
        let socket = SockRef::from(&self.tcp);
        let _ = socket.set_linger(Some(Duration::ZERO));
        let _ = socket.shutdown(Shutdown::Both);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
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
