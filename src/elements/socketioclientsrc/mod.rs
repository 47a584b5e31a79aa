// SPDX-License-Identifier: MPL-2.0

//! `socketioclientsrc`: JPEG pictures from a Socket.IO server.

use glib::prelude::*;

mod event_picture;
mod imp;
mod inbox;
mod settings;

glib::wrapper! {
    pub struct SocketIoClientSrc(ObjectSubclass<imp::SocketIoClientSrc>)
        @extends gst_base::PushSrc, gst_base::BaseSrc, gst::Element, gst::Object;
}

/// Registers the element with GStreamer.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "socketioclientsrc",
        gst::Rank::NONE,
        SocketIoClientSrc::static_type(),
    )
}
