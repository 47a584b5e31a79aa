// SPDX-License-Identifier: MPL-2.0

//! The settings of the element, and its properties.

use gst::prelude::*;
use once_cell::sync::Lazy;

use crate::common::{property_table::PropertyTable, stats};

/// Off, because OpenCV and ffmpeg do not shift chroma by default: shifted frames differ more from
/// what they show of the same video. In a JPEG of quality 80 the shift gains 0.1 to 0.2 dB, and
/// loses as much where caps only assume a site, as they often do.
const DEFAULT_SHIFT_CHROMA: bool = false;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Overrides the colorimetry in the caps, unless it is empty.
    pub colorimetry: String,
    pub shift_chroma: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            colorimetry: String::new(),
            shift_chroma: DEFAULT_SHIFT_CHROMA,
        }
    }
}

pub static PROPERTIES: Lazy<PropertyTable<Settings>> = Lazy::new(|| {
    PropertyTable::default()
        .field(
            glib::ParamSpecString::builder("colorimetry")
                .nick("Colorimetry")
                .blurb(
                    "Colorimetry of the input, such as bt601, bt709 or 1:4:0:0, instead of that \
                     in its caps (empty = as in the caps)",
                )
                .default_value("")
                .mutable_ready()
                .build(),
            |s: &Settings| &s.colorimetry,
            |s| &mut s.colorimetry,
        )
        .field(
            glib::ParamSpecBoolean::builder("shift-chroma")
                .nick("Shift chroma")
                .blurb(
                    "Move chroma by half a pixel, from the site in the caps to the site that \
                     JPEG uses",
                )
                .default_value(DEFAULT_SHIFT_CHROMA)
                .mutable_ready()
                .build(),
            |s| &s.shift_chroma,
            |s| &mut s.shift_chroma,
        )
        .computed(stats::spec())
});
