//! What a route's jobs may take, which requests become jobs, and what of the answers is kept.

use http::StatusCode;

use super::super::render_problems;
use super::tests::{URL, one, settings, with};
use super::*;
use crate::cache::{CacheKind, CacheSettings};
use crate::job::{JobPolicy, OwnerRule};
use crate::routes::{Lane, Overflow, OverflowSettings, Oversize};

const A: [(&str, &str); 2] = [("ROUTE_A_PREFIX", "/a"), ("ROUTE_A_UPSTREAM_BASE_URL", "https://a.example")];

/// The one route of an environment with an upstream.
fn route(vars: &[(&str, &str)]) -> RouteSettings {
    with(vars).routes.remove(0)
}

fn only_problem(vars: &[(&str, &str)]) -> String {
    one(settings(&[&[URL], vars].concat()))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn an_upstream_alone_gives_the_defaults_of_the_contract() {
    let route = route(&[]);
    assert_eq!(route.jobs, JobPolicy::for_tests());
    assert_eq!(route.cache, CacheSettings::for_tests());
    assert_eq!(route.overflow, OverflowSettings { overflow: Overflow::Prefer, after: None });
    assert!(!route.lanes.has(Lane::Queue));
}

#[test]
fn everything_of_a_job_can_be_set() {
    let route = route(&[
        ("QUEUE_MAX_BODY_BYTES", "1MiB"),
        ("JOB_TIMEOUT_SECONDS", "5m"),
        ("JOB_TIMEOUT_MAX_SECONDS", "10m"),
        ("JOB_RESPONSE_HEADER_TIMEOUT_SECONDS", "20"),
        ("JOB_MAX_RETRIES", "3"),
        ("JOB_RETRY_DELAY_SECONDS", "10s"),
        ("JOB_RETRY_STATUSES", "429, 503"),
        ("JOB_MAX_RESPONSE_BYTES", "2GiB"),
        ("JOB_OWNER", "Anyone"),
        ("JOB_RETENTION_SECONDS", "1h30m"),
    ]);
    assert_eq!(
        route.jobs,
        JobPolicy {
            timeout: seconds(300),
            timeout_max: seconds(600),
            header_deadline: Some(seconds(20)),
            max_retries: 3,
            retry_delay: Some(seconds(10)),
            retry_statuses: vec![StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE],
            max_response: ByteSize::new(2 << 30),
            owner: OwnerRule::Anyone,
            retention: seconds(5400),
            max_body: ByteSize::new(1 << 20),
        }
    );
    let growing = super::super::report(&with(&[("JOB_MAX_RETRIES", "1"), ("JOB_RETRY_DELAY_SECONDS", "0")]));
    assert!(growing.lines().any(|line| line.contains("JOB_RETRY_DELAY_SECONDS") && line.contains("n^4 seconds")));
}

#[test]
fn a_route_has_jobs_and_a_cache_of_its_own() {
    let vars = [
        URL,
        ("JOB_MAX_RETRIES", "1"),
        ("ROUTE_A_JOB_MAX_RETRIES", "2"),
        ("ROUTE_A_QUEUE_MAX_BODY_BYTES", "1KiB"),
        ("ROUTE_A_QUEUE_PATHS", "^/a/q"),
        ("ROUTE_A_OVERFLOW", "off"),
        ("ROUTE_A_JOB_TIMEOUT_SECONDS", "2h"),
        ("CACHE", "memory"),
        ("ROUTE_A_CACHE", "none"),
    ];
    let settings = settings(&[&A[..], &vars].concat()).unwrap_or_else(|p| panic!("{}", render_problems(&p)));
    let [global, own] = &settings.routes[..] else { panic!("not two routes") };
    assert_eq!((global.jobs.max_retries, own.jobs.max_retries), (1, 2));
    assert_eq!((global.jobs.max_body, own.jobs.max_body), (ByteSize::new(10 << 20), ByteSize::new(1 << 10)));
    assert_eq!((global.jobs.timeout_max, own.jobs.timeout_max), (seconds(3600), seconds(7200)));
    assert_eq!((global.cache.kind, own.cache.kind), (CacheKind::Memory, CacheKind::None));
    assert_eq!((global.overflow.overflow, own.overflow.overflow), (Overflow::Prefer, Overflow::Off));
    assert_eq!((global.lanes.of("/a/q"), own.lanes.of("/a/q")), (Lane::Race, Lane::Queue));
    let followed = settings.effective.iter().find(|e| e.name == "ROUTE_A_JOB_TIMEOUT_MAX_SECONDS").unwrap();
    assert_eq!(
        (followed.shown.as_str(), followed.origin),
        ("2h", super::super::Origin::Follows("JOB_TIMEOUT_SECONDS"))
    );
    assert_eq!(settings.warnings, [""; 0]);
}

#[test]
fn no_request_may_ask_for_more_than_the_maximum_and_none_has_it_by_default() {
    let (timeout, max) = ("JOB_TIMEOUT_SECONDS", "JOB_TIMEOUT_MAX_SECONDS");
    let times = |vars: &[(&str, &str)]| {
        let jobs = route(vars).jobs;
        [jobs.timeout.as_secs(), jobs.timeout_max.as_secs()]
    };
    assert_eq!(times(&[(timeout, "10m")]), [600, 3600]);
    assert_eq!(times(&[(timeout, "2h")]), [7200, 7200]);
    assert_eq!(times(&[(max, "60")]), [60, 60]);
    assert_eq!(times(&[(timeout, "60"), (max, "60")]), [60, 60]);
    let problem = only_problem(&[(timeout, "61"), (max, "60")]);
    assert!(
        problem.starts_with("JOB_TIMEOUT_MAX_SECONDS=\"60\": must not be less than JOB_TIMEOUT_SECONDS"),
        "{problem}"
    );
    let own = [("ROUTE_A_JOB_TIMEOUT_SECONDS", "61"), (max, "60")];
    let problem = only_problem(&[&A[..], &own].concat());
    let part = "ROUTE_A_JOB_TIMEOUT_SECONDS=\"61\": must not be more than JOB_TIMEOUT_MAX_SECONDS";
    assert!(problem.starts_with(part), "{problem}");
}

#[test]
fn bodies_that_are_too_large_are_refused_by_a_race_and_streamed_by_a_queue_unless_it_is_said() {
    let fates = |vars: &[(&str, &str)]| {
        let route =
            route(&[&[("LANE", "queue"), ("RACE_PATHS", "^/r"), ("QUEUE_MAX_BODY_BYTES", "64MiB")], vars].concat());
        (route.oversize, route.queue_oversize)
    };
    assert_eq!(fates(&[]), (Oversize::Reject, Oversize::Stream));
    for (word, fate) in [
        ("reject", Oversize::Reject),
        ("stream", Oversize::Stream),
        ("queue", Oversize::Queue),
        ("redirect", Oversize::Redirect),
    ] {
        assert_eq!(fates(&[("OVERSIZE", word)]), (fate, fate));
    }
    let text = super::super::report(&with(&[]));
    let line = text.lines().find(|line| line.trim_start().starts_with("OVERSIZE ")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>().join(" "),
        "OVERSIZE reject; on the lane queue stream default"
    );
}

#[test]
fn a_job_takes_larger_bodies_than_a_race_where_it_is_to_take_what_the_race_does_not() {
    let queue = ("OVERSIZE", "queue");
    let problem = only_problem(&[queue]);
    assert!(
        problem
            .starts_with("QUEUE_MAX_BODY_BYTES: must be more than MAX_REQUEST_BODY_BYTES (32MiB) with OVERSIZE=queue"),
        "{problem}"
    );
    let same = only_problem(&[queue, ("QUEUE_MAX_BODY_BYTES", "1MiB"), ("MAX_REQUEST_BODY_BYTES", "1MiB")]);
    assert!(
        same.starts_with("QUEUE_MAX_BODY_BYTES=\"1MiB\": must be more than MAX_REQUEST_BODY_BYTES (1MiB)"),
        "{same}"
    );
    assert_eq!(route(&[queue, ("QUEUE_MAX_BODY_BYTES", "33554433")]).oversize, Oversize::Queue);
    assert_eq!(route(&[queue, ("MAX_REQUEST_BODY_BYTES", "1MiB")]).oversize, Oversize::Queue);
    let own = [queue, ("QUEUE_MAX_BODY_BYTES", "64MiB"), ("ROUTE_A_MAX_REQUEST_BODY_BYTES", "64MiB")];
    let problem = only_problem(&[&A[..], &own].concat());
    let part =
        "ROUTE_A_MAX_REQUEST_BODY_BYTES=\"64MiB\": must be less than QUEUE_MAX_BODY_BYTES (64MiB) with OVERSIZE=queue";
    assert!(problem.starts_with(part), "{problem}");
    let only_here = only_problem(&[&A[..], &[("ROUTE_A_OVERSIZE", "queue")]].concat());
    assert!(only_here.contains("with ROUTE_A_OVERSIZE=queue"), "{only_here}");
}

#[test]
fn lanes_and_overflow_decide_which_requests_become_jobs() {
    let lists = [("LANE", "stream"), ("RACE_PATHS", "^/api/race"), ("QUEUE_PATHS", "^/api/")];
    let lanes = route(&lists).lanes;
    let found = ["/api/race/x", "/api/reports", "/x"].map(|path| lanes.of(path));
    assert_eq!(found, [Lane::Race, Lane::Queue, Lane::Stream]);
    assert_eq!(route(&[("LANE", "Queue")]).lanes.otherwise, Lane::Queue);
    for (word, overflow) in [("off", Overflow::Off), ("Prefer", Overflow::Prefer), ("always", Overflow::Always)] {
        assert_eq!(route(&[("OVERFLOW", word)]).overflow, OverflowSettings { overflow, after: None });
    }
    let after = Some(seconds(90));
    let overflow = route(&[("OVERFLOW_AFTER_SECONDS", "1m30s")]).overflow;
    assert_eq!(overflow, OverflowSettings { overflow: Overflow::Prefer, after });
    assert!(only_problem(&[("OVERFLOW_AFTER_SECONDS", "0")]).starts_with("OVERFLOW_AFTER_SECONDS=\"0\": must be more"));
}

#[test]
fn everything_of_a_cache_can_be_set() {
    let kinds = [
        ("none", CacheKind::None),
        ("Memory", CacheKind::Memory),
        ("store", CacheKind::Store),
        ("redis", CacheKind::Store),
    ];
    for (word, kind) in kinds {
        assert_eq!(route(&[("CACHE", word)]).cache.kind, kind);
    }
    let cache = route(&[
        ("CACHE", "store"),
        ("CACHE_TTL_SECONDS", "1h"),
        ("CACHE_MAX_ENTRY_BYTES", "1KiB"),
        ("CACHE_KEY_EXCLUDE_HEADERS", "X-TRACE-Id, traceparent"),
    ])
    .cache;
    let excluded = ["x-trace-id", "traceparent"].map(http::HeaderName::from_static).to_vec();
    let expected =
        CacheSettings { kind: CacheKind::Store, ttl: seconds(3600), max_entry: ByteSize::new(1 << 10), excluded };
    assert_eq!(cache, expected);
    assert_eq!(route(&[("CACHE", "memory"), ("CACHE_KEY_EXCLUDE_HEADERS", ",")]).cache.excluded.len(), 0);
}

#[test]
fn no_credential_is_left_out_of_the_key_unless_clients_are_to_share() {
    for name in [
        "Authorization",
        "cookie",
        "Proxy-Authorization",
        "X-API-Key",
        "API-KEY",
        "OpenAI-Organization",
        "OpenAI-Project",
        "ChatGPT-Account-ID",
        "X-Own",
    ] {
        let list = format!("X-Request-ID,{name}");
        let vars = [("UPSTREAM_API_KEY_HEADER", "x-own"), ("CACHE", "memory"), ("CACHE_KEY_EXCLUDE_HEADERS", &list)];
        let problem = only_problem(&vars);
        let part = format!("CACHE_KEY_EXCLUDE_HEADERS={list:?}: must not contain {}: ", name.to_lowercase());
        assert!(problem.starts_with(&part) && problem.contains("CACHE_SHARED=true"), "{problem}");
        let shared = with(&[&vars[..], &[("CACHE_SHARED", "yes")]].concat());
        assert_eq!((shared.routes[0].cache.excluded.len(), shared.warnings.len()), (2, 0), "{:?}", shared.warnings);
    }
    // It is refused before the cache is on, too: nobody should find out later.
    assert!(
        only_problem(&[("CACHE_KEY_EXCLUDE_HEADERS", "Cookie")]).starts_with("CACHE_KEY_EXCLUDE_HEADERS=\"Cookie\"")
    );
}

#[test]
fn the_header_of_a_routes_key_is_a_credential_of_that_route_alone() {
    let vars = [
        ("CACHE", "memory"),
        ("CACHE_KEY_EXCLUDE_HEADERS", "X-Tenant"),
        ("ROUTE_A_UPSTREAM_API_KEY_HEADER", "x-tenant"),
    ];
    let problem = only_problem(&[&A[..], &vars].concat());
    let part = "ROUTE_A_UPSTREAM_API_KEY_HEADER=\"x-tenant\": must not be in CACHE_KEY_EXCLUDE_HEADERS: it tells clients apart";
    assert!(problem.starts_with(part), "{problem}");
    assert_eq!(route(&vars[..2]).cache.excluded.len(), 1);
    let default = only_problem(&[("CACHE", "memory"), ("UPSTREAM_API_KEY_HEADER", "X-Request-ID")]);
    assert!(default.starts_with("UPSTREAM_API_KEY_HEADER=\"X-Request-ID\": must not be in CACHE_KEY_"), "{default}");
    // Without a cache the default list excludes nothing from anything.
    route(&[
        ("UPSTREAM_API_KEY", "hidden"),
        ("UPSTREAM_API_KEY_HEADER", "X-Request-ID"),
        ("UPSTREAM_API_KEY_PREFIX", ""),
    ]);
}

#[test]
fn what_has_no_effect_on_a_cache_is_a_warning() {
    for (vars, warning) in [
        (&[("CACHE_TTL_SECONDS", "9")][..], "CACHE_TTL_SECONDS has no effect without CACHE"),
        (&[("CACHE_MAX_ENTRY_BYTES", "9")], "CACHE_MAX_ENTRY_BYTES has no effect without CACHE"),
        (&[("CACHE_KEY_EXCLUDE_HEADERS", "x")], "CACHE_KEY_EXCLUDE_HEADERS has no effect without CACHE"),
        (&[("CACHE_SHARED", "true")], "CACHE_SHARED has no effect without CACHE"),
        (&[("CACHE_MAX_ENTRIES", "9")], "CACHE_MAX_ENTRIES has no effect without CACHE=memory"),
        (&[("CACHE", "store"), ("CACHE_MAX_BYTES", "1GiB")], "CACHE_MAX_BYTES has no effect without CACHE=memory"),
        (&[("CACHE", "memory"), ("LANE", "stream")], "CACHE has no effect without the lane race or queue"),
        (
            &[("CACHE", "memory"), ("CACHE_SHARED", "true")],
            "CACHE_SHARED has no effect without credentials in CACHE_KEY_EXCLUDE_HEADERS",
        ),
        (
            &[("CACHE", "memory"), ("CACHE_MAX_BYTES", "1MiB")],
            "answers above 1MiB are not cached: CACHE_MAX_BYTES is less than CACHE_MAX_ENTRY_BYTES (8MiB)",
        ),
    ] {
        assert_eq!(with(vars).warnings, [warning], "{vars:?}");
    }
    let elsewhere = [("CACHE", "store"), ("LANE", "stream"), ("REDIS_URL", "redis://cache")];
    assert_eq!(with(&elsewhere).warnings, [""; 0]);
    // One route that has a cache is enough.
    let vars = [URL, ("CACHE_TTL_SECONDS", "9"), ("CACHE_MAX_ENTRIES", "9"), ("ROUTE_A_CACHE", "memory")];
    assert_eq!(settings(&[&A[..], &vars].concat()).unwrap().warnings, [""; 0]);
}
