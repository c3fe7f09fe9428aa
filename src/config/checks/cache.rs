//! Whose answers a cache gives to whom.

use http::HeaderName;

use super::needs;
use crate::cache::{CacheKind, CacheSettings, MemorySettings};
use crate::config::declare as var;
use crate::config::resolve::{Resolver, Taken};
use crate::routes::{Lane, Lanes};

/// Fields that say who a client is. Without one of them in the key, one client is given another's answers.
const CREDENTIALS: [&str; 8] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "openai-organization",
    "openai-project",
    "chatgpt-account-id",
];

/// No credential is left out of the key, unless clients are meant to share. What nobody set matters only where there is a
/// cache.
pub(in crate::config) fn credentials_are_in_the_key(
    r: &mut Resolver,
    cache: &CacheSettings,
    is_shared: bool,
    key_header: &HeaderName,
) {
    let is_credential = |name: &HeaderName| CREDENTIALS.contains(&name.as_str());
    let excluded = cache.excluded.iter().find(|name| is_credential(name) || *name == key_header);
    let has_cache = cache.kind != CacheKind::None;
    let shares = !is_shared || excluded.is_some();
    needs(r, var::CACHE_SHARED, &[(has_cache, "CACHE"), (shares, "credentials in CACHE_KEY_EXCLUDE_HEADERS")]);
    let Some(excluded) = excluded.filter(|_| !is_shared && (has_cache || r.is_set(var::CACHE_KEY_EXCLUDE_HEADERS)))
    else {
        return;
    };
    let culprit = match (is_credential(excluded), r.is_set(var::CACHE_KEY_EXCLUDE_HEADERS)) {
        (true, _) => var::CACHE_KEY_EXCLUDE_HEADERS,
        (false, true) => r.culprit([var::CACHE_KEY_EXCLUDE_HEADERS, var::UPSTREAM_API_KEY_HEADER]),
        (false, false) => var::UPSTREAM_API_KEY_HEADER,
    };
    let what = if culprit.name == var::UPSTREAM_API_KEY_HEADER.name {
        format!("must not be in {}", r.name(var::CACHE_KEY_EXCLUDE_HEADERS))
    } else {
        format!("must not contain {excluded}")
    };
    r.conflict(culprit, format!("{what}: it tells clients apart, and only CACHE_SHARED=true lets them share answers"));
}

/// What changes nothing without a cache, or without one in memory; and a cache that nothing looks into. In a Redis there may
/// be jobs of a route that has none here.
pub(in crate::config) fn is_plausible(r: &mut Resolver, cache: &CacheSettings, lanes: &Lanes, is_in_redis: bool) {
    let looks = lanes.has(Lane::Race) || lanes.has(Lane::Queue) || is_in_redis;
    needs(r, var::CACHE, &[(looks || cache.kind == CacheKind::None, "the lane race or queue")]);
    for variable in [var::CACHE_TTL_SECONDS, var::CACHE_MAX_ENTRY_BYTES, var::CACHE_KEY_EXCLUDE_HEADERS] {
        needs(r, variable, &[(cache.kind != CacheKind::None, "CACHE")]);
    }
    for variable in [var::CACHE_MAX_ENTRIES, var::CACHE_MAX_BYTES] {
        needs(r, variable, &[(cache.kind == CacheKind::Memory, "CACHE=memory")]);
    }
}

/// An answer that is allowed but can never be kept.
pub(in crate::config) fn entry_fits(r: &mut Resolver, cache: &CacheSettings, memory: &Taken<MemorySettings>) {
    if let (CacheKind::Memory, Ok(memory)) = (cache.kind, memory)
        && cache.max_entry > memory.max_bytes
    {
        let (name, all) = (r.name(var::CACHE_MAX_ENTRY_BYTES), memory.max_bytes);
        r.warn(format!(
            "answers above {all} are not cached: CACHE_MAX_BYTES is less than {name} ({})",
            cache.max_entry
        ));
    }
}
