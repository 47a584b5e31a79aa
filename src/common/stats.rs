// SPDX-License-Identifier: MPL-2.0

//! The counts in the `stats` properties.

use std::time::{Duration, Instant};

use b64jpeg_wire::Framing;
use gst::prelude::*;

use crate::common::time::time_spec;

/// The name of the property with the counts.
pub const NAME: &str = "stats";
/// The default of `stats-interval`.
pub const DEFAULT_INTERVAL: gst::ClockTime = gst::ClockTime::ZERO;

/// The spec of `stats`, the same for every element that has it.
pub fn spec() -> glib::ParamSpec {
    glib::ParamSpecBoxed::builder::<gst::Structure>(NAME)
        .nick("Statistics")
        .blurb("Counts of frames, bytes and errors since the start; fps since the last read")
        .read_only()
        .build()
}

/// The spec of `stats-interval`, the same for every element that has it.
pub fn interval_spec() -> glib::ParamSpec {
    time_spec(
        "stats-interval",
        "Statistics interval",
        "Nanoseconds between notifications of stats (0 = none)",
        DEFAULT_INTERVAL,
        gst::ClockTime::ZERO,
    )
}

/// When `stats` was notified last.
#[derive(Debug)]
pub struct NotifyTimer(Instant);

impl Default for NotifyTimer {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl NotifyTimer {
    /// Whether a notification is due. If so, the next one is due an interval later.
    pub fn is_due(&mut self, interval: gst::ClockTime) -> bool {
        let interval = Duration::from(interval);
        let due = !interval.is_zero() && self.0.elapsed() >= interval;
        if due {
            self.0 = Instant::now();
        }
        due
    }
}

/// Counts of one element since it was started.
#[derive(Debug, Default, Clone)]
pub struct Stats {
    /// Frames that have passed.
    pub frames: u64,
    /// Bytes of the buffers that came in.
    pub bytes_in: u64,
    /// Bytes of the buffers that went out.
    pub bytes_out: u64,
    /// Bad frames, and places where no frame could be found.
    pub errors: u64,
    /// Resynchronisations after a bad frame or a seek.
    pub resyncs: u64,
    /// Whole buffers that were dropped.
    pub dropped: u64,
    /// The framing, once it is known.
    pub framing: Option<Framing>,
    rate: Rate,
}

impl Stats {
    /// Counts of a stream whose framing may be known from the start.
    pub fn new(framing: Option<Framing>) -> Self {
        Self {
            framing,
            ..Self::default()
        }
    }

    /// Counts a frame that passes now.
    pub fn frame(&mut self, bytes_in: usize, bytes_out: usize) {
        self.frames += 1;
        self.bytes_in += bytes_in as u64;
        self.bytes_out += bytes_out as u64;
    }

    /// Frames per second since the last call.
    pub fn fps(&mut self) -> f64 {
        self.rate.read(self.frames, Instant::now())
    }

    /// The counts as users read them, with the rate since they were read last.
    pub fn structure(&mut self) -> gst::Structure {
        gst::Structure::builder("application/x-b64jpeg-stats")
            .field("frames", self.frames)
            .field("bytes-in", self.bytes_in)
            .field("bytes-out", self.bytes_out)
            .field("errors", self.errors)
            .field("resyncs", self.resyncs)
            .field("dropped", self.dropped)
            .field("fps", self.fps())
            .field_if_some("header", self.framing.map(|f| f.header().as_str()))
            .field_if_some("payload", self.framing.map(|f| f.payload().as_str()))
            .build()
    }
}

/// The rate of a count between two reads, so that counting itself costs nothing.
#[derive(Debug, Clone)]
struct Rate {
    since: Instant,
    count: u64,
    last: f64,
}

impl Default for Rate {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            count: 0,
            last: 0.0,
        }
    }
}

impl Rate {
    /// Reads closer together than this get the same rate.
    const WINDOW: Duration = Duration::from_secs(1);

    /// The rate per second since the last read, or since the start.
    fn read(&mut self, count: u64, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= Self::WINDOW {
            self.last = (count - self.count) as f64 / elapsed.as_secs_f64();
            self.since = now;
            self.count = count;
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_updated_once_a_second() {
        let mut rate = Rate::default();
        let start = rate.since;
        let mut read = |count, ms| rate.read(count, start + Duration::from_millis(ms));
        assert_eq!(read(3, 100), 0.0);
        assert_eq!(read(25, 1_000), 25.0);
        assert_eq!(read(26, 1_040), 25.0, "too soon for another rate");
        assert_eq!(read(85, 2_000), 60.0);
        assert_eq!(read(85, 60_000), 0.0, "nothing was counted for long");
    }
}
