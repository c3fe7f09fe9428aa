//! Which store an environment makes, what asks for it, and what is wrong with asking.

use super::tests::{URL, one, settings, with, with_files};
use super::*;
use crate::queue::Roles;
use crate::store::StoreKind;

const REDIS: (&str, &str) = ("REDIS_URL", "redis://user:hidden@cache:6379/1");
const OFF: (&str, &str) = ("STORE", "off");

fn store(vars: &[(&str, &str)]) -> Option<StoreSettings> {
    with(vars).store
}

/// `embedded <folder>`, `redis <url> <prefix>` or `off`.
fn kind(vars: &[(&str, &str)]) -> String {
    match store(vars).map(|store| store.kind) {
        None => "off".to_owned(),
        Some(StoreKind::Embedded { folder }) => format!("embedded {}", folder.display()),
        Some(StoreKind::Redis { url, prefix }) => format!("redis {} {prefix}", url.expose()),
    }
}

fn only_problem(vars: &[(&str, &str)]) -> String {
    one(settings(&[&[URL], vars].concat()))
}

#[test]
fn an_upstream_alone_has_an_embedded_store_that_nothing_asks_for() {
    let settings = with(&[]);
    let store = settings.store.unwrap();
    assert_eq!(format!("{:?}", store.kind), "Embedded { folder: \"./forebay-data\" }");
    assert_eq!((store.is_required, store.max_bytes), (false, ByteSize::new(10 << 30)));
    assert_eq!((store.queue.as_str(), store.max_depth, store.lease), ("default", 100_000, Duration::from_secs(30)));
    assert_eq!(settings.store_asked_by, [""; 0]);
    let both = Roles { front: true, worker: true };
    let lease = Duration::from_secs(30);
    assert_eq!(settings.queue, QueueSettings { roles: both, jobs_path: "/__jobs".into(), concurrency: 10, lease });
    assert_eq!(settings.cache, MemorySettings { max_entries: 10_000, max_bytes: ByteSize::new(256 << 20) });
    assert!(settings.admin_token.is_none());
}

#[test]
fn the_store_is_the_one_that_is_named_or_else_redis_where_there_is_a_url() {
    let redis = "redis redis://user:hidden@cache:6379/1 forebay:";
    assert_eq!(kind(&[]), "embedded ./forebay-data");
    assert_eq!(kind(&[("STORE", "Auto"), ("DATA_DIR", "/var/lib/x")]), "embedded /var/lib/x");
    assert_eq!(kind(&[("STORE", "embedded"), ("DATA_DIR", " a b ")]), "embedded a b");
    assert_eq!(kind(&[REDIS]), redis);
    assert_eq!(kind(&[REDIS, ("STORE", "auto")]), redis);
    assert_eq!(kind(&[REDIS, ("STORE", "REDIS"), ("CACHE_KEY_PREFIX", "x")]), redis.replace("forebay:", "x"));
    assert_eq!(kind(&[REDIS, ("STORE", "embedded")]), "embedded ./forebay-data");
    assert_eq!(kind(&[REDIS, OFF]), "off");
    let from_file =
        with_files(&[URL, ("REDIS_URL_FILE", "/run/redis")], &[("/run/redis", b"rediss://cache\n")]).unwrap();
    assert!(matches!(from_file.store.unwrap().kind, StoreKind::Redis { url, .. } if url.expose() == "rediss://cache"));
}

#[test]
fn a_redis_without_a_url_is_one_problem() {
    let problem = only_problem(&[("STORE", "redis"), ("ROLES", "worker"), ("LANE", "queue")]);
    assert_eq!(problem, "REDIS_URL: is required with STORE=redis, for example REDIS_URL=redis://127.0.0.1:6379/0");
    let unreadable = only_problem(&[("STORE", "redis"), ("REDIS_URL_FILE", "/run/redis")]);
    assert!(unreadable.starts_with("REDIS_URL_FILE: the file \"/run/redis\" cannot be read"), "{unreadable}");
    for url in ["hidden", "http://hidden", "redis://", "redis://u:hidden@", "redis+sentinel://a,,hidden/m"] {
        let problem = only_problem(&[("REDIS_URL", url), ("ROLES", "front")]);
        assert!(problem.starts_with("REDIS_URL: must ") && !problem.contains("hidden"), "{problem}");
    }
}

