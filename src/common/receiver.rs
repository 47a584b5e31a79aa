// SPDX-License-Identifier: MPL-2.0

//! What elements that receive pictures have in common.

use b64jpeg_wire::{AcceptedFramings, FrameLimits};
use gst::prelude::*;

use crate::common::framing::{self, HeaderOrAuto, PayloadOrAuto};

const DEFAULT_MAX_FRAME_SIZE: u32 = FrameLimits::DEFAULT_MAX_FRAME as u32;
pub const DEFAULT_MAX_PIXELS: u32 = FrameLimits::DEFAULT_MAX_PIXELS as u32;
const DEFAULT_MAX_ERRORS: i32 = 10;

/// The property `max-pixels`, the same for every element that has it.
pub fn max_pixels_property() -> glib::ParamSpec {
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
    /// What a longer frame is, and what one more error does.
    pub fn properties(longer: &str, max_errors: &str) -> [glib::ParamSpec; 3] {
        [
            glib::ParamSpecUInt::builder("max-frame-size")
                .nick("Maximum frame size")
                .blurb(&format!(
                    "Longest payload in bytes on the wire; a longer one {longer}, \
                     and one that long takes three times as much memory"
                ))
                .minimum(16)
                // BaseParse counts in signed 32-bit numbers.
                .maximum(1 << 30)
                .default_value(DEFAULT_MAX_FRAME_SIZE)
                .mutable_ready()
                .build(),
            max_pixels_property(),
            glib::ParamSpecInt::builder("max-errors")
                .nick("Maximum errors")
                .blurb(&format!(
                    "Bad frames in a row that are forgiven; {max_errors} (-1 = any number)"
                ))
                .minimum(-1)
                .default_value(DEFAULT_MAX_ERRORS)
                .mutable_playing()
                .build(),
        ]
    }

    /// Sets one of these properties.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const OF_TYPE: &str = "GObject checks the type";
        match name {
            "max-frame-size" => self.max_frame_size = value.get().expect(OF_TYPE),
            "max-pixels" => self.max_pixels = value.get().expect(OF_TYPE),
            "max-errors" => self.max_errors = value.get().expect(OF_TYPE),
            name => unreachable!("no writable property {name}"),
        }
    }

    /// The value of one of these properties.
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "max-frame-size" => self.max_frame_size.to_value(),
            "max-pixels" => self.max_pixels.to_value(),
            "max-errors" => self.max_errors.to_value(),
            name => unreachable!("no property {name}"),
        }
    }

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
    /// `max_errors` is what one more of them does.
    pub fn properties(max_errors: &str) -> Vec<glib::ParamSpec> {
        let mut properties = vec![
            glib::ParamSpecEnum::builder::<HeaderOrAuto>("header")
                .nick("Header")
                .blurb("What stands before each payload")
                .mutable_ready()
                .build(),
            glib::ParamSpecEnum::builder::<PayloadOrAuto>("payload")
                .nick("Payload")
                .blurb("How each picture is written")
                .mutable_ready()
                .build(),
        ];
        properties.extend(Tolerance::properties("is a bad frame", max_errors));
        properties
    }

    /// Sets one of these properties.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const OF_TYPE: &str = "GObject checks the type";
        match name {
            "header" => self.header = value.get().expect(OF_TYPE),
            "payload" => self.payload = value.get().expect(OF_TYPE),
            name => self.tolerance.set(name, value),
        }
    }

    /// The value of one of these properties.
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "header" => self.header.to_value(),
            "payload" => self.payload.to_value(),
            name => self.tolerance.get(name),
        }
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
