// SPDX-License-Identifier: MPL-2.0

//! Listening, and what is asked of the system for those who come.

use std::{
    io::{self, ErrorKind},
    net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::host::bare_host;

/// Connections that may wait to be accepted. The system has its own limit, 4096 on Linux.
const LISTEN_BACKLOG: i32 = 1024;
/// How often port 0 is tried again when the port it became is taken at another address.
const PORT_TRIES: usize = 16;

/// Bytes that the system takes for a client beyond those it can send at once. They cannot
/// be taken back when the client stalls, and on a slow line they are delay.
///
/// With 8 to 256 KiB of it a line of 400 Mbit/s and 50 ms there and back was filled, as
/// without; a client that stalled on it was owed 1.0 to 1.4 MB, most of that in its own
/// receive buffer, and 6.9 MB without. Less than this costs more system calls.
/// (The line is that of `tests/soak.sh link`. The kernel's documentation of the option is
/// that of the sysctl of its name, tcp_notsent_lowat.)
const NOT_SENT: u32 = 16 << 10;
/// A client to which nothing was sent for this long is asked whether it is there, so
/// often, and again so many times until it is gone: after a minute.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 4;

/// The addresses of a host name.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for address in (bare_host(host), port).to_socket_addrs()? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Listens on all addresses, on the same port.
pub fn listen(addresses: &[SocketAddr]) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut tries = 0..PORT_TRIES;
    loop {
        match listen_once(addresses) {
            Err(error)
                if error.kind() == ErrorKind::AddrInUse
                    && addresses.iter().all(|address| address.port() == 0)
                    && tries.next().is_some() => {}
            other => return other,
        }
    }
}

fn listen_once(addresses: &[SocketAddr]) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut listeners = Vec::new();
    let mut port = None;
    let mut missing = None;
    // `::` alone stands for all of this machine, by IPv4, too.
    let alone = addresses.len() == 1;
    for &(mut address) in addresses {
        address.set_port(port.unwrap_or(address.port()));
        match listener(address, alone) {
            Ok(socket) => {
                port = Some(socket.local_addr()?.port());
                listeners.push(socket);
            }
            // `localhost` may have an address of a protocol that this machine has not.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    match (port, missing) {
        (Some(port), _) => Ok((listeners, port)),
        (None, Some(error)) => Err(error),
        (None, None) => Err(ErrorKind::AddrNotAvailable.into()),
    }
}

fn listener(address: SocketAddr, alone: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(|error| match error.kind() {
        // No IPv6, or no IPv4, in this system at all.
        ErrorKind::Unsupported => ErrorKind::AddrNotAvailable.into(),
        _ => error,
    })?;
    if address.is_ipv6() {
        socket.set_only_v6(!(alone && address.ip() == Ipv6Addr::UNSPECIFIED))?;
    }
    // Clients of an earlier server may still be in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Has the system send at once, keep little, and notice when the other end is gone.
pub fn tune<'s>(socket: impl Into<SockRef<'s>>) {
    let socket = socket.into();
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_AGAIN)
        .with_retries(KEEPALIVE_PROBES);
    // A system that cannot do one of these does without it.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    // No timeout of the system (TCP_USER_TIMEOUT): it would take a client that does not
    // read for one that is gone.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(NOT_SENT);
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn why_it_cannot_listen() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let kind = |address: SocketAddr| listen(&[address]).map(|_| ()).unwrap_err().kind();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(kind(([127, 0, 0, 1], port).into()), ErrorKind::AddrInUse);
        // Of a network that is only for examples.
        let foreign = ([192, 0, 2, 1], 0).into();
        assert_eq!(kind(foreign), ErrorKind::AddrNotAvailable);
        // Where there is another, one that is missing does not matter.
        assert!(listen(&[foreign, ([127, 0, 0, 1], 0).into()]).is_ok());
    }

    #[test]
    fn unspecified_is_every_address() {
        let Ok((listeners, port)) = listen(&[(Ipv6Addr::UNSPECIFIED, 0).into()]) else {
            // This machine has no IPv6.
            return;
        };
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(listeners.len(), 1);
    }
}
