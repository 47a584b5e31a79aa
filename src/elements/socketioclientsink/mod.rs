// SPDX-License-Identifier: MPL-2.0

//! `socketioclientsink`: JPEG pictures to a Socket.IO server.

use glib::prelude::*;

mod imp;
mod outbox;

glib::wrapper! {
    pub struct SocketIoClientSink(ObjectSubclass<imp::SocketIoClientSink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object;
}

/// How an event carries a picture.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstB64JpegSocketIoPayload")]
pub enum SocketIoPayload {
    #[default]
    #[enum_value(name = "Base64 text of the JPEG", nick = "base64")]
    Base64,
    #[enum_value(name = "The JPEG itself, as a binary attachment", nick = "binary")]
    Binary,
}

/// Registers the element with GStreamer.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    #[cfg(feature = "doc")]
    {
        use gst::prelude::*;
        SocketIoPayload::static_type().mark_as_plugin_api(gst::PluginAPIFlags::empty());
    }
    gst::Element::register(
        Some(plugin),
        "socketioclientsink",
        gst::Rank::NONE,
        SocketIoClientSink::static_type(),
    )
}
