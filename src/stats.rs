// SPDX-License-Identifier: MPL-2.0

//! What the `stats` properties tell.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::wire::Framing;

/// The property `stats`, the same for every element that has it.
pub fn property() -> glib::ParamSpec {
    glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
        .nick("Statistics")
        .blurb("Counts of frames, bytes and errors since the start")
        .read_only()
        .build()
}

/// Counts of one element since it was started.
#[derive(Debug, Default, Clone)]
pub struct Stats {
    /// Frames that went through.
    pub frames: u64,
    /// Bytes of the buffers that came in.
    pub bytes_in: u64,
    /// Bytes of the buffers that went out.
    pub bytes_out: u64,
    /// Frames, or what ought to have been one, that were bad.
    pub errors: u64,
    /// How often the stream was found again after a bad frame or a jump.
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

    /// Counts a frame that goes through now.
    pub fn frame(&mut self, bytes_in: usize, bytes_out: usize) {
        self.frames += 1;
        self.bytes_in += bytes_in as u64;
        self.bytes_out += bytes_out as u64;
        self.rate.frame(Instant::now());
    }

    /// The counts as users read them.
    pub fn to_structure(&self) -> gst::Structure {
        gst::Structure::builder("application/x-b64jpeg-stats")
            .field("frames", self.frames)
            .field("bytes-in", self.bytes_in)
            .field("bytes-out", self.bytes_out)
            .field("errors", self.errors)
            .field("resyncs", self.resyncs)
            .field("dropped", self.dropped)
            .field("fps", self.rate.now(Instant::now()))
            .field_if_some("header", self.framing.map(|f| f.header().as_str()))
            .field_if_some("payload", self.framing.map(|f| f.payload().as_str()))
            .build()
    }
}

/// Frames per second over the last whole second or more.
#[derive(Debug, Default, Clone)]
struct Rate {
    since: Option<Instant>,
    frames: u32,
    last: f64,
}

impl Rate {
    const WINDOW: Duration = Duration::from_secs(1);

    fn frame(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let elapsed = now - since;
        if elapsed >= Self::WINDOW {
            self.last = f64::from(self.frames) / elapsed.as_secs_f64();
            self.since = Some(now);
            self.frames = 0;
        }
        self.frames += 1;
    }

    /// The last rate, or what is left of it when frames stopped coming.
    fn now(&self, now: Instant) -> f64 {
        let Some(since) = self.since else {
            return 0.0;
        };
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= 2 * Self::WINDOW {
            f64::from(self.frames) / elapsed.as_secs_f64()
        } else {
            self.last
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_frames() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = Rate::default();
        assert_eq!(rate.now(start), 0.0);
        for i in 0..=100 {
            rate.frame(at(i * 40));
        }
        assert!((rate.now(at(4_000)) - 25.0).abs() < 0.01);
        assert!(rate.now(at(60_000)) < 1.0, "no frames for long");
    }
}
