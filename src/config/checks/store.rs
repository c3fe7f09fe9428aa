//! Who needs a store, and what changes nothing without one.

use super::needs;
use crate::config::declare::{self as var, Variable};
use crate::config::resolve::{Resolver, Taken};
use crate::job::JobPolicy;
use crate::queue::Roles;
use crate::routes::{Lane, Lanes, Overflow, Oversize};
use crate::size::ByteSize;
use crate::store::StoreKind;

/// What variables of jobs have no effect without.
const A_STORE: &str = "a store (STORE is off)";

/// A variable has a value that needs a store: what it says, or nothing and a problem where there is none. `word` is the
/// value behind its name.
pub(in crate::config) fn asks(
    r: &mut Resolver,
    kind: Option<&StoreKind>,
    variable: Variable,
    word: &str,
) -> Option<String> {
    if kind.is_none() {
        r.conflict(variable, "needs a store, and STORE=off says that there is none");
        return None;
    }
    (!r.is_fallback()).then(|| format!("{}{word}", r.name(variable)))
}

/// A process with one role meets the other one in a Redis, or not at all.
pub(in crate::config) fn roles_can_meet(r: &mut Resolver, kind: Option<&StoreKind>, roles: Roles) {
    if let (Some(StoreKind::Embedded { .. }), false) = (kind, roles.front && roles.worker) {
        let other = if roles.front { "workers" } else { "fronts" };
        r.problem(
            var::ROLES,
            format!("needs Redis (REDIS_URL): no {other} share the embedded store with this process"),
        );
    }
}

/// Variables of the process that need a store of some kind. (`DATA_DIR` is not among them: the container image sets it.)
pub(in crate::config) fn process_is_plausible(r: &mut Resolver, kind: Option<&StoreKind>, roles: Roles) {
    let in_redis = matches!(kind, Some(StoreKind::Redis { .. }));
    needs(r, var::REDIS_URL, &[(in_redis, "STORE=redis")]);
    needs(r, var::CACHE_KEY_PREFIX, &[(in_redis, "a store in Redis")]);
    for variable in [var::STORE_MAX_BYTES, var::QUEUE_NAME, var::QUEUE_MAX_DEPTH, var::JOB_LEASE_SECONDS] {
        needs(r, variable, &[(kind.is_some(), A_STORE)]);
    }
    needs(r, var::ROLES, &[(kind.is_some() || !roles.worker, A_STORE)]);
    needs(r, var::QUEUE_CONCURRENCY, &[(kind.is_some(), A_STORE), (roles.worker, "the role worker (ROLES)")]);
}

/// Variables of a route's jobs.
pub(in crate::config) fn jobs_are_plausible(r: &mut Resolver, has_store: bool, policy: &JobPolicy) {
    for variable in [
        var::QUEUE_MAX_BODY_BYTES,
        var::JOB_TIMEOUT_SECONDS,
        var::JOB_TIMEOUT_MAX_SECONDS,
        var::JOB_RESPONSE_HEADER_TIMEOUT_SECONDS,
        var::JOB_MAX_RETRIES,
        var::JOB_MAX_RESPONSE_BYTES,
        var::JOB_OWNER,
        var::JOB_RETENTION_SECONDS,
    ] {
        needs(r, variable, &[(has_store, A_STORE)]);
    }
    for variable in [var::JOB_RETRY_DELAY_SECONDS, var::JOB_RETRY_STATUSES] {
        needs(r, variable, &[(has_store, A_STORE), (policy.max_retries > 0, "JOB_MAX_RETRIES")]);
    }
}

/// When races become jobs. That they never do needs nothing.
pub(in crate::config) fn overflow_is_plausible(r: &mut Resolver, has_store: bool, lanes: &Lanes, overflow: Overflow) {
    let is_off = overflow == Overflow::Off;
    let races = (lanes.has(Lane::Race), "a lane that races");
    needs(r, var::OVERFLOW, &[(has_store || is_off, A_STORE), (races.0 || is_off, races.1)]);
    needs(r, var::OVERFLOW_AFTER_SECONDS, &[(has_store, A_STORE), (!is_off, "OVERFLOW"), races]);
}

/// What is too large for a race and becomes a job is not too large for a job.
pub(in crate::config) fn oversize_fits(
    r: &mut Resolver,
    oversize: Taken<(Oversize, Oversize)>,
    raced: &Taken<ByteSize>,
    jobs: &Taken<JobPolicy>,
) {
    let (Ok((Oversize::Queue, _)), Ok(raced), Ok(JobPolicy { max_body: stored, .. })) = (oversize, raced, jobs) else {
        return;
    };
    if stored > raced {
        return;
    }
    let culprit = r.culprit([var::QUEUE_MAX_BODY_BYTES, var::MAX_REQUEST_BODY_BYTES]);
    let oversize = format!("with {}=queue", r.name(var::OVERSIZE));
    let reason = if culprit.name == var::QUEUE_MAX_BODY_BYTES.name {
        format!("must be more than {} ({raced}) {oversize}", r.name(var::MAX_REQUEST_BODY_BYTES))
    } else {
        format!("must be less than {} ({stored}) {oversize}", r.name(var::QUEUE_MAX_BODY_BYTES))
    };
    r.conflict(culprit, reason);
}

/// A body that is allowed but can never be stored.
pub(in crate::config) fn job_fits(r: &mut Resolver, body: ByteSize, store: &Taken<ByteSize>) {
    if let Ok(store) = store
        && body > *store
    {
        let name = r.name(var::QUEUE_MAX_BODY_BYTES);
        r.warn(format!("jobs above {store} are answered with 503: STORE_MAX_BYTES is less than {name} ({body})"));
    }
}
