// SPDX-License-Identifier: MPL-2.0

//! `b64jpegdepay`: framed bytes to JPEG pictures.

use glib::prelude::*;

mod imp;
mod settings;
mod state;

glib::wrapper! {
    pub struct B64JpegDepay(ObjectSubclass<imp::B64JpegDepay>)
        @extends gst_base::BaseParse, gst::Element, gst::Object;
}

/// Registers the element with GStreamer, for `decodebin` and players to choose.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "b64jpegdepay",
        gst::Rank::PRIMARY,
        B64JpegDepay::static_type(),
    )
}
