// SPDX-License-Identifier: MPL-2.0

//! A TCP server that sends the same frames to every client, each at its own pace.
//!
//! ```text
//!  Server::send() ─► Backlog ─► event loop ─┬─► connection ─► client
//!   (any thread)                (one thread) └─► connection ─► client
//! ```
//!
//! One thread does all the I/O on non-blocking sockets and never waits for a client: a frame
//! that a client cannot take yet stays in the [`Backlog`](super::backlog::Backlog).
//!
//! A client starts with the next frame that is sent. The server closes a connection only
//! between two frames, unless a deadline has passed: a client that waits for the rest of a
//! frame would otherwise wait forever.

use std::{
    any::Any,
    fmt,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::Poll;

use self::{
    event_loop::EventLoop,
    shared::{ServerPhase, Shared},
};
use super::backlog::{BacklogLimits, ClientStats, Overflow, ServerTotals};
use crate::sync;

mod connection;
mod event_loop;
mod liveness;
mod shared;
#[cfg(test)]
mod tests;

/// How long [`Server::stop`] waits for clients to take the rest of a frame.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a client was removed.
#[derive(Debug)]
pub enum RemovalReason {
    /// The client closed the connection.
    Left,
    /// The client closed the connection before it had read everything.
    Reset,
    /// The client's machine did not answer for too long.
    Timeout,
    /// The stream ended, or the server stopped.
    Ended,
    /// The socket failed.
    Error(io::Error),
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("left"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Ended => f.write_str("ended"),
            Self::Error(error) => write!(f, "error {error}"),
        }
    }
}

impl From<io::Error> for RemovalReason {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                Self::Reset
            }
            // The kernel reports these instead of a timeout if it cannot reach the host.
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                Self::Timeout
            }
            _ => Self::Error(error),
        }
    }
}

/// What a server reports. `clients` is the number of clients after the event.
#[derive(Debug)]
pub enum ServerEvent {
    /// A client was accepted.
    ClientAdded { address: SocketAddr, clients: usize },
    /// A client was removed; `stats` are its final counts.
    ClientRemoved {
        stats: ClientStats,
        reason: RemovalReason,
        clients: usize,
    },
    /// A connection cannot be accepted, for example for want of file descriptors. The server
    /// retries every second and reports only the first failure in a row.
    AcceptFailed(io::Error),
    /// The server has failed and has closed all connections. No event follows.
    Failed(ServerFailure),
}

/// Why a server has failed.
#[derive(Debug)]
pub enum ServerFailure {
    /// The I/O thread cannot poll its sockets.
    Poll(io::Error),
    /// The I/O thread, or the event callback that it called, has panicked.
    Panic(Box<dyn Any + Send>),
}

/// The state of a server, for the condition of [`Server::wait`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerStatus {
    /// Connected clients.
    pub clients: usize,
    /// See [`Backlog::is_full`](super::backlog::Backlog::is_full).
    pub backlog_full: bool,
    /// Whether the event callback has returned for every client that was removed.
    pub removals_reported: bool,
    /// Whether the server has failed. It has no clients then.
    pub failed: bool,
}

