// SPDX-License-Identifier: MPL-2.0

//! When pictures were captured, on the wall clock of who captured them, and how old they
//! are when they arrive.

use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

use gst::prelude::*;
use once_cell::sync::Lazy;

use crate::clock;

/// Caps of a time since 1970, for [`gst::ReferenceTimestampMeta`].
static UNIX_TIME_CAPS: Lazy<gst::Caps> =
    Lazy::new(|| gst::Caps::new_empty_simple("timestamp/x-unix"));

/// Nanoseconds since 1970 on this machine's clock.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|now| now.as_nanos().try_into().ok())
        .unwrap_or(0)
}

/// When a picture that `element` has received was captured, in nanoseconds since 1970:
/// what it says itself, or its running time on the wall clock, or now.
pub fn time_of(
    element: &impl IsA<gst::Element>,
    segment: &gst::Segment,
    buffer: &gst::BufferRef,
) -> u64 {
    meta(buffer).unwrap_or_else(|| {
        let age = age(element, segment, buffer).map_or(0, gst::ClockTime::nseconds);
        now().saturating_sub(age)
    })
}

/// What the picture says itself.
fn meta(buffer: &gst::BufferRef) -> Option<u64> {
    buffer
        .iter_meta::<gst::ReferenceTimestampMeta>()
        .find(|meta| meta.reference().can_intersect(&UNIX_TIME_CAPS))
        .map(|meta| meta.timestamp().nseconds())
}

/// How long ago a picture was due; nothing if it is due later, as when a file is read
/// faster than it plays.
fn age(
    element: &impl IsA<gst::Element>,
    segment: &gst::Segment,
    buffer: &gst::BufferRef,
) -> Option<gst::ClockTime> {
    let now = clock::running_time(element)?;
    let segment = segment.downcast_ref::<gst::ClockTime>()?;
    let due = segment.to_running_time(buffer.pts()?)?;
    now.checked_sub(due)
}

/// Tells downstream when a picture was captured, in nanoseconds since 1970, unless that is
/// told already.
pub fn add_meta(buffer: &mut gst::BufferRef, time: u64) {
    if meta(buffer).is_some() {
        return;
    }
    let time = gst::ClockTime::from_nseconds(time);
    gst::ReferenceTimestampMeta::add(buffer, &UNIX_TIME_CAPS, time, None);
}

/// How long the newest pictures took from their capture to their arrival.
///
/// The first is told by the sender's clock and the second by ours: between machines whose
/// clocks differ, every delay is wrong by that difference, and may be negative.
#[derive(Debug, Default, Clone)]
pub struct Delays(VecDeque<i64>);

impl Delays {
    /// So many are kept: ten seconds of most cameras.
    const NEWEST: usize = 256;

    /// Counts a picture that was captured at `captured` and has arrived at `arrived`,
    /// both in nanoseconds since 1970.
    pub fn add(&mut self, captured: u64, arrived: u64) {
        if self.0.len() == Self::NEWEST {
            self.0.pop_front();
        }
        self.0.push_back(arrived.wrapping_sub(captured) as i64);
    }

    /// Adds what there is to tell, in nanoseconds, to what `stats` tells.
    pub fn tell(&self, stats: &mut gst::StructureRef) {
        let Some(&last) = self.0.back() else {
            return;
        };
        let mut sorted: Vec<_> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        stats.set("delay-last", last);
        stats.set("delay-median", sorted[sorted.len() / 2]);
        stats.set("delay-p99", sorted[sorted.len() * 99 / 100]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(delays: &Delays) -> Option<[i64; 3]> {
        let mut stats = gst::Structure::new_empty("stats");
        delays.tell(&mut stats);
        let field = |name| stats.get::<i64>(name).ok();
        Some([
            field("delay-last")?,
            field("delay-median")?,
            field("delay-p99")?,
        ])
    }

    #[test]
    fn delays_of_the_newest() {
        gst::init().expect("GStreamer starts");
        let mut delays = Delays::default();
        assert_eq!(told(&delays), None);
        delays.add(1_000, 1_007);
        assert_eq!(told(&delays), Some([7, 7, 7]));
        for delay in (0..1_000).rev() {
            delays.add(5_000, 5_000 + delay);
        }
        assert_eq!(told(&delays), Some([0, 128, 253]));
    }

    #[test]
    fn a_clock_that_is_ahead() {
        gst::init().expect("GStreamer starts");
        let mut delays = Delays::default();
        delays.add(2_000, 500);
        assert_eq!(told(&delays), Some([-1_500; 3]));
        delays.add(u64::MAX, 0);
        assert_eq!(told(&delays), Some([1, 1, 1]));
    }
}
