// SPDX-License-Identifier: MPL-2.0

//! Holds up those who guess the token.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    budget::{Allowance, Budget},
    share::Peer,
};

/// Wrong tokens of one address: so many at once, and then one in a while. A person who mistypes
/// notices nothing, and nor does a page with a few windows that have an old one.
const WRONG: Allowance = Allowance {
    burst: 20,
    interval: Duration::from_secs(3),
};
/// Addresses of which that is known. With more, those that were wrong the longest time ago are
/// forgiven.
const MAX_PEERS: usize = 1024;

/// Counts wrong tokens by address, for as long as they matter.
#[derive(Debug, Default)]
pub struct Brake(Mutex<HashMap<Peer, Budget>>);

impl Brake {
    /// After how many seconds the next try counts.
    pub const RETRY_AFTER: &str = "3";

    fn peers(&self) -> MutexGuard<'_, HashMap<Peer, Budget>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing that comes from an address counts for now.
    pub fn holds(&self, address: IpAddr, now: Instant) -> bool {
        let peers = self.peers();
        let budget = peers.get(&address.into());
        budget.is_some_and(|budget| budget.left(now) == 0)
    }

    /// A wrong token came from an address.
    pub fn count_wrong(&self, address: IpAddr, now: Instant) {
        let mut peers = self.peers();
        let peer = Peer::from(address);
        if peers.len() >= MAX_PEERS && !peers.contains_key(&peer) {
            peers.retain(|_, budget| budget.full_at() > now);
            if peers.len() >= MAX_PEERS {
                let full_first = peers.iter().min_by_key(|(_, budget)| budget.full_at());
                if let Some(peer) = full_first.map(|(peer, _)| *peer) {
                    peers.remove(&peer);
                }
            }
        }
        let budget = peers.entry(peer).or_insert_with(|| Budget::new(WRONG, now));
        budget.spend(1, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brake_lets_go_after_a_while() {
        let (brake, start) = (Brake::default(), Instant::now());
        let address = IpAddr::from([192, 0, 2, 1]);
        for _ in 0..20 {
            assert!(!brake.holds(address, start));
            brake.count_wrong(address, start);
        }
        assert!(brake.holds(address, start));
        assert!(!brake.holds([192, 0, 2, 2].into(), start));
        assert!(!brake.holds(address, start + WRONG.interval));
    }

    #[test]
    fn brake_of_many_addresses_stays_small() {
        let (brake, start) = (Brake::default(), Instant::now());
        for number in 0..10_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            brake.count_wrong(address, start + number * Duration::from_millis(1));
        }
        assert_eq!(brake.peers().len(), MAX_PEERS);
    }
}
