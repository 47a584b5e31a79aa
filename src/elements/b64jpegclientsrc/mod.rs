// SPDX-License-Identifier: MPL-2.0

//! `b64jpegclientsrc`: JPEG pictures from a server of framed bytes.

use glib::prelude::*;

mod imp;
mod session;
mod settings;

glib::wrapper! {
    pub struct B64JpegClientSrc(ObjectSubclass<imp::B64JpegClientSrc>)
        @extends gst_base::PushSrc, gst_base::BaseSrc, gst::Element, gst::Object,
        @implements gst::URIHandler;
}

/// Registers the element with GStreamer, for players to choose by the URI.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "b64jpegclientsrc",
        gst::Rank::PRIMARY,
        B64JpegClientSrc::static_type(),
    )
}
