//! Which store is in force, what asks for it, and what becomes of jobs and answers, in words.

use std::time::Duration;

use super::seconds;
use crate::cache::CacheKind;
use crate::config::Settings;
use crate::job::{JobPolicy, OwnerRule};
use crate::queue::Roles;
use crate::routes::{Lane, Overflow, Oversize, RouteSettings};
use crate::store::{StoreKind, StoreSettings};

/// The store of the process, and what the process does with jobs.
pub(super) fn lines(settings: &Settings) -> Vec<String> {
    let Some(store) = &settings.store else {
        return vec![
            "Store".to_owned(),
            "  where     none (STORE=off): there are no jobs, and Prefer passes to the upstream".to_owned(),
        ];
    };
    let queue = &settings.queue;
    let done = match queue.roles {
        Roles { front: true, worker: false } => "takes jobs in, and leaves them to workers elsewhere".to_owned(),
        Roles { front: false, worker: true } => {
            format!("executes {} jobs at once, taken in elsewhere", queue.concurrency)
        }
        _ => format!("takes jobs in, and executes {} at once", queue.concurrency),
    };
    vec![
        "Store".to_owned(),
        format!("  where     {}, at most {}", place(store), store.max_bytes),
        format!("  needed    {}", asked_by(settings)),
        format!("  process   {done}"),
        format!(
            "  queue     {}: at most {} jobs wait; a worker silent for {} loses its job",
            store.queue,
            store.max_depth,
            seconds(store.lease)
        ),
        format!("  jobs      GET {0}/<id>, GET {0}/<id>/content, DELETE {0}/<id>", queue.jobs_path),
    ]
}

fn place(store: &StoreSettings) -> String {
    match &store.kind {
        StoreKind::Embedded { folder } => format!("embedded, in {:?}", folder.display().to_string()),
        StoreKind::Redis { prefix, .. } => format!("Redis, keys beginning with {prefix}"),
    }
}

fn asked_by(settings: &Settings) -> String {
    match &settings.store_asked_by[..] {
        [] => "by nothing: where it cannot be opened, forebay goes on without it".to_owned(),
        names => format!("by {}", names.join(", ")),
    }
}

/// What becomes of a route's jobs and answers.
pub(super) fn lines_of_route(route: &RouteSettings, settings: &Settings) -> Vec<String> {
    let mut lines = Vec::new();
    if settings.store.is_some() {
        if route.lanes.has(Lane::Race) {
            lines.push(format!("  overflow  {}", overflow(route)));
        }
        lines.push(format!("  jobs      {}", jobs(&route.jobs)));
        if route.lanes.has(Lane::Queue) {
            let larger = fate(route.queue_oversize);
            lines.push(format!("            bodies up to {}; a larger one {larger}", route.jobs.max_body));
        }
    }
    let (ttl, largest) = (seconds(route.cache.ttl), route.cache.max_entry);
    match route.cache.kind {
        CacheKind::None => {}
        CacheKind::Memory => lines.push(format!("  cache     in memory for {ttl}, answers up to {largest}")),
        CacheKind::Store => lines.push(format!("  cache     in the store for {ttl}, answers up to {largest}")),
    }
    lines
}

/// When a race becomes a job.
fn overflow(route: &RouteSettings) -> String {
    let after = |after: Duration| format!("after {}", seconds(after));
    let settings = &route.overflow;
    match settings.overflow {
        Overflow::Off => "never".to_owned(),
        Overflow::Prefer => {
            let latest = settings.after.map_or_else(String::new, |time| format!(", {} at the latest", after(time)));
            format!("where the client asks for it (Prefer: respond-async){latest}")
        }
        Overflow::Always => {
            settings.after.map_or_else(|| "when the last attempt misses its header deadline".to_owned(), after)
        }
    }
}

fn jobs(policy: &JobPolicy) -> String {
    let most = if policy.timeout_max > policy.timeout {
        format!(" (up to {} where the request says so)", seconds(policy.timeout_max))
    } else {
        String::new()
    };
    let deadline =
        policy.header_deadline.map_or_else(String::new, |deadline| format!(", {} to headers", seconds(deadline)));
    let retries = match (policy.max_retries, policy.retry_delay) {
        (0, _) => "no retries".to_owned(),
        (n, Some(delay)) => format!("{n} retries {} apart", seconds(delay)),
        (n, None) => format!("{n} retries ever further apart"),
    };
    let owner = match policy.owner {
        OwnerRule::Credentials => "their owners",
        OwnerRule::Anyone => "whoever knows the id",
    };
    format!(
        "{} each{most}{deadline}, {retries}, kept {} for {owner}",
        seconds(policy.timeout),
        seconds(policy.retention)
    )
}

