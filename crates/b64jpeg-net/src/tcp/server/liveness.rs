// SPDX-License-Identifier: MPL-2.0

//! Whether a client is gone.

#[cfg(target_os = "linux")]
use std::io;
use std::time::Duration;

use mio::net::TcpStream;

/// A client that has answered nothing for so long, however often it was asked, is gone.
/// One that does not read answers.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// Whether nothing has come from the other end for this long, and it was asked again and
/// again. One that has no room answers each time, and that is not counted.
#[cfg(target_os = "linux")]
pub(super) fn is_lost(stream: &TcpStream, silence: Duration) -> bool {
    tcp_info(stream).is_ok_and(|info| {
        let silent = Duration::from_millis(info.tcpi_last_ack_recv.into());
        silent >= silence && info.tcpi_retransmits.max(info.tcpi_probes) > 2
    })
}

/// Elsewhere the system alone knows.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_lost(_stream: &TcpStream, _silence: Duration) -> bool {
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream},
        thread,
        time::Instant,
    };

    use socket2::SockRef;

    use super::{Duration, SILENCE, is_lost, tcp_info};

    /// A hang guard, nothing else.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// The line of a client is cut by a filter that lets nothing in.
    #[test]
    fn who_does_not_answer_is_lost_and_who_does_not_read_is_not() {
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
}
