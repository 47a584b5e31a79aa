// SPDX-License-Identifier: MPL-2.0

//! How much of the server one address has: no more than its share.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Peers that count as one: an IPv4 address, or the 64 bits of an IPv6 address that name a
/// network, in which a single machine may use as many addresses as it likes (RFC 8981).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Ipv6Addr::from(network).into()
            }
            address => address,
        })
    }
}

/// Counts what each peer has, up to the same maximum for all.
#[derive(Debug)]
pub struct Shares {
    /// 0 for any number.
    max: usize,
    counts: Mutex<HashMap<Peer, usize>>,
}

impl Shares {
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            counts: Mutex::default(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Peer, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more for a peer, until it is dropped; none if it has its share.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Share> {
        let peer = Peer::from(address);
        let mut counts = self.counts();
        let count = counts.entry(peer).or_default();
        if self.max > 0 && *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Share {
            shares: self.clone(),
            peer,
        })
    }
}

/// One of those that a peer has.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    peer: Peer,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.shares.counts();
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            // Peers that have nothing leave nothing behind.
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn share_is_free_again_when_dropped() {
        let shares = Shares::new(2);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let mut taken: Vec<_> = (0..2).map(|_| shares.take(one).expect("room")).collect();
        assert!(shares.take(one).is_none());
        assert!(shares.take(other).is_some());
        taken.pop();
        assert!(shares.take(one).is_some());
        drop(taken);
        assert!(shares.counts().is_empty());
    }

    #[test]
    fn shares_without_maximum_are_for_all() {
        let shares = Shares::new(0);
        let one = address("192.0.2.1");
        let taken: Vec<_> = (0..1000).map(|_| shares.take(one)).collect();
        assert!(taken.iter().all(Option::is_some));
    }

    #[test]
    fn peer_of_ipv6_is_its_network() {
        let peer = |text| Peer::from(address(text));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
    }
}
