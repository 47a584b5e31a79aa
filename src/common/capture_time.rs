// SPDX-License-Identifier: MPL-2.0

//! When pictures were captured, by the wall clock of the sender, and how old they are when they
//! arrive.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    time::{SystemTime, UNIX_EPOCH},
};

use b64jpeg_wire::jpeg;
use gst::prelude::*;
use once_cell::sync::Lazy;

use crate::common::time;

/// Caps of a [`gst::ReferenceTimestampMeta`] with a time since 1970.
static UNIX_TIME_CAPS: Lazy<gst::Caps> =
    Lazy::new(|| gst::Caps::new_empty_simple("timestamp/x-unix"));

/// 2000-01-01 00:00 UTC in nanoseconds since 1970.
const YEAR_2000: u64 = 946_684_800 * 1_000_000_000;
/// How far the clock of a sender may be ahead of ours.
const MAX_AHEAD: u64 = 24 * 3600 * 1_000_000_000;

/// Nanoseconds since 1970 on this machine's clock.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|now| now.as_nanos().try_into().ok())
        .unwrap_or(0)
}

/// When a picture was captured, in nanoseconds since 1970.
///
/// A time from outside, in a picture or in a meta, becomes a capture time only by
/// [`received`](Self::received), which refuses implausible ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureTime(u64);

impl CaptureTime {
    /// Takes a time that was received, unless it is before 2000 or more than a day in the
    /// future.
    pub fn received(unix_ns: u64) -> Option<Self> {
        Self::check(unix_ns, now())
    }

    fn check(unix_ns: u64, now: u64) -> Option<Self> {
        let latest = now.saturating_add(MAX_AHEAD);
        let plausible = YEAR_2000..=latest.min(gst::ClockTime::MAX.nseconds());
        plausible.contains(&unix_ns).then_some(Self(unix_ns))
    }

    /// The time `age` nanoseconds ago, by this machine's clock.
    fn ago(age: u64) -> Self {
        let latest = gst::ClockTime::MAX.nseconds();
        Self(now().saturating_sub(age).min(latest))
    }

    /// Nanoseconds since 1970.
    pub fn unix_ns(self) -> u64 {
        self.0
    }
}

/// When a picture that `element` has received was captured: the time in its meta, or else its
/// running time converted to the wall clock, or else now.
pub fn time_of(
    element: &impl IsA<gst::Element>,
    segment: &gst::Segment,
    buffer: &gst::BufferRef,
) -> CaptureTime {
    meta(buffer).unwrap_or_else(|| {
        let age = age(element, segment, buffer).map_or(0, gst::ClockTime::nseconds);
        CaptureTime::ago(age)
    })
}

/// The first plausible time in the buffer's metas.
fn meta(buffer: &gst::BufferRef) -> Option<CaptureTime> {
    buffer
        .iter_meta::<gst::ReferenceTimestampMeta>()
        .filter(|meta| is_unix_time(meta))
        .find_map(|meta| {
            // `meta.timestamp()` panics if the element that wrote it left it undefined.
            // SAFETY: the pointer is valid for as long as `meta` is.
            let unix_ns = unsafe { (*meta.as_ptr()).timestamp };
            CaptureTime::received(unix_ns)
        })
}

fn is_unix_time(meta: &gst::ReferenceTimestampMeta) -> bool {
    meta.reference().can_intersect(&UNIX_TIME_CAPS)
}

/// How long ago a picture was due; `None` if it is due later, as when a file is read faster
/// than it plays.
fn age(
    element: &impl IsA<gst::Element>,
    segment: &gst::Segment,
    buffer: &gst::BufferRef,
) -> Option<gst::ClockTime> {
    let now = time::running_time(element)?;
    let segment = segment.downcast_ref::<gst::ClockTime>()?;
    let due = segment.to_running_time(buffer.pts()?)?;
    now.checked_sub(due)
}

