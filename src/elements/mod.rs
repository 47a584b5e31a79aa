// SPDX-License-Identifier: MPL-2.0

//! The elements, a folder each.

mod b64jpegclientsrc;
mod b64jpegdepay;
mod b64jpegpay;
mod b64jpegserversink;
mod jfifconvert;
mod jpegcheck;
#[cfg(feature = "web")]
mod socketioclientsink;
#[cfg(feature = "web")]
mod socketioclientsrc;
#[cfg(feature = "web")]
mod socketioserversink;
mod typefind;

/// Registers the elements with GStreamer.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    b64jpegpay::register(plugin)?;
    b64jpegdepay::register(plugin)?;
    b64jpegclientsrc::register(plugin)?;
    b64jpegserversink::register(plugin)?;
    jfifconvert::register(plugin)?;
    jpegcheck::register(plugin)?;
    #[cfg(feature = "web")]
    {
        socketioclientsink::register(plugin)?;
        socketioclientsrc::register(plugin)?;
        socketioserversink::register(plugin)?;
    }
    typefind::register(plugin)
}
