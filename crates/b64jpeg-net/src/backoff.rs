// SPDX-License-Identifier: MPL-2.0

//! Delays between attempts to reconnect.

use std::time::Duration;

/// Randomised delays that double after each failed attempt.
///
/// Each delay is drawn from the upper half of its range, so that the many clients of a server
/// that restarts do not all reconnect at once.
#[derive(Debug, Default, Clone)]
pub struct Backoff {
    /// Longest next delay.
    next: Duration,
}

impl Backoff {
    /// The delay before the next attempt: at least half of `initial` and at most `max`, or
    /// `initial` if that is longer. `random` is a random number from 0 to 1.
    pub fn next(&mut self, initial: Duration, max: Duration, random: f64) -> Duration {
        let longest = self.next.min(max).max(initial);
        self.next = longest.saturating_mul(2);
        longest / 2 + (longest / 2).mul_f64(random)
    }

    /// Starts again with the initial delay, after a success.
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

    fn delays(backoff: &mut Backoff, max: u64, random: f64) -> [Duration; 6] {
        std::array::from_fn(|_| backoff.next(ms(250), ms(max), random))
    }

    #[test]
    fn next_delay_doubles_up_to_maximum() {
        let mut backoff = Backoff::default();
        let longest = [250, 500, 1_000, 2_000, 4_000, 5_000].map(ms);
        assert_eq!(delays(&mut backoff, 5_000, 1.0), longest);
        assert_eq!(backoff.next(ms(250), ms(5_000), 0.0), ms(2_500));
        backoff.reset();
        assert_eq!(
            delays(&mut backoff, 5_000, 0.0),
            longest.map(|delay| delay / 2)
        );
    }

    #[test]
    fn next_maximum_below_initial_is_ignored() {
        assert_eq!(delays(&mut Backoff::default(), 10, 1.0), [ms(250); 6]);
    }

    #[test]
    fn next_many_attempts_do_not_overflow() {
        let mut backoff = Backoff::default();
        for _ in 0..1_000 {
            let delay = backoff.next(ms(1), Duration::MAX, 1.0);
            assert!(delay >= ms(1));
        }
    }
}
