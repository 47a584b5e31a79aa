// SPDX-License-Identifier: MPL-2.0

//! Gives every frame to every client, each at its own pace.
//!
//! One thread does all the I/O, and never waits for a client: what cannot be sent now
//! stays in the [`Backlog`].
//!
//! A client begins with the next frame, and is never left inside one: to leave it there
//! would make a program that waits for the rest wait forever.

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    io::{self, ErrorKind},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{Interest, Poll, Token, Waker};

use self::event_loop::{Io, LISTENERS, Listener, WAKER};
use super::backlog::{Backlog, Frame, Limits, Overflow, Peer, Sent, Totals};
use crate::listen::listen;

mod connection;
mod event_loop;
mod liveness;

/// How long stop() gives clients to take the rest of a frame.
const STOP: Duration = Duration::from_secs(1);

/// Why a client is one no more.
#[derive(Debug)]
pub enum Reason {
    /// It has closed the connection.
    Left,
    /// It has closed it without having read everything.
    Reset,
    /// It has answered nothing for too long.
    Timeout,
    /// The stream has come to its end, or we have.
    Ended,
    Error(io::Error),
}

impl fmt::Display for Reason {
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

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                Self::Reset
            }
            // Of a host that cannot be reached, the system says so instead of a timeout.
            ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                Self::Timeout
            }
            _ => Self::Error(error),
        }
    }
}

/// What happens to a server. `clients` is how many there are now.
#[derive(Debug)]
pub enum Event {
    Added {
        address: SocketAddr,
        clients: usize,
    },
    Removed {
        peer: Peer,
        reason: Reason,
        clients: usize,
    },
    /// There is no room for another connection; it is tried again from time to time.
    NoRoom(io::Error),
    /// The server serves nobody any more. Nothing follows.
    Failed(Failure),
}

/// Why a server has failed.
#[derive(Debug)]
pub enum Failure {
    /// The I/O thread cannot wait for its sockets.
    Io(io::Error),
    /// The I/O thread, or what it called, has panicked.
    Panic(Box<dyn Any + Send>),
}

/// Where a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub clients: usize,
    /// See [`Backlog::is_full`].
    pub full: bool,
    /// Whether everybody who has gone was told of.
    pub told: bool,
    /// Whether the server has failed. There are no clients then.
    pub failed: bool,
}