#[test]
fn what_a_store_may_hold_depends_on_where_it_is() {
    let most = |vars: &[(&str, &str)]| store(vars).unwrap().max_bytes;
    assert_eq!((most(&[]), most(&[REDIS])), (ByteSize::new(10 << 30), ByteSize::new(1 << 30)));
    let set = ("STORE_MAX_BYTES", "64MiB");
    assert_eq!((most(&[set]), most(&[REDIS, set])), (ByteSize::new(64 << 20), ByteSize::new(64 << 20)));
    for (vars, line) in [
        (&[][..], "10GiB embedded"),
        (&[REDIS], "1GiB in Redis"),
        (&[OFF], "10GiB embedded, 1GiB in Redis default"),
        (&[set], "64MiB set"),
    ] {
        let text = super::super::report(&with(vars));
        let found = text.lines().find(|line| line.trim_start().starts_with("STORE_MAX_BYTES")).unwrap();
        assert_eq!(found.split_whitespace().skip(1).collect::<Vec<_>>().join(" "), line);
    }
}

#[test]
fn everything_of_the_queue_and_the_memory_can_be_set() {
    let settings = with(&[
        REDIS,
        ("ROLES", "Worker"),
        ("JOBS_PATH", "/api/jobs/"),
        ("QUEUE_NAME", "reports-2.x_y"),
        ("QUEUE_CONCURRENCY", "3"),
        ("QUEUE_MAX_DEPTH", "7"),
        ("JOB_LEASE_SECONDS", "1m"),
        ("CACHE", "memory"),
        ("CACHE_MAX_ENTRIES", "5"),
        ("CACHE_MAX_BYTES", "1GiB"),
        ("ADMIN_TOKEN", "hidden word"),
    ]);
    assert_eq!(settings.warnings, [""; 0]);
    let (roles, lease) = (Roles { front: false, worker: true }, Duration::from_secs(60));
    assert_eq!(settings.queue, QueueSettings { roles, jobs_path: "/api/jobs".into(), concurrency: 3, lease });
    let store = settings.store.unwrap();
    assert_eq!((store.queue.as_str(), store.max_depth, store.lease), ("reports-2.x_y", 7, lease));
    assert_eq!(settings.cache, MemorySettings { max_entries: 5, max_bytes: ByteSize::new(1 << 30) });
    assert_eq!(settings.admin_token.unwrap().expose(), "hidden word");
}

#[test]
fn a_store_is_required_where_something_asks_for_it() {
    for (vars, asked_by) in [
        (&[][..], &[][..]),
        (&[("STORE", "auto"), ("OVERFLOW", "prefer"), ("CACHE", "memory"), ("JOB_MAX_RETRIES", "3")], &[]),
        (&[("OVERSIZE", "stream"), ("ROLES", "worker,front"), ("OVERFLOW_AFTER_SECONDS", "9")], &[]),
        (&[REDIS, ("ROLES", "front")], &[]),
        (&[("LANE", "Queue")], &["LANE=queue"]),
        (&[("QUEUE_PATHS", "^/q")], &["QUEUE_PATHS"]),
        (&[("OVERSIZE", "queue"), ("QUEUE_MAX_BODY_BYTES", "33MiB")], &["OVERSIZE=queue"]),
        (&[("OVERFLOW", "always")], &["OVERFLOW=always"]),
        (&[("CACHE", "redis")], &["CACHE=store"]),
        (&[("STORE", "embedded")], &["STORE=embedded"]),
        (&[("STORE", "redis"), REDIS, ("ROLES", "worker")], &["STORE=redis", "ROLES=worker"]),
        (&[("QUEUE_PATHS", ","), ("LANE", "race")], &[]),
    ] {
        let settings = with(vars);
        assert_eq!(settings.store_asked_by, asked_by, "{vars:?}");
        assert_eq!(settings.store.unwrap().is_required, !asked_by.is_empty(), "{vars:?}");
    }
}

