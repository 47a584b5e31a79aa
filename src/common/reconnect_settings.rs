// SPDX-License-Identifier: MPL-2.0

//! How long a client waits for its server, and before it connects again.

use std::time::Duration;

use crate::common::{property_table::PropertyTable, time::time_spec};
use b64jpeg_net::backoff::Backoff;

const DEFAULT_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(10);
const DEFAULT_RECONNECT_DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(250);
const DEFAULT_RECONNECT_DELAY_MAX: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// The properties `timeout`, `reconnect-delay` and `reconnect-delay-max`.
#[derive(Debug, Clone)]
pub struct ReconnectSettings {
    timeout: gst::ClockTime,
    reconnect_delay: gst::ClockTime,
    reconnect_delay_max: gst::ClockTime,
}

impl Default for ReconnectSettings {
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            reconnect_delay: DEFAULT_RECONNECT_DELAY,
            reconnect_delay_max: DEFAULT_RECONNECT_DELAY_MAX,
        }
    }
}

impl ReconnectSettings {
    /// `timeout` is what the server has to do in that time, `failure` what doubles the delay
    /// before the next attempt.
    pub fn properties(timeout: &str, failure: &str) -> PropertyTable<Self> {
        PropertyTable::default()
            .field(
                time_spec(
                    "timeout",
                    "Timeout",
                    &format!("Nanoseconds in which {timeout} (0 = no limit)"),
                    DEFAULT_TIMEOUT,
                    gst::ClockTime::ZERO,
                ),
                |settings: &Self| &settings.timeout,
                |settings| &mut settings.timeout,
            )
            .field(
                time_spec(
                    "reconnect-delay",
                    "Reconnect delay",
                    &format!(
                        "Initial reconnect delay in nanoseconds, randomised by up to half, \
                         doubled after each attempt {failure}"
                    ),
                    DEFAULT_RECONNECT_DELAY,
                    gst::ClockTime::MSECOND,
                ),
                |settings| &settings.reconnect_delay,
                |settings| &mut settings.reconnect_delay,
            )
            .field(
                time_spec(
                    "reconnect-delay-max",
                    "Maximum reconnect delay",
                    "Longest reconnect delay in nanoseconds",
                    DEFAULT_RECONNECT_DELAY_MAX,
                    gst::ClockTime::MSECOND,
                ),
                |settings| &settings.reconnect_delay_max,
                |settings| &mut settings.reconnect_delay_max,
            )
    }

    /// How long the server may take; `None` for no limit.
    pub fn timeout(&self) -> Option<Duration> {
        Some(self.timeout.into()).filter(|timeout: &Duration| !timeout.is_zero())
    }

    /// The initial and the longest reconnect delay.
    pub fn delays(&self) -> (Duration, Duration) {
        (self.reconnect_delay.into(), self.reconnect_delay_max.into())
    }

    /// The delay after another failed attempt.
    pub fn next(&self, backoff: &mut Backoff) -> Duration {
        let (first, last) = self.delays();
        backoff.next(first, last, glib::random_double())
    }
}
