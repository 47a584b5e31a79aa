// SPDX-License-Identifier: MPL-2.0

//! The receiver's end of a TCP connection, of which every wait can be interrupted.

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

/// How long an address of several has to itself before the next one is tried as well.
pub const HEAD_START: Duration = Duration::from_millis(250);

/// Why there is no connection, or nothing from it.
#[derive(Debug)]
pub enum Error {
    /// Ask [`Interrupt::take`] by what.
    Interrupted,
    /// There is no such host.
    Unknown(io::Error),
    /// The host did not answer for so long.
    NoAnswer(Duration),
    /// Nothing came for so long.
    Silence(Duration),
    /// The connection could not be made, or broke.
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::NoAnswer(time) => write!(f, "no answer for {} s", time.as_secs_f64()),
            Self::Silence(time) => write!(f, "nothing came for {} s", time.as_secs_f64()),
            Self::Unknown(error) | Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// Ends what a [`Client`] waits for, from another thread.
#[derive(Debug, Default)]
pub struct Interrupt(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    stopped: bool,
    paused: bool,
    /// While there is a client.
    waker: Option<Waker>,
}

/// Wakes the client when it is dropped.
struct WakeOnDrop(Arc<Interrupt>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// What interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// All waiting is to stop.
    Stop,
    /// There is something else to wait for first.
    Pause,
}

impl Interrupt {
    /// Has every wait return at once, until [`go_on`](Self::go_on).
    pub fn stop(&self) {
        self.waits().stopped = true;
        self.wake();
    }

    /// Lets it wait again.
    pub fn go_on(&self) {
        self.waits().stopped = false;
    }

    /// Has every wait return at once, until that is [taken](Self::take) note of.
    pub fn pause(&self) {
        self.waits().paused = true;
        self.wake();
    }

    /// What interrupts the waiting, if anything does.
    pub fn take(&self) -> Option<Interruption> {
        let waits = &mut *self.waits();
        if waits.stopped {
            return Some(Interruption::Stop);
        }
        std::mem::take(&mut waits.paused).then_some(Interruption::Pause)
    }

    fn check(&self) -> Result<(), Error> {
        let waits = self.waits();
        match waits.stopped || waits.paused {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }

    /// Has the client look whether something has changed.
    fn wake(&self) {
        if let Some(waker) = &self.waits().waker {
            // It fails only where it would not be needed: when it has woken already.
            let _ = waker.wake();
        }
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        sync::lock(&self.0)
    }
}

/// One connection after the other, for one thread.
pub struct Client {
    interrupt: Arc<Interrupt>,
    poll: Poll,
    events: Events,
    stream: Option<TcpStream>,
    look_up: Option<LookUp>,
}

/// A look-up of a name that is under way, in a thread that nothing can end.
struct LookUp {
    host: String,
    port: u16,
    found: mpsc::Receiver<io::Result<Vec<SocketAddr>>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.interrupt.waits().waker = None;
    }
}

impl Client {
    /// A client without a connection.
    ///
    /// # Errors
    ///
    /// If this machine has run out of something.
    pub fn new(interrupt: Arc<Interrupt>) -> io::Result<Self> {
        let poll = Poll::new()?;
        interrupt.waits().waker = Some(Waker::new(poll.registry(), WAKER)?);
        Ok(Self {
            interrupt,
            poll,
            events: Events::with_capacity(4),
            stream: None,
            look_up: None,
        })
    }

