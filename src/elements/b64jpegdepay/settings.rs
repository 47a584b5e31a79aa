// SPDX-License-Identifier: MPL-2.0

//! The settings of the element: its properties.

use gst::prelude::*;
use once_cell::sync::Lazy;

use crate::common::{
    property_table::PropertyTable, quit_key, receiver_settings::ReceiverSettings, stats,
};

const DEFAULT_FRAMERATE: gst::Fraction = gst::Fraction::new_raw(25, 1);

#[derive(Debug, Clone)]
pub struct Settings {
    pub format: ReceiverSettings,
    pub framerate: gst::Fraction,
    /// Whether the frame rate was set: only then is it used for a live stream.
    pub framerate_set: bool,
    pub quit_key: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: ReceiverSettings::default(),
            framerate: DEFAULT_FRAMERATE,
            framerate_set: false,
            quit_key: String::new(),
        }
    }
}

pub static PROPERTIES: Lazy<PropertyTable<Settings>> = Lazy::new(|| {
    let framerate = gst::ParamSpecFraction::builder("framerate")
        .nick("Frame rate")
        .blurb(
            "Frames per second of a recorded stream whose caps have no frame rate and, only if \
             this is set, of a live stream without timestamps (0/1 = no timestamps)",
        )
        .minimum(gst::Fraction::new(0, 1))
        .maximum(gst::Fraction::new(i32::MAX, 1))
        .default_value(DEFAULT_FRAMERATE)
        .mutable_ready()
        .build();
    PropertyTable::default()
        .accessors(
            framerate,
            |s: &Settings| s.framerate.to_value(),
            |s, value| {
                s.framerate = value.get().expect("GObject checks the type");
                s.framerate_set = true;
            },
        )
        .field(quit_key::key_spec(), |s| &s.quit_key, |s| &mut s.quit_key)
        .computed(stats::spec())
        .group(
            ReceiverSettings::properties("one more is an error"),
            |s| &s.format,
            |s| &mut s.format,
        )
});
