// SPDX-License-Identifier: MPL-2.0

//! Sockets: frames over TCP, TLS, and connections to Socket.IO servers. Nothing of GStreamer.

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
