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
    io::{self, ErrorKind, Read, Write},
    net::{self, Shutdown, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token, Waker,
    event::Event as Readiness,
    net::{TcpListener, TcpStream},
};
use socket2::SockRef;

use super::backlog::{Backlog, Frame, Limits, Overflow, Peer, Sent, Totals};
use crate::listen::{listen, tune};

/// Connections, bytes written and bytes read before it is somebody else's turn.
const ACCEPTS_A_TURN: usize = 64;
const WRITTEN_A_TURN: usize = 256 << 10;
const READS_A_TURN: usize = 4;
const READ_LEN: usize = 16 << 10;

/// A client that has answered nothing for so long, however often it was asked, is gone.
/// One that does not read answers.
const SILENCE: Duration = Duration::from_secs(60);
/// How often to look whether a client that takes nothing is gone.
const LOOK: Duration = Duration::from_secs(10);
/// How long stop() gives clients to take the rest of a frame.
const STOP: Duration = Duration::from_secs(1);
/// How long a client that was told the end may take to close: its input is read
/// meanwhile, because unread input would have the system take back what was sent.
const LINGER: Duration = Duration::from_secs(10);
/// How long to wait before accepting again when there was no room for a connection.
const NO_ROOM: Duration = Duration::from_secs(1);

/// Changes that are looked at together.
const EVENTS: usize = 1024;
/// The tokens of the poll: clients from 0, listeners from here, and the waker.
const LISTENERS: usize = usize::MAX / 2;
const WAKER: Token = Token(usize::MAX);

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

struct Listener {
    socket: TcpListener,
    /// Whether somebody may wait to be accepted.
    ready: bool,
}

impl Listener {
    fn new(socket: net::TcpListener) -> Self {
        Self {
            socket: TcpListener::from_std(socket),
            ready: false,
        }
    }
}

struct Client {
    stream: TcpStream,
    /// The frame under way, and how much of it was sent.
    frame: Option<Frame>,
    offset: usize,
    sent: Sent,
    /// Whether it may take more, and may have sent something: the poll tells only changes.
    writable: bool,
    readable: bool,
    /// Whether it has closed its direction, and maybe ours, too: nobody knows before
    /// something is sent.
    closed: bool,
    /// Whether it has taken something since it was looked at.
    moved: bool,
    /// Whether it is in the list of those that are ready.
    ready: bool,
    /// By when it ought to have closed, once it was told the end.
    leaves: Option<Instant>,
}

