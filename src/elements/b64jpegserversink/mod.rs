// SPDX-License-Identifier: MPL-2.0

//! `b64jpegserversink`: JPEG pictures to everybody who connects.

use glib::prelude::*;

mod imp;

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
