// SPDX-License-Identifier: MPL-2.0

//! TCP server that sends exactly the bytes that a test gives it.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{background::BackgroundThread, process::PATIENCE, wait::wait_for};

/// A loopback port that stays reserved for the test, whether a server listens on it or not.
///
/// A bound socket that never listens reserves it: connections are refused until
/// [`ReservedPort::listen`] is called.
pub struct ReservedPort {
    keeper: Socket,
    address: SocketAddr,
}

impl ReservedPort {
    pub fn new() -> Self {
        Self::on((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Reserves a port on `::1` only.
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

    /// Listens until the returned server is dropped.
    pub fn listen(&self) -> RawServer {
        let socket = bound(self.address);
        socket.listen(128).expect("a listening server");
        RawServer(socket.into())
    }

    /// Listens with a full backlog: the kernel drops every further SYN, so connecting hangs.
    pub fn fill(self) -> SaturatedPort {
        // Linux accepts one connection more than the backlog of 0.
        self.keeper.listen(0).expect("a listening server");
        let pending = TcpStream::connect(self.address).expect("there is room for one");
        SaturatedPort {
            _pending: pending,
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

/// A port on which every connection attempt hangs.
pub struct SaturatedPort {
    _pending: TcpStream,
    port: ReservedPort,
}

impl SaturatedPort {
    pub fn number(&self) -> u16 {
        self.port.number()
    }
}

/// A TCP server on the loopback interface.
pub struct RawServer(TcpListener);

impl RawServer {
    pub fn new() -> Self {
        ReservedPort::new().listen()
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("bound").port()
    }

    /// Accepts the next client.
    #[track_caller]
    pub fn accept(&self) -> RawConnection {
        let peer = wait_for("a client to connect", || self.accept_now());
        RawConnection(peer)
    }

    /// Accepts a client if one is waiting.
    pub fn try_accept(&self) -> Option<RawConnection> {
        self.accept_now().map(RawConnection)
    }

    /// Sends the same bytes to every client and closes the connection, until it is dropped.
    pub fn serve(self, bytes: Vec<u8>) -> RunningServer {
        let port = self.port();
        let thread = BackgroundThread::spawn(move |stop| {
            while !stop.is_set() {
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
            _thread: thread,
        }
    }

    fn accept_now(&self) -> Option<TcpStream> {
        self.0.set_nonblocking(true).expect("an option");
        match self.0.accept() {
            Ok((peer, _)) => {
                peer.set_nonblocking(false).expect("an option");
                // Each write becomes a segment of its own.
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

/// A server that serves on a thread of its own.
pub struct RunningServer {
    pub port: u16,
    _thread: BackgroundThread,
}

/// The server's end of one connection. Dropping it closes the connection cleanly.
pub struct RawConnection(TcpStream);

impl RawConnection {
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.write_all(bytes.as_ref()).expect("the client reads");
        self
    }

    /// As `send`, but returns false if the client has closed the connection.
    pub fn offer(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).is_ok()
    }

    /// Closes the sending direction and waits until the client has closed the other.
    #[track_caller]
    pub fn close(self) {
        self.0.shutdown(Shutdown::Write).expect("it is open");
        self.expect_closed();
    }

    /// Resets the connection, as the kernel does for a process killed with unread data.
    pub fn reset(self) {
        Socket::from(self.0)
            .set_linger(Some(Duration::ZERO))
            .expect("an option");
    }

    /// Waits until the client has closed the connection; the client must not send anything.
    #[track_caller]
    pub fn expect_closed(mut self) {
        match self.0.read(&mut [0]) {
            Ok(0) => {}
            Err(err) if err.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("the client did not close the connection: {other:?}"),
        }
    }

    /// Whether the client still has the connection open.
    pub fn is_open(&self) -> bool {
        self.0.set_nonblocking(true).expect("an option");
        let peek = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false).expect("an option");
        matches!(peek, Err(err) if err.kind() == ErrorKind::WouldBlock)
    }
}
