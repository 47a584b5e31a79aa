// SPDX-License-Identifier: MPL-2.0

//! Notices a peer that sends bytes now and then, but nothing whole.

use std::{fmt, time::Duration};

/// So many timeouts something may take to become whole before it is reported: a slow line
/// is not worth a warning.
const PATIENCE: u32 = 6;

/// How long something may take to become whole, where `timeout` is how long the peer may
/// be silent; none for any time.
pub fn limit(timeout: Option<Duration>) -> Option<Duration> {
    timeout.map(|timeout| timeout.saturating_mul(PATIENCE))
}

/// Counts the bytes of something that is not whole yet, and the time spent waiting for
/// more of it.
#[derive(Debug, Default)]
pub struct Slow {
    bytes: u64,
    waited: Duration,
    reported: bool,
}

/// What has come so far. Goes on after the name of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    bytes: u64,
    waited: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, time) = (self.bytes, self.waited.as_secs_f64());
        write!(f, "sends only {bytes} bytes in {time:.1} s")
    }
}

impl Slow {
    /// Counts bytes that came after a wait. The wait for the first ones does not count: a
    /// peer may have nothing to send.
    pub fn add(&mut self, bytes: u64, waited: Duration) {
        if self.bytes > 0 {
            self.waited += waited;
        }
        self.bytes += bytes;
    }

    /// Something became whole; `rest` bytes of the next one are here. After one that was
    /// fast enough, the next slow one is reported again.
    pub fn whole(&mut self, rest: u64, limit: Option<Duration>) {
        self.reported &= limit.is_some_and(|limit| self.waited >= limit);
        self.bytes = rest;
        self.waited = Duration::ZERO;
    }

    /// What to report, once, when the wait has reached the limit.
    pub fn report(&mut self, limit: Option<Duration>) -> Option<Report> {
        let late = limit.is_some_and(|limit| self.waited >= limit);
        if self.bytes == 0 || !late || std::mem::replace(&mut self.reported, true) {
            return None;
        }
        Some(Report {
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

    fn dripping(seconds: u32) -> Slow {
        let mut slow = Slow::default();
        slow.add(1, 100 * SECOND);
        (0..seconds).for_each(|_| slow.add(1, SECOND));
        slow
    }

    #[test]
    fn drip_longer_than_limit_is_reported_once() {
        assert_eq!(dripping(9).report(LIMIT), None);
        let mut slow = dripping(10);
        let report = slow.report(LIMIT).expect("it is late");
        assert_eq!(report.to_string(), "sends only 11 bytes in 10.0 s");
        slow.add(1, SECOND);
        assert_eq!(slow.report(LIMIT), None);
        assert_eq!(dripping(1000).report(None), None, "there is no limit");
    }

    #[test]
    fn limit_is_a_multiple_of_the_timeout() {
        assert_eq!(limit(Some(10 * SECOND)), Some(60 * SECOND));
        assert_eq!(limit(Some(Duration::MAX)), Some(Duration::MAX));
        assert_eq!(limit(None), None);
    }

    #[test]
    fn silence_before_the_first_byte_is_not_reported() {
        let mut slow = Slow::default();
        slow.add(1, 100 * SECOND);
        assert_eq!(slow.report(LIMIT), None);
        slow.whole(0, LIMIT);
        slow.add(1, 100 * SECOND);
        assert_eq!(slow.report(LIMIT), None);
    }

    #[test]
    fn drip_after_a_fast_one_is_reported_again() {
        for (seconds, again) in [(1, true), (20, false)] {
            let mut slow = dripping(10);
            assert!(slow.report(LIMIT).is_some());
            slow.whole(0, LIMIT);
            slow.add(1, SECOND);
            slow.add(1, seconds * SECOND);
            slow.whole(2, LIMIT);
            slow.add(1, 10 * SECOND);
            assert_eq!(slow.report(LIMIT).is_some(), again);
        }
    }
}
