// SPDX-License-Identifier: MPL-2.0

//! Frames over TCP, without GStreamer.

pub mod backlog;
pub mod backoff;
pub mod client;
pub mod server;
