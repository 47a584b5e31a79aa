// SPDX-License-Identifier: MPL-2.0

//! Frames over TCP: a client that receives them, a server that sends them, and the backlog of
//! the server.

pub mod backlog;
pub mod client;
pub mod server;
