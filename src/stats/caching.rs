//! What is counted of a route's cache.

use super::Counter;

/// What a cache did for one route.
#[derive(Debug, Default)]
pub struct CacheStats {
    /// Requests that were given what was there already, or what another one had asked for just then.
    pub hits: Counter,
    /// …the latter alone.
    pub shared: Counter,
    /// Requests that were asked of the upstream, those that are counted next among them.
    pub misses: Counter,
    /// Requests that wanted nothing that was there already, or nothing kept (`Cache-Control: no-cache`, `no-store`).
    pub bypassed: Counter,
    /// Answers that were kept.
    pub stored: Counter,
}
