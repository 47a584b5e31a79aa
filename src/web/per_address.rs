// SPDX-License-Identifier: MPL-2.0

//! Limits how many connections or sessions one address has at the same time.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard},
};

use b64jpeg_net::sync::lock;

/// Addresses that count as one client: an IPv4 address, or the network prefix (64 bits) of an
/// IPv6 address. Within its network a single machine may use any number of addresses
/// (RFC 8981).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientNetwork(IpAddr);

impl From<IpAddr> for ClientNetwork {
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

/// Counts permits by network, up to the same maximum for each.
#[derive(Debug)]
pub struct PerAddressLimit {
    /// Maximum per network; 0 = unlimited.
    max: usize,
    counts: Mutex<HashMap<ClientNetwork, usize>>,
}

impl PerAddressLimit {
    /// A limit of `max` permits per network; 0 = unlimited.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            counts: Mutex::default(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<ClientNetwork, usize>> {
        lock(&self.counts)
    }

    /// A permit, released when it is dropped; `None` if the network already has the maximum.
    pub fn try_acquire(self: &Arc<Self>, address: IpAddr) -> Option<PerAddressPermit> {
        let network = ClientNetwork::from(address);
        let mut counts = self.counts();
        let count = counts.entry(network).or_default();
        if self.max > 0 && *count >= self.max {
            return None;
        }
        *count += 1;
        Some(PerAddressPermit {
            limit: self.clone(),
            network,
        })
    }
}

/// One of the permits that a network has. Dropping it releases it.
#[derive(Debug)]
pub struct PerAddressPermit {
    limit: Arc<PerAddressLimit>,
    network: ClientNetwork,
}

impl Drop for PerAddressPermit {
    fn drop(&mut self) {
        let mut counts = self.limit.counts();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            // The map must not keep every network that ever connected.
            if *count == 0 {
                counts.remove(&self.network);
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
    fn permit_when_dropped_is_available_again() {
        let limit = PerAddressLimit::new(2);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let mut permits: Vec<_> = (0..2)
            .map(|_| limit.try_acquire(one).expect("a permit"))
            .collect();
        assert!(limit.try_acquire(one).is_none());
        assert!(limit.try_acquire(other).is_some());
        permits.pop();
        assert!(limit.try_acquire(one).is_some());
        drop(permits);
        assert!(limit.counts().is_empty());
    }

    #[test]
    fn limit_without_maximum_gives_any_number_of_permits() {
        let limit = PerAddressLimit::new(0);
        let one = address("192.0.2.1");
        let permits: Vec<_> = (0..1000).map(|_| limit.try_acquire(one)).collect();
        assert!(permits.iter().all(Option::is_some));
    }

    #[test]
    fn client_network_of_ipv6_is_its_prefix() {
        let network = |text| ClientNetwork::from(address(text));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
