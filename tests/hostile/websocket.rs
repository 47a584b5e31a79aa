// SPDX-License-Identifier: MPL-2.0

//! A Socket.IO relay that writes to a plain TCP socket, so that it can send what no library would.
//! It reads nothing after the handshake.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::common::process::PATIENCE;

pub const OPEN: &str = r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
pub const WELCOME: &str = r#"40{"sid":"s"}"#;
/// Largest number of bytes in one attack.
pub const FLOOD: usize = 100 << 20;

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const PING: u8 = 9;

pub struct RawRelay(pub TcpListener);

impl RawRelay {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        // A small receive buffer, so that data is held by the client and not by the kernel.
        let small = socket2::SockRef::from(&listener).set_recv_buffer_size(4096);
        small.expect("an option");
        Self(listener)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("bound"))
    }

    /// Accepts the next client and reads its request.
    pub fn accept(&self) -> (RawWebSocket, String) {
        let (stream, _) = self.0.accept().expect("a client");
        stream.set_read_timeout(Some(PATIENCE)).expect("an option");
        stream.set_write_timeout(Some(PATIENCE)).expect("an option");
        let mut websocket = RawWebSocket(stream);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            websocket.0.read_exact(&mut byte).expect("a request");
            request.extend(byte);
        }
        (websocket, String::from_utf8(request).expect("ASCII"))
    }

    /// Accepts the next client and upgrades to a websocket.
    pub fn upgrade(&self) -> RawWebSocket {
        let (mut websocket, request) = self.accept();
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
            .expect("a key");
        let accept = derive_accept_key(key.trim().as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        assert!(websocket.offer(head.as_bytes()));
        websocket
    }

    /// Accepts the next client and admits it to the namespace.
    pub fn accept_into_namespace(&self) -> RawWebSocket {
        let mut websocket = self.upgrade();
        assert!(websocket.offer(&frame(TEXT, OPEN)) && websocket.offer(&frame(TEXT, WELCOME)));
        websocket
    }
}

pub struct RawWebSocket(pub TcpStream);

impl RawWebSocket {
    /// Sends bytes; returns whether the client is still connected.
    pub fn offer(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Repeats the bytes until the client disconnects or the flood ends; returns whether the client
    /// is still connected.
    pub fn flood(&mut self, bytes: &[u8]) -> bool {
        let block = bytes.repeat((64 << 10) / bytes.len() + 1);
        (0..FLOOD / block.len() + 1).all(|_| self.offer(&block))
    }
}

/// A websocket frame of a server, which ends its message.
pub fn frame(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    fragment(0x80 | opcode, payload.as_ref())
}

pub fn fragment(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(len as u8),
        len @ 126..0x10000 => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}
