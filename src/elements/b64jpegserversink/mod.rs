// SPDX-License-Identifier: MPL-2.0

//! `b64jpegserversink`: serves JPEG frames over TCP to any number of clients.

use glib::prelude::*;

mod end_of_stream;
mod imp;
mod pacing;
mod reports;
mod sending;
mod settings;

glib::wrapper! {
    pub struct B64JpegServerSink(ObjectSubclass<imp::B64JpegServerSink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object;
}

/// Registers the element with GStreamer.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "b64jpegserversink",
        gst::Rank::NONE,
        B64JpegServerSink::static_type(),
    )
}