/// A server; it stops when it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    port: u16,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Listens on all `addresses`, on the same port.
    ///
    /// `on_event` is called from the server's own thread, which waits for it.
    pub fn open(
        addresses: &[SocketAddr],
        limits: Limits,
        on_event: impl Fn(Event) + Send + 'static,
    ) -> io::Result<Self> {
        let (sockets, port) = listen(addresses)?;
        let mut listeners: Vec<_> = sockets.into_iter().map(Listener::new).collect();
        let poll = Poll::new()?;
        for (index, listener) in listeners.iter_mut().enumerate() {
            let token = Token(LISTENERS + index);
            poll.registry()
                .register(&mut listener.socket, token, Interest::READABLE)?;
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                backlog: Backlog::new(limits),
                phase: Phase::Open,
                waiting: 0,
                telling: false,
                failed: false,
            }),
            changed: Condvar::new(),
            waker: Waker::new(poll.registry(), WAKER)?,
        });
        let mut io = Io {
            poll,
            shared: shared.clone(),
            listeners,
            clients: Vec::new(),
            free: Vec::new(),
            ready: VecDeque::new(),
            leaving: VecDeque::new(),
            look_again: None,
            accept_again: None,
            told_no_room: false,
            phase: Phase::Open,
            on_event: Box::new(on_event),
        };
        let thread = thread::Builder::new()
            .name("b64jpeg-server".into())
            .spawn(move || {
                let failure = match catch_unwind(AssertUnwindSafe(|| io.run())) {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => Failure::Io(error),
                    Err(panic) => Failure::Panic(panic),
                };
                io.fail(failure);
            })?;
        Ok(Self {
            shared,
            port,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// An empty buffer for a frame, with the memory of an earlier one.
    pub fn buffer(&self) -> Vec<u8> {
        self.shared.state().backlog.buffer()
    }

    /// Sends a whole frame to every client that is there, and never waits for any.
    pub fn send(&self, frame: Vec<u8>) {
        if self.shared.state().backlog.push(frame) {
            self.shared.wake();
        }
    }

    pub fn set_limits(&self, limits: Limits) {
        let mut state = self.shared.state();
        state.backlog.set_limits(limits);
        state.tell(&self.shared.changed);
    }

    pub fn set_overflow(&self, overflow: Overflow) {
        self.shared.state().backlog.set_overflow(overflow);
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.shared.state().backlog.clients()
    }

    /// Whether the server has failed, which [`Event::Failed`] reports.
    pub fn has_failed(&self) -> bool {
        self.shared.state().failed
    }

    /// The counts since the start, and each client.
    pub fn stats(&self) -> (Totals, Vec<Peer>) {
        self.shared.state().backlog.stats()
    }

    /// Waits until `enough` says so, which is asked whenever a client comes, has gone or
    /// takes a frame, by [`set_limits`](Self::set_limits) and by [`nudge`](Self::nudge); or
    /// until `deadline`, or until the server fails.
    ///
    /// Returns whether it said so. It is asked under a lock and must not take others.
    pub fn wait(&self, deadline: Option<Instant>, mut enough: impl FnMut(Status) -> bool) -> bool {
        let mut state = self.shared.state();
        state.waiting += 1;
        let outcome = loop {
            if enough(state.status()) {
                break true;
            }
            if state.failed {
                break false;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let changed = &self.shared.changed;
            state = match left {
                None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break false,
                Some(left) => {
                    let woken = changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        state.waiting -= 1;
        outcome
    }

    /// Has whoever is in [`wait`](Self::wait) look again.
    pub fn nudge(&self) {
        self.shared.state().tell(&self.shared.changed);
    }

    /// Tells every client the end, once it has got what waits for it, and those that come
    /// from now on at once.
    pub fn end(&self) {
        self.shared.enter(Phase::Ending);
    }

    /// Tells every client the end, once it has got the rest of the frame under way.
    pub fn cut(&self) {
        self.shared.enter(Phase::Cutting);
    }

    /// Takes clients again after [`end`](Self::end).
    pub fn resume(&self) {
        self.shared.enter(Phase::Open);
    }

    /// Stops listening, gives clients a second to take the rest of a frame, and closes.
    pub fn stop(&self) {
        let thread = self.thread.lock();
        let Some(thread) = thread.unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        self.shared.enter(Phase::Stopping(Instant::now() + STOP));
        // In a callback of its own the thread would wait for itself.
        if thread.thread().id() != thread::current().id() {
            // It catches its panics.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Clients get what waits for them, and then the end.
    Ending,
    /// They get the rest of the frame under way, and then the end.
    Cutting,
    /// The same, until then.
    Stopping(Instant),
}

/// What a client gets next.
enum Next {
    Frame(Frame),
    Nothing,
    End,
}

struct State {
    backlog: Backlog,
    phase: Phase,
    /// Threads in [`Server::wait`].
    waiting: usize,
    /// Whether somebody has gone and it is still to be told.
    telling: bool,
    /// Whether the I/O thread has failed.
    failed: bool,
}

impl State {
    fn status(&self) -> Status {
        Status {
            clients: self.backlog.clients(),
            full: self.backlog.is_full(),
            told: !self.telling,
            failed: self.failed,
        }
    }

    /// Has those who wait for a change look at it.
    fn tell(&self, changed: &Condvar) {
        if self.waiting > 0 {
            changed.notify_all();
        }
    }
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    waker: Waker,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the I/O thread look at the state.
    fn wake(&self) {
        // It can only fail if it was called very often since the thread looked last.
        let _ = self.waker.wake();
    }

    /// What a client gets next, after it was sent so much.
    fn next(&self, slot: usize, sent: &mut Sent) -> Next {
        let mut state = self.state();
        state.backlog.count(slot, std::mem::take(sent));
        match state.phase {
            Phase::Open => state.backlog.next(slot).map_or(Next::Nothing, Next::Frame),
            Phase::Ending => state.backlog.next(slot).map_or(Next::End, Next::Frame),
            Phase::Cutting | Phase::Stopping(_) => Next::End,
        }
    }

    /// A client has begun to get that.
    fn begin(&self, slot: usize) {
        let mut state = self.state();
        state.backlog.begin(slot);
        state.tell(&self.changed);
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state();
        // There is no way back from the last one.
        if state.phase != phase && !matches!(state.phase, Phase::Stopping(_)) {
            state.phase = phase;
            drop(state);
            self.wake();
        }
    }
}

#[cfg(test)]
mod tests;
