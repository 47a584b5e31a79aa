// SPDX-License-Identifier: MPL-2.0

//! `jfifconvert`: converts raw video to the colours that JPEG files use.

use glib::prelude::*;

mod colour;
mod converter;
mod imp;
mod linear;
mod planes;
mod rgb;
mod settings;
#[cfg(test)]
mod tests;

glib::wrapper! {
    pub struct JfifConvert(ObjectSubclass<imp::JfifConvert>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element with GStreamer.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "jfifconvert",
        gst::Rank::NONE,
        JfifConvert::static_type(),
    )
}
