//! What only shows when several routes are seen together.

use crate::config::declare::{self as var, Variable};
use crate::config::problem::quoted;
use crate::config::resolve::{Resolver, Scope};
use crate::config::settings::Resolved;
use crate::routes::{Prefix, RouteSettings};

/// The paths that are ours.
pub(in crate::config) struct Ours<'a> {
    /// `JOBS_PATH`, where it could be understood. A prefix must not take what is below it, nor lie below it.
    pub(in crate::config) jobs: Option<&'a Prefix>,
    /// `HEALTH_PATH`, where it is answered.
    pub(in crate::config) health: Option<&'a str>,
}

/// Each prefix once, and none over a path that is ours. `/` is below nothing: there, ours win.
pub(in crate::config) fn prefixes(r: &mut Resolver, routes: &[Resolved], ours: &Ours) {
    for (i, route) in routes.iter().enumerate() {
        let (Ok(prefix), Scope::Route { .. }) = (&route.prefix, &route.scope) else { continue };
        let twin = routes[..i].iter().find(|other| other.prefix.as_ref() == Ok(prefix));
        let twin = twin.map(|twin| match &twin.scope {
            Scope::Route { name, .. } => var::PREFIX.of_route(name),
            Scope::Global | Scope::Fallback => var::UPSTREAM_BASE_URL.name.to_owned(),
        });
        r.enter(route.scope.clone());
        if let Some(twin) = twin {
            r.problem(var::PREFIX, format!("is the prefix of two routes: {twin} has it already"));
        }
        if prefix.is_root() {
            continue;
        }
        if ours.health.is_some_and(|health| prefix.strip(health).is_some()) {
            r.problem(var::PREFIX, "must not cover HEALTH_PATH, which is answered here");
        }
        if let Some(jobs) = ours.jobs.filter(|jobs| overlap(jobs, prefix)) {
            let jobs = quoted(&jobs.to_string());
            r.problem(var::PREFIX, format!("must not overlap JOBS_PATH ({jobs}), which is kept for jobs"));
        }
    }
    r.enter(Scope::Global);
}

fn overlap(a: &Prefix, b: &Prefix) -> bool {
    a.strip(&b.to_string()).is_some() || b.strip(&a.to_string()).is_some()
}

/// Health is not asked for where jobs are.
pub(in crate::config) fn ours_are_apart(r: &mut Resolver, ours: &Ours) {
    if let (Some(jobs), Some(health)) = (ours.jobs, ours.health)
        && jobs.strip(health).is_some()
    {
        let (which, other) = if r.is_set(var::JOBS_PATH) {
            (var::JOBS_PATH, format!("HEALTH_PATH ({})", quoted(health)))
        } else {
            (var::HEALTH_PATH, format!("JOBS_PATH ({})", quoted(&jobs.to_string())))
        };
        r.problem(which, format!("must not overlap {other}"));
    }
}

/// Routes that share connections agree on what holds for these.
pub(in crate::config) fn pools(r: &mut Resolver, routes: &[Resolved]) {
    for (i, second) in routes.iter().enumerate() {
        let Ok(settings) = &second.settings else { continue };
        let shared = routes[..i].iter().filter_map(|first| Some((first, first.settings.as_ref().ok()?)));
        // The first of them all is enough: if two others disagree, one of them disagrees with it.
        let Some((first, first_settings)) = shared.into_iter().find(|(_, other)| other.shares_pool_with(settings))
        else {
            continue;
        };
        for variable in disagreements(first_settings, settings) {
            r.enter(first.scope.clone());
            let (name_of_first, first_is_own) = (r.name(variable), r.is_own(variable));
            r.enter(second.scope.clone());
            let name_of_second = r.name(variable);
            // At least one of the two has a value of its own, or they would have the same.
            let other = if r.is_own(variable) || !first_is_own {
                name_of_first
            } else {
                r.enter(first.scope.clone());
                name_of_second
            };
            r.problem(
                variable,
                format!("must agree with {other}: the two routes share connections to {}", settings.base.origin()),
            );
        }
    }
    r.enter(Scope::Global);
}

fn disagreements(a: &RouteSettings, b: &RouteSettings) -> impl Iterator<Item = Variable> {
    let (one, other) = (&a.transport, &b.transport);
    [
        (one.http2 != other.http2, var::UPSTREAM_HTTP2),
        (one.max_connections != other.max_connections, var::UPSTREAM_MAX_CONNECTIONS),
        (one.idle != other.idle, var::UPSTREAM_IDLE_SECONDS),
        (a.budget.percent != b.budget.percent, var::RETRY_BUDGET_PERCENT),
        (a.budget.min != b.budget.min, var::RETRY_BUDGET_MIN),
    ]
    .into_iter()
    .filter_map(|(differ, variable)| differ.then_some(variable))
}