/// Adds a meta with the capture time, unless there is one with a plausible time already.
/// One with an implausible time is replaced.
pub fn add_meta(buffer: &mut gst::BufferRef, time: CaptureTime) {
    if meta(buffer).is_some() {
        return;
    }
    buffer.foreach_meta_mut(|mut meta| {
        let implausible = meta
            .downcast_ref::<gst::ReferenceTimestampMeta>()
            .is_some_and(|meta| is_unix_time(meta));
        ControlFlow::Continue(match implausible {
            true => gst::buffer::BufferMetaForeachAction::Remove,
            false => gst::buffer::BufferMetaForeachAction::Keep,
        })
    });
    // The check of capture times excludes the value that GStreamer reserves for "none".
    let time = gst::ClockTime::from_nseconds(time.0);
    gst::ReferenceTimestampMeta::add(buffer, &UNIX_TIME_CAPS, time, None);
}

/// How long the newest pictures took from their capture to their arrival, and how many
/// capture times were ignored.
///
/// The capture is timed by the sender's clock and the arrival by ours: between machines whose
/// clocks differ, every delay is wrong by that difference, and may be negative.
#[derive(Debug, Default, Clone)]
pub struct Delays {
    newest: VecDeque<i64>,
    ignored: u64,
}

impl Delays {
    /// The number of delays that are kept: ten seconds of most cameras.
    const NEWEST: usize = 256;

    /// The capture time in a received picture. One that is implausible or no number is ignored
    /// and counted.
    pub fn judge(&mut self, info: &jpeg::JpegInfo) -> Option<CaptureTime> {
        let time = info.capture_time.and_then(CaptureTime::received);
        if time.is_none() && (info.capture_time.is_some() || info.bad_capture_time) {
            self.ignored += 1;
        }
        time
    }

    /// Adds the delay of a picture that has arrived at `arrived`, in nanoseconds since 1970.
    pub fn add(&mut self, captured: CaptureTime, arrived: u64) {
        if self.newest.len() == Self::NEWEST {
            self.newest.pop_front();
        }
        let delay = arrived.wrapping_sub(captured.0) as i64;
        self.newest.push_back(delay);
    }