    /// Resolves `host` and connects to the first of its addresses that answers.
    ///
    /// # Errors
    ///
    /// Any but [`Error::Silence`].
    pub fn connect(
        &mut self,
        host: &str,
        port: u16,
        timeout: Option<Duration>,
    ) -> Result<(), Error> {
        self.stream = None;
        let patience = Patience::of(timeout);
        let addresses = self.resolve(host, port, &patience)?;
        let mut stream = self.reach(addresses, &patience)?;
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

    /// Has `read` take what the connection has, as soon as it has something.
    ///
    /// Returns what `read` does: a length, zero if the other side has closed.
    ///
    /// # Errors
    ///
    /// Any but [`Error::Unknown`] and [`Error::NoAnswer`].
    pub fn read(
        &mut self,
        mut read: impl FnMut(&mut dyn Read) -> io::Result<usize>,
        timeout: Option<Duration>,
    ) -> Result<usize, Error> {
        let mut patience = None;
        loop {
            self.interrupt.check()?;
            let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected);
            match read(stream.map_err(io::Error::from)?) {
                // Only now: most often a busy stream has something.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let patience = patience.get_or_insert_with(|| Patience::of(timeout));
                    let left = patience.left().map_err(Error::Silence)?;
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
    /// [`Error::Interrupted`], and [`Error::Io`] if it cannot wait.
    pub fn wait_until(&mut self, time: Instant) -> Result<(), Error> {
        loop {
            self.interrupt.check()?;
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.wait(Some(left))?;
        }
    }

    /// Waits until something may have happened.
    fn wait(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The addresses of a host, best ones first.
    fn resolve(
        &mut self,
        host: &str,
        port: u16,
        patience: &Patience,
    ) -> Result<Vec<SocketAddr>, Error> {
        let host = bare_host(host);
        if let Some(addresses) = known_addresses(host, port) {
            return Ok(addresses);
        }

        // Nothing ends a look-up before its time, but nobody has to wait for it. One that
        // takes longer than a try is taken up again by the next one, so that there is never
        // more than one thread.
        let known = |look_up: &LookUp| look_up.host == host && look_up.port == port;
        let look_up = match self.look_up.take().filter(known) {
            Some(look_up) => look_up,
            None => self.begin_look_up(host, port)?,
        };
        loop {
            match look_up.found.try_recv() {
                Ok(addresses) => return addresses.map_err(Error::Unknown),
                Err(TryRecvError::Disconnected) => {
                    let error = "an internal error ended the look-up of its name";
                    return Err(io::Error::other(error).into());
                }
                Err(TryRecvError::Empty) => {}
            }
            let waited = self
                .interrupt
                .check()
                .and_then(|()| patience.left().map_err(Error::NoAnswer))
                .and_then(|left| self.wait(left));
            if let Err(error) = waited {
                self.look_up = Some(look_up);
                return Err(error);
            }
        }
    }

    /// Begins to look up a name.
    fn begin_look_up(&self, host: &str, port: u16) -> io::Result<LookUp> {
        let (sender, found) = mpsc::channel();
        let wake = WakeOnDrop(self.interrupt.clone());
        let name = idna::domain_to_ascii(host).unwrap_or_else(|_| host.into());
        let look_up = move || {
            // Dropped after the sender, also if the look-up panics.
            let (_wake, sender) = (wake, sender);
            #[cfg(test)]
            tests::look_up(&name);
            let addresses = (&*name, port).to_socket_addrs().map(Vec::from_iter);
            let _ = sender.send(addresses);
        };
        thread::Builder::new()
            .name("b64jpeg-lookup".into())
            .spawn(look_up)?;
        Ok(LookUp {
            host: host.into(),
            port,
            found,
        })
    }

    /// A connection to one of `addresses`. The next one is tried when those before it have
    /// failed, and also when they take their time.
    fn reach(
        &mut self,
        addresses: Vec<SocketAddr>,
        patience: &Patience,
    ) -> Result<TcpStream, Error> {
        let mut addresses = addresses.into_iter().peekable();
        let mut attempts: Vec<TcpStream> = Vec::new();
        let mut head_start = Patience::of(Some(HEAD_START));
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        loop {
            self.interrupt.check()?;
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
            if attempts.is_empty() || head_start.left().is_err() {
                if let Some(address) = addresses.next() {
                    match self.attempt(address) {
                        Ok(attempt) => attempts.push(attempt),
                        Err(error) => failure = error,
                    }
                    head_start = Patience::of(Some(HEAD_START));
                    continue;
                }
                if attempts.is_empty() {
                    return Err(failure.into());
                }
            }
            let left = patience.left().map_err(Error::NoAnswer)?;
            let next = addresses.peek().and_then(|_| head_start.left().ok()?);
            self.wait(left.into_iter().chain(next).min())?;
        }
    }

    /// Begins to connect.
    fn attempt(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(address)?;
        let registry = self.poll.registry();
        registry.register(&mut stream, STREAM, Interest::WRITABLE)?;
        Ok(stream)
    }
}

/// Whether a connection has been made, or why not.
fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        // Where nobody listens and the port is one that the system hands out, it may have
        // been handed to this very connection.
        Ok(peer) if peer == stream.local_addr()? => Err(io::ErrorKind::ConnectionRefused.into()),
        address => address.map(|_| true),
    }
}

/// How long something may take.
struct Patience {
    since: Instant,
    timeout: Option<Duration>,
}

impl Patience {
    /// From now on; without a timeout for ever.
    fn of(timeout: Option<Duration>) -> Self {
        Self {
            since: Instant::now(),
            timeout,
        }
    }

    /// What is left of it, or how long it was.
    fn left(&self) -> Result<Option<Duration>, Duration> {
        let Some(timeout) = self.timeout else {
            return Ok(None);
        };
        let left = timeout.saturating_sub(self.since.elapsed());
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
    pub fn look_up(name: &str) {
        assert_ne!(name, PANIC, "on purpose");
        if name == HANG {
            HANGING.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::MAX);
        }
    }

    #[test]
    fn lookup_that_hangs_keeps_one_thread() {
        let (mut client, interrupt) = client();
        let soon = Some(Duration::from_millis(2));
        for _ in 0..50 {
            let connected = client.connect(HANG, 1, soon);
            assert!(matches!(connected, Err(Error::NoAnswer(_))));
        }
        interrupt.stop();
        let connected = client.connect(HANG, 1, None);
        assert!(matches!(connected, Err(Error::Interrupted)));
        interrupt.go_on();
        while HANGING.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        assert!(client.connect(HANG, 1, soon).is_err());
        assert_eq!(HANGING.load(Ordering::SeqCst), 1);
        // Another name has a thread of its own.
        assert!(matches!(client.connect(PANIC, 1, None), Err(Error::Io(_))));
    }

    #[test]
    fn lookup_that_panics_fails() {
        let (mut client, _) = client();
        let connected = client.connect(PANIC, 1, None);
        assert!(matches!(connected, Err(Error::Io(error)) if error.kind() == io::ErrorKind::Other));
    }

    fn client() -> (Client, Arc<Interrupt>) {
        let interrupt = Arc::new(Interrupt::default());
        let client = Client::new(interrupt.clone()).expect("there is enough of everything");
        (client, interrupt)
    }

    fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        (listener, port)
    }

    fn read(client: &mut Client, timeout: Option<Duration>) -> Result<usize, Error> {
        client.read(|stream| stream.read(&mut [0; 16]), timeout)
    }

    #[test]
    fn what_comes_and_what_does_not() {
        let (mut client, _) = client();
        let (listener, port) = listener();
        let soon = Some(Duration::from_millis(10));
        assert!(matches!(read(&mut client, None), Err(Error::Io(_))));
        client.connect("127.0.0.1", port, None).expect("it listens");
        let (mut peer, _) = listener.accept().expect("a client");
        assert!(matches!(read(&mut client, soon), Err(Error::Silence(_))));
        peer.write_all(b"frame").expect("it is connected");
        assert!(matches!(read(&mut client, None), Ok(5)));
        drop(peer);
        assert!(matches!(read(&mut client, None), Ok(0)));
    }

    #[test]
    fn a_stop_lasts_and_a_pause_is_taken_note_of() {
        let (mut client, interrupt) = client();
        interrupt.pause();
        for _ in 0..2 {
            let connected = client.connect("127.0.0.1", 1, None);
            assert!(matches!(connected, Err(Error::Interrupted)));
        }
        assert_eq!(interrupt.take(), Some(Interruption::Pause));
        assert_eq!(interrupt.take(), None);

        interrupt.stop();
        let hour = Duration::from_secs(3600);
        for _ in 0..2 {
            let waited = client.wait_until(Instant::now() + hour);
            assert!(matches!(waited, Err(Error::Interrupted)));
            assert_eq!(interrupt.take(), Some(Interruption::Stop));
        }
        interrupt.go_on();
        assert_eq!(interrupt.take(), None);
        client.wait_until(Instant::now()).expect("it is time");
    }

    #[test]
    fn a_wait_that_is_under_way_ends() {
        let (listener, port) = listener();
        let (mut client, interrupt) = client();
        client.connect("127.0.0.1", port, None).expect("it listens");
        let (_peer, _) = listener.accept().expect("a client");
        for round in 0..20 {
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_micros(100 * round));
                    interrupt.pause();
                });
                let waited = match round % 2 {
                    0 => read(&mut client, None).map(drop),
                    _ => client.wait_until(Instant::now() + Duration::from_secs(3600)),
                };
                assert!(matches!(waited, Err(Error::Interrupted)));
            });
            assert_eq!(interrupt.take(), Some(Interruption::Pause));
        }
    }
}
