//! What a route's jobs may take, and what of its answers is kept (contract 3.7).

use http::HeaderName;

use super::route::{MAX_BODY, Process};
use crate::cache::{CacheKind, CacheSettings};
use crate::config::checks;
use crate::config::declare as var;
use crate::config::parse;
use crate::config::resolve::{Resolver, Taken};
use crate::job::{JobPolicy, OwnerRule};
use crate::routes::Lanes;

/// More further executions than anybody waits for.
const MAX_RETRIES: u32 = 10_000;

/// `QUEUE_MAX_BODY_BYTES`, `JOB_…`.
pub(super) fn jobs(r: &mut Resolver, process: &Process) -> Taken<JobPolicy> {
    let timeouts =
        super::ordered::times(r, (var::JOB_TIMEOUT_SECONDS, Resolver::duration), var::JOB_TIMEOUT_MAX_SECONDS);
    let header_deadline = r.optional_duration(var::JOB_RESPONSE_HEADER_TIMEOUT_SECONDS);
    let max_retries = r.count(var::JOB_MAX_RETRIES, 0..=MAX_RETRIES);
    let retry_delay = r.duration_or_zero(var::JOB_RETRY_DELAY_SECONDS, "n^4 seconds");
    let retry_statuses = r.optional(var::JOB_RETRY_STATUSES, parse::statuses);
    let max_response = r.size(var::JOB_MAX_RESPONSE_BYTES, 1..=MAX_BODY);
    let owners = [("credentials", OwnerRule::Credentials), ("anyone", OwnerRule::Anyone)];
    let owner = r.take(var::JOB_OWNER, |text| parse::choice(text, &owners));
    let retention = r.duration(var::JOB_RETENTION_SECONDS);
    let max_body = r.size(var::QUEUE_MAX_BODY_BYTES, 1..=MAX_BODY);
    let (timeout, timeout_max) = timeouts?;
    let policy = JobPolicy {
        timeout,
        timeout_max,
        header_deadline: header_deadline?,
        max_retries: max_retries?,
        retry_delay: Some(retry_delay?).filter(|delay| !delay.is_zero()),
        retry_statuses: retry_statuses?.unwrap_or_default(),
        max_response: max_response?,
        owner: owner?,
        retention: retention?,
        max_body: max_body?,
    };
    let has_store = process.has_store();
    checks::store::jobs_are_plausible(r, has_store, &policy);
    if has_store {
        checks::store::job_fits(r, policy.max_body, &process.limits.max_bytes);
    }
    Ok(policy)
}

/// `CACHE…`.
pub(super) fn cache(
    r: &mut Resolver,
    process: &Process,
    key_header: &Taken<HeaderName>,
    lanes: &Taken<Lanes>,
) -> Taken<CacheSettings> {
    let kinds = [
        ("none", CacheKind::None),
        ("memory", CacheKind::Memory),
        ("store", CacheKind::Store),
        ("redis", CacheKind::Store),
    ];
    let kind = r.take(var::CACHE, |text| parse::choice(text, &kinds));
    let ttl = r.duration(var::CACHE_TTL_SECONDS);
    let max_entry = r.size(var::CACHE_MAX_ENTRY_BYTES, 1..=MAX_BODY);
    let excluded = r.take(var::CACHE_KEY_EXCLUDE_HEADERS, parse::header_names);
    let is_shared = r.take(var::CACHE_SHARED, parse::boolean);
    let cache = CacheSettings { kind: kind?, ttl: ttl?, max_entry: max_entry?, excluded: excluded? };
    if let (Ok(is_shared), Ok(key_header)) = (is_shared, key_header) {
        checks::cache::credentials_are_in_the_key(r, &cache, is_shared, key_header);
    }
    if let Ok(lanes) = lanes {
        checks::cache::is_plausible(r, &cache, lanes, process.is_in_redis());
    }
    checks::cache::entry_fits(r, &cache, process.memory);
    is_shared.map(|_| cache)
}