    /// Adds the delays, in nanoseconds and if there are any, and the count of ignored capture
    /// times to `stats`.
    pub fn tell(&self, stats: &mut gst::StructureRef) {
        stats.set("capture-times-ignored", self.ignored);
        let mut sorted: Vec<_> = self.newest.iter().copied().collect();
        sorted.sort_unstable();
        let Some(last) = self.newest.back() else {
            return;
        };
        stats.set("delay-last", last);
        stats.set("delay-median", sorted[sorted.len() / 2]);
        stats.set("delay-p99", sorted[sorted.len() * 99 / 100]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(delays: &Delays) -> Option<[i64; 3]> {
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
    fn delays_are_those_of_the_newest_pictures() {
        gst::init().expect("GStreamer starts");
        let mut delays = Delays::default();
        assert_eq!(reported(&delays), None);
        delays.add(CaptureTime(1_000), 1_007);
        assert_eq!(reported(&delays), Some([7, 7, 7]));
        for delay in (0..1_000).rev() {
            delays.add(CaptureTime(5_000), 5_000 + delay);
        }
        assert_eq!(reported(&delays), Some([0, 128, 253]));
    }

    #[test]
    fn delay_of_sender_with_fast_clock_is_negative() {
        gst::init().expect("GStreamer starts");
        let mut delays = Delays::default();
        delays.add(CaptureTime(2_000), 500);
        assert_eq!(reported(&delays), Some([-1_500; 3]));
        delays.add(CaptureTime(u64::MAX), 0);
        assert_eq!(reported(&delays), Some([1, 1, 1]));
    }

    const DAY: u64 = 24 * 3600 * 1_000_000_000;

    #[test]
    fn received_time_before_2000_or_a_day_ahead_is_refused() {
        let now = now();
        assert!(now > YEAR_2000, "the clock of this machine is wrong");
        for time in [YEAR_2000, now - DAY, now, now + DAY] {
            assert_eq!(CaptureTime::check(time, now), Some(CaptureTime(time)));
        }
        for time in [
            0,
            YEAR_2000 - 1,
            now + DAY + 1,
            i64::MAX as u64,
            9_999_999_999_999_999_999,
            u64::MAX - 1,
            u64::MAX,
        ] {
            assert_eq!(CaptureTime::check(time, now), None, "{time}");
        }
        assert_eq!(
            CaptureTime::check(u64::MAX, u64::MAX),
            None,
            "it is no time to GStreamer"
        );
    }

    #[test]
    fn implausible_or_unreadable_stamps_are_counted() {
        gst::init().expect("GStreamer starts");
        let mut delays = Delays::default();
        let mut judge = |capture_time, bad_capture_time| {
            let time = delays.judge(&jpeg::JpegInfo {
                capture_time,
                bad_capture_time,
                ..Default::default()
            });
            let mut stats = gst::Structure::new_empty("stats");
            delays.tell(&mut stats);
            assert!(!stats.has_field("delay-last"));
            (
                time,
                stats.get::<u64>("capture-times-ignored").expect("a count"),
            )
        };
        let good = now();
        assert_eq!(judge(None, false), (None, 0));
        assert_eq!(judge(Some(good), false), (Some(CaptureTime(good)), 0));
        assert_eq!(judge(Some(u64::MAX), false), (None, 1));
        assert_eq!(judge(None, true), (None, 2));
        assert_eq!(judge(Some(0), true), (None, 3), "one picture counts once");
        assert_eq!(judge(Some(good), true), (Some(CaptureTime(good)), 3));
    }

    /// The times in the metas of a buffer, after a capture time was added.
    fn metas_after_adding(time: CaptureTime, before: &[(&str, u64)]) -> Vec<u64> {
        gst::init().expect("GStreamer starts");
        let mut buffer = gst::Buffer::new();
        let buffer = buffer.get_mut().expect("the only reference");
        for (caps, time) in before {
            let caps: gst::Caps = caps.parse().expect("caps");
            let time = gst::ClockTime::from_nseconds(*time);
            gst::ReferenceTimestampMeta::add(buffer, &caps, time, None);
        }
        add_meta(buffer, time);
        let metas = buffer.iter_meta::<gst::ReferenceTimestampMeta>();
        metas.map(|meta| meta.timestamp().nseconds()).collect()
    }

    #[test]
    fn meta_with_implausible_time_is_replaced() {
        let (time, other) = (CaptureTime(now()), now() - 1);
        assert_eq!(metas_after_adding(time, &[]), [time.0]);
        let unix = "timestamp/x-unix";
        for bad in [0, u64::MAX - 1] {
            assert_eq!(metas_after_adding(time, &[(unix, bad)]), [time.0]);
            let both = [(unix, bad), (unix, other)];
            assert_eq!(
                metas_after_adding(time, &both),
                [bad, other],
                "the good one is kept"
            );
        }
        assert_eq!(metas_after_adding(time, &[(unix, other)]), [other]);
        let ntp = [("timestamp/x-ntp", 7)];
        assert_eq!(metas_after_adding(time, &ntp), [7, time.0], "another clock");
    }

    #[test]
    fn meta_without_a_time_is_ignored() {
        gst::init().expect("GStreamer starts");
        let mut buffer = gst::Buffer::new();
        let buffer = buffer.get_mut().expect("the only reference");
        let any = gst::ClockTime::ZERO;
        let mut added = gst::ReferenceTimestampMeta::add(buffer, &UNIX_TIME_CAPS, any, None);
        // SAFETY: the pointer is valid, and nothing else refers to the meta.
        unsafe { (*added.as_mut_ptr()).timestamp = u64::MAX };
        assert_eq!(meta(buffer), None);
    }
}
