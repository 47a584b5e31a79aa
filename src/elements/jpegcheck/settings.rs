// SPDX-License-Identifier: MPL-2.0

//! The settings of the element, and its properties.

use b64jpeg_wire::jpeg::Origin;
use gst::prelude::*;
use once_cell::sync::Lazy;

use crate::common::{
    property_table::PropertyTable,
    receiver_settings::{self, DEFAULT_MAX_PIXELS},
    sender_settings::{self, DEFAULT_CAPTURE_TIME},
    stats, time,
};

const DEFAULT_ORIGIN_TIMEOUT: gst::ClockTime = gst::ClockTime::SECOND;

#[derive(Debug, Clone)]
pub struct Settings {
    pub capture_time: bool,
    pub origin: String,
    pub origin_timeout: gst::ClockTime,
    pub max_pixels: u32,
    pub stats_interval: gst::ClockTime,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capture_time: DEFAULT_CAPTURE_TIME,
            origin: String::new(),
            origin_timeout: DEFAULT_ORIGIN_TIMEOUT,
            max_pixels: DEFAULT_MAX_PIXELS,
            stats_interval: stats::DEFAULT_INTERVAL,
        }
    }
}

impl Settings {
    /// The origin to stamp on frames, if one is set.
    pub fn origin(&self) -> Result<Option<Origin>, gst::ErrorMessage> {
        if self.origin.is_empty() {
            return Ok(None);
        }
        let origin = Origin::new(&self.origin).ok_or_else(|| {
            gst::error_msg!(
                gst::ResourceError::Settings,
                (
                    "`origin` {:?} is not a valid name: use up to {} bytes without control characters",
                    self.origin,
                    Origin::MAX
                )
            )
        })?;
        Ok(Some(origin))
    }
}

pub static PROPERTIES: Lazy<PropertyTable<Settings>> = Lazy::new(|| {
    PropertyTable::default()
        .field(
            sender_settings::capture_time_spec(),
            |s: &Settings| &s.capture_time,
            |s| &mut s.capture_time,
        )
        .field(origin_spec(), |s| &s.origin, |s| &mut s.origin)
        .field(
            time::time_spec(
                "origin-timeout",
                "Origin timeout",
                "Time in nanoseconds without a frame of the sender whose frames pass, after which \
                 another sender's frames pass (0 = the frames of all senders pass)",
                DEFAULT_ORIGIN_TIMEOUT,
                gst::ClockTime::ZERO,
            ),
            |s| &s.origin_timeout,
            |s| &mut s.origin_timeout,
        )
        .field(
            receiver_settings::max_pixels_spec(),
            |s| &s.max_pixels,
            |s| &mut s.max_pixels,
        )
        .computed(stats::spec())
        .field(
            stats::interval_spec(),
            |s| &s.stats_interval,
            |s| &mut s.stats_interval,
        )
});

fn origin_spec() -> glib::ParamSpec {
    glib::ParamSpecString::builder("origin")
        .nick("Origin")
        .blurb(
            "Name of the sender, up to 200 bytes, to stamp on each frame in a JPEG comment that \
             decoders skip (empty = none)",
        )
        .default_value(Some(""))
        .mutable_ready()
        .build()
}
