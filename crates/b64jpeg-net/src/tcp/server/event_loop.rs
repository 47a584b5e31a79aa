// SPDX-License-Identifier: MPL-2.0

//! The I/O thread: polls the sockets, serves the connections in rounds, accepts clients and
//! removes them.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    net::{self, Shutdown, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token, Waker,
    event::Event as Readiness,
    net::{TcpListener, TcpStream},
};
use socket2::SockRef;

use super::{
    RemovalReason, ServerEvent, ServerFailure,
    connection::{Connection, NextStep},
    liveness::{DEAD_AFTER, is_dead},
    shared::{ServerPhase, Shared},
};
use crate::listen::tune;

/// Connections accepted per listener before the clients are served again.
const MAX_ACCEPTS_PER_ROUND: usize = 64;
/// How often connections without progress are checked for dead clients.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(10);
/// How long a client may take to close after its connection was shut down. Its input is read
/// meanwhile: closing a socket with unread input sends a reset, which discards what the client
/// has not received yet.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before accepting again after accepting has failed.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Readiness events per poll.
const EVENTS_CAPACITY: usize = 1024;
/// Poll tokens: connections from 0 by their slot, listeners from here, and the waker.
const FIRST_LISTENER: usize = usize::MAX / 2;
const WAKER: Token = Token(usize::MAX);

/// The waker of an event loop's poll.
pub(super) fn waker(poll: &Poll) -> io::Result<Waker> {
    Waker::new(poll.registry(), WAKER)
}

struct Listener {
    socket: TcpListener,
    /// Whether a connection may be pending.
    ready: bool,
}

/// State of the I/O thread.
pub(super) struct EventLoop {
    poll: Poll,
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
    /// By slot.
    connections: Vec<Option<Connection>>,
    free_slots: Vec<usize>,
    /// Slots of connections to serve in the next round.
    scheduled: VecDeque<usize>,
    /// Close deadlines and slots of connections that were shut down, the earliest first. An
    /// entry stays until its deadline, even if the client closes before.
    closing: VecDeque<(Instant, usize)>,
    /// When to look for dead clients, while there are any clients.
    liveness_check: Option<Instant>,
    /// When to accept again after accepting has failed.
    accept_retry: Option<Instant>,
    /// Whether the failure was reported.
    accept_failure_reported: bool,
    /// The phase that this thread has acted upon.
    phase: ServerPhase,
    on_event: Box<dyn Fn(ServerEvent) + Send>,
}

impl EventLoop {
    /// # Errors
    ///
    /// If a listener cannot be added to the poll.
    pub(super) fn new(
        poll: Poll,
        listeners: Vec<net::TcpListener>,
        shared: Arc<Shared>,
        on_event: Box<dyn Fn(ServerEvent) + Send>,
    ) -> io::Result<Self> {
        let listeners = listeners.into_iter().enumerate().map(|(index, socket)| {
            let mut socket = TcpListener::from_std(socket);
            let token = Token(FIRST_LISTENER + index);
            poll.registry()
                .register(&mut socket, token, Interest::READABLE)?;
            Ok(Listener {
                socket,
                ready: false,
            })
        });
        Ok(Self {
            listeners: listeners.collect::<io::Result<_>>()?,
            poll,
            shared,
            connections: Vec::new(),
            free_slots: Vec::new(),
            scheduled: VecDeque::new(),
            closing: VecDeque::new(),
            liveness_check: None,
            accept_retry: None,
            accept_failure_reported: false,
            phase: ServerPhase::Serving,
            on_event,
        })
    }

