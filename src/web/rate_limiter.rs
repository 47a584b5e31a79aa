// SPDX-License-Identifier: MPL-2.0

//! How much a peer may send, and how often it may be wrong.

use std::time::Duration;

use tokio::time::Instant;

/// How many units may be spent at once, and how fast they come back.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    pub burst: u32,
    /// In this time one unit comes back.
    pub interval: Duration,
}

/// What is left of an [`Allowance`]: a token bucket.
///
/// It keeps one time only, when it will be full again. Spending moves that time away from now,
/// also beyond the point at which nothing is left: then the peer is in debt, and waits longer.
///
/// ```text
///  allowance: burst 4, interval 1 s
///  left:      4 ──spend(3)──► 1 ──1 s──► 2 ──spend(3)──► 0 (in debt by 1) ──2 s──► 1
/// ```
#[derive(Debug)]
pub struct Budget {
    allowance: Allowance,
    full_at: Instant,
}

impl Budget {
    /// A full one.
    pub fn new(allowance: Allowance, now: Instant) -> Self {
        Self {
            allowance,
            full_at: now,
        }
    }

    /// How many units may be spent now.
    pub fn left(&self, now: Instant) -> u32 {
        let missing = self.full_at.saturating_duration_since(now).as_nanos();
        let spent = missing.div_ceil(self.allowance.interval.as_nanos().max(1));
        let burst = self.allowance.burst;
        burst.saturating_sub(u32::try_from(spent).unwrap_or(u32::MAX))
    }

    /// Spends units. If fewer are left, the rest is a debt.
    pub fn spend(&mut self, units: u32, now: Instant) {
        let time = self.allowance.interval.saturating_mul(units);
        let from = self.full_at.max(now);
        self.full_at = from.checked_add(time).unwrap_or(from);
    }

    /// When so many units will be left, of no more than the burst.
    pub fn when_left(&self, units: u32) -> Instant {
        let others = self.allowance.burst.saturating_sub(units);
        let time = self.allowance.interval.saturating_mul(others);
        self.full_at.checked_sub(time).unwrap_or(self.full_at)
    }

    /// When all of it will have come back.
    pub fn full_at(&self) -> Instant {
        self.full_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ALLOWANCE: Allowance = Allowance {
        burst: 4,
        interval: SECOND,
    };

    #[test]
    fn budget_comes_back_with_time() {
        let start = Instant::now();
        let mut budget = Budget::new(ALLOWANCE, start);
        assert_eq!((budget.left(start), budget.full_at()), (4, start));
        budget.spend(3, start);
        assert_eq!(budget.left(start), 1);
        assert_eq!(budget.full_at(), start + 3 * SECOND);
        assert_eq!(budget.left(start + SECOND), 2);
        assert_eq!(budget.left(start + 60 * SECOND), 4);
        assert_eq!(budget.when_left(4), start + 3 * SECOND);
    }

    #[test]
    fn budget_in_debt_takes_longer() {
        let start = Instant::now();
        let mut budget = Budget::new(ALLOWANCE, start);
        budget.spend(3, start);
        budget.spend(3, start + SECOND);
        assert_eq!(budget.left(start + SECOND), 0);
        assert_eq!(budget.left(start + 2 * SECOND), 0);
        assert_eq!(budget.left(start + 3 * SECOND), 1);
        assert_eq!(budget.when_left(1), start + 3 * SECOND);
    }

    #[test]
    fn budget_takes_any_debt() {
        let start = Instant::now();
        let mut budget = Budget::new(ALLOWANCE, start);
        for _ in 0..10 {
            budget.spend(u32::MAX, start);
        }
        assert_eq!(budget.left(start + 1_000_000 * SECOND), 0);
        assert!(budget.when_left(1) > start);
    }
}