/// A server. Dropping it stops it.
pub struct Server {
    shared: Arc<Shared>,
    port: u16,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Listens on all `addresses`, on the same port, and starts the I/O thread.
    ///
    /// `on_event` runs in the I/O thread, which does nothing else until it returns.
    ///
    /// # Errors
    ///
    /// If an address cannot be bound, or the poll or the thread cannot be created.
    pub fn open(
        addresses: &[SocketAddr],
        limits: BacklogLimits,
        on_event: impl Fn(ServerEvent) + Send + 'static,
    ) -> io::Result<Self> {
        let (listeners, port) = crate::listen::listen(addresses)?;
        let poll = Poll::new()?;
        let shared = Arc::new(Shared::new(limits, event_loop::waker(&poll)?));
        let event_loop = EventLoop::new(poll, listeners, shared.clone(), Box::new(on_event))?;
        let thread = thread::Builder::new()
            .name("b64jpeg-server".into())
            .spawn(move || event_loop.run_guarded())?;
        Ok(Self {
            shared,
            port,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The port that the server listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Queues a whole frame for every connected client. Never waits for a client.
    ///
    /// Returns an empty buffer for the next frame, which reuses the memory of an earlier frame
    /// if that frame has been sent.
    pub fn send(&self, frame: Vec<u8>) -> Vec<u8> {
        let (queued, buffer) = {
            let mut state = self.shared.state();
            (state.backlog.push(frame), state.backlog.take_buffer())
        };
        if queued {
            self.shared.wake_event_loop();
        }
        buffer
    }

    /// Changes the limits. They apply to the next client and the next frame.
    pub fn set_limits(&self, limits: BacklogLimits) {
        let mut state = self.shared.state();
        state.backlog.set_limits(limits);
        state.wake_waiters(&self.shared.changed);
    }

    /// Chooses what slow clients lose from now on.
    pub fn set_overflow(&self, overflow: Overflow) {
        self.shared.state().backlog.set_overflow(overflow);
    }

    /// The number of connected clients. Takes no lock.
    pub fn clients(&self) -> usize {
        self.shared.clients.load(Ordering::SeqCst)
    }

    /// Whether the server has failed, see [`ServerEvent::Failed`]. Takes no lock.
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::SeqCst)
    }

    /// The counts since the server was opened, and those of each connected client.
    pub fn stats(&self) -> (ServerTotals, Vec<ClientStats>) {
        self.shared.state().backlog.stats()
    }

    /// Waits until `condition` holds, `deadline` has passed or the server has failed. Returns
    /// whether `condition` holds.
    ///
    /// `condition` is evaluated at once, then whenever a client is added, is removed or starts
    /// a frame, and after [`set_limits`](Self::set_limits) and
    /// [`wake_waiters`](Self::wake_waiters). It runs under the server's lock: it must neither
    /// call the server nor take another lock.
    pub fn wait(
        &self,
        deadline: Option<Instant>,
        mut condition: impl FnMut(ServerStatus) -> bool,
    ) -> bool {
        let mut state = self.shared.state();
        state.waiting += 1;
        let outcome = loop {
            let status = self.shared.status(&state);
            if condition(status) {
                break true;
            }
            if status.failed {
                break false;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let changed = &self.shared.changed;
            state = match left {
                None => sync::wait(changed, state),
                Some(Duration::ZERO) => break false,
                Some(left) => sync::wait_timeout(changed, state, left).0,
            };
        };
        state.waiting -= 1;
        outcome
    }

    /// Wakes all threads in [`wait`](Self::wait) so that they re-check their condition.
    pub fn wake_waiters(&self) {
        self.shared.state().wake_waiters(&self.shared.changed);
    }

    /// Closes each connection after everything that is queued for it, and refuses new clients.
    pub fn drain(&self) {
        self.shared.enter(ServerPhase::Draining);
    }

    /// Closes each connection after the frame that is being sent to it, and refuses new
    /// clients.
    pub fn finish_frames(&self) {
        self.shared.enter(ServerPhase::FinishingFrames);
    }

    /// Accepts clients again after [`drain`](Self::drain) or
    /// [`finish_frames`](Self::finish_frames).
    pub fn resume(&self) {
        self.shared.enter(ServerPhase::Serving);
    }

    /// Stops listening, gives clients one second to take the rest of a frame, and closes all
    /// connections. Returns when the I/O thread has ended, unless it is called from there.
    pub fn stop(&self) {
        let Some(thread) = sync::lock(&self.thread).take() else {
            return;
        };
        let deadline = Instant::now() + STOP_TIMEOUT;
        self.shared.enter(ServerPhase::Stopping(deadline));
        // In an event callback the thread would wait for itself.
        if thread.thread().id() != thread::current().id() {
            // The thread catches its panics.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