    /// Runs until the server is stopped; reports an error or a panic as a failure.
    pub(super) fn run_guarded(mut self) {
        let failure = match catch_unwind(AssertUnwindSafe(|| self.run())) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => ServerFailure::Poll(error),
            Err(panic) => ServerFailure::Panic(panic),
        };
        self.fail(failure);
    }

    /// Serves clients until the server is stopped.
    ///
    /// # Errors
    ///
    /// If the sockets cannot be polled.
    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_CAPACITY);
        loop {
            match self.poll.poll(&mut events, self.poll_timeout()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    WAKER => self.on_wake(),
                    Token(token) if token >= FIRST_LISTENER => {
                        if let Some(listener) = self.listeners.get_mut(token - FIRST_LISTENER) {
                            listener.ready = true;
                        }
                    }
                    Token(slot) => self.on_ready(slot, event),
                }
            }
            self.serve_scheduled();
            self.accept();
            self.close_overdue();
            self.remove_dead();
            if let ServerPhase::Stopping(deadline) = self.phase
                && (self.shared.state().backlog.clients() == 0 || Instant::now() >= deadline)
            {
                break;
            }
        }
        for slot in 0..self.connections.len() {
            if let Some(Some(connection)) = self.connections.get_mut(slot) {
                let _ = connection.discard_input();
                self.remove(slot, RemovalReason::Ended);
            }
        }
        Ok(())
    }

    /// Closes all connections, reports the failure and wakes all waiters. Makes no use of the
    /// other fields, which a panic may have left inconsistent.
    fn fail(mut self, failure: ServerFailure) {
        self.listeners.clear();
        self.connections.clear();
        {
            let mut state = self.shared.state();
            state.backlog.clear();
            self.shared.publish_clients(&state);
            state.reporting_removal = false;
        }
        // The failure is reported before waiters are woken: they end the stream, and people
        // would read that as the first error. A panic in the callback cannot be reported
        // anywhere else.
        let report = || (self.on_event)(ServerEvent::Failed(failure));
        let _ = catch_unwind(AssertUnwindSafe(report));
        {
            // Under the lock, so that no waiter checks the flag and then misses the notification.
            let _state = self.shared.state();
            self.shared.failed.store(true, Ordering::SeqCst);
        }
        self.shared.changed.notify_all();
    }

    /// How long the poll may wait for an event; `None` for any time.
    fn poll_timeout(&self) -> Option<Duration> {
        let accepting = self.accept_retry.is_none() && self.listeners.iter().any(|l| l.ready);
        if accepting || !self.scheduled.is_empty() {
            return Some(Duration::ZERO);
        }
        let stop = match self.phase {
            ServerPhase::Stopping(deadline) => Some(deadline),
            _ => None,
        };
        let close = self.closing.front().map(|(deadline, _)| *deadline);
        let deadlines = [self.accept_retry, self.liveness_check, stop, close];
        let next = deadlines.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Acts upon a new frame or a new phase.
    fn on_wake(&mut self) {
        self.phase = self.shared.state().phase;
        if let ServerPhase::Stopping(_) = self.phase {
            self.listeners.clear();
        }
        for slot in 0..self.connections.len() {
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                continue;
            };
            // A connection between two frames can be shut down even if its client takes no
            // bytes.
            connection.writable |= self.phase != ServerPhase::Serving && connection.frame.is_none();
            if connection.writable && connection.close_deadline.is_none() {
                self.schedule(slot);
            }
        }
    }

    fn on_ready(&mut self, slot: usize, event: &Readiness) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        if event.is_error() || event.is_write_closed() {
            // Nothing can be sent any more, and input is discarded anyway.
            let error = connection.stream.take_error().ok().flatten();
            self.remove(slot, error.map_or(RemovalReason::Left, RemovalReason::from));
            return;
        }
        connection.writable |= event.is_writable();
        connection.readable |= event.is_readable() || event.is_read_closed();
        self.schedule(slot);
    }

    fn schedule(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(slot)
            && !std::mem::replace(&mut connection.scheduled, true)
        {
            self.scheduled.push_back(slot);
        }
    }

    /// Serves every scheduled connection once.
    fn serve_scheduled(&mut self) {
        if self.scheduled.is_empty() {
            return;
        }
        // Those that are scheduled meanwhile are for the next round.
        for _ in 0..self.scheduled.len() {
            let Some(slot) = self.scheduled.pop_front() else {
                break;
            };
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                continue;
            };
            connection.scheduled = false;
            match connection.serve(slot, &self.shared) {
                Ok(NextStep::Wait) => {}
                Ok(NextStep::ServeAgain) => self.schedule(slot),
                Ok(NextStep::Close) => self.shut_down(slot),
                Err(reason) => self.remove(slot, reason),
            }
        }
        self.shared.state().backlog.release_sent_frames();
    }

    /// Accepts pending connections, up to a limit per listener.
    fn accept(&mut self) {
        if self
            .accept_retry
            .is_some_and(|retry| Instant::now() < retry)
        {
            return;
        }
        self.accept_retry = None;
        for index in 0..self.listeners.len() {
            for _ in 0..MAX_ACCEPTS_PER_ROUND {
                let listener = &mut self.listeners[index];
                if !listener.ready {
                    break;
                }
                let accepted = listener.socket.accept();
                let Err(error) = accepted.and_then(|(stream, address)| self.add(stream, address))
                else {
                    continue;
                };
                match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.listeners[index].ready = false;
                        self.accept_failure_reported = false;
                    }
                    // The client closed before it was accepted, or a signal interrupted us.
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                    _ => {
                        self.accept_retry = Some(Instant::now() + ACCEPT_RETRY_DELAY);
                        if !std::mem::replace(&mut self.accept_failure_reported, true) {
                            (self.on_event)(ServerEvent::AcceptFailed(error));
                        }
                        return;
                    }
                }
            }
        }
    }

    /// Registers and reports a client, or closes its connection if no client is accepted.
    fn add(&mut self, mut stream: TcpStream, address: SocketAddr) -> io::Result<()> {
        let slot = self.free_slots.last().copied();
        let slot = slot.unwrap_or(self.connections.len());
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(slot), interest)?;
        tune(&stream);
        let clients = {
            let mut state = self.shared.state();
            if state.phase != ServerPhase::Serving || !state.backlog.add_client(slot, address) {
                state.backlog.count_refused();
                return Ok(());
            }
            state.wake_waiters(&self.shared.changed);
            self.shared.publish_clients(&state)
        };
        match self.free_slots.pop() {
            Some(slot) => self.connections[slot] = Some(Connection::new(stream)),
            None => self.connections.push(Some(Connection::new(stream))),
        }
        self.liveness_check
            .get_or_insert_with(|| Instant::now() + LIVENESS_INTERVAL);
        (self.on_event)(ServerEvent::ClientAdded { address, clients });
        Ok(())
    }

    /// Unregisters a client that has everything, and shuts down the sending direction. The
    /// connection stays until the client closes it, or until the close deadline.
    fn shut_down(&mut self, slot: usize) {
        self.unregister(slot, RemovalReason::Ended);
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        match connection.stream.shutdown(Shutdown::Write) {
            Ok(()) => {
                let deadline = Instant::now() + CLOSE_TIMEOUT;
                connection.close_deadline = Some(deadline);
                self.closing.push_back((deadline, slot));
            }
            Err(error) => self.remove(slot, error.into()),
        }
    }

    /// Unregisters a client and closes its connection.
    fn remove(&mut self, slot: usize, reason: RemovalReason) {
        self.unregister(slot, reason);
        self.connections[slot] = None;
        self.free_slots.push(slot);
        // The descriptor that became free may be the one that accepting lacked.
        self.accept_retry = None;
    }

    /// Unregisters a client and reports its removal, once.
    fn unregister(&mut self, slot: usize, reason: RemovalReason) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let (stats, clients) = {
            let mut state = self.shared.state();
            let sent = std::mem::take(&mut connection.sent);
            state.backlog.add_sent(slot, sent);
            let stats = state.backlog.remove_client(slot);
            state.reporting_removal = stats.is_some();
            state.wake_waiters(&self.shared.changed);
            (stats, self.shared.publish_clients(&state))
        };
        let Some(stats) = stats else {
            return;
        };
        (self.on_event)(ServerEvent::ClientRemoved {
            stats,
            reason,
            clients,
        });
        let mut state = self.shared.state();
        state.reporting_removal = false;
        state.wake_waiters(&self.shared.changed);
    }

    /// Closes the connections that their clients have not closed in time.
    fn close_overdue(&mut self) {
        while let Some(&(deadline, slot)) = self.closing.front() {
            // Another connection may have the slot now.
            let waits = |connection: &Connection| connection.close_deadline == Some(deadline);
            let open = self.connections[slot].as_ref().is_some_and(waits);
            if open && Instant::now() < deadline {
                break;
            }
            self.closing.pop_front();
            if open {
                self.remove(slot, RemovalReason::Ended);
            }
        }
    }

    /// Removes clients that take nothing because their machine is gone.
    fn remove_dead(&mut self) {
        let now = Instant::now();
        if self.liveness_check.is_none_or(|check| now < check) {
            return;
        }
        self.liveness_check = None;
        for slot in 0..self.connections.len() {
            let Some(Some(connection)) = self.connections.get_mut(slot) else {
                continue;
            };
            self.liveness_check = Some(now + LIVENESS_INTERVAL);
            let progressed = std::mem::take(&mut connection.progressed);
            if !progressed
                && connection.close_deadline.is_none()
                && is_dead(&connection.stream, DEAD_AFTER)
            {
                // The kernel would go on to send what it has, which ends inside a frame.
                let _ = SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO));
                self.remove(slot, RemovalReason::Timeout);
            }
        }
    }
}
