// SPDX-License-Identifier: MPL-2.0

//! `socketioserversink`: serves JPEG frames to browsers and Socket.IO programs.

use glib::prelude::*;

mod errors;
mod imp;
mod settings;
mod statistics;

glib::wrapper! {
    pub struct B64JpegSocketIoServerSink(ObjectSubclass<imp::B64JpegSocketIoServerSink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object;
}

/// Registers the element with GStreamer.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "socketioserversink",
        gst::Rank::NONE,
        B64JpegSocketIoServerSink::static_type(),
    )
}
