// SPDX-License-Identifier: MPL-2.0

//! The network code of the b64jpeg elements: frames over TCP, and connections to Socket.IO
//! servers. It knows nothing of GStreamer; the frames themselves are those of `b64jpeg-wire`.
//!
//! - [`tcp::server`] sends each frame to many clients, each at its own pace.
//! - [`tcp::client`] receives from one server, and every wait in it can be interrupted.
//! - [`host`], [`listen`], [`backoff`] and [`slow_peer`] are what both ends share: host names,
//!   listening sockets, delays between attempts to connect, and peers that are too slow.
//! - [`sync`] locks without regard to poisoning.
//!
//! The feature `web` adds `socketio`, the client of a Socket.IO server; `tls`, the TLS
//! configurations of clients and servers; and `runtime` and `socket`, the asynchronous runtime
//! and the sockets that they and the web server of the plugin use.
//!
//! # Example
//!
//! A server and a client that exchange a frame:
//!
//! ```
//! use std::time::Duration;
//!
//! use b64jpeg_net::tcp::{backlog::BacklogLimits, client::TcpClient, server::Server};
//! use b64jpeg_wire::{AcceptedFramings, Deframer, FrameLimits, Framing, OutgoingFrame};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let jpeg: &[u8] = b"\xff\xd8\xff\xe0\x00\x02\xff\xd9";
//! let limits = BacklogLimits {
//!     max_clients: 10,
//!     queue_frames: 2,
//! };
//! let server = Server::open(&["127.0.0.1:0".parse()?], limits, |_event| {})?;
//!
//! let timeout = Some(Duration::from_secs(10));
//! let mut client = TcpClient::new(Default::default())?;
//! client.connect("127.0.0.1", server.port(), timeout)?;
//! // A client starts with the first frame after it was accepted.
//! server.wait(None, |status| status.clients == 1);
//!
//! let frame = OutgoingFrame::new(jpeg)?;
//! let mut bytes = vec![0; frame.wire_len(Framing::default())?];
//! frame.encode(Framing::default(), &mut bytes);
//! server.send(bytes);
//! // Closes the connection after that frame.
//! server.drain();
//!
//! let mut deframer = Deframer::new(AcceptedFramings::default(), FrameLimits::default());
//! let received = loop {
//!     if let Some(frame) = deframer.next() {
//!         break frame?;
//!     }
//!     if client.read(|mut stream| deframer.read_from(&mut stream), timeout)? == 0 {
//!         deframer.finish();
//!     }
//! };
//! assert_eq!(received, jpeg);
//! # Ok(())
//! # }
//! ```

pub mod backoff;
pub mod host;
pub mod listen;
pub mod slow_peer;
pub mod sync;
pub mod tcp;

#[cfg(feature = "web")]
pub mod runtime;
#[cfg(feature = "web")]
pub mod socket;
#[cfg(feature = "web")]
pub mod socketio;
#[cfg(feature = "web")]
pub mod tls;
