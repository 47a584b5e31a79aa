// SPDX-License-Identifier: MPL-2.0

//! Holds up those who guess the token.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    per_address::Peer,
    rate_limiter::{Allowance, Budget},
};

/// Wrong tokens of one address: so many at once, and then one in a while. A person who mistypes
/// notices nothing, and nor does a page with a few windows that have an old one.
const WRONG: Allowance = Allowance {
    burst: 20,
    interval: Duration::from_secs(3),
};
/// Addresses of which that is known. With more, those that may try again soonest are forgotten.
const MAX_PEERS: usize = 1024;

/// Counts wrong tokens by address, for as long as they matter.
///
/// What pages of other sites have a browser send counts apart from what the person there sends,
/// whom they could lock out otherwise. And a token that was wrong before is no new guess: a
/// program with an old one may ask for ever, and locks nobody out.
#[derive(Debug, Default)]
pub struct Brake {
    guesses: Mutex<HashMap<Guesser, Guesses>>,
    hasher: RandomState,
}

/// An address, and whether a page of another site makes it guess.
type Guesser = (Peer, bool);

#[derive(Debug)]
struct Guesses {
    left: Budget,
    /// Of the last wrong token.
    last: u64,
}

impl Brake {
    /// After how many seconds the next try counts.
    pub const RETRY_AFTER: &str = "3";

    fn guesses(&self) -> MutexGuard<'_, HashMap<Guesser, Guesses>> {
        self.guesses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing that comes from an address counts for now.
    pub fn holds(&self, address: IpAddr, foreign: bool, now: Instant) -> bool {
        let guesses = self.guesses();
        let found = guesses.get(&(address.into(), foreign));
        found.is_some_and(|found| found.left.left(now) == 0)
    }

    /// A wrong token came from an address.
    pub fn count_wrong(&self, address: IpAddr, foreign: bool, token: &str, now: Instant) {
        let hash = self.hasher.hash_one(token);
        let guesser = (Peer::from(address), foreign);
        let mut guesses = self.guesses();
        if guesses.len() >= MAX_PEERS && !guesses.contains_key(&guesser) {
            guesses.retain(|_, found| found.left.full_at() > now);
            if guesses.len() >= MAX_PEERS {
                let soonest = guesses.iter().min_by_key(|(_, found)| found.left.full_at());
                if let Some(guesser) = soonest.map(|(guesser, _)| *guesser) {
                    guesses.remove(&guesser);
                }
            }
        }
        let found = guesses.entry(guesser).or_insert_with(|| Guesses {
            left: Budget::new(WRONG, now),
            last: !hash,
        });
        if found.last != hash {
            found.last = hash;
            found.left.spend(1, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn brake_lets_go_after_a_while() {
        let (brake, start) = (Brake::default(), Instant::now());
        for number in 0..20 {
            assert!(!brake.holds(ADDRESS, false, start));
            brake.count_wrong(ADDRESS, false, &number.to_string(), start);
        }
        assert!(brake.holds(ADDRESS, false, start));
        assert!(!brake.holds([192, 0, 2, 2].into(), false, start));
        assert!(!brake.holds(ADDRESS, false, start + WRONG.interval));
    }

    #[test]
    fn brake_of_foreign_pages_is_one_of_its_own() {
        let (brake, start) = (Brake::default(), Instant::now());
        for number in 0..100 {
            brake.count_wrong(ADDRESS, true, &number.to_string(), start);
        }
        assert!(brake.holds(ADDRESS, true, start));
        assert!(!brake.holds(ADDRESS, false, start));
    }

    #[test]
    fn brake_counts_the_same_wrong_token_once() {
        let (brake, start) = (Brake::default(), Instant::now());
        for _ in 0..100 {
            brake.count_wrong(ADDRESS, false, "old", start);
        }
        assert!(!brake.holds(ADDRESS, false, start));
    }

    #[test]
    fn brake_of_many_addresses_stays_small() {
        let (brake, start) = (Brake::default(), Instant::now());
        for number in 0..10_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            let now = start + number * Duration::from_millis(1);
            brake.count_wrong(address, false, "guess", now);
        }
        assert_eq!(brake.guesses().len(), MAX_PEERS);
    }
}
