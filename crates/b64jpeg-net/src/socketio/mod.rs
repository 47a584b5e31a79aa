// SPDX-License-Identifier: MPL-2.0

//! A connection to a Socket.IO server.

pub mod connection;
mod diagnosis;
mod dial;
pub mod http;
pub mod url;
