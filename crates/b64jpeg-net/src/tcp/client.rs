// SPDX-License-Identifier: MPL-2.0

//! A TCP client that receives, and whose waits can all be interrupted from another thread.

use std::{
    fmt,
    io::{self, Read},
    net::{SocketAddr, ToSocketAddrs},
    sync::{
        Arc, Mutex, MutexGuard,
        mpsc::{self, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, Waker, net::TcpStream};
use socket2::SockRef;

use crate::{
    host::{bare_host, known_addresses},
    sync,
};

const WAKER: Token = Token(0);
const STREAM: Token = Token(1);

/// How long to wait for one address of a host before the next one is tried as well.
pub const HEAD_START: Duration = Duration::from_millis(250);

/// Why a [`TcpClient`] could not connect, receive or wait.
#[derive(Debug)]
pub enum TcpClientError {
    /// An [`Interrupter`] ended the wait. [`Interrupter::take`] tells why.
    Interrupted,
    /// The name of the host could not be resolved.
    UnknownHost(io::Error),
    /// The host did not answer within this timeout.
    NoAnswer(Duration),
    /// Nothing was received within this timeout.
    Silence(Duration),
    /// The connection could not be made, or failed.
    Io(io::Error),
}

impl From<io::Error> for TcpClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for TcpClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::NoAnswer(time) => write!(f, "no answer for {} s", time.as_secs_f64()),
            Self::Silence(time) => write!(f, "nothing came for {} s", time.as_secs_f64()),
            Self::UnknownHost(error) | Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TcpClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::UnknownHost(error) | Self::Io(error) => error.source(),
            Self::Interrupted | Self::NoAnswer(_) | Self::Silence(_) => None,
        }
    }
}

/// Interrupts the waits of a [`TcpClient`] from another thread.
#[derive(Debug, Default)]
pub struct Interrupter(Mutex<InterruptState>);

#[derive(Debug, Default)]
struct InterruptState {
    stopped: bool,
    paused: bool,
    /// Wakes the client, while there is one.
    waker: Option<Waker>,
}

/// Wakes the client when it is dropped.
struct WakeOnDrop(Arc<Interrupter>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Why waits are interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// By [`Interrupter::stop`].
    Stop,
    /// By [`Interrupter::pause`].
    Pause,
}

impl Interrupter {
    /// Interrupts the current wait, and every further one until [`resume`](Self::resume).
    pub fn stop(&self) {
        self.state().stopped = true;
        self.wake();
    }

    /// Allows waits again after [`stop`](Self::stop).
    pub fn resume(&self) {
        self.state().stopped = false;
    }

    /// Interrupts the current wait, and every further one until [`take`](Self::take) is called.
    pub fn pause(&self) {
        self.state().paused = true;
        self.wake();
    }

    /// Why waits are interrupted, if they are. Ends a [pause](Self::pause), but not a
    /// [stop](Self::stop).
    pub fn take(&self) -> Option<Interruption> {
        let state = &mut *self.state();
        if state.stopped {
            return Some(Interruption::Stop);
        }
        std::mem::take(&mut state.paused).then_some(Interruption::Pause)
    }

    fn check(&self) -> Result<(), TcpClientError> {
        let state = self.state();
        match state.stopped || state.paused {
            true => Err(TcpClientError::Interrupted),
            false => Ok(()),
        }
    }

