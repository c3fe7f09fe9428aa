//! What the cache is told by configuration (contract 3.7, 7).

use std::time::Duration;

use http::HeaderName;

use crate::size::ByteSize;

/// What of a route's answers is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// `CACHE`.
    pub kind: CacheKind,
    /// `CACHE_TTL_SECONDS`.
    pub ttl: Duration,
    /// `CACHE_MAX_ENTRY_BYTES`: larger answers are not cached.
    pub max_entry: ByteSize,
    /// `CACHE_KEY_EXCLUDE_HEADERS`: fields that do not belong to the key.
    pub excluded: Vec<HeaderName>,
}

/// `CACHE`: where answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// Nowhere.
    None,
    /// In the memory of this process.
    Memory,
    /// In the store, which processes may share.
    Store,
}

/// What the memory of this process may hold, all routes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// `CACHE_MAX_ENTRIES`.
    pub max_entries: u64,
    /// `CACHE_MAX_BYTES`.
    pub max_bytes: ByteSize,
}

#[cfg(test)]
impl CacheSettings {
    /// The defaults of the contract.
    pub(crate) fn for_tests() -> Self {
        let excluded = ["x-request-id", "x-forwarded-for", "x-real-ip", "x-forwarded-proto"];
        Self {
            kind: CacheKind::None,
            ttl: Duration::from_secs(300),
            max_entry: ByteSize::new(8 << 20),
            excluded: excluded.map(HeaderName::from_static).to_vec(),
        }
    }
}
