// SPDX-License-Identifier: MPL-2.0

//! What elements that receive pictures have in common.

use gst::prelude::*;

use crate::common::{
    framing::{self, HeaderOrAuto, PayloadOrAuto},
    property_table::PropertyTable,
};
use b64jpeg_wire::{AcceptedFramings, FrameLimits};

const DEFAULT_MAX_FRAME_SIZE: u32 = FrameLimits::DEFAULT_MAX_FRAME as u32;
pub const DEFAULT_MAX_PIXELS: u32 = FrameLimits::DEFAULT_MAX_PIXELS as u32;
const DEFAULT_MAX_ERRORS: i32 = 10;

/// The property `max-pixels`, the same for every element that has it.
pub fn max_pixels_spec() -> glib::ParamSpec {
    glib::ParamSpecUInt::builder("max-pixels")
        .nick("Maximum pixels")
        .blurb(
            "Most pixels, width times height, that the header of a picture may say; one with \
             more is a bad frame and is dropped, because a decoder would take memory for them \
             all (0 = any number)",
        )
        .default_value(DEFAULT_MAX_PIXELS)
        .mutable_ready()
        .build()
}

/// The limit that a value of that property means.
pub fn max_pixels(value: u32) -> u64 {
    match value {
        0 => u64::MAX,
        value => value.into(),
    }
}

/// What is put up with: the properties that say so.
#[derive(Debug, Clone)]
pub struct Tolerance {
    max_frame_size: u32,
    max_pixels: u32,
    /// Bad frames in a row that are forgiven; any number if it is negative.
    pub max_errors: i32,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self {
            max_frame_size: DEFAULT_MAX_FRAME_SIZE,
            max_pixels: DEFAULT_MAX_PIXELS,
            max_errors: DEFAULT_MAX_ERRORS,
        }
    }
}

impl Tolerance {
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

/// What is taken for a picture: the properties that say so.
#[derive(Debug, Default, Clone)]
pub struct Format {
    pub header: HeaderOrAuto,
    pub payload: PayloadOrAuto,
    pub tolerance: Tolerance,
}

impl Format {
    /// `too_many` is what one more error than `max-errors` does.
    pub fn properties(too_many: &str) -> PropertyTable<Self> {
        PropertyTable::default()
            .field(
                glib::ParamSpecEnum::builder::<HeaderOrAuto>("header")
                    .nick("Header")
                    .blurb("What precedes each payload")
                    .mutable_ready()
                    .build(),
                |settings: &Self| &settings.header,
                |settings| &mut settings.header,
            )
            .field(
                glib::ParamSpecEnum::builder::<PayloadOrAuto>("payload")
                    .nick("Payload")
                    .blurb("How each picture is encoded")
                    .mutable_ready()
                    .build(),
                |settings| &settings.payload,
                |settings| &mut settings.payload,
            )
            .group(
                Tolerance::properties("is a bad frame", too_many),
                |settings| &settings.tolerance,
                |settings| &mut settings.tolerance,
            )
    }

    /// The framings to accept where something else, such as caps, tells some.
    pub fn accept(&self, told: AcceptedFramings) -> AcceptedFramings {
        AcceptedFramings {
            header: Option::from(self.header).or(told.header),
            payload: Option::from(self.payload).or(told.payload),
        }
    }

    /// These framings, if there are any.
    pub fn check(&self, told: AcceptedFramings) -> Result<AcceptedFramings, gst::ErrorMessage> {
        let accept = self.accept(told);
        framing::check(accept).map(|()| accept)
    }
}
