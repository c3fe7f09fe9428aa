//! The cache: answers that are given again without asking the upstream.

mod settings;

pub use settings::{CacheKind, CacheSettings, MemorySettings};
