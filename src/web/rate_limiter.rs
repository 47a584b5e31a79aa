// SPDX-License-Identifier: MPL-2.0

//! Limits how fast a peer may spend units: bytes that it sends, or wrong tokens.

use std::time::Duration;

use tokio::time::Instant;

/// How many units may be spent at once, and how fast they come back.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Units that may be spent at once.
    pub burst: u32,
    /// Time after which one unit comes back.
    pub interval: Duration,
}

/// Units that are left of a [`RateLimit`] (a token bucket).
///
/// The only state is the time at which all units will be back. Spending moves that time into
/// the future, also when no units are left: the peer is then in debt and waits longer.
///
/// ```text
///  limit:     burst 4, interval 1 s
///  available: 4 ──spend(3)──► 1 ──1 s──► 2 ──spend(3)──► 0 (in debt by 1) ──2 s──► 1
/// ```
#[derive(Debug)]
pub struct RateLimiter {
    limit: RateLimit,
    full_at: Instant,
}

impl RateLimiter {
    /// A limiter with all units available.
    pub fn new(limit: RateLimit, now: Instant) -> Self {
        Self {
            limit,
            full_at: now,
        }
    }

    /// Units that may be spent now.
    pub fn available(&self, now: Instant) -> u32 {
        let missing = self.full_at.saturating_duration_since(now).as_nanos();
        let spent = missing.div_ceil(self.limit.interval.as_nanos().max(1));
        let burst = self.limit.burst;
        burst.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))
    }

    /// Spends units. If fewer are available, the rest becomes a debt.
    pub fn spend(&mut self, units: u32, now: Instant) {
        let time = self.limit.interval.saturating_mul(units);
        let from = self.full_at.max(now);
        self.full_at = from.checked_add(time).unwrap_or(from);
    }

    /// When this many units will be available, up to the burst.
    pub fn available_at(&self, units: u32) -> Instant {
        let others = self.limit.burst.saturating_sub(units);
        let time = self.limit.interval.saturating_mul(others);
        self.full_at.checked_sub(time).unwrap_or(self.full_at)
    }

    /// When all units will be back.
    pub fn full_at(&self) -> Instant {
        self.full_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMIT: RateLimit = RateLimit {
        burst: 4,
        interval: SECOND,
    };

    #[test]
    fn rate_limiter_after_spending_refills_with_time() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(LIMIT, start);
        assert_eq!((limiter.available(start), limiter.full_at()), (4, start));
        limiter.spend(3, start);
        assert_eq!(limiter.available(start), 1);
        assert_eq!(limiter.full_at(), start + 3 * SECOND);
        assert_eq!(limiter.available(start + SECOND), 2);
        assert_eq!(limiter.available(start + 60 * SECOND), 4);
        assert_eq!(limiter.available_at(4), start + 3 * SECOND);
    }

    #[test]
    fn rate_limiter_in_debt_refills_later() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(LIMIT, start);
        limiter.spend(3, start);
        limiter.spend(3, start + SECOND);
        assert_eq!(limiter.available(start + SECOND), 0);
        assert_eq!(limiter.available(start + 2 * SECOND), 0);
        assert_eq!(limiter.available(start + 3 * SECOND), 1);
        assert_eq!(limiter.available_at(1), start + 3 * SECOND);
    }

    #[test]
    fn rate_limiter_with_huge_debt_does_not_overflow() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(LIMIT, start);
        for _ in 0..10 {
            limiter.spend(u32::MAX, start);
        }
        assert_eq!(limiter.available(start + 1_000_000 * SECOND), 0);
        assert!(limiter.available_at(1) > start);
    }
}
