// SPDX-License-Identifier: MPL-2.0

//! A client as people write one: a socket, a length and a loop, without any code of the crates.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use base64::prelude::*;
use socket2::{Domain, SockRef, Socket, Type};

use super::process::PATIENCE;

/// Longest accepted text in bytes; no test sends more in one frame.
const MAX_TEXT: usize = 64 << 20;

/// A client that reads 32-bit big-endian lengths and base64, frame after frame.
///
/// It iterates over the JPEGs until the server closes the connection between two frames. It
/// panics on everything that stops or hangs such a program: a truncated frame, an invalid length
/// or text, a broken connection, a server that sends nothing.
pub struct Viewer(TcpStream);

impl Viewer {
    #[track_caller]
    pub fn connect(server: SocketAddr) -> Self {
        Self::connect_socket(server, |_| {})
    }

    /// Connects with a small receive buffer in the kernel.
    #[track_caller]
    pub fn with_small_buffer(server: SocketAddr) -> Self {
        Self::connect_socket(server, |socket| {
            socket.set_recv_buffer_size(4096).expect("a small buffer");
        })
    }

    #[track_caller]
    fn connect_socket(server: SocketAddr, prepare: impl FnOnce(&Socket)) -> Self {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None);
        let socket = socket.expect("a socket");
        prepare(&socket);
        let connected = socket.connect_timeout(&server.into(), PATIENCE);
        connected.unwrap_or_else(|err| panic!("{server}: {err}"));
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self(stream)
    }

    /// The client's own address, as the server reports it.
    pub fn address(&self) -> String {
        self.0.local_addr().expect("connected").to_string()
    }

    /// Sends bytes that no server expects; returns whether the connection still accepts them.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// A second handle to the same connection, for another thread.
    pub fn second_handle(&self) -> Self {
        Self(self.0.try_clone().expect("another descriptor"))
    }

    /// Closes the sending direction.
    pub fn shutdown_write(&self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
    }

    /// Resets the connection, as when a program crashes.
    pub fn reset(self) {
        SockRef::from(&self.0)
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("a socket option");
    }

    /// Reads this many bytes regardless of frames; fewer if the stream ends.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let have = self.fill(&mut bytes);
        bytes.truncate(have);
        bytes
    }

    /// Reads until the connection is closed, cleanly or by a reset.
    pub fn bytes_until_closed(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(err) if err.kind() != ErrorKind::ConnectionReset => panic!("{err}"),
            _ => bytes,
        }
    }

    /// Reads until `bytes` is full or the stream ends; returns the number of bytes read.
    fn fill(&mut self, bytes: &mut [u8]) -> usize {
        let mut have = 0;
        while have < bytes.len() {
            match self.0.read(&mut bytes[have..]) {
                Ok(0) => break,
                Ok(len) => have += len,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) => panic!("after {have} of {} bytes: {err}", bytes.len()),
            }
        }
        have
    }
}

impl Iterator for Viewer {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; 4];
        match self.fill(&mut header) {
            0 => return None,
            4 => {}
            have => panic!("the server closed {have} bytes into a header"),
        }
        let len = u32::from_be_bytes(header) as usize;
        assert!((1..=MAX_TEXT).contains(&len), "invalid length {len}");
        let mut text = vec![0; len];
        let have = self.fill(&mut text);
        assert_eq!(have, len, "the server closed inside a frame");
        Some(BASE64_STANDARD.decode(&text).expect("base64"))
    }
}