#[test]
fn routes_ask_for_themselves_and_what_no_route_falls_back_to_asks_for_nothing() {
    let a = [("ROUTE_A_PREFIX", "/a"), ("ROUTE_A_UPSTREAM_BASE_URL", "http://a")];
    let b = [("ROUTE_B_PREFIX", "/b"), ("ROUTE_B_UPSTREAM_BASE_URL", "http://b")];
    let asked_by = |parts: &[&[(&str, &str)]]| settings(&parts.concat()).unwrap().store_asked_by;
    assert_eq!(asked_by(&[&a, &b, &[("ROUTE_B_LANE", "queue")]]), ["ROUTE_B_LANE=queue"]);
    assert_eq!(asked_by(&[&a, &b, &[("LANE", "queue")]]), ["LANE=queue"]);
    assert_eq!(asked_by(&[&a, &[("LANE", "queue"), ("ROUTE_A_LANE", "race")]]), [""; 0]);
    assert_eq!(asked_by(&[&[URL], &a, &[("LANE", "queue"), ("ROUTE_A_LANE", "race")]]), ["LANE=queue"]);
    let many = [("CACHE", "store"), ("ROUTE_A_QUEUE_PATHS", "^/a/q"), ("ROUTE_B_CACHE", "none")];
    assert_eq!(asked_by(&[&[URL], &a, &b, &many]), ["CACHE=store", "ROUTE_A_QUEUE_PATHS"]);
}

#[test]
fn whatever_asks_for_a_store_is_a_problem_with_none() {
    for (name, value) in [
        ("LANE", "queue"),
        ("QUEUE_PATHS", "^/q"),
        ("OVERFLOW", "always"),
        ("CACHE", "store"),
        ("CACHE", "redis"),
        ("ROLES", "worker"),
    ] {
        let problem = only_problem(&[OFF, (name, value)]);
        let part =
            format!("{name}=\"{value}\": needs a store, and STORE=off says that there is none, for example {name}=");
        assert!(problem.starts_with(&part), "{problem}");
    }
    let oversize = only_problem(&[OFF, ("OVERSIZE", "queue"), ("QUEUE_MAX_BODY_BYTES", "1GiB")]);
    assert!(oversize.starts_with("OVERSIZE=\"queue\": needs a store, and STORE=off"), "{oversize}");
    let route = [("ROUTE_A_PREFIX", "/a"), ("ROUTE_A_UPSTREAM_BASE_URL", "http://a"), ("ROUTE_A_LANE", "queue")];
    assert!(only_problem(&[&[OFF], &route[..]].concat()).starts_with("ROUTE_A_LANE=\"queue\": needs a store"));
    // What a route overrides is asked by nobody, and a problem that several routes have in common is one.
    assert!(settings(&[&[OFF, ("LANE", "queue")], &route[..2], &[("ROUTE_A_LANE", "race")]].concat()).is_ok());
    let inherited = only_problem(&[&[OFF, ("LANE", "queue")], &route[..2]].concat());
    assert!(inherited.starts_with("LANE=\"queue\": needs a store"), "{inherited}");
    assert_eq!(kind(&[OFF, ("ROLES", "front"), ("OVERFLOW", "off"), ("CACHE", "memory")]), "off");
}

#[test]
fn what_asks_for_a_store_is_reported_beside_other_problems_of_the_route() {
    let problems = settings(&[URL, OFF, ("LANE", "queue"), ("RETRY", "maybe")]).unwrap_err();
    let names = |problems: Vec<Problem>| problems.into_iter().map(|problem| problem.name).collect::<Vec<_>>();
    assert_eq!(names(problems), ["RETRY", "LANE"]);
    let unused = settings(&[URL, OFF, ("LANE", "queue"), ("REDIS_URL", "hidden"), ("DATA_DIR", "\n")]).unwrap_err();
    assert_eq!(names(unused), ["LANE", "REDIS_URL", "DATA_DIR"]);
}

#[test]
fn one_role_alone_needs_redis() {
    for (role, others) in [("front", "workers"), ("worker", "fronts")] {
        for more in [&[][..], &[("STORE", "embedded")], &[REDIS, ("STORE", "embedded")]] {
            let problem = only_problem(&[&[("ROLES", role)], more].concat());
            let part = format!("ROLES=\"{role}\": needs Redis (REDIS_URL): no {others} share the embedded store");
            assert!(problem.starts_with(&part), "{problem}");
        }
        assert!(store(&[("ROLES", role), REDIS]).is_some());
    }
    assert!(store(&[("ROLES", "worker,front")]).is_some());
}

