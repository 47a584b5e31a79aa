// SPDX-License-Identifier: MPL-2.0

//! Frames over TCP.

pub mod backlog;
pub mod client;
pub mod server;
