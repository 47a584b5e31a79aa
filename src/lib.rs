// SPDX-License-Identifier: MPL-2.0

//! # plugin-b64jpeg
//!
//! Live JPEG video between GStreamer and Python/OpenCV programs, which send each frame as a
//! length and the base64 text of a JPEG.
//!
//! Pipelines and applications use the elements by name. The parts without GStreamer are crates
//! of their own: `b64jpeg-wire` has the framing, `b64jpeg-net` the sockets.

mod common;
mod elements;
#[cfg(feature = "web")]
mod web;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    common::framing_properties::document_enums();
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
