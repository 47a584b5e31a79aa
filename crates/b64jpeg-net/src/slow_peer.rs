// SPDX-License-Identifier: MPL-2.0

//! Detects a peer that keeps sending bytes, but does not complete a frame or a message.

use std::{fmt, time::Duration};

/// A frame or a message may take so many timeouts before it is reported: a line that is only
/// slow needs no warning.
const TIMEOUTS: u32 = 6;

/// How long a frame or a message may take, where `timeout` is how long the peer may be silent;
/// `None` for any time.
pub fn limit(timeout: Option<Duration>) -> Option<Duration> {
    timeout.map(|timeout| timeout.saturating_mul(TIMEOUTS))
}

/// Counts the bytes of an incomplete frame or message, and the time spent waiting for them.
#[derive(Debug, Default)]
pub struct SlowPeerDetector {
    bytes: u64,
    waited: Duration,
    reported: bool,
}

/// What an incomplete frame or message has come to. Its text follows the name of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowReport {
    bytes: u64,
    waited: Duration,
}

impl fmt::Display for SlowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, time) = (self.bytes, self.waited.as_secs_f64());
        write!(f, "sends only {bytes} bytes in {time:.1} s")
    }
}

impl SlowPeerDetector {
    /// Counts bytes that came after a wait. The wait for the first bytes does not count: the
    /// peer may have had nothing to send.
    pub fn add(&mut self, bytes: u64, waited: Duration) {
        if self.bytes > 0 {
            self.waited += waited;
        }
        self.bytes += bytes;
    }

    /// Notes that a frame or message is complete, and that `rest` bytes of the next one have
    /// come. After one that was fast enough, the next slow one is reported again.
    pub fn complete(&mut self, rest: u64, limit: Option<Duration>) {
        self.reported &= limit.is_some_and(|limit| self.waited >= limit);
        self.bytes = rest;
        self.waited = Duration::ZERO;
    }

    /// A report when the time spent waiting has reached the limit, once.
    pub fn report(&mut self, limit: Option<Duration>) -> Option<SlowReport> {
        let late = limit.is_some_and(|limit| self.waited >= limit);
        if self.bytes == 0 || !late || std::mem::replace(&mut self.reported, true) {
            return None;
        }
        Some(SlowReport {
            bytes: self.bytes,
            waited: self.waited,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMIT: Option<Duration> = Some(Duration::from_secs(10));

    /// The state after one byte, and another one after each second.
    fn dripping(seconds: u32) -> SlowPeerDetector {
        let mut slow = SlowPeerDetector::default();
        slow.add(1, 100 * SECOND);
        (0..seconds).for_each(|_| slow.add(1, SECOND));
        slow
    }

    #[test]
    fn report_wait_over_limit_is_given_once() {
        assert_eq!(dripping(9).report(LIMIT), None);
        let mut slow = dripping(10);
        let report = slow.report(LIMIT).expect("it is late");
        assert_eq!(report.to_string(), "sends only 11 bytes in 10.0 s");
        slow.add(1, SECOND);
        assert_eq!(slow.report(LIMIT), None);
        assert_eq!(dripping(1000).report(None), None, "there is no limit");
    }

    #[test]
    fn limit_any_timeout_is_multiplied() {
        assert_eq!(limit(Some(10 * SECOND)), Some(60 * SECOND));
        assert_eq!(limit(Some(Duration::MAX)), Some(Duration::MAX));
        assert_eq!(limit(None), None);
    }

    #[test]
    fn report_silence_before_first_byte_is_none() {
        let mut slow = SlowPeerDetector::default();
        slow.add(1, 100 * SECOND);
        assert_eq!(slow.report(LIMIT), None);
        slow.complete(0, LIMIT);
        slow.add(1, 100 * SECOND);
        assert_eq!(slow.report(LIMIT), None);
    }

    #[test]
    fn report_after_fast_frame_is_given_again() {
        for (seconds, again) in [(1, true), (20, false)] {
            let mut slow = dripping(10);
            assert!(slow.report(LIMIT).is_some());
            slow.complete(0, LIMIT);
            slow.add(1, SECOND);
            slow.add(1, seconds * SECOND);
            slow.complete(2, LIMIT);
            slow.add(1, 10 * SECOND);
            assert_eq!(slow.report(LIMIT).is_some(), again);
        }
    }
}
