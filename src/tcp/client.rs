// SPDX-License-Identifier: MPL-2.0

//! The receiver's end of a TCP connection, of which every wait can be interrupted.

use std::{
    cell::Cell,
    fmt,
    io::{self, Read},
    net::TcpStream,
    os::fd::AsFd,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gio::prelude::*;
use mio::{Events, Interest, Poll, Token, Waker};

const WAKER: Token = Token(0);
const STREAM: Token = Token(1);

/// Why there is no connection, or nothing from it.
#[derive(Debug)]
pub enum Error {
    /// Ask [`Interrupt::take`] by what.
    Interrupted,
    /// The host did not answer for so long.
    NoAnswer(Duration),
    /// Nothing came for so long.
    Silence(Duration),
    /// The name is unknown, or nobody there takes the connection.
    Connect(glib::Error),
    /// The connection broke, or this machine has run out of something.
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
            Self::Connect(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
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
    /// Ends waiting for bytes or for time.
    waker: Option<Waker>,
    /// Ends the attempt to connect that is under way.
    connecting: Option<gio::Cancellable>,
}

/// What interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// All waiting is to stop.
    Stop,
    /// There is something else to wait for first.
    Pause,
}

impl Waits {
    fn check(&self) -> Result<(), Error> {
        match self.stopped || self.paused {
            true => Err(Error::Interrupted),
            false => Ok(()),
        }
    }
}

impl Interrupt {
    /// Has every wait return at once, until [`go_on`](Self::go_on).
    pub fn stop(&self) {
        self.interrupt(|waits| waits.stopped = true);
    }

    /// Lets it wait again.
    pub fn go_on(&self) {
        self.waits().stopped = false;
    }

    /// Has every wait return at once, until that is [taken](Self::take) note of.
    pub fn pause(&self) {
        self.interrupt(|waits| waits.paused = true);
    }

    /// What interrupts the waiting, if anything does.
    pub fn take(&self) -> Option<Interruption> {
        let waits = &mut *self.waits();
        if waits.stopped {
            return Some(Interruption::Stop);
        }
        std::mem::take(&mut waits.paused).then_some(Interruption::Pause)
    }

    fn interrupt(&self, change: impl FnOnce(&mut Waits)) {
        let connecting = {
            let waits = &mut *self.waits();
            change(waits);
            if let Some(waker) = &waits.waker {
                // It fails only where it would not be needed: when it has woken already.
                let _ = waker.wake();
            }
            waits.connecting.take()
        };
        if let Some(connecting) = connecting {
            connecting.cancel();
        }
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection after the other, for one thread.
pub struct Client {
    interrupt: Arc<Interrupt>,
    /// Where name look-ups and attempts to connect are carried on.
    context: glib::MainContext,
    poll: Poll,
    events: Events,
    stream: Option<mio::net::TcpStream>,
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
            context: glib::MainContext::new(),
            poll,
            events: Events::with_capacity(4),
            stream: None,
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
        // An IPv6 address, as in URIs.
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let address = gio::NetworkAddress::new(bare.unwrap_or(host), port);
        let connection = self.attempt(&address, timeout)?;
        let socket = connection.socket();
        socket.set_keepalive(true);
        let stream = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        let registry = self.poll.registry();
        registry.register(&mut stream, STREAM, Interest::READABLE)?;
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
    /// Any but [`Error::NoAnswer`] and [`Error::Connect`].
    pub fn read(
        &mut self,
        mut read: impl FnMut(&mut dyn Read) -> io::Result<usize>,
        timeout: Option<Duration>,
    ) -> Result<usize, Error> {
        let mut since = None;
        loop {
            self.interrupt.waits().check()?;
            let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected);
            match read(stream.map_err(io::Error::from)?) {
                // Only now: most often a busy stream has something.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let since = *since.get_or_insert_with(Instant::now);
                    let left = timeout.map(|timeout| timeout.saturating_sub(since.elapsed()));
                    if left == Some(Duration::ZERO) {
                        return Err(Error::Silence(timeout.unwrap_or_default()));
                    }
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
            self.interrupt.waits().check()?;
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

    /// Tries the addresses, those of either kind side by side.
    fn attempt(
        &self,
        address: &gio::NetworkAddress,
        timeout: Option<Duration>,
    ) -> Result<gio::SocketConnection, Error> {
        let cancellable = gio::Cancellable::new();
        {
            let waits = &mut *self.interrupt.waits();
            waits.check()?;
            waits.connecting = Some(cancellable.clone());
        }
        let result = self
            .context
            .with_thread_default(|| self.connection(address, timeout, &cancellable))
            .map_err(io::Error::other)?;
        self.interrupt.waits().connecting = None;

        self.interrupt.waits().check()?;
        result.map_err(|error| match timeout {
            Some(timeout) if cancellable.is_cancelled() => Error::NoAnswer(timeout),
            _ => Error::Connect(error),
        })
    }

    /// A connection, unless it is cancelled, at the latest after `timeout`.
    fn connection(
        &self,
        address: &gio::NetworkAddress,
        timeout: Option<Duration>,
        cancellable: &gio::Cancellable,
    ) -> Result<gio::SocketConnection, glib::Error> {
        let timer = timeout.map(|timeout| {
            let cancellable = cancellable.clone();
            let cancel = move || {
                cancellable.cancel();
                glib::ControlFlow::Break
            };
            // GLib counts no further: seven weeks.
            let timeout = timeout.min(Duration::from_millis(u32::MAX.into()));
            let timer = glib::timeout_source_new(timeout, None, glib::Priority::DEFAULT, cancel);
            timer.attach(Some(&self.context));
            timer
        });

        let outcome = Rc::new(Cell::new(None));
        let slot = outcome.clone();
        let client = gio::SocketClient::new();
        client.set_enable_proxy(false);
        client.connect_async(address, Some(cancellable), move |result| {
            slot.set(Some(result));
        });
        // Also when it is cancelled: nothing of it must be left when the context goes.
        let result = loop {
            if let Some(result) = outcome.take() {
                break result;
            }
            self.context.iteration(true);
        };
        if let Some(timer) = timer {
            timer.destroy();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{Ipv4Addr, TcpListener},
        thread,
    };

    use super::*;

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
