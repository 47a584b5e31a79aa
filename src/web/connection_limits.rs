// SPDX-License-Identifier: MPL-2.0

//! Limits how many connections a server has, in all and from one address.

use std::{net::IpAddr, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    per_address::{PerAddressLimit, PerAddressPermit},
    refusals::RefusalReason,
};

/// Maximum number of connections at the same time.
const MAX_CONNECTIONS: u32 = 1000;

/// Gives out a permit for each connection.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    total: Arc<Semaphore>,
    per_address: Arc<PerAddressLimit>,
}

/// Permits one connection. Dropping it releases it.
#[derive(Debug)]
pub struct ConnectionPermit {
    _total: OwnedSemaphorePermit,
    _per_address: PerAddressPermit,
}

impl ConnectionLimits {
    /// Limits of up to `max_per_address` connections from one address; 0 = unlimited.
    pub fn new(max_per_address: usize) -> Self {
        Self {
            total: Arc::new(Semaphore::new(MAX_CONNECTIONS as usize)),
            per_address: PerAddressLimit::new(max_per_address),
        }
    }

    /// A permit for a connection from this address.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub fn try_acquire(&self, address: IpAddr) -> Result<ConnectionPermit, RefusalReason> {
        let per_address = self.per_address.try_acquire(address);
        let per_address = per_address.ok_or(RefusalReason::Address)?;
        let total = self.total.clone().try_acquire_owned();
        Ok(ConnectionPermit {
            _total: total.map_err(|_| RefusalReason::Connections)?,
            _per_address: per_address,
        })
    }

    /// ReconnectSettings until all connections are closed. New ones must not be accepted meanwhile.
    pub async fn wait_until_closed(&self) {
        let _ = self.total.acquire_many(MAX_CONNECTIONS).await;
    }
}
