// SPDX-License-Identifier: MPL-2.0

//! Why connections, requests and viewers are refused, and how often.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Map, Value};

/// Why a connection, a request or a viewer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum RefusalReason {
    /// `max-clients` viewers are connected.
    Full,
    /// The token is wrong or missing.
    Token,
    /// The request comes from a page of another site.
    Origin,
    /// Too many connections in all.
    Connections,
    /// Too many connections from one address.
    Address,
    /// The TLS handshake failed or took too long.
    Tls,
    /// Not HTTP, or a request that is too large or too slow.
    Request,
}

impl RefusalReason {
    const ALL: [Self; 7] = [
        Self::Full,
        Self::Token,
        Self::Origin,
        Self::Connections,
        Self::Address,
        Self::Tls,
        Self::Request,
    ];

    /// Its name in statistics, and in the error that a Socket.IO client gets.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Token => "token",
            Self::Origin => "origin",
            Self::Connections => "connections",
            Self::Address => "address",
            Self::Tls => "tls",
            Self::Request => "request",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Counts refusals by reason.
#[derive(Debug, Default)]
pub struct RefusalCounts([AtomicU64; RefusalReason::ALL.len()]);

impl RefusalCounts {
    /// Counts one refusal.
    pub fn add(&self, reason: RefusalReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// All counts, by the name of the reason.
    pub fn report(&self) -> Map<String, Value> {
        let count = |reason: RefusalReason| self.0[reason as usize].load(Ordering::Relaxed);
        let counts =
            RefusalReason::ALL.map(|reason| (reason.as_str().into(), count(reason).into()));
        Map::from_iter(counts)
    }
}
