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

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};

use crate::web::socket::Socket;

/// Whoever has taken nothing for so long, although there was something, is cut off.
///
/// Nothing else would do it: engineioxide waits for as long as the connection is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// A session that polls asks more often than this, to say that it is there.
const SESSION: Duration = Duration::from_secs(60);
/// Those that poll need no connection, so that they are counted by themselves.
const MAX_SESSIONS: usize = 2000;

/// What is known of a connection.
#[derive(Debug)]
pub struct Line {
    pub address: SocketAddr,
    /// Whether what was to be sent last is still to be.
    busy: AtomicBool,
    /// Whether anything was said since this was asked last.
    heard: AtomicBool,
    /// Bytes that were sent, over all connections.
    bytes: Arc<AtomicU64>,
}

impl Line {
    pub fn new(address: SocketAddr, bytes: Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            address,
            busy: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            bytes,
        })
    }

    /// Whether anything was said since this was asked last.
    pub fn take_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }
}

/// Engine.IO sessions, and which connection each of them has now: it may begin with
/// polling, and go on with a websocket.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, Session>>);

#[derive(Debug)]
struct Session {
    line: Weak<Line>,
    asked: Instant,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a new one.
    pub fn add(&self, session: &str, line: &Arc<Line>) {
        let line = Arc::downgrade(line);
        let asked = Instant::now();
        self.lock().insert(session.into(), Session { line, asked });
    }

    /// One of them, if it is, asks for something over a connection.
    pub fn asks(&self, session: &str, line: &Arc<Line>) {
        if let Some(session) = self.lock().get_mut(session) {
            session.line = Arc::downgrade(line);
            session.asked = Instant::now();
        }
    }

    /// Whether there are as many as there may be.
    pub fn is_full(&self) -> bool {
        let mut sessions = self.lock();
        if sessions.len() < MAX_SESSIONS {
            return false;
        }
        sessions.retain(|_, session| {
            session.line.strong_count() > 0 || session.asked.elapsed() < SESSION
        });
        sessions.len() >= MAX_SESSIONS
    }

    pub fn has(&self, session: &str) -> bool {
        self.lock().contains_key(session)
    }

    /// Whether what was to be sent to it last is still to be.
    pub fn is_busy(&self, session: &str) -> bool {
        let line = self
            .lock()
            .get(session)
            .and_then(|session| session.line.upgrade());
        line.is_some_and(|line| line.busy.load(Ordering::Relaxed))
    }

    /// All that may be there.
    pub fn all(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }
}

/// The stream of a connection.
pub struct Stream {
    tcp: Socket,
    line: Arc<Line>,
    /// When it is too late for what is to be sent. The timer stays from one wait to the next.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Ready when the server stops.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// It goes with the connection, into whatever that is upgraded to.
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    pub fn new(
        tcp: Socket,
        line: Arc<Line>,
        end: impl Future<Output = ()> + Send + 'static,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            tcp,
            line,
            deadline: None,
            end: Some(Box::pin(end)),
            _permit: permit,
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

    /// Whether the server stops.
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
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.line.heard.store(true, Ordering::Relaxed);
        }
        read
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
