// SPDX-License-Identifier: MPL-2.0

//! The I/O thread.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    net::{self, Shutdown, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token,
    event::Event as Readiness,
    net::{TcpListener, TcpStream},
};
use socket2::SockRef;

use super::{
    Event, Failure, Phase, Reason, Shared,
    connection::{Client, Turn},
    liveness::{SILENCE, is_lost},
};
use crate::listen::tune;

const ACCEPTS_A_TURN: usize = 64;
/// How often to look whether a client that takes nothing is gone.
const LOOK: Duration = Duration::from_secs(10);
/// How long a client that was told the end may take to close: its input is read
/// meanwhile, because unread input would have the system take back what was sent.
const LINGER: Duration = Duration::from_secs(10);
/// How long to wait before accepting again when there was no room for a connection.
const NO_ROOM: Duration = Duration::from_secs(1);

/// Changes that are looked at together.
const EVENTS: usize = 1024;
/// The tokens of the poll: clients from 0, listeners from here, and the waker.
pub(super) const LISTENERS: usize = usize::MAX / 2;
pub(super) const WAKER: Token = Token(usize::MAX);

pub(super) struct Listener {
    pub(super) socket: TcpListener,
    /// Whether somebody may wait to be accepted.
    ready: bool,
}

impl Listener {
    pub(super) fn new(socket: net::TcpListener) -> Self {
        Self {
            socket: TcpListener::from_std(socket),
            ready: false,
        }
    }
}

/// What the thread has that does all the I/O.
pub(super) struct Io {
    pub(super) poll: Poll,
    pub(super) shared: Arc<Shared>,
    pub(super) listeners: Vec<Listener>,
    /// By the number of their slot, which is their token, too.
    pub(super) clients: Vec<Option<Client>>,
    pub(super) free: Vec<usize>,
    /// Slots of clients that wait for their turn.
    pub(super) ready: VecDeque<usize>,
    /// When clients that were told the end have to be gone, in that order.
    pub(super) leaving: VecDeque<(Instant, usize)>,
    /// When to look at clients that take nothing, if there is any client.
    pub(super) look_again: Option<Instant>,
    /// When to accept again, if there was no room, and whether that was told.
    pub(super) accept_again: Option<Instant>,
    pub(super) told_no_room: bool,
    pub(super) phase: Phase,
    pub(super) on_event: Box<dyn Fn(Event) + Send>,
}

