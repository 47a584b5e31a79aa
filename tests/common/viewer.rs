// SPDX-License-Identifier: MPL-2.0

//! A viewer as people write one: a socket, a length, a loop, and nothing of the crate.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
};

use base64::prelude::*;
use socket2::{Domain, SockRef, Socket, Type};

use super::process::PATIENCE;

/// More than any test sends in one frame: a length above it is none.
const MAX_TEXT: usize = 64 << 20;

/// A client that reads 32-bit big-endian lengths and base64, frame after frame.
///
/// It is an iterator over the JPEGs until the server ends the stream between two frames.
/// It panics at everything that stops such a program or hangs it: a torn frame, a length
/// or a text that is none, a connection that breaks, a server that says nothing.
pub struct Viewer(TcpStream);

impl Viewer {
    #[track_caller]
    pub fn connect(server: SocketAddr) -> Self {
        Self::connect_socket(server, |_| {})
    }

    /// One for which the kernel takes little that it has not read.
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

    /// Its address, as a server names it.
    pub fn address(&self) -> String {
        self.0.local_addr().expect("connected").to_string()
    }

    /// Sends what no server asks for; whether the server still takes it.
    pub fn say(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// The same client for another thread.
    pub fn twin(&self) -> Self {
        Self(self.0.try_clone().expect("another descriptor"))
    }

    /// Says that it will send nothing more.
    pub fn fall_silent(&self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
    }

    /// Is gone as a program that crashes, without a farewell.
    pub fn vanish(self) {
        SockRef::from(&self.0)
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("a socket option");
    }

    /// Reads so many bytes, wherever they end; fewer if the stream does.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let have = self.fill(&mut bytes);
        bytes.truncate(have);
        bytes
    }

    /// Everything that comes until the connection is closed, however that is done.
    pub fn bytes_until_closed(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Err(err) if err.kind() != ErrorKind::ConnectionReset => panic!("{err}"),
            _ => bytes,
        }
    }

    /// Reads until `bytes` are full or the stream has ended; returns how many came.
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
        assert!((1..=MAX_TEXT).contains(&len), "a length of {len}");
        let mut text = vec![0; len];
        let have = self.fill(&mut text);
        assert_eq!(have, len, "the server closed inside a frame");
        Some(BASE64_STANDARD.decode(&text).expect("base64"))
    }
}