    /// Wakes the client so that it re-checks its condition.
    fn wake(&self) {
        if let Some(waker) = &self.state().waker {
            // This fails only if the client is about to wake up anyway.
            let _ = waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, InterruptState> {
        sync::lock(&self.0)
    }
}

/// A TCP client that has at most one connection at a time.
pub struct TcpClient {
    interrupter: Arc<Interrupter>,
    poll: Poll,
    events: Events,
    stream: Option<TcpStream>,
    lookup: Option<NameLookup>,
}

/// A name look-up in progress, in a thread of its own, because nothing can cancel it.
struct NameLookup {
    host: String,
    port: u16,
    result: mpsc::Receiver<io::Result<Vec<SocketAddr>>>,
}

impl Drop for TcpClient {
    fn drop(&mut self) {
        self.interrupter.state().waker = None;
    }
}

impl TcpClient {
    /// A client without a connection.
    ///
    /// # Errors
    ///
    /// If the system cannot create what a poll needs, such as a file descriptor.
    pub fn new(interrupter: Arc<Interrupter>) -> io::Result<Self> {
        let poll = Poll::new()?;
        interrupter.state().waker = Some(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            interrupter,
            poll,
            events: Events::with_capacity(4),
            stream: None,
            lookup: None,
        })
    }

    /// Resolves `host` and connects to the first of its addresses that answers. `timeout` is
    /// for both together; `None` waits forever.
    ///
    /// # Errors
    ///
    /// Any but [`TcpClientError::Silence`].
    pub fn connect(
        &mut self,
        host: &str,
        port: u16,
        timeout: Option<Duration>,
    ) -> Result<(), TcpClientError> {
        self.stream = None;
        let deadline = Deadline::after(timeout);
        let addresses = self.resolve(host, port, &deadline)?;
        let mut stream = self.connect_to_any(addresses, &deadline)?;
        SockRef::from(&stream).set_keepalive(true)?;
        let registry = self.poll.registry();
        registry.reregister(&mut stream, STREAM, Interest::READABLE)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Closes the connection, if there is one.
    pub fn disconnect(&mut self) {
        self.stream = None;
    }

    /// Calls `read` with the stream as soon as bytes have come, or the peer has closed. `None`
    /// as `timeout` waits forever.
    ///
    /// Returns what `read` returns: the number of bytes, zero if the peer has closed.
    ///
    /// # Errors
    ///
    /// Any but [`TcpClientError::UnknownHost`] and [`TcpClientError::NoAnswer`].
    pub fn read(
        &mut self,
        mut read: impl FnMut(&mut dyn Read) -> io::Result<usize>,
        timeout: Option<Duration>,
    ) -> Result<usize, TcpClientError> {
        let mut deadline = None;
        loop {
            self.interrupter.check()?;
            let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected);
            match read(stream.map_err(io::Error::from)?) {
                // The time is read only here, because a busy stream mostly has bytes at once.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let deadline = deadline.get_or_insert_with(|| Deadline::after(timeout));
                    let left = deadline.time_left().map_err(TcpClientError::Silence)?;
                    self.wait(left)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Ok(result?),
            }
        }
    }

    /// Waits until `time`.
    ///
    /// # Errors
    ///
    /// [`TcpClientError::Interrupted`], and [`TcpClientError::Io`] if the poll fails.
    pub fn wait_until(&mut self, time: Instant) -> Result<(), TcpClientError> {
        loop {
            self.interrupter.check()?;
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.wait(Some(left))?;
        }
    }

    /// Waits for an event of the stream or of the waker. Wakeups may be spurious.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), TcpClientError> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The addresses of a host, in the order of preference.
    fn resolve(
        &mut self,
        host: &str,
        port: u16,
        deadline: &Deadline,
    ) -> Result<Vec<SocketAddr>, TcpClientError> {
        let host = bare_host(host);
        if let Some(addresses) = known_addresses(host, port) {
            return Ok(addresses);
        }

        // A look-up cannot be cancelled, but the wait for it can. If it takes longer than an
        // attempt to connect, the next attempt waits for the same look-up, so that there is
        // never more than one thread for a name.
        let same = |lookup: &NameLookup| lookup.host == host && lookup.port == port;
        let lookup = match self.lookup.take().filter(same) {
            Some(lookup) => lookup,
            None => self.start_lookup(host, port)?,
        };
        loop {
            match lookup.result.try_recv() {
                Ok(addresses) => return addresses.map_err(TcpClientError::UnknownHost),
                Err(TryRecvError::Disconnected) => {
                    let error = "an internal error ended the look-up of its name";
                    return Err(io::Error::other(error).into());
                }
                Err(TryRecvError::Empty) => {}
            }
            let waited = self
                .interrupter
                .check()
                .and_then(|()| deadline.time_left().map_err(TcpClientError::NoAnswer))
                .and_then(|left| self.wait(left));
            if let Err(error) = waited {
                self.lookup = Some(lookup);
                return Err(error);
            }
        }
    }

    /// Starts to look up a name.
    fn start_lookup(&self, host: &str, port: u16) -> io::Result<NameLookup> {
        let (sender, result) = mpsc::channel();
        let wake = WakeOnDrop(self.interrupter.clone());
        let name = idna::domain_to_ascii(host).unwrap_or_else(|_| host.into());
        let lookup = move || {
            // The client is woken after the sender is dropped, also if the look-up panics.
            let (_wake, sender) = (wake, sender);
            #[cfg(test)]
            tests::before_lookup(&name);
            let addresses = (&*name, port).to_socket_addrs().map(Vec::from_iter);
            let _ = sender.send(addresses);
        };
        thread::Builder::new()
            .name("b64jpeg-lookup".into())
            .spawn(lookup)?;
        Ok(NameLookup {
            host: host.into(),
            port,
            result,
        })
    }

    /// Connects to one of `addresses`. Starts with the next one when the attempts before it
    /// have failed, or have not succeeded within [`HEAD_START`].
    fn connect_to_any(
        &mut self,
        addresses: Vec<SocketAddr>,
        deadline: &Deadline,
    ) -> Result<TcpStream, TcpClientError> {
        let mut addresses = addresses.into_iter().peekable();
        let mut attempts: Vec<TcpStream> = Vec::new();
        let mut head_start = Deadline::after(Some(HEAD_START));
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        loop {
            self.interrupter.check()?;
            for mut attempt in std::mem::take(&mut attempts) {
                match is_connected(&attempt) {
                    Ok(true) => return Ok(attempt),
                    Ok(false) => attempts.push(attempt),
                    Err(error) => {
                        let _ = self.poll.registry().deregister(&mut attempt);
                        failure = error;
                    }
                }
            }
            if attempts.is_empty() || head_start.time_left().is_err() {
                if let Some(address) = addresses.next() {
                    match self.start_attempt(address) {
                        Ok(attempt) => attempts.push(attempt),
                        Err(error) => failure = error,
                    }
                    head_start = Deadline::after(Some(HEAD_START));
                    continue;
                }
                if attempts.is_empty() {
                    return Err(failure.into());
                }
            }
            let left = deadline.time_left().map_err(TcpClientError::NoAnswer)?;
            let next = addresses.peek().and_then(|_| head_start.time_left().ok()?);
            self.wait(left.into_iter().chain(next).min())?;
        }
    }

    /// Starts to connect to an address.
    fn start_attempt(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address)?;
        let registry = self.poll.registry();
        registry.register(&mut stream, STREAM, Interest::WRITABLE)?;
        Ok(stream)
    }
}

