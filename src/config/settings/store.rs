//! Where jobs, their answers and what is cached live, and what this process does with them (contract 3.7).

use std::time::Duration;

use super::{MAX_CONNECTIONS, MAX_STORED};
use crate::cache::MemorySettings;
use crate::config::checks;
use crate::config::declare as var;
use crate::config::parse;
use crate::config::resolve::{Resolver, Taken};
use crate::queue::{QueueSettings, Roles};
use crate::routes::Prefix;
use crate::secret::Secret;
use crate::size::ByteSize;
use crate::store::{StoreKind, StoreSettings};

/// `STORE_MAX_BYTES` where it is not set: what a disk has to spare, and what the memory of a Redis has.
const EMBEDDED_MAX_BYTES: ByteSize = ByteSize::new(10 << 30);
const REDIS_MAX_BYTES: ByteSize = ByteSize::new(1 << 30);
/// More of anything is a mistake, and sums of it stay countable.
const MOST: u64 = 1_000_000_000;

/// `STORE`, as it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Auto,
    Embedded,
    Redis,
    Off,
}

/// Which store there is.
pub(super) struct Chosen {
    /// None = `STORE=off`.
    pub(super) kind: Option<StoreKind>,
    /// Whether it was asked for by its name.
    by_name: Option<&'static str>,
}

/// What a store is told whatever asks for it.
pub(super) struct Limits {
    pub(super) max_bytes: Taken<ByteSize>,
    queue: Taken<String>,
    max_depth: Taken<u64>,
}

/// `STORE`, and where it is.
pub(super) fn chosen(r: &mut Resolver) -> Taken<Chosen> {
    let words =
        [("auto", Choice::Auto), ("embedded", Choice::Embedded), ("redis", Choice::Redis), ("off", Choice::Off)];
    let choice = r.take(var::STORE, |text| parse::choice(text, &words));
    let url = r.optional(var::REDIS_URL, parse::redis_url);
    let folder = r.take(var::DATA_DIR, parse::folder);
    let prefix = r.take(var::CACHE_KEY_PREFIX, parse::key_prefix);
    // What is not used is no obstacle: its problem is reported, and others beside it.
    let choice = choice?;
    let kind = match choice {
        Choice::Off => None,
        Choice::Embedded => Some(StoreKind::Embedded { folder: folder? }),
        Choice::Auto | Choice::Redis => match url? {
            Some(url) => Some(StoreKind::Redis { url: Secret::new(url), prefix: prefix? }),
            None if choice == Choice::Auto => Some(StoreKind::Embedded { folder: folder? }),
            None => return r.missing(var::REDIS_URL, "is required with STORE=redis"),
        },
    };
    let by_name = match choice {
        Choice::Auto | Choice::Off => None,
        Choice::Embedded => Some("=embedded"),
        Choice::Redis => Some("=redis"),
    };
    Ok(Chosen { kind, by_name })
}

/// What this process does with jobs.
pub(super) fn queue(r: &mut Resolver, jobs_path: &Taken<Prefix>) -> Taken<QueueSettings> {
    let roles = r.take(var::ROLES, parse::roles);
    let concurrency = r.count(var::QUEUE_CONCURRENCY, 1..=MAX_CONNECTIONS);
    let lease = r.duration(var::JOB_LEASE_SECONDS);
    Ok(QueueSettings {
        roles: roles?,
        jobs_path: jobs_path.as_ref().map_err(|refused| *refused)?.to_string(),
        concurrency: concurrency?,
        lease: lease?,
    })
}

/// How much a store may hold, and by which name its jobs go.
pub(super) fn limits(r: &mut Resolver, chosen: &Taken<Chosen>) -> Limits {
    let max_bytes = match chosen.as_ref().map(|chosen| &chosen.kind) {
        _ if r.is_set(var::STORE_MAX_BYTES) => r.size(var::STORE_MAX_BYTES, 1..=MAX_STORED),
        Ok(Some(StoreKind::Redis { .. })) => Ok(r.derive(var::STORE_MAX_BYTES, REDIS_MAX_BYTES, "in Redis")),
        Ok(Some(StoreKind::Embedded { .. })) => Ok(r.derive(var::STORE_MAX_BYTES, EMBEDDED_MAX_BYTES, "embedded")),
        Ok(None) | Err(_) => r.optional(var::STORE_MAX_BYTES, |_| Ok(())).map(|_| EMBEDDED_MAX_BYTES),
    };
    let queue = r.take(var::QUEUE_NAME, parse::queue_name);
    let max_depth = r.count(var::QUEUE_MAX_DEPTH, 1..=MOST);
    Limits { max_bytes, queue, max_depth }
}

/// What the memory of this process may hold of answers.
pub(super) fn memory(r: &mut Resolver) -> Taken<MemorySettings> {
    let max_entries = r.count(var::CACHE_MAX_ENTRIES, 1..=MOST);
    let max_bytes = r.size(var::CACHE_MAX_BYTES, 1..=MAX_STORED);
    Ok(MemorySettings { max_entries: max_entries?, max_bytes: max_bytes? })
}

/// Who asks for a store in the variables of the process; those of routes come to them.
pub(super) fn asked_by_process(r: &mut Resolver, chosen: &Taken<Chosen>, queue: &Taken<QueueSettings>) -> Vec<String> {
    let Ok(Chosen { kind, by_name }) = chosen else { return Vec::new() };
    let by_name = by_name.and_then(|word| checks::store::asks(r, kind.as_ref(), var::STORE, word));
    let roles = queue.as_ref().ok().map(|queue| queue.roles);
    let by_roles = roles.and_then(|roles| {
        checks::store::roles_can_meet(r, kind.as_ref(), roles);
        let only_works = roles == Roles { front: false, worker: true };
        only_works.then(|| checks::store::asks(r, kind.as_ref(), var::ROLES, "=worker")).flatten()
    });
    if let Some(roles) = roles {
        checks::store::process_is_plausible(r, kind.as_ref(), roles);
    }
    by_name.into_iter().chain(by_roles).collect()
}

/// All of it; none where there is no store.
pub(super) fn settings(
    chosen: Taken<Chosen>,
    limits: Limits,
    lease: Taken<Duration>,
    is_required: bool,
) -> Taken<Option<StoreSettings>> {
    let Limits { max_bytes, queue, max_depth } = limits;
    let (chosen, max_bytes, queue, max_depth, lease) = (chosen?, max_bytes?, queue?, max_depth?, lease?);
    Ok(chosen.kind.map(|kind| StoreSettings { kind, is_required, max_bytes, queue, max_depth, lease }))
}