/// What is to be done after a client had its turn.
enum Turn {
    /// Nothing until something changes.
    Wait,
    Again,
    /// It has everything.
    End,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            frame: None,
            offset: 0,
            sent: Sent::default(),
            writable: true,
            readable: true,
            closed: false,
            moved: false,
            ready: false,
            leaves: None,
        }
    }

    /// Reads and sends as much as one may at a time.
    fn turn(&mut self, slot: usize, shared: &Shared) -> Result<Turn, Reason> {
        self.read()?;
        if self.leaves.is_none() {
            match self.write(slot, shared)? {
                Turn::Wait => {}
                other => return Ok(other),
            }
        }
        // One that has only fallen silent has got the rest of its frame.
        if self.closed && self.frame.is_none() {
            return Err(Reason::Left);
        }
        Ok(if self.readable {
            Turn::Again
        } else {
            Turn::Wait
        })
    }

    /// Throws away what the client says.
    fn read(&mut self) -> Result<(), Reason> {
        if !self.readable {
            return Ok(());
        }
        let mut nowhere = [0; READ_LEN];
        for _ in 0..READS_A_TURN {
            match self.stream.read(&mut nowhere) {
                Ok(0) => {
                    self.closed = true;
                    self.readable = false;
                    break;
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends as much as it takes, and as one may at a time.
    fn write(&mut self, slot: usize, shared: &Shared) -> Result<Turn, Reason> {
        let mut written = 0;
        while self.writable {
            if written >= WRITTEN_A_TURN {
                return Ok(Turn::Again);
            }
            let frame = match &self.frame {
                Some(frame) => frame,
                None if self.closed => break,
                None => match shared.next(slot, &mut self.sent) {
                    Next::Frame(frame) => {
                        self.offset = 0;
                        self.frame.insert(frame)
                    }
                    Next::Nothing => break,
                    Next::End => return Ok(Turn::End),
                },
            };
            match self.stream.write(&frame[self.offset..]) {
                Ok(len) => {
                    if self.offset == 0 {
                        shared.begin(slot);
                    }
                    written += len;
                    self.moved = true;
                    self.offset += len;
                    self.sent.bytes += len as u64;
                    if self.offset == frame.len() {
                        self.sent.frames += 1;
                        self.frame = None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    if self.offset == 0 {
                        self.frame = None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Turn::Wait)
    }
}

/// What the thread has that does all the I/O.
struct Io {
    poll: Poll,
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
    /// By the number of their slot, which is their token, too.
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    /// Slots of clients that wait for their turn.
    ready: VecDeque<usize>,
    /// When clients that were told the end have to be gone, in that order.
    leaving: VecDeque<(Instant, usize)>,
    /// When to look at clients that take nothing, if there is any client.
    look_again: Option<Instant>,
    /// When to accept again, if there was no room, and whether that was told.
    accept_again: Option<Instant>,
    told_no_room: bool,
    phase: Phase,
    on_event: Box<dyn Fn(Event) + Send>,
}

impl Io {
    /// Serves clients until the server is stopped.
    ///
    /// # Errors
    ///
    /// If the system cannot wait for the sockets.
    fn run(&mut self) -> io::Result<()> {
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
    fn fail(mut self, failure: Failure) {
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

/// Whether nothing has come from the other end for this long, and it was asked again and
/// again. One that has no room answers each time, and that is not counted.
#[cfg(target_os = "linux")]
fn is_lost(stream: &TcpStream, silence: Duration) -> bool {
    tcp_info(stream).is_ok_and(|info| {
        let silent = Duration::from_millis(info.tcpi_last_ack_recv.into());
        silent >= silence && info.tcpi_retransmits.max(info.tcpi_probes) > 2
    })
}

/// Elsewhere the system alone knows.
#[cfg(not(target_os = "linux"))]
fn is_lost(_stream: &TcpStream, _silence: Duration) -> bool {
    false
}

/// What the system knows of a connection, which no crate tells.
#[cfg(target_os = "linux")]
fn tcp_info(stream: &TcpStream) -> io::Result<libc::tcp_info> {
    use std::{mem::MaybeUninit, os::fd::AsRawFd};

    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: The system writes at most `len` bytes, which are there. All fields are
    // numbers, for which zero is good where an older system writes less.
    unsafe {
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        let value = info.as_mut_ptr().cast();
        match libc::getsockopt(stream.as_raw_fd(), level, name, value, &mut len) {
            0 => Ok(info.assume_init()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpStream, ToSocketAddrs},
        sync::mpsc,
    };

    use super::*;

    /// A hang guard, nothing else.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// More than the system takes for a client that does not read.
    const LARGE: usize = 4 << 20;

    struct Scene {
        server: Server,
        events: mpsc::Receiver<Event>,
    }

    impl Scene {
        fn new(max_clients: usize, queue_frames: usize) -> Self {
            Self::on("127.0.0.1:0", max_clients, queue_frames)
        }

        fn on(addresses: impl ToSocketAddrs, max_clients: usize, queue_frames: usize) -> Self {
            let addresses: Vec<_> = addresses.to_socket_addrs().unwrap().collect();
            let limits = Limits {
                max_clients,
                queue_frames,
            };
            let (sender, events) = mpsc::channel();
            let on_event = move |event| sender.send(event).unwrap_or_default();
            let server = Server::open(&addresses, limits, on_event).unwrap();
            Self { server, events }
        }

        /// A client that the server knows.
        fn client(&self) -> TcpStream {
            let client = self.connect();
            assert!(self.event().starts_with("added"));
            client
        }

        fn connect(&self) -> TcpStream {
            let client = TcpStream::connect(("127.0.0.1", self.server.port())).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client
        }

        /// The next event, in words, with the number of clients.
        fn event(&self) -> String {
            match self.events.recv_timeout(PATIENCE).unwrap() {
                Event::Added { clients, .. } => format!("added {clients}"),
                Event::Removed {
                    reason, clients, ..
                } => format!("removed {clients} {reason}"),
                Event::NoRoom(error) => format!("no room: {error}"),
                Event::Failed(failure) => format!("failed: {failure:?}"),
            }
        }

        fn wait(&self, enough: impl FnMut(Status) -> bool) {
            assert!(self.server.wait(Some(Instant::now() + PATIENCE), enough));
        }

        /// Sends a frame so large that it stays under way, and waits until it is.
        fn stall(&self, byte: u8) {
            self.server.send(frame(byte, LARGE));
            let guard = Instant::now() + PATIENCE;
            while self.server.stats().1.iter().any(|peer| peer.queued > 0) {
                assert!(Instant::now() < guard);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn frame(byte: u8, len: usize) -> Vec<u8> {
        vec![byte; len]
    }

    /// The frames until the end: of each its first byte and its length. They have to be
    /// of different bytes.
    fn read_all(mut client: &TcpStream) -> Vec<(u8, usize)> {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        let frames = bytes.chunk_by(|a, b| a == b);
        frames.map(|frame| (frame[0], frame.len())).collect()
    }

    #[test]
    fn everybody_gets_every_frame_from_the_next_on() {
        let scene = Scene::new(0, 25);
        scene.server.send(frame(1, 100));
        let first = scene.client();
        scene.server.send(frame(2, 100_000));
        let second = scene.client();
        scene.server.send(frame(3, 1));
        scene.server.end();
        assert_eq!(read_all(&second), [(3, 1)]);
        assert_eq!(read_all(&first), [(2, 100_000), (3, 1)]);
        let (totals, peers) = scene.server.stats();
        assert_eq!((totals.clients, totals.bytes), (2, 100_002));
        assert_eq!(peers, []);
    }

    #[test]
    fn who_lags_loses_whole_frames_and_nobody_else_does() {
        let lags = [
            (Overflow::Oldest, [(1, LARGE), (4, 10), (5, 10)].as_slice()),
            (Overflow::Newest, &[(1, LARGE), (5, 10)]),
        ];
        for (overflow, expected) in lags {
            let scene = Scene::new(0, 2);
            scene.server.set_overflow(overflow);
            let slow = scene.client();
            scene.stall(1);
            let mut fast = scene.client();
            for byte in 2..=5 {
                scene.server.send(frame(byte, 10));
                let mut got = [0; 10];
                fast.read_exact(&mut got).unwrap();
                assert_eq!(got, [byte; 10]);
            }
            let (totals, peers) = scene.server.stats();
            let lost = 5 - expected.len() as u64;
            assert_eq!(totals.dropped, lost);
            assert_eq!((peers[0].dropped, peers[1].dropped), (lost, 0));
            scene.server.end();
            assert_eq!(read_all(&slow), expected, "{overflow:?}");
            assert_eq!(scene.server.stats().0.dropped, lost);
        }
    }

    #[test]
    fn the_end_is_never_inside_a_frame() {
        for stops in [false, true] {
            let scene = Scene::new(0, 25);
            let client = scene.client();
            scene.stall(1);
            scene.server.send(frame(2, 10));
            scene.server.cut();
            thread::scope(|scope| {
                scope.spawn(|| stops.then(|| scene.server.stop()));
                assert_eq!(read_all(&client), [(1, LARGE)]);
            });
            assert_eq!(scene.event(), "removed 0 ended");
        }
    }

    #[test]
    fn a_client_that_does_not_read_cannot_hold_up_a_stop() {
        let scene = Scene::new(0, 25);
        let _client = scene.client();
        scene.stall(1);
        scene.server.stop();
        assert_eq!(scene.event(), "removed 0 ended");
        scene.server.stop();
    }

    #[test]
    fn after_the_end_nobody_is_let_in_until_it_goes_on() {
        let scene = Scene::new(0, 25);
        scene.server.end();
        assert_eq!(read_all(&scene.connect()), []);
        scene.server.resume();
        let client = scene.client();
        scene.server.send(frame(1, 10));
        scene.server.end();
        assert_eq!(read_all(&client), [(1, 10)]);
        assert_eq!(scene.server.stats().0.refused, 1);
    }

    #[test]
    fn one_too_many_is_closed_at_once() {
        let scene = Scene::new(1, 25);
        let first = scene.client();
        assert_eq!(read_all(&scene.connect()), []);
        drop(first);
        assert_eq!(scene.event(), "removed 0 left");
        let _second = scene.client();
        let (totals, peers) = scene.server.stats();
        assert_eq!((totals.clients, totals.refused, peers.len()), (2, 1, 1));
    }

    #[test]
    fn who_leaves_with_something_unread_resets() {
        let scene = Scene::new(0, 25);
        let mut client = scene.client();
        scene.server.send(frame(1, 10));
        client.read_exact(&mut [0]).unwrap();
        drop(client);
        assert_eq!(scene.event(), "removed 0 reset");
    }

    #[test]
    fn who_falls_silent_inside_a_frame_gets_the_rest_of_it() {
        let scene = Scene::new(0, 25);
        let client = scene.client();
        scene.stall(1);
        scene.server.send(frame(2, 10));
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&client), [(1, LARGE)]);
        assert_eq!(scene.event(), "removed 0 left");
    }

    #[test]
    fn who_falls_silent_between_two_frames_has_left() {
        let scene = Scene::new(0, 25);
        let mut client = scene.client();
        scene.server.send(frame(1, 10));
        client.read_exact(&mut [0; 10]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(scene.event(), "removed 0 left");
        assert_eq!(read_all(&client), []);
    }

    /// The line of a client is cut by a filter that lets nothing in.
    #[cfg(target_os = "linux")]
    #[test]
    fn who_does_not_answer_is_lost_and_who_does_not_read_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            server.set_nonblocking(true).unwrap();
            let mut server = mio::net::TcpStream::from_std(server);
            (client, move || {
                while server.write(&[0; READ_LEN]).is_ok() {}
                server
            })
        };
        let (_reads_nothing, fill) = connect();
        let asleep = fill();
        let (cut, fill) = connect();
        let nothing = socket2::SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
        SockRef::from(&cut).attach_filter(&[nothing]).unwrap();
        let gone = fill();
        let guard = Instant::now() + PATIENCE;
        while !is_lost(&gone, Duration::ZERO) {
            assert!(Instant::now() < guard, "{:?}", tcp_info(&gone));
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!is_lost(&gone, SILENCE), "it may come back");
        assert!(!is_lost(&asleep, Duration::ZERO), "it has answered");
    }

    #[test]
    fn what_clients_say_is_read_and_forgotten() {
        let scene = Scene::new(0, 25);
        let mut talker = scene.client();
        let listener = scene.client();
        // More than anybody would keep for a program that does not read it.
        talker.write_all(&frame(7, 32 << 20)).unwrap();
        scene.server.send(frame(1, 10));
        scene.server.end();
        assert_eq!(read_all(&listener), [(1, 10)]);
        assert_eq!(read_all(&talker), [(1, 10)]);
    }

    #[test]
    fn waiting_ends_with_a_client_a_nudge_or_in_time() {
        let scene = Scene::new(0, 25);
        let server = &scene.server;
        assert!(!server.wait(Some(Instant::now()), |_| false));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| server.wait(None, |status| status.clients == 1));
            let _client = scene.client();
            assert!(waiter.join().unwrap());

            let (asked, was_asked) = mpsc::channel();
            let waiter = scope.spawn(move || {
                let mut looks = 0;
                server.wait(None, |_| {
                    asked.send(()).unwrap();
                    looks += 1;
                    looks == 2
                })
            });
            was_asked.recv_timeout(PATIENCE).unwrap();
            server.nudge();
            assert!(waiter.join().unwrap());
        });
    }

    #[test]
    fn a_client_that_takes_frames_makes_room() {
        let scene = Scene::new(1, 2);
        let client = scene.client();
        thread::scope(|scope| {
            let reader = scope.spawn(|| read_all(&client));
            for byte in 0..40 {
                scene.wait(|status| !status.full);
                scene.server.send(frame(byte, 300_000));
            }
            scene.server.end();
            let expected: Vec<_> = (0..40).map(|byte| (byte, 300_000)).collect();
            assert_eq!(reader.join().unwrap(), expected);
        });
        assert_eq!(scene.server.stats().0.dropped, 0);
    }

    #[test]
    fn every_address_gets_the_same_port() {
        let addresses: Vec<SocketAddr> = ["127.0.0.1:0", "127.0.0.2:0"]
            .map(|address| address.parse().unwrap())
            .into();
        let scene = Scene::on(&addresses[..], 0, 25);
        let port = scene.server.port();
        for address in addresses {
            TcpStream::connect((address.ip(), port)).unwrap();
            assert!(scene.event().starts_with("added"));
            assert!(scene.event().starts_with("removed"));
        }
    }
}
