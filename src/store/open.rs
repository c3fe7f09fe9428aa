//! Opens the store that is configured.

use std::fmt;
use std::sync::Arc;

use super::redis::{self as in_redis, RedisStore};
use super::{Store, StoreKind, StoreSettings, embedded};

/// Why a store cannot be opened: in words that say what to change.
#[derive(Debug)]
pub enum OpenError {
    /// The folder, or the file in it.
    Embedded(embedded::OpenError),
    /// The address, or what is needed for TLS. That a Redis does not answer is none.
    Redis(in_redis::OpenError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(error) => error.fmt(f),
            Self::Redis(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

/// Opens it. A Redis may answer later. Must be called inside a runtime.
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn Store>, OpenError> {
    match &settings.kind {
        StoreKind::Embedded { folder } => {
            let store = embedded::EmbeddedStore::open(folder, settings).await.map_err(OpenError::Embedded)?;
            Ok(Arc::new(store))
        }
        StoreKind::Redis { url, prefix } => {
            let store = RedisStore::open(url, prefix, settings.clone()).map_err(OpenError::Redis)?;
            Ok(Arc::new(store))
        }
    }
}
