// SPDX-License-Identifier: MPL-2.0

//! A connection to a Socket.IO server.

pub mod client;
mod diagnosis;
mod dial;
pub mod http;
pub mod url;
