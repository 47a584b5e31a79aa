// SPDX-License-Identifier: MPL-2.0

//! A server over plain TCP that does what a test tells it, byte by byte.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{process::PATIENCE, wait::wait_for};

/// A port that stays ours, whether somebody listens on it or not.
///
/// A socket that is bound and never listens keeps it: without a [`RawServer`] it refuses.
pub struct ReservedPort {
    keeper: Socket,
    address: SocketAddr,
}

impl ReservedPort {
    pub fn new() -> Self {
        Self::on((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// One that only `::1` has.
    pub fn v6() -> Self {
        Self::on((Ipv6Addr::LOCALHOST, 0).into())
    }

    fn on(address: SocketAddr) -> Self {
        let keeper = bound(address);
        let address = keeper.local_addr().expect("bound").as_socket();
        let address = address.expect("of the Internet");
        Self { keeper, address }
    }

    pub fn number(&self) -> u16 {
        self.address.port()
    }

    /// Listens, for as long as the sender lives.
    pub fn listen(&self) -> RawServer {
        let socket = bound(self.address);
        socket.listen(128).expect("it listens");
        RawServer(socket.into())
    }

    /// Listens, but is too busy to answer: the kernel drops whoever else knocks.
    pub fn fill(self) -> SaturatedPort {
        // One more than the backlog has room.
        self.keeper.listen(0).expect("it listens");
        let guest = TcpStream::connect(self.address).expect("there is room for one");
        SaturatedPort {
            _guest: guest,
            port: self,
        }
    }
}

fn bound(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_reuse_address(true).expect("an option");
    socket.bind(&SockAddr::from(address)).expect("an address");
    socket
}

/// A port at which every connection hangs.
pub struct SaturatedPort {
    _guest: TcpStream,
    port: ReservedPort,
}

impl SaturatedPort {
    pub fn number(&self) -> u16 {
        self.port.number()
    }
}

/// A server on loopback.
pub struct RawServer(TcpListener);

impl RawServer {
    pub fn new() -> Self {
        ReservedPort::new().listen()
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("bound").port()
    }

    /// The next client.
    #[track_caller]
    pub fn accept(&self) -> RawConnection {
        let peer = wait_for("a client comes", || self.accept_now());
        RawConnection(peer)
    }

    /// A client, if one waits.
    pub fn try_accept(&self) -> Option<RawConnection> {
        self.accept_now().map(RawConnection)
    }

    /// Sends the same to everybody who comes, and closes, until it is dropped.
    pub fn serve(self, bytes: Vec<u8>) -> RunningServer {
        let port = self.port();
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                match self.try_accept() {
                    Some(mut peer) => {
                        peer.offer(&bytes);
                    }
                    None => thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        RunningServer {
            port,
            end,
            thread: Some(thread),
        }
    }

    fn accept_now(&self) -> Option<TcpStream> {
        self.0.set_nonblocking(true).expect("an option");
        match self.0.accept() {
            Ok((peer, _)) => {
                peer.set_nonblocking(false).expect("an option");
                // Pieces are to arrive as they are sent.
                peer.set_nodelay(true).expect("an option");
                peer.set_read_timeout(Some(PATIENCE)).expect("an option");
                peer.set_write_timeout(Some(PATIENCE)).expect("an option");
                Some(peer)
            }
            Err(err) if err.kind() == ErrorKind::WouldBlock => None,
            Err(err) => panic!("{err}"),
        }
    }
}

/// A server that needs no attention.
pub struct RunningServer {
    pub port: u16,
    end: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The server's end of one connection. Dropped, it closes cleanly.
pub struct RawConnection(TcpStream);

impl RawConnection {
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.write_all(bytes.as_ref()).expect("the client reads");
        self
    }

    /// As `send`, but a client that hangs up is no failure; tells whether it stayed.
    pub fn offer(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).is_ok()
    }

    /// Says that nothing more comes, and waits until the client has gone as well.
    #[track_caller]
    pub fn close(self) {
        self.0.shutdown(Shutdown::Write).expect("it is open");
        self.expect_gone();
    }

    /// Goes away without a word, as one that is killed with its buffers full.
    pub fn reset(self) {
        Socket::from(self.0)
            .set_linger(Some(Duration::ZERO))
            .expect("an option");
    }

    /// Waits until the client has closed the connection; it has nothing to say before.
    #[track_caller]
    pub fn expect_gone(mut self) {
        match self.0.read(&mut [0]) {
            Ok(0) => {}
            Err(err) if err.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("the client ought to be gone: {other:?}"),
        }
    }

    /// Whether the client is still there.
    pub fn is_open(&self) -> bool {
        self.0.set_nonblocking(true).expect("an option");
        let peek = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false).expect("an option");
        matches!(peek, Err(err) if err.kind() == ErrorKind::WouldBlock)
    }
}
