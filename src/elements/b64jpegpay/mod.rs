// SPDX-License-Identifier: MPL-2.0

//! `b64jpegpay`: writes JPEGs as framed bytes.

use glib::prelude::*;

mod imp;

glib::wrapper! {
    pub struct B64JpegPay(ObjectSubclass<imp::B64JpegPay>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with GStreamer.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "b64jpegpay",
        gst::Rank::NONE,
        B64JpegPay::static_type(),
    )
}
