// SPDX-License-Identifier: MPL-2.0

//! The framings in GStreamer: the enums of the properties, and the fields of the caps.

use std::str::FromStr;

use b64jpeg_wire::{AcceptedFramings, Header, Payload, UnknownName};
use once_cell::sync::Lazy;

use crate::common::property_table::property_values;

/// The media type of a framed stream.
pub const MEDIA_TYPE: &str = "application/x-b64jpeg";

/// Caps of a framed stream of any framing.
pub static CAPS: Lazy<gst::Caps> = Lazy::new(|| gst::Caps::new_empty_simple(MEDIA_TYPE));

/// Caps that also list the framings, for a pad whose caps name its framing.
pub static CAPS_WITH_FRAMING: Lazy<gst::Caps> = Lazy::new(|| {
    gst::Caps::builder(MEDIA_TYPE)
        .field("header", gst::List::new(Header::ALL.map(Header::as_str)))
        .field("payload", gst::List::new(Payload::ALL.map(Payload::as_str)))
        .build()
});

/// Caps of JPEG pictures.
pub static JPEG_CAPS: Lazy<gst::Caps> = Lazy::new(|| gst::Caps::new_empty_simple("image/jpeg"));

/// The template of a pad that always exists.
pub fn always_template(
    name: &str,
    direction: gst::PadDirection,
    caps: &gst::Caps,
) -> gst::PadTemplate {
    gst::PadTemplate::new(name, direction, gst::PadPresence::Always, caps)
        .expect("the template is valid")
}

/// The framing in caps, as far as they name it.
///
/// # Errors
///
/// If `header` or `payload` has an unknown value.
pub fn from_caps(caps: &gst::CapsRef) -> Result<AcceptedFramings, UnknownName> {
    fn field<T: FromStr<Err = UnknownName>>(
        caps: &gst::CapsRef,
        name: &str,
    ) -> Result<Option<T>, UnknownName> {
        caps.structure(0)
            .and_then(|structure| structure.get::<&str>(name).ok())
            .map(str::parse)
            .transpose()
    }
    Ok(AcceptedFramings {
        header: field(caps, "header")?,
        payload: field(caps, "payload")?,
    })
}

/// Refuses a header and a payload that cannot be combined.
///
/// # Errors
///
/// A message that names both.
pub fn check(accept: AcceptedFramings) -> Result<(), gst::ErrorMessage> {
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

/// Defines two enums for properties: that of a sender, and that of a receiver, which also has
/// `auto`.
macro_rules! property_enums {
    (
        $wire:ident, $(#[$doc:meta])* $exact:ident = $exact_type:literal,
        $(#[$auto_doc:meta])* $auto:ident = $auto_type:literal:
        $first:ident $first_nick:literal $first_blurb:literal,
        $($value:ident $nick:literal $blurb:literal,)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
        #[repr(i32)]
        #[enum_type(name = $exact_type)]
        pub enum $exact {
            #[default]
            #[enum_value(name = $first_blurb, nick = $first_nick)]
            $first,
            $(#[enum_value(name = $blurb, nick = $nick)] $value,)*
        }

        property_values!($exact, $auto);

        impl From<$exact> for $wire {
            fn from(value: $exact) -> Self {
                Self::ALL[value as usize]
            }
        }

        $(#[$auto_doc])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq, glib::Enum)]
        #[repr(i32)]
        #[enum_type(name = $auto_type)]
        pub enum $auto {
            #[default]
            #[enum_value(name = "Recognised from the first bytes", nick = "auto")]
            Auto,
            #[enum_value(name = $first_blurb, nick = $first_nick)]
            $first,
            $(#[enum_value(name = $blurb, nick = $nick)] $value,)*
        }

        impl From<$auto> for Option<$wire> {
            fn from(value: $auto) -> Self {
                (value as usize).checked_sub(1).map(|i| $wire::ALL[i])
            }
        }
    };
}

property_enums! {
    Header,
    /// What precedes each payload, for a sender.
    HeaderProperty = "GstB64JpegHeader",
    /// What precedes each payload, for a receiver.
    HeaderOrAuto = "GstB64JpegHeaderOrAuto":
    Be32 "be32" "32-bit big-endian length: struct.pack('>L', n)",
    Le32 "le32" "32-bit little-endian length: struct.pack('<L', n)",
    Be64 "be64" "64-bit big-endian length: struct.pack('>Q', n)",
    Le64 "le64" "64-bit little-endian length: struct.pack('<Q', n)",
    Ascii16 "ascii16" "Decimal length in 16 bytes: str(n).ljust(16), or str(n).zfill(16)",
    Lines "lines" "No length, one line of base64 for each picture",
    None "none" "No length, JPEGs back to back",
}

property_enums! {
    Payload,
    /// How each picture is encoded, for a sender.
    PayloadProperty = "GstB64JpegPayload",
    /// How each picture is encoded, for a receiver.
    PayloadOrAuto = "GstB64JpegPayloadOrAuto":
    Base64 "base64" "Base64 text of the JPEG",
    Jpeg "jpeg" "The JPEG itself",
}

/// Makes the documentation generator include the enums.
#[cfg(feature = "doc")]
pub fn document_enums() {
    use gst::prelude::*;

    for enum_type in [
        HeaderProperty::static_type(),
        HeaderOrAuto::static_type(),
        PayloadProperty::static_type(),
        PayloadOrAuto::static_type(),
    ] {
        enum_type.mark_as_plugin_api(gst::PluginAPIFlags::empty());
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
    fn property_enum_nicks_equal_wire_names() {
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
