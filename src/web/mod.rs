// SPDX-License-Identifier: MPL-2.0

//! Socket.IO and HTTP: pictures to and from relays, and in browsers.

mod client;
mod http;
pub mod protocol;
mod relay;
mod runtime;
pub(crate) mod socketioclientsink;
pub(crate) mod socketioclientsrc;
mod tls;
mod url;