/// Whether an attempt to connect has succeeded; an error if it has failed.
fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        // On a port of the ephemeral range without a listener, the socket can connect to
        // itself.
        Ok(peer) if peer == stream.local_addr()? => Err(io::ErrorKind::ConnectionRefused.into()),
        address => address.map(|_| true),
    }
}

/// When a wait has to end. A start and a timeout, since their sum may not be an [`Instant`].
struct Deadline {
    start: Instant,
    timeout: Option<Duration>,
}

impl Deadline {
    /// After `timeout` from now; `None` is never.
    fn after(timeout: Option<Duration>) -> Self {
        Self {
            start: Instant::now(),
            timeout,
        }
    }

    /// The time until the deadline, `None` if there is none; the timeout if it has passed.
    fn time_left(&self) -> Result<Option<Duration>, Duration> {
        let Some(timeout) = self.timeout else {
            return Ok(None);
        };
        let left = timeout.saturating_sub(self.start.elapsed());
        if left.is_zero() {
            return Err(timeout);
        }
        Ok(Some(left))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{Ipv4Addr, TcpListener},
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// Names whose look-up panics, or never ends.
    const PANIC: &str = "panic.invalid";
    const HANG: &str = "hang.invalid";
    static HANGING: AtomicUsize = AtomicUsize::new(0);

    /// What the thread of a look-up does first.
    pub fn before_lookup(name: &str) {
        assert_ne!(name, PANIC, "on purpose");
        if name == HANG {
            HANGING.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::MAX);
        }
    }

