// SPDX-License-Identifier: MPL-2.0

//! # plugin-b64jpeg
//!
//! Live JPEG video between GStreamer and the programs that send it the home-made way:
//! each frame a JPEG, as base64 text, behind its length.
//!
//! The elements are used by name, from `gst-launch-1.0` or an application;
//! [`wire`] is the framing itself, and `web::protocol` Socket.IO, without GStreamer.

mod b64jpegclientsrc;
mod b64jpegdepay;
mod b64jpegpay;
mod b64jpegserversink;
mod capture;
mod clock;
mod faults;
mod framing;
mod jfifconvert;
mod jpegcheck;
mod panics;
mod picture;
mod quit;
mod receiver;
mod sender;
mod slow;
mod stats;
mod tcp;
mod typefind;
mod uri;
mod waits;
#[cfg(feature = "web")]
pub mod web;
pub mod wire;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    framing::document_enums();
    b64jpegpay::register(plugin)?;
    b64jpegdepay::register(plugin)?;
    b64jpegclientsrc::register(plugin)?;
    b64jpegserversink::register(plugin)?;
    jfifconvert::register(plugin)?;
    jpegcheck::register(plugin)?;
    #[cfg(feature = "web")]
    web::register(plugin)?;
    typefind::register(plugin)
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