#[test]
fn jobs_and_health_have_paths_of_their_own() {
    let problem = only_problem(&[("JOBS_PATH", "/x/"), ("HEALTH_PATH", "/x/health")]);
    assert!(problem.starts_with("JOBS_PATH=\"/x/\": must not overlap HEALTH_PATH (\"/x/health\")"), "{problem}");
    let problem = only_problem(&[("HEALTH_PATH", "/__jobs")]);
    assert!(problem.starts_with("HEALTH_PATH=\"/__jobs\": must not overlap JOBS_PATH (\"/__jobs\")"), "{problem}");
    for path in ["/", "//", "jobs", "/a?b", "/a/../b", "off"] {
        let problem = only_problem(&[("JOBS_PATH", path)]);
        assert!(problem.starts_with(&format!("JOBS_PATH={path:?}: must ")), "{problem}");
    }
    with(&[("JOBS_PATH", "/x"), ("HEALTH_PATH", "/x2")]);
    with(&[("JOBS_PATH", "/healthz/jobs")]);
    with(&[("JOBS_PATH", "/x"), ("HEALTH_PATH", "off")]);
}

#[test]
fn what_has_no_effect_without_a_store_or_another_variable_is_a_warning() {
    for (vars, warning) in [
        (&[OFF, ("JOB_TIMEOUT_SECONDS", "9")][..], "JOB_TIMEOUT_SECONDS has no effect without a store (STORE is off)"),
        (&[OFF, ("QUEUE_NAME", "x")], "QUEUE_NAME has no effect without a store (STORE is off)"),
        (&[OFF, ("QUEUE_CONCURRENCY", "3")], "QUEUE_CONCURRENCY has no effect without a store (STORE is off)"),
        (&[OFF, ("ROLES", "front,worker")], "ROLES has no effect without a store (STORE is off)"),
        (&[OFF, ("OVERFLOW", "prefer")], "OVERFLOW has no effect without a store (STORE is off)"),
        (&[OFF, ("JOB_RETRY_STATUSES", "503")], "JOB_RETRY_STATUSES has no effect without a store (STORE is off)"),
        (&[OFF, REDIS], "REDIS_URL has no effect without STORE=redis"),
        (&[REDIS, ("STORE", "embedded")], "REDIS_URL has no effect without STORE=redis"),
        (&[("CACHE_KEY_PREFIX", "x")], "CACHE_KEY_PREFIX has no effect without a store in Redis"),
        (
            &[REDIS, ("ROLES", "front"), ("QUEUE_CONCURRENCY", "3")],
            "QUEUE_CONCURRENCY has no effect without the role worker (ROLES)",
        ),
        (&[("JOB_RETRY_STATUSES", "503")], "JOB_RETRY_STATUSES has no effect without JOB_MAX_RETRIES"),
        (&[("JOB_RETRY_DELAY_SECONDS", "9")], "JOB_RETRY_DELAY_SECONDS has no effect without JOB_MAX_RETRIES"),
        (
            &[("OVERFLOW", "off"), ("OVERFLOW_AFTER_SECONDS", "9")],
            "OVERFLOW_AFTER_SECONDS has no effect without OVERFLOW",
        ),
        (&[("LANE", "queue"), ("OVERFLOW", "always")], "OVERFLOW has no effect without a lane that races"),
        (&[("ADMIN_PORT", "off"), ("ADMIN_TOKEN", "hidden")], "ADMIN_TOKEN has no effect without an admin listener"),
        (
            &[("STORE_MAX_BYTES", "1MiB")],
            "jobs above 1MiB are answered with 503: STORE_MAX_BYTES is less than QUEUE_MAX_BODY_BYTES (10MiB)",
        ),
        (
            &[("UPSTREAM_API_KEY_HEADER", "x-key")],
            "UPSTREAM_API_KEY_HEADER has no effect without UPSTREAM_API_KEY (but to tell owners of jobs apart)",
        ),
    ] {
        let warnings = with(vars).warnings;
        assert_eq!(warnings.len(), 1, "{vars:?}: {warnings:?}");
        assert!(warnings[0].starts_with(warning) && !warnings[0].contains("hidden"), "{warnings:?}");
    }
    for vars in [
        &[OFF, ("OVERFLOW", "off"), ("ROLES", "front"), ("DATA_DIR", "/data"), ("JOBS_PATH", "/jobs")][..],
        &[("LANE", "queue"), ("UPSTREAM_API_KEY_HEADER", "x-key")],
        &[("LANE", "stream"), ("OVERFLOW", "off")],
        &[("JOB_MAX_RETRIES", "1"), ("JOB_RETRY_STATUSES", "503"), ("JOB_RETRY_DELAY_SECONDS", "9")],
    ] {
        assert_eq!(with(vars).warnings, [""; 0], "{vars:?}");
    }
}
