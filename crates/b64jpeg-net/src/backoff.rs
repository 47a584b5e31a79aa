// SPDX-License-Identifier: MPL-2.0

//! How long to wait before the next try.

use std::time::Duration;

/// Waits that double from try to try.
///
/// Each is drawn from the upper half of what it may be, so that many clients of a server
/// that comes back do not all come at once.
#[derive(Debug, Default, Clone)]
pub struct Backoff {
    /// The longest that the next wait may be.
    next: Duration,
}

impl Backoff {
    /// The next wait, of at least half of `first` and no longer than `last`, which counts
    /// as `first` if it is shorter. `chance` is drawn by the caller, from 0 to 1.
    pub fn next(&mut self, first: Duration, last: Duration, chance: f64) -> Duration {
        let longest = self.next.min(last).max(first);
        self.next = longest.saturating_mul(2);
        longest / 2 + (longest / 2).mul_f64(chance)
    }

    /// Begins anew: all is well again.
    pub fn reset(&mut self) {
        self.next = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn waits(backoff: &mut Backoff, last: u64, chance: f64) -> [Duration; 6] {
        std::array::from_fn(|_| backoff.next(ms(250), ms(last), chance))
    }

    #[test]
    fn waits_double_up_to_the_last_one() {
        let mut backoff = Backoff::default();
        let longest = [250, 500, 1_000, 2_000, 4_000, 5_000].map(ms);
        assert_eq!(waits(&mut backoff, 5_000, 1.0), longest);
        assert_eq!(backoff.next(ms(250), ms(5_000), 0.0), ms(2_500));
        backoff.reset();
        assert_eq!(
            waits(&mut backoff, 5_000, 0.0),
            longest.map(|wait| wait / 2)
        );
    }

    #[test]
    fn a_last_wait_before_the_first() {
        assert_eq!(waits(&mut Backoff::default(), 10, 1.0), [ms(250); 6]);
    }

    #[test]
    fn tries_without_end() {
        let mut backoff = Backoff::default();
        for _ in 0..1_000 {
            let wait = backoff.next(ms(1), Duration::MAX, 1.0);
            assert!(wait >= ms(1));
        }
    }
}