    #[test]
    fn connect_hanging_lookup_uses_one_thread() {
        let (mut client, interrupter) = client();
        let soon = Some(Duration::from_millis(2));
        for _ in 0..50 {
            let connected = client.connect(HANG, 1, soon);
            assert!(matches!(connected, Err(TcpClientError::NoAnswer(_))));
        }
        interrupter.stop();
        let connected = client.connect(HANG, 1, None);
        assert!(matches!(connected, Err(TcpClientError::Interrupted)));
        interrupter.resume();
        while HANGING.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        assert!(client.connect(HANG, 1, soon).is_err());
        assert_eq!(HANGING.load(Ordering::SeqCst), 1);
        // Another name has a thread of its own.
        assert!(matches!(
            client.connect(PANIC, 1, None),
            Err(TcpClientError::Io(_))
        ));
    }

    #[test]
    fn connect_panicking_lookup_fails() {
        let (mut client, _) = client();
        let connected = client.connect(PANIC, 1, None);
        assert!(
            matches!(connected, Err(TcpClientError::Io(error)) if error.kind() == io::ErrorKind::Other)
        );
    }

    fn client() -> (TcpClient, Arc<Interrupter>) {
        let interrupter = Arc::new(Interrupter::default());
        let client = TcpClient::new(interrupter.clone()).expect("a poll");
        (client, interrupter)
    }

    fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        (listener, port)
    }

    fn read(client: &mut TcpClient, timeout: Option<Duration>) -> Result<usize, TcpClientError> {
        client.read(|stream| stream.read(&mut [0; 16]), timeout)
    }

    #[test]
    fn read_stream_gives_bytes_timeout_and_end() {
        let (mut client, _) = client();
        let (listener, port) = listener();
        let soon = Some(Duration::from_millis(10));
        assert!(matches!(
            read(&mut client, None),
            Err(TcpClientError::Io(_))
        ));
        client.connect("127.0.0.1", port, None).expect("it listens");
        let (mut peer, _) = listener.accept().expect("a client");
        assert!(matches!(
            read(&mut client, soon),
            Err(TcpClientError::Silence(_))
        ));
        peer.write_all(b"frame").expect("it is connected");
        assert!(matches!(read(&mut client, None), Ok(5)));
        drop(peer);
        assert!(matches!(read(&mut client, None), Ok(0)));
    }

    #[test]
    fn take_ends_pause_but_not_stop() {
        let (mut client, interrupter) = client();
        interrupter.pause();
        for _ in 0..2 {
            let connected = client.connect("127.0.0.1", 1, None);
            assert!(matches!(connected, Err(TcpClientError::Interrupted)));
        }
        assert_eq!(interrupter.take(), Some(Interruption::Pause));
        assert_eq!(interrupter.take(), None);

        interrupter.stop();
        let hour = Duration::from_secs(3600);
        for _ in 0..2 {
            let waited = client.wait_until(Instant::now() + hour);
            assert!(matches!(waited, Err(TcpClientError::Interrupted)));
            assert_eq!(interrupter.take(), Some(Interruption::Stop));
        }
        interrupter.resume();
        assert_eq!(interrupter.take(), None);
        client.wait_until(Instant::now()).expect("it is time");
    }

    #[test]
    fn pause_interrupts_current_wait() {
        let (listener, port) = listener();
        let (mut client, interrupter) = client();
        client.connect("127.0.0.1", port, None).expect("it listens");
        let (_peer, _) = listener.accept().expect("a client");
        for round in 0..20 {
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_micros(100 * round));
                    interrupter.pause();
                });
                let waited = match round % 2 {
                    0 => read(&mut client, None).map(drop),
                    _ => client.wait_until(Instant::now() + Duration::from_secs(3600)),
                };
                assert!(matches!(waited, Err(TcpClientError::Interrupted)));
            });
            assert_eq!(interrupter.take(), Some(Interruption::Pause));
        }
    }
}
