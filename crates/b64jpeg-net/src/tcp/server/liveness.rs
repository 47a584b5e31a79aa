// SPDX-License-Identifier: MPL-2.0

//! Tells clients whose machine is unanswered from those that only do not read.
//!
//! Both take no bytes. The kernel's own timeout (`TCP_USER_TIMEOUT`) would end both; but the
//! machine of a client that does not read still acknowledges the kernel's probes.

#[cfg(target_os = "linux")]
use std::io;
use std::time::Duration;

use mio::net::TcpStream;

/// A client is dead if its machine has acknowledged nothing for this long.
pub(super) const DEAD_AFTER: Duration = Duration::from_secs(60);
/// Unanswered retransmissions or probes in a row before a client is taken for dead.
#[cfg(target_os = "linux")]
const UNANSWERED_PROBES: u8 = 2;

/// Whether the peer has acknowledged nothing for `silence`, although the kernel has
/// retransmitted or probed several times. The kernel resets both counts with each answer.
#[cfg(target_os = "linux")]
pub(super) fn is_dead(stream: &TcpStream, silence: Duration) -> bool {
    tcp_info(stream).is_ok_and(|info| {
        let silent = Duration::from_millis(info.tcpi_last_ack_recv.into());
        let unanswered = info.tcpi_retransmits.max(info.tcpi_probes);
        silent >= silence && unanswered > UNANSWERED_PROBES
    })
}

/// Without `TCP_INFO` only the kernel's keepalive finds dead peers.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_dead(_stream: &TcpStream, _silence: Duration) -> bool {
    false
}

/// The kernel's state of a connection, by `getsockopt(TCP_INFO)`, which neither the standard
/// library nor socket2 has.
#[cfg(target_os = "linux")]
fn tcp_info(stream: &TcpStream) -> io::Result<libc::tcp_info> {
    use std::{mem::MaybeUninit, os::fd::AsRawFd};

    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: The kernel writes at most `len` bytes, which is the size of `info`. All fields
    // are integers, for which the zeros that an older kernel leaves are valid.
    unsafe {
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        let value = info.as_mut_ptr().cast();
        match libc::getsockopt(stream.as_raw_fd(), level, name, value, &mut len) {
            0 => Ok(info.assume_init()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
        thread,
        time::Instant,
    };

    use socket2::SockRef;

    use super::{DEAD_AFTER, Duration, is_dead, tcp_info};

    /// Only a hang takes longer.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A packet filter that drops everything stands for a dead machine.
    #[test]
    fn is_dead_without_answers_but_not_without_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            server.set_nonblocking(true).unwrap();
            let mut server = super::TcpStream::from_std(server);
            (client, move || {
                while server.write(&[0; 16 << 10]).is_ok() {}
                server
            })
        };
        let (_not_reading, fill) = connect();
        let idle = fill();
        let (dead, fill) = connect();
        let drop_all = socket2::SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
        SockRef::from(&dead).attach_filter(&[drop_all]).unwrap();
        let unanswered = fill();
        let guard = Instant::now() + PATIENCE;
        while !is_dead(&unanswered, Duration::ZERO) {
            assert!(Instant::now() < guard, "{:?}", tcp_info(&unanswered));
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!is_dead(&unanswered, DEAD_AFTER), "not for long enough yet");
        assert!(!is_dead(&idle, Duration::ZERO), "it acknowledges probes");
    }
}
