// SPDX-License-Identifier: MPL-2.0

//! # plugin-b64jpeg
//!
//! Live JPEG video between GStreamer and the programs that send it the home-made way:
//! each frame a JPEG, as base64 text, behind its length.
//!
//! The elements are used by name, from `gst-launch-1.0` or an application;
//! the framing itself is the crate `b64jpeg-wire`, and the sockets are `b64jpeg-net`.

mod common;
mod elements;
#[cfg(feature = "web")]
mod web;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    common::framing::document_enums();
    elements::register(plugin)
}

gst::plugin_define!(
    b64jpeg,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MPL",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("BUILD_REL_DATE")
);
