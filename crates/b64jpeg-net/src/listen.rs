// SPDX-License-Identifier: MPL-2.0

//! Listening sockets, and the options of the connections that they accept.

use std::{
    io::{self, ErrorKind},
    net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::host::bare_host;

/// Connections that may be pending. The kernel has its own limit, by default 4096 on Linux.
const MAX_PENDING: i32 = 1024;
/// How often a new free port is tried if the first address got a port that is in use on another.
const FREE_PORT_RETRIES: usize = 16;

/// Bytes that the kernel accepts for a peer beyond those that it can send at once
/// (`TCP_NOTSENT_LOWAT`; the kernel documents it with the sysctl `tcp_notsent_lowat`). Such
/// bytes cannot be dropped when the peer stalls, and on a slow link they add delay.
///
/// Any value from 8 to 256 KiB filled a link of 400 Mbit/s with a round trip of 50 ms, as did
/// no limit. When a client stalled on it (`tests/soak.sh link`), 1.0 to 1.4 MB were on their
/// way, most of it in the client's receive buffer; without a limit it was 6.9 MB. Smaller
/// values cost more system calls.
#[cfg(target_os = "linux")]
const MAX_UNSENT: u32 = 16 << 10;
/// An idle peer is probed after this time, then at this interval. After so many unanswered
/// probes, 60 s in all, the connection times out.
const KEEPALIVE_TIME: Duration = Duration::from_secs(20);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 4;

/// The addresses of a host name or address literal, without duplicates.
///
/// # Errors
///
/// Those of [`ToSocketAddrs::to_socket_addrs`].
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for address in (bare_host(host), port).to_socket_addrs()? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Listens on all addresses, on the same port, with non-blocking sockets. Returns the sockets
/// and the port.
///
/// An address that this machine does not have is skipped if another one can be used.
///
/// # Errors
///
/// If an address cannot be bound, or if none of them belongs to this machine.
pub fn listen(addresses: &[SocketAddr]) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut retries = 0..FREE_PORT_RETRIES;
    loop {
        match try_listen(addresses) {
            Err(error)
                if error.kind() == ErrorKind::AddrInUse
                    && addresses.iter().all(|address| address.port() == 0)
                    && retries.next().is_some() => {}
            other => return other,
        }
    }
}

fn try_listen(addresses: &[SocketAddr]) -> io::Result<(Vec<TcpListener>, u16)> {
    let mut listeners = Vec::new();
    let mut port = None;
    let mut missing = None;
    // `::` as the only address includes all IPv4 addresses.
    let only = addresses.len() == 1;
    for &(mut address) in addresses {
        address.set_port(port.unwrap_or(address.port()));
        match bind(address, only) {
            Ok(socket) => {
                port = Some(socket.local_addr()?.port());
                listeners.push(socket);
            }
            // `localhost` may resolve to an IPv6 address on a machine without IPv6.
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

fn bind(address: SocketAddr, only: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(|error| match error.kind() {
        // The kernel lacks IPv6 or IPv4.
        ErrorKind::Unsupported => ErrorKind::AddrNotAvailable.into(),
        _ => error,
    })?;
    if address.is_ipv6() {
        socket.set_only_v6(!(only && address.ip() == Ipv6Addr::UNSPECIFIED))?;
    }
    // Connections of an earlier server on this port may still be in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(MAX_PENDING)?;
    Ok(socket.into())
}

/// Sets the options of a connected stream: no delay of small writes, little data buffered in
/// the kernel, and keepalive probes.
pub fn tune<'s>(socket: impl Into<SockRef<'s>>) {
    let socket = socket.into();
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    // A kernel without one of these options still works.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    // Not TCP_USER_TIMEOUT: it also ends the connection of a peer that only does not read.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(MAX_UNSENT);
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn listen_unusable_address_reports_kind() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let kind = |address: SocketAddr| listen(&[address]).map(|_| ()).unwrap_err().kind();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(kind(([127, 0, 0, 1], port).into()), ErrorKind::AddrInUse);
        // From a network that is reserved for documentation (RFC 5737).
        let foreign = ([192, 0, 2, 1], 0).into();
        assert_eq!(kind(foreign), ErrorKind::AddrNotAvailable);
        // Skipped if there is another address.
        assert!(listen(&[foreign, ([127, 0, 0, 1], 0).into()]).is_ok());
    }

    #[test]
    fn listen_ipv6_unspecified_includes_ipv4() {
        let Ok((listeners, port)) = listen(&[(Ipv6Addr::UNSPECIFIED, 0).into()]) else {
            // No IPv6 on this machine.
            return;
        };
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(listeners.len(), 1);
    }
}
