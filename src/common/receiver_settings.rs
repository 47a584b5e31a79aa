// SPDX-License-Identifier: MPL-2.0

//! The properties that receivers share: limits, tolerated errors, and the framing.

use gst::prelude::*;

use crate::common::{
    framing_properties::{self, HeaderOrAuto, PayloadOrAuto},
    property_table::PropertyTable,
};
use b64jpeg_wire::{AcceptedFramings, FrameLimits};

const DEFAULT_MAX_FRAME_SIZE: u32 = FrameLimits::DEFAULT_MAX_FRAME as u32;
pub const DEFAULT_MAX_PIXELS: u32 = FrameLimits::DEFAULT_MAX_PIXELS as u32;
const DEFAULT_MAX_ERRORS: i32 = 10;

/// The spec of `max-pixels`, the same for every element that has it.
pub fn max_pixels_spec() -> glib::ParamSpec {
    glib::ParamSpecUInt::builder("max-pixels")
        .nick("Maximum pixels")
        .blurb(
            "Most pixels, width times height, in the header of a picture; a picture with more is \
             a bad frame and is dropped, because a decoder would allocate memory for all of \
             them (0 = no limit)",
        )
        .default_value(DEFAULT_MAX_PIXELS)
        .mutable_ready()
        .build()
}

/// The limit that a value of `max-pixels` stands for.
pub fn max_pixels(value: u32) -> u64 {
    match value {
        0 => u64::MAX,
        value => value.into(),
    }
}

/// The properties `max-frame-size`, `max-pixels` and `max-errors`.
#[derive(Debug, Clone)]
pub struct ReceiverLimits {
    max_frame_size: u32,
    max_pixels: u32,
    /// Consecutive bad frames that are skipped; negative for no limit.
    pub max_errors: i32,
}

impl Default for ReceiverLimits {
    fn default() -> Self {
        Self {
            max_frame_size: DEFAULT_MAX_FRAME_SIZE,
            max_pixels: DEFAULT_MAX_PIXELS,
            max_errors: DEFAULT_MAX_ERRORS,
        }
    }
}

impl ReceiverLimits {
    /// `longer` is what happens to a longer frame, `too_many` what one more error does.
    pub fn properties(longer: &str, too_many: &str) -> PropertyTable<Self> {
        PropertyTable::default()
            .field(
                glib::ParamSpecUInt::builder("max-frame-size")
                    .nick("Maximum frame size")
                    .blurb(&format!(
                        "Longest payload in bytes on the wire; a longer one {longer}. Receiving \
                         one takes three times its size in memory"
                    ))
                    .minimum(16)
                    // GstBaseParse counts bytes in signed 32-bit numbers.
                    .maximum(1 << 30)
                    .default_value(DEFAULT_MAX_FRAME_SIZE)
                    .mutable_ready()
                    .build(),
                |settings: &Self| &settings.max_frame_size,
                |settings| &mut settings.max_frame_size,
            )
            .field(
                max_pixels_spec(),
                |settings| &settings.max_pixels,
                |settings| &mut settings.max_pixels,
            )
            .field(
                glib::ParamSpecInt::builder("max-errors")
                    .nick("Maximum errors")
                    .blurb(&format!(
                        "Consecutive bad frames that are skipped; {too_many} (-1 = no limit)"
                    ))
                    .minimum(-1)
                    .default_value(DEFAULT_MAX_ERRORS)
                    .mutable_playing()
                    .build(),
                |settings| &settings.max_errors,
                |settings| &mut settings.max_errors,
            )
    }

    /// The limits for the parser.
    pub fn limits(&self) -> FrameLimits {
        FrameLimits {
            max_frame: self.max_frame_size as usize,
            max_pixels: max_pixels(self.max_pixels),
        }
    }
}

/// The properties `header` and `payload`, and those of [`ReceiverLimits`].
#[derive(Debug, Default, Clone)]
pub struct ReceiverSettings {
    pub header: HeaderOrAuto,
    pub payload: PayloadOrAuto,
    pub tolerance: ReceiverLimits,
}

impl ReceiverSettings {
    /// `too_many` is what one more error than `max-errors` does.
    pub fn properties(too_many: &str) -> PropertyTable<Self> {
        PropertyTable::default()
            .field(
                glib::ParamSpecEnum::builder::<HeaderOrAuto>("header")
                    .nick("Header")
                    .blurb("Header before each payload")
                    .mutable_ready()
                    .build(),
                |settings: &Self| &settings.header,
                |settings| &mut settings.header,
            )
            .field(
                glib::ParamSpecEnum::builder::<PayloadOrAuto>("payload")
                    .nick("Payload")
                    .blurb("Encoding of each picture")
                    .mutable_ready()
                    .build(),
                |settings| &settings.payload,
                |settings| &mut settings.payload,
            )
            .group(
                ReceiverLimits::properties("is a bad frame", too_many),
                |settings| &settings.tolerance,
                |settings| &mut settings.tolerance,
            )
    }

    /// The framings to accept: the properties take precedence over `other`, such as that of caps.
    pub fn accept(&self, other: AcceptedFramings) -> AcceptedFramings {
        AcceptedFramings {
            header: Option::from(self.header).or(other.header),
            payload: Option::from(self.payload).or(other.payload),
        }
    }

    /// As [`accept`](Self::accept).
    ///
    /// # Errors
    ///
    /// If header and payload cannot be combined.
    pub fn check(&self, other: AcceptedFramings) -> Result<AcceptedFramings, gst::ErrorMessage> {
        let accept = self.accept(other);
        framing_properties::check(accept).map(|()| accept)
    }
}
