//! Folders for tests.

use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;

use super::{EmbeddedStore, OpenError};
use crate::ids::JobId;
use crate::store::suite::{Limits, Place};
use crate::store::{Store, StoreKind, StoreSettings};

/// A folder that is there as long as this is.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// The name of a folder that is not there yet.
    pub(super) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("forebay-{}", JobId::random())))
    }

    /// A folder that somebody else looks after.
    pub(super) fn at(path: &str) -> ManuallyDrop<Self> {
        ManuallyDrop::new(Self(path.into()))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.clone()
    }

    /// Opens the store in it.
    pub(super) async fn try_open(&self, limits: &Limits) -> Result<EmbeddedStore, OpenError> {
        let settings = StoreSettings {
            kind: StoreKind::Embedded { folder: self.path() },
            is_required: true,
            max_bytes: limits.max_bytes,
            queue: limits.queue.to_owned(),
            max_depth: limits.max_depth,
            lease: limits.lease,
        };
        EmbeddedStore::open(&self.0, &settings).await
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Place for Folder {
    const IS_SHARED: bool = false;

    async fn new() -> Self {
        Self::new()
    }

    async fn open(&self, limits: &Limits) -> Arc<dyn Store> {
        Arc::new(self.try_open(limits).await.unwrap())
    }
}
