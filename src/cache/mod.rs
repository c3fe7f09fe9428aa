//! The cache: answers that are given again without asking the upstream.

mod entry;
mod key;
mod memory;
mod rules;
mod settings;
mod tape;

pub use key::{Asked, CacheKey};
pub use rules::is_credential;
pub use settings::{CacheKind, CacheSettings, MemorySettings};
