// SPDX-License-Identifier: MPL-2.0

//! `jpegcheck`: passes the JPEGs of one sender and drops everything else.

use glib::prelude::*;

mod imp;
mod settings;
mod stream_holder;

glib::wrapper! {
    pub struct JpegCheck(ObjectSubclass<imp::JpegCheck>)
        @extends gst::Element, gst::Object;
}

/// Registers the element with GStreamer.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "jpegcheck",
        gst::Rank::NONE,
        JpegCheck::static_type(),
    )
}
