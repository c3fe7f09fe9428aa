//! What the store is told by configuration (contract 3.7).

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;
use crate::size::ByteSize;

/// Where the store is, and what it may hold.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// `STORE`, `DATA_DIR`, `REDIS_URL`.
    pub kind: StoreKind,
    /// Something asks for a store: without one the process must not start.
    pub is_required: bool,
    /// `STORE_MAX_BYTES`.
    pub max_bytes: ByteSize,
    /// `QUEUE_NAME`.
    pub queue: String,
    /// `QUEUE_MAX_DEPTH`.
    pub max_depth: u64,
    /// `JOB_LEASE_SECONDS`.
    pub lease: Duration,
}

/// Which store it is.
#[derive(Clone)]
pub enum StoreKind {
    /// A file in this folder.
    Embedded {
        /// `DATA_DIR`.
        folder: PathBuf,
    },
    /// A Redis.
    Redis {
        /// `REDIS_URL`. It may hold a password.
        url: Secret<String>,
        /// `CACHE_KEY_PREFIX`: the prefix of every key.
        prefix: String,
    },
}

impl fmt::Debug for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded { folder } => f.debug_struct("Embedded").field("folder", folder).finish(),
            Self::Redis { prefix, .. } => f.debug_struct("Redis").field("prefix", prefix).finish_non_exhaustive(),
        }
    }
}
