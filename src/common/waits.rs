// SPDX-License-Identifier: MPL-2.0

//! How long a client waits for its server, and before it tries again.

use std::time::Duration;

use b64jpeg_net::backoff::Backoff;
use gst::prelude::*;

use crate::common::clock::time_property;

const DEFAULT_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(10);
const DEFAULT_RECONNECT_DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(250);
const DEFAULT_RECONNECT_DELAY_MAX: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// The properties that say so.
#[derive(Debug, Clone)]
pub struct Waits {
    timeout: gst::ClockTime,
    reconnect_delay: gst::ClockTime,
    reconnect_delay_max: gst::ClockTime,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            reconnect_delay: DEFAULT_RECONNECT_DELAY,
            reconnect_delay_max: DEFAULT_RECONNECT_DELAY_MAX,
        }
    }
}

impl Waits {
    /// `timeout` is what the server has to do in that time, `in_vain` a try that lets the
    /// wait for the next one double.
    pub fn properties(timeout: &str, in_vain: &str) -> [glib::ParamSpec; 3] {
        [
            time_property(
                "timeout",
                "Timeout",
                &format!("Nanoseconds in which {timeout} (0 = any time)"),
                DEFAULT_TIMEOUT,
                gst::ClockTime::ZERO,
            ),
            time_property(
                "reconnect-delay",
                "Reconnect delay",
                &format!(
                    "Nanoseconds before the first new try, or half as many; with every try \
                     {in_vain} it doubles"
                ),
                DEFAULT_RECONNECT_DELAY,
                gst::ClockTime::MSECOND,
            ),
            time_property(
                "reconnect-delay-max",
                "Maximum reconnect delay",
                "The most nanoseconds between two tries",
                DEFAULT_RECONNECT_DELAY_MAX,
                gst::ClockTime::MSECOND,
            ),
        ]
    }

    /// Sets one of these properties.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        let time = gst::ClockTime::from_nseconds(value.get().expect("GObject checks the type"));
        match name {
            "timeout" => self.timeout = time,
            "reconnect-delay" => self.reconnect_delay = time,
            "reconnect-delay-max" => self.reconnect_delay_max = time,
            name => unreachable!("no writable property {name}"),
        }
    }

    /// The value of one of these properties.
    pub fn get(&self, name: &str) -> glib::Value {
        let time = match name {
            "timeout" => self.timeout,
            "reconnect-delay" => self.reconnect_delay,
            "reconnect-delay-max" => self.reconnect_delay_max,
            name => unreachable!("no property {name}"),
        };
        time.nseconds().to_value()
    }

    /// How long the server may take; none for any time.
    pub fn timeout(&self) -> Option<Duration> {
        Some(self.timeout.into()).filter(|timeout: &Duration| !timeout.is_zero())
    }

    /// The first and the longest wait before another try.
    pub fn delays(&self) -> (Duration, Duration) {
        (self.reconnect_delay.into(), self.reconnect_delay_max.into())
    }

    /// How long to wait now, after a try in vain.
    pub fn next(&self, backoff: &mut Backoff) -> Duration {
        let (first, last) = self.delays();
        backoff.next(first, last, glib::random_double())
    }
}