/// What becomes of a body that is too large.
fn fate(oversize: Oversize) -> &'static str {
    match oversize {
        Oversize::Reject | Oversize::Queue => "is refused",
        Oversize::Stream => "is streamed",
        Oversize::Redirect => "is redirected",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_contains, text};

    #[test]
    fn the_store_in_force_is_named_with_what_asks_for_it() {
        let plain = text(&[]);
        assert_contains(&plain, "  where     embedded, in \"./forebay-data\", at most 10GiB\n");
        assert_contains(&plain, "  needed    by nothing: where it cannot be opened, forebay goes on without it\n");
        assert_contains(&plain, "  process   takes jobs in, and executes 10 at once\n");
        assert_contains(
            &plain,
            "  queue     default: at most 100000 jobs wait; a worker silent for 30s loses its job\n",
        );
        assert_contains(&plain, "  jobs      GET /__jobs/<id>, GET /__jobs/<id>/content, DELETE /__jobs/<id>\n");

        let redis = text(&[
            ("REDIS_URL", "redis://user:hidden@cache"),
            ("ROLES", "worker"),
            ("QUEUE_CONCURRENCY", "3"),
            ("LANE", "queue"),
            ("ROUTE_A_PREFIX", "/a"),
            ("ROUTE_A_UPSTREAM_BASE_URL", "http://a"),
            ("ROUTE_A_CACHE", "redis"),
        ]);
        assert_contains(&redis, "  where     Redis, keys beginning with forebay:, at most 1GiB\n");
        assert_contains(&redis, "  needed    by ROLES=worker, LANE=queue, ROUTE_A_CACHE=store\n");
        assert_contains(&redis, "  process   executes 3 jobs at once, taken in elsewhere\n");
        assert!(!redis.contains("hidden"), "{redis}");

        let off = text(&[("STORE", "off"), ("CACHE", "memory")]);
        assert_contains(&off, "  where     none (STORE=off): there are no jobs");
        assert_contains(&off, "  cache     in memory for 300s, answers up to 8MiB\n");
        assert!(!off.contains("  overflow ") && !off.contains("GET "), "{off}");
    }

    #[test]
    fn when_races_become_jobs_is_said_in_words() {
        for (vars, words) in [
            (&[][..], "where the client asks for it (Prefer: respond-async)"),
            (
                &[("OVERFLOW_AFTER_SECONDS", "1m")],
                "where the client asks for it (Prefer: respond-async), after 60s at the latest",
            ),
            (&[("OVERFLOW", "always")], "when the last attempt misses its header deadline"),
            (&[("OVERFLOW", "always"), ("OVERFLOW_AFTER_SECONDS", "0.5")], "after 500ms"),
            (&[("OVERFLOW", "off")], "never"),
        ] {
            assert_contains(&text(vars), &format!("  overflow  {words}\n"));
        }
        assert!(!text(&[("LANE", "queue")]).contains("  overflow "));
    }

    #[test]
    fn what_a_job_may_take_is_said_in_words() {
        for (vars, words) in [
            (&[][..], "300s each (up to 3600s where the request says so), no retries, kept 3600s for their owners"),
            (
                &[("JOB_TIMEOUT_SECONDS", "2h"), ("JOB_MAX_RETRIES", "3"), ("JOB_OWNER", "anyone")],
                "7200s each, 3 retries ever further apart, kept 3600s for whoever knows the id",
            ),
            (
                &[
                    ("JOB_TIMEOUT_MAX_SECONDS", "5m"),
                    ("JOB_RESPONSE_HEADER_TIMEOUT_SECONDS", "20"),
                    ("JOB_MAX_RETRIES", "2"),
                    ("JOB_RETRY_DELAY_SECONDS", "10"),
                ],
                "300s each, 20s to headers, 2 retries 10s apart, kept 3600s for their owners",
            ),
        ] {
            assert_contains(&text(vars), &format!("  jobs      {words}\n"));
        }
        let bodies = |more: &[(&'static str, &'static str)]| {
            text(&[&[("QUEUE_PATHS", "^/q"), ("QUEUE_MAX_BODY_BYTES", "64MiB")], more].concat())
        };
        assert_contains(&bodies(&[]), "bodies up to 64MiB; a larger one is streamed\n");
        assert_contains(&bodies(&[("OVERSIZE", "queue")]), "bodies up to 64MiB; a larger one is refused\n");
        assert_contains(&bodies(&[("OVERSIZE", "redirect")]), "bodies up to 64MiB; a larger one is redirected\n");
        assert_contains(&bodies(&[]), "  lane      race, queue for QUEUE_PATHS\n");
        assert!(!text(&[]).contains("bodies up to"));
    }
}
