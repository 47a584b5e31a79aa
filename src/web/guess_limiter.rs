// SPDX-License-Identifier: MPL-2.0

//! Slows down clients that guess the token.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use b64jpeg_net::sync::lock;
use tokio::time::Instant;

use super::{
    per_address::ClientNetwork,
    rate_limiter::{RateLimit, RateLimiter},
};

/// Wrong tokens that one network may send. A person who mistypes, and a few open pages with an
/// old token, stay below it.
const WRONG_TOKENS: RateLimit = RateLimit {
    burst: 20,
    interval: Duration::from_secs(3),
};
/// Networks that are remembered. Beyond that, the one that may try again soonest is forgotten.
const MAX_NETWORKS: usize = 1024;

/// Counts wrong tokens by network, for as long as they matter.
///
/// Requests that pages of other sites make a browser send are counted separately: otherwise
/// such a page could block the person at that browser. A network that repeats its last wrong
/// token does not guess: a program with an old token may retry for ever and blocks no other
/// client at its address.
#[derive(Debug, Default)]
pub struct TokenGuessLimiter {
    guessers: Mutex<HashMap<Guesser, Guesses>>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Guesser {
    network: ClientNetwork,
    /// Whether the requests come from a page of another site.
    cross_site: bool,
}

#[derive(Debug)]
struct Guesses {
    limiter: RateLimiter,
    /// Hash of the last wrong token.
    last: u64,
}

impl TokenGuessLimiter {
    /// Seconds after which a blocked client may try again (`Retry-After`).
    pub const RETRY_AFTER: &str = "3";

    fn guessers(&self) -> MutexGuard<'_, HashMap<Guesser, Guesses>> {
        lock(&self.guessers)
    }

    /// Whether every token from this address is refused for now, also a right one.
    pub fn is_blocked(&self, address: IpAddr, cross_site: bool, now: Instant) -> bool {
        let network = address.into();
        let guessers = self.guessers();
        let found = guessers.get(&Guesser {
            network,
            cross_site,
        });
        found.is_some_and(|found| found.limiter.available(now) == 0)
    }

    /// Counts a wrong token from this address.
    pub fn count_wrong(&self, address: IpAddr, cross_site: bool, token: &str, now: Instant) {
        let hash = self.hasher.hash_one(token);
        let guesser = Guesser {
            network: address.into(),
            cross_site,
        };
        let mut guessers = self.guessers();
        if guessers.len() >= MAX_NETWORKS && !guessers.contains_key(&guesser) {
            guessers.retain(|_, found| found.limiter.full_at() > now);
            if guessers.len() >= MAX_NETWORKS {
                let soonest = guessers
                    .iter()
                    .min_by_key(|(_, found)| found.limiter.full_at());
                if let Some(guesser) = soonest.map(|(guesser, _)| *guesser) {
                    guessers.remove(&guesser);
                }
            }
        }
        let found = guessers.entry(guesser).or_insert_with(|| Guesses {
            limiter: RateLimiter::new(WRONG_TOKENS, now),
            last: !hash,
        });
        if found.last != hash {
            found.last = hash;
            found.limiter.spend(1, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn guess_limiter_after_interval_unblocks() {
        let (limiter, start) = (TokenGuessLimiter::default(), Instant::now());
        for number in 0..20 {
            assert!(!limiter.is_blocked(ADDRESS, false, start));
            limiter.count_wrong(ADDRESS, false, &number.to_string(), start);
        }
        assert!(limiter.is_blocked(ADDRESS, false, start));
        assert!(!limiter.is_blocked([192, 0, 2, 2].into(), false, start));
        assert!(!limiter.is_blocked(ADDRESS, false, start + WRONG_TOKENS.interval));
    }

    #[test]
    fn guess_limiter_cross_site_guesses_block_only_cross_site() {
        let (limiter, start) = (TokenGuessLimiter::default(), Instant::now());
        for number in 0..100 {
            limiter.count_wrong(ADDRESS, true, &number.to_string(), start);
        }
        assert!(limiter.is_blocked(ADDRESS, true, start));
        assert!(!limiter.is_blocked(ADDRESS, false, start));
    }

    #[test]
    fn guess_limiter_repeated_token_counts_once() {
        let (limiter, start) = (TokenGuessLimiter::default(), Instant::now());
        for _ in 0..100 {
            limiter.count_wrong(ADDRESS, false, "old", start);
        }
        assert!(!limiter.is_blocked(ADDRESS, false, start));
    }

    #[test]
    fn guess_limiter_many_addresses_keeps_maximum() {
        let (limiter, start) = (TokenGuessLimiter::default(), Instant::now());
        for number in 0..10_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            let now = start + number * Duration::from_millis(1);
            limiter.count_wrong(address, false, "guess", now);
        }
        assert_eq!(limiter.guessers().len(), MAX_NETWORKS);
    }
}
