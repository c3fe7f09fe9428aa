//! Where entries lie: in the memory of this process, or in the store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::entry::Entry;
use super::memory::Memory;
use super::{CacheKey, CacheKind, MemorySettings};
use crate::store::Store;

/// How long a request waits for the store: asking the upstream is then the faster way.
const STORE_PATIENCE: Duration = Duration::from_secs(1);
/// For how long a store that did not answer is not asked again.
const STORE_REST: Duration = Duration::from_secs(1);

/// The entries of all routes.
#[derive(Debug)]
pub(super) struct Shelves {
    memory: Memory,
    store: Option<Arc<dyn Store>>,
    /// Until when the store is left alone.
    rest: Mutex<Option<Instant>>,
}

impl Shelves {
    pub(super) fn new(memory: MemorySettings, store: Option<Arc<dyn Store>>) -> Self {
        Self { memory: Memory::new(memory), store, rest: Mutex::default() }
    }

    /// What can be found without waiting.
    pub(super) fn at_hand(&self, kind: CacheKind, key: CacheKey) -> Option<Arc<Entry>> {
        if kind == CacheKind::Memory { self.memory.get(key) } else { None }
    }

    /// The entry under this key. A store that is slow or away has none, and neither has one that gives back what is damaged.
    pub(super) async fn get(&self, kind: CacheKind, key: CacheKey) -> Option<Arc<Entry>> {
        let store = match kind {
            CacheKind::None => return None,
            CacheKind::Memory => return self.memory.get(key),
            CacheKind::Store => self.store.as_ref().filter(|_| !self.is_resting())?,
        };
        let bytes = match timeout(STORE_PATIENCE, store.cached(key.get())).await {
            Ok(Ok(bytes)) => bytes?,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a cache entry cannot be read");
                self.rest();
                return None;
            }
            Err(_) => {
                tracing::debug!("a cache entry was not read in time");
                self.rest();
                return None;
            }
        };
        let entry = Entry::decode(key, bytes);
        entry.inspect_err(|error| tracing::debug!(%error, "a cache entry is of no use")).ok().map(Arc::new)
    }

    /// Keeps an entry for so long. True = it is kept.
    pub(super) async fn put(&self, kind: CacheKind, key: CacheKey, entry: Entry, ttl: Duration) -> bool {
        let store = match (kind, &self.store) {
            (CacheKind::Memory, _) => {
                self.memory.insert(key, Arc::new(entry), ttl);
                return true;
            }
            (CacheKind::Store, Some(store)) if !self.is_resting() => store,
            _ => return false,
        };
        let Some(bytes) = entry.encode(key) else { return false };
        drop(entry);
        let put = store.cache(key.get(), bytes, ttl).await;
        put.inspect_err(|error| {
            tracing::debug!(%error, "a cache entry cannot be written");
            self.rest();
        })
        .is_ok()
    }

    fn is_resting(&self) -> bool {
        let until = *self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn rest(&self) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + STORE_REST);
    }
}
