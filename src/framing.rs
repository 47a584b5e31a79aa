// SPDX-License-Identifier: MPL-2.0

//! The framings as GStreamer sees them: values of properties and fields of caps.

use once_cell::sync::Lazy;

use crate::wire::{Accept, Header, Payload};

/// The media type of a framed stream.
pub const MEDIA_TYPE: &str = "application/x-b64jpeg";

/// Caps of a framed stream of any framing.
pub static CAPS: Lazy<gst::Caps> = Lazy::new(|| gst::Caps::new_empty_simple(MEDIA_TYPE));

/// Caps that also list the framings, for a pad that says which one it has.
pub static CAPS_WITH_FRAMING: Lazy<gst::Caps> = Lazy::new(|| {
    gst::Caps::builder(MEDIA_TYPE)
        .field("header", gst::List::new(Header::ALL.map(Header::as_str)))
        .field("payload", gst::List::new(Payload::ALL.map(Payload::as_str)))
        .build()
});

/// Caps of JPEG pictures.
pub static JPEG_CAPS: Lazy<gst::Caps> = Lazy::new(|| gst::Caps::new_empty_simple("image/jpeg"));

/// Caps of a time since 1970, for [`gst::ReferenceTimestampMeta`].
pub static UNIX_TIME_CAPS: Lazy<gst::Caps> =
    Lazy::new(|| gst::Caps::new_empty_simple("timestamp/x-unix"));

/// The framing that caps tell, as far as they do.
pub fn from_caps(caps: &gst::CapsRef) -> Accept {
    let field = |name| caps.structure(0).and_then(|s| s.get::<&str>(name).ok());
    Accept {
        header: field("header").and_then(|name| name.parse().ok()),
        payload: field("payload").and_then(|name| name.parse().ok()),
    }
}

/// Refuses a header and a payload that do not go together.
pub fn check(accept: Accept) -> Result<(), gst::ErrorMessage> {
    if accept.framings().next().is_some() {
        return Ok(());
    }
    let name = |name: Option<&'static str>| name.unwrap_or("auto");
    Err(gst::error_msg!(
        gst::LibraryError::Settings,
        (
            "header={} and payload={} do not go together: lines carry base64 only, and only \
             JPEGs can do without a header",
            name(accept.header.map(Header::as_str)),
            name(accept.payload.map(Payload::as_str))
        )
    ))
}

/// What stands before each payload, as the payloader writes it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstB64JpegHeader")]
pub enum HeaderProperty {
    #[default]
    #[enum_value(name = "32-bit big-endian length: struct.pack('>L', n)", nick = "be32")]
    Be32,
    #[enum_value(
        name = "32-bit little-endian length: struct.pack('<L', n)",
        nick = "le32"
    )]
    Le32,
    #[enum_value(name = "64-bit big-endian length: struct.pack('>Q', n)", nick = "be64")]
    Be64,
    #[enum_value(
        name = "64-bit little-endian length: struct.pack('<Q', n)",
        nick = "le64"
    )]
    Le64,
    #[enum_value(
        name = "Decimal length padded to 16 bytes: str(n).ljust(16)",
        nick = "ascii16"
    )]
    Ascii16,
    #[enum_value(
        name = "No length, one line of base64 for each picture",
        nick = "lines"
    )]
    Lines,
    #[enum_value(name = "No length, JPEGs back to back", nick = "none")]
    None,
}

impl From<HeaderProperty> for Header {
    fn from(header: HeaderProperty) -> Self {
        Self::ALL[header as usize]
    }
}

/// What stands before each payload, as the depayloader reads it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstB64JpegHeaderOrAuto")]
pub enum HeaderOrAuto {
    #[default]
    #[enum_value(name = "Recognised from the first bytes", nick = "auto")]
    Auto,
    #[enum_value(name = "32-bit big-endian length: struct.pack('>L', n)", nick = "be32")]
    Be32,
    #[enum_value(
        name = "32-bit little-endian length: struct.pack('<L', n)",
        nick = "le32"
    )]
    Le32,
    #[enum_value(name = "64-bit big-endian length: struct.pack('>Q', n)", nick = "be64")]
    Be64,
    #[enum_value(
        name = "64-bit little-endian length: struct.pack('<Q', n)",
        nick = "le64"
    )]
    Le64,
    #[enum_value(
        name = "Decimal length padded to 16 bytes: str(n).ljust(16) or str(n).zfill(16)",
        nick = "ascii16"
    )]
    Ascii16,
    #[enum_value(
        name = "No length, one line of base64 for each picture",
        nick = "lines"
    )]
    Lines,
    #[enum_value(name = "No length, JPEGs back to back", nick = "none")]
    None,
}

impl From<HeaderOrAuto> for Option<Header> {
    fn from(header: HeaderOrAuto) -> Self {
        (header as usize).checked_sub(1).map(|i| Header::ALL[i])
    }
}

/// How each picture is written, as the payloader does it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstB64JpegPayload")]
pub enum PayloadProperty {
    #[default]
    #[enum_value(name = "Base64 text of the JPEG", nick = "base64")]
    Base64,
    #[enum_value(name = "The JPEG itself", nick = "jpeg")]
    Jpeg,
}

impl From<PayloadProperty> for Payload {
    fn from(payload: PayloadProperty) -> Self {
        Self::ALL[payload as usize]
    }
}

/// How each picture is written, as the depayloader reads it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstB64JpegPayloadOrAuto")]
pub enum PayloadOrAuto {
    #[default]
    #[enum_value(name = "Recognised from the first bytes", nick = "auto")]
    Auto,
    #[enum_value(name = "Base64 text of the JPEG", nick = "base64")]
    Base64,
    #[enum_value(name = "The JPEG itself", nick = "jpeg")]
    Jpeg,
}

impl From<PayloadOrAuto> for Option<Payload> {
    fn from(payload: PayloadOrAuto) -> Self {
        (payload as usize).checked_sub(1).map(|i| Payload::ALL[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nicks of an enum, in the order of its values.
    fn nicks<T: glib::prelude::StaticType>() -> Vec<String> {
        let class = glib::EnumClass::with_type(T::static_type()).expect("an enum");
        class
            .values()
            .iter()
            .map(|value| value.nick().into())
            .collect()
    }

    #[test]
    fn properties_and_wire_agree() {
        let headers = Header::ALL.map(Header::as_str);
        assert_eq!(nicks::<HeaderProperty>(), headers);
        assert_eq!(nicks::<HeaderOrAuto>()[1..], headers);
        let payloads = Payload::ALL.map(Payload::as_str);
        assert_eq!(nicks::<PayloadProperty>(), payloads);
        assert_eq!(nicks::<PayloadOrAuto>()[1..], payloads);
        assert_eq!(Option::<Header>::from(HeaderOrAuto::Auto), None);
        assert_eq!(Option::<Payload>::from(PayloadOrAuto::Auto), None);
    }
}
