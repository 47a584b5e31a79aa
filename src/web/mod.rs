// SPDX-License-Identifier: MPL-2.0

//! Socket.IO and HTTP: pictures to and from relays, and in browsers.

mod client;
mod diagnosis;
mod dial;
mod http;
pub mod protocol;
mod relay;
mod runtime;
mod server;
mod socket;
mod socketioclientsink;
mod socketioclientsrc;
mod socketioserversink;
mod tls;
mod url;

/// Registers the elements with GStreamer.
pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    socketioclientsink::register(plugin)?;
    socketioclientsrc::register(plugin)?;
    socketioserversink::register(plugin)
}