impl Io {
    /// Serves clients until the server is stopped.
    ///
    /// # Errors
    ///
    /// If the system cannot wait for the sockets.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    WAKER => self.on_wake(),
                    Token(token) if token >= LISTENERS => {
                        if let Some(listener) = self.listeners.get_mut(token - LISTENERS) {
                            listener.ready = true;
                        }
                    }
                    Token(slot) => self.on_ready(slot, event),
                }
            }
            self.take_turns();
            self.accept();
            self.expire();
            self.look();
            if let Phase::Stopping(deadline) = self.phase
                && (self.shared.state().backlog.clients() == 0 || Instant::now() >= deadline)
            {
                break;
            }
        }
        for slot in 0..self.clients.len() {
            if let Some(Some(client)) = self.clients.get_mut(slot) {
                let _ = client.read();
                self.remove(slot, Reason::Ended);
            }
        }
        Ok(())
    }

    /// Closes everything, wakes whoever waits, and reports the failure. What is left of
    /// the state may be inconsistent.
    pub(super) fn fail(mut self, failure: Failure) {
        self.listeners.clear();
        self.clients.clear();
        {
            let mut state = self.shared.state();
            state.backlog.clear();
            state.telling = false;
            state.failed = true;
        }
        self.shared.changed.notify_all();
        // There is nobody left to report a panic in the callback to.
        let report = || (self.on_event)(Event::Failed(failure));
        let _ = catch_unwind(AssertUnwindSafe(report));
    }

    /// How long nothing is to be done unless something happens.
    fn timeout(&self) -> Option<Duration> {
        let accepting = self.accept_again.is_none() && self.listeners.iter().any(|l| l.ready);
        if accepting || !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let stopping = match self.phase {
            Phase::Stopping(deadline) => Some(deadline),
            _ => None,
        };
        let leaving = self.leaving.front().map(|(deadline, _)| *deadline);
        let next = [self.accept_again, self.look_again, stopping, leaving];
        let next = next.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// There is a new frame or a new phase.
    fn on_wake(&mut self) {
        self.phase = self.shared.state().phase;
        if let Phase::Stopping(_) = self.phase {
            self.listeners.clear();
        }
        for slot in 0..self.clients.len() {
            let Some(Some(client)) = self.clients.get_mut(slot) else {
                continue;
            };
            // One that takes nothing and is between two frames may get the end.
            client.writable |= self.phase != Phase::Open && client.frame.is_none();
            if client.writable && client.leaves.is_none() {
                self.schedule(slot);
            }
        }
    }

    fn on_ready(&mut self, slot: usize, event: &Readiness) {
        let Some(Some(client)) = self.clients.get_mut(slot) else {
            return;
        };
        if event.is_error() || event.is_write_closed() {
            // Nothing arrives any more: what it may have said is of no interest.
            let error = client.stream.take_error().ok().flatten();
            self.remove(slot, error.map_or(Reason::Left, Reason::from));
            return;
        }
        client.writable |= event.is_writable();
        client.readable |= event.is_readable() || event.is_read_closed();
        self.schedule(slot);
    }

    fn schedule(&mut self, slot: usize) {
        if let Some(Some(client)) = self.clients.get_mut(slot)
            && !std::mem::replace(&mut client.ready, true)
        {
            self.ready.push_back(slot);
        }
    }

    /// Gives every client that is ready one turn.
    fn take_turns(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        for _ in 0..self.ready.len() {
            let slot = self.ready.pop_front().expect("as many as there were");
            let Some(Some(client)) = self.clients.get_mut(slot) else {
                continue;
            };
            client.ready = false;
            match client.turn(slot, &self.shared) {
                Ok(Turn::Wait) => {}
                Ok(Turn::Again) => self.schedule(slot),
                Ok(Turn::End) => self.dismiss(slot),
                Err(reason) => self.remove(slot, reason),
            }
        }
        self.shared.state().backlog.trim();
    }

    /// Accepts those who wait, or some of them.
    fn accept(&mut self) {
        if self
            .accept_again
            .is_some_and(|again| Instant::now() < again)
        {
            return;
        }
        self.accept_again = None;
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_A_TURN {
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
                        self.told_no_room = false;
                    }
                    // It went before it was accepted.
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                    _ => {
                        self.accept_again = Some(Instant::now() + NO_ROOM);
                        if !std::mem::replace(&mut self.told_no_room, true) {
                            (self.on_event)(Event::NoRoom(error));
                        }
                        return;
                    }
                }
            }
        }
    }

    fn add(&mut self, mut stream: TcpStream, address: SocketAddr) -> io::Result<()> {
        let slot = self.free.last().copied().unwrap_or(self.clients.len());
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(slot), interest)?;
        tune(&stream);
        let clients = {
            let mut state = self.shared.state();
            if state.phase != Phase::Open || !state.backlog.add(slot, address) {
                state.backlog.refuse();
                return Ok(());
            }
            state.tell(&self.shared.changed);
            state.backlog.clients()
        };
        match self.free.pop() {
            Some(slot) => self.clients[slot] = Some(Client::new(stream)),
            None => self.clients.push(Some(Client::new(stream))),
        }
        self.look_again.get_or_insert_with(|| Instant::now() + LOOK);
        (self.on_event)(Event::Added { address, clients });
        Ok(())
    }

    /// Tells a client the end, and lets it close.
    fn dismiss(&mut self, slot: usize) {
        self.farewell(slot, Reason::Ended);
        let Some(Some(client)) = self.clients.get_mut(slot) else {
            return;
        };
        match client.stream.shutdown(Shutdown::Write) {
            Ok(()) => {
                let deadline = Instant::now() + LINGER;
                client.leaves = Some(deadline);
                self.leaving.push_back((deadline, slot));
            }
            Err(error) => self.remove(slot, error.into()),
        }
    }

    fn remove(&mut self, slot: usize, reason: Reason) {
        self.farewell(slot, reason);
        self.clients[slot] = None;
        self.free.push(slot);
        // There is room now.
        self.accept_again = None;
    }

    /// A client is one no more, if it was.
    fn farewell(&mut self, slot: usize, reason: Reason) {
        let Some(Some(client)) = self.clients.get_mut(slot) else {
            return;
        };
        let (peer, clients) = {
            let mut state = self.shared.state();
            let sent = std::mem::take(&mut client.sent);
            state.backlog.count(slot, sent);
            let peer = state.backlog.remove(slot);
            state.telling = peer.is_some();
            state.tell(&self.shared.changed);
            (peer, state.backlog.clients())
        };
        let Some(peer) = peer else {
            return;
        };
        (self.on_event)(Event::Removed {
            peer,
            reason,
            clients,
        });
        let mut state = self.shared.state();
        state.telling = false;
        state.tell(&self.shared.changed);
    }

    /// Closes what ought to have been closed by its client.
    fn expire(&mut self) {
        while let Some(&(deadline, slot)) = self.leaving.front() {
            let there = |client: &Client| client.leaves == Some(deadline);
            let there = self.clients[slot].as_ref().is_some_and(there);
            if there && Instant::now() < deadline {
                break;
            }
            self.leaving.pop_front();
            if there {
                self.remove(slot, Reason::Ended);
            }
        }
    }

    /// Removes clients that take nothing because they are gone.
    fn look(&mut self) {
        let now = Instant::now();
        if self.look_again.is_none_or(|again| now < again) {
            return;
        }
        self.look_again = None;
        for slot in 0..self.clients.len() {
            let Some(Some(client)) = self.clients.get_mut(slot) else {
                continue;
            };
            self.look_again = Some(now + LOOK);
            let moved = std::mem::take(&mut client.moved);
            if !moved && client.leaves.is_none() && is_lost(&client.stream, SILENCE) {
                // What the system still has for it would end inside a frame.
                let _ = SockRef::from(&client.stream).set_linger(Some(Duration::ZERO));
                self.remove(slot, Reason::Timeout);
            }
        }
    }
}
