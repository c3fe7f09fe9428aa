//! Any environment: it is accepted or refused in words, and neither says a secret. A key stays at its origin.
//!
//! An input is one entry a line: `NAME=value`. A single byte for the name picks one from the table; two bytes pick a route,
//! and one of the variables that routes can have.

#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use forebay::cache::CacheKind;
use forebay::config::{Origin, Problem, Section, Settings, VARIABLES, policy_in_words, render_problems, report};
use forebay::job::JobPolicy;
use forebay::routes::{Lane, Overflow, Oversize};
use forebay::store::StoreKind;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "9fK2vXq7Lw3Zr8Tn5Yb1";
/// In the keys of routes, to tell them from the global one.
const SECRET_OF_A_ROUTE: &str = "4hM6cJd0Ps9Ae2Gu7Wk3";
/// What must never be seen. Not taken from the table, which may be wrong.
const SECRETS: [&str; 3] = ["UPSTREAM_API_KEY", "ADMIN_TOKEN", "REDIS_URL"];
/// What may be seen but for a password in it.
const URLS: [&str; 6] =
    ["UPSTREAM_BASE_URL", "ALLOWED_ORIGINS", "OUTBOUND_PROXY", "HTTPS_PROXY", "http_proxy", "ALL_PROXY"];
const ROUTES: [&str; 3] = ["A", "B", "a"];

fuzz_target!(|data: &[u8]| {
    let environment: Vec<(OsString, OsString)> = data.split(|byte| *byte == b'\n').map(entry).collect();
    match Settings::from_env(environment.iter().cloned()) {
        Ok(settings) => accepted(&settings),
        Err(problems) => refused(&environment, &problems),
    }
});

fn entry(line: &[u8]) -> (OsString, OsString) {
    let (name, value) = line.split_at(line.iter().position(|byte| *byte == b'=').unwrap_or(line.len()));
    let name = match name {
        [index] => VARIABLES[usize::from(*index) % VARIABLES.len()].name.as_bytes().to_vec(),
        [route, index] => name_in_route(usize::from(*route), usize::from(*index)).into_bytes(),
        name => name.to_vec(),
    };
    let value = value_for(&String::from_utf8_lossy(&name), value.get(1..).unwrap_or_default());
    (OsString::from_vec(name), OsString::from_vec(value))
}

fn name_in_route(route: usize, index: usize) -> String {
    let sections =
        [Section::Upstream, Section::Attempts, Section::Lanes, Section::Jobs, Section::Cache, Section::Answers];
    let variables = sections.into_iter().flat_map(Section::variables).filter(|v| !v.process).map(|v| v.name);
    let stems: Vec<&str> = variables.chain(["PREFIX"]).collect();
    format!("ROUTE_{}_{}", ROUTES[route % ROUTES.len()], stems[index % stems.len()])
}

/// The name of the route, if it has one, and the variable.
fn route_and_stem(name: &str) -> (Option<&str>, &str) {
    let parts = name.strip_prefix("ROUTE_").and_then(|rest| rest.split_once('_'));
    parts.map_or((None, name), |(route, stem)| (Some(route), stem))
}

fn value_for(name: &str, value: &[u8]) -> Vec<u8> {
    let (route, stem) = route_and_stem(name);
    if name.ends_with("_FILE") {
        // No file of this machine is read: some never end.
        value.iter().map(|byte| if *byte == b'/' { b'_' } else { *byte }).collect()
    } else if SECRETS.contains(&stem) {
        let secret = if route.is_some() { SECRET_OF_A_ROUTE } else { SECRET };
        [value, secret.as_bytes()].concat()
    } else if URLS.contains(&stem) {
        with_password(value)
    } else {
        value.to_vec()
    }
}

/// A password in place of a byte 1 that stands in front of the host. Behind it, the same characters are a path.
fn with_password(value: &[u8]) -> Vec<u8> {
    let host = value.windows(3).position(|window| window == b"://").map_or(value.len(), |at| at + 3);
    match value.split_at(host) {
        (scheme, [1, rest @ ..]) => [scheme, b"u:", SECRET.as_bytes(), b"@", rest].concat(),
        _ => value.to_vec(),
    }
}

fn refused(environment: &[(OsString, OsString)], problems: &[Problem]) {
    assert!(!problems.is_empty(), "refused without a reason");
    for problem in problems {
        let text = problem.to_string();
        let was_set = environment.iter().any(|(name, _)| name.to_str() == Some(&problem.name));
        let (route, stem) = route_and_stem(&problem.name);
        let is_declared = match route {
            // A route lacks what makes it one.
            Some(_) => ["PREFIX", "UPSTREAM_BASE_URL"].contains(&stem),
            None => VARIABLES.iter().any(|variable| variable.name == problem.name),
        };
        assert!(was_set || is_declared, "a problem with something else: {text:?}");
        assert!(text.starts_with(&problem.name.escape_debug().to_string()), "{text:?}");
    }
    let text = render_problems(problems);
    assert!(!has_secret(&text), "a secret in {text:?}");
    assert_eq!(text.lines().count(), problems.len() + 1, "not a line for each: {text:?}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "a control character in {text:?}");
}

fn accepted(settings: &Settings) {
    let text = format!("{}{}", report(settings), policy_in_words(&settings.routes[0].policy));
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "a control character in {text:?}");
    for text in [text, format!("{settings:?}")] {
        assert!(!has_secret(&text), "a secret in {text:?}");
    }
    keys_stay_at_their_origin(settings);
    a_store_is_there_for_whoever_needs_it(settings);

    // What is shown can be set, and means the same. (Without a global route, nobody has the global values.)
    if settings.routes[0].name.is_some() {
        return;
    }
    let shown: Vec<(OsString, OsString)> = settings
        .effective
        .iter()
        .filter(|effective| effective.origin != Origin::Default && route_and_stem(&effective.name).0.is_none())
        .filter(|effective| effective.name.ends_with("_SECONDS") || effective.name.ends_with("_BYTES"))
        .map(|effective| match effective.shown.as_str() {
            "off" | "none" | "n^4 seconds" => (effective.name.as_str().into(), "0".into()),
            shown => (effective.name.as_str().into(), shown.into()),
        })
        .chain([("UPSTREAM_BASE_URL".into(), "https://api.example".into())])
        .collect();
    let again = Settings::from_env(shown).unwrap_or_else(|problems| panic!("{}", render_problems(&problems)));
    assert_eq!(again.routes[0].policy.header_deadline, settings.routes[0].policy.header_deadline);
    assert_eq!(again.routes[0].policy.whole_answer_deadline, settings.routes[0].policy.whole_answer_deadline);
    assert_eq!(again.routes[0].policy.backoff, settings.routes[0].policy.backoff);
    assert_eq!(times(&again), times(settings));
    assert_eq!(sizes(&again), sizes(settings));
}

fn has_secret(text: &str) -> bool {
    text.contains(SECRET) || text.contains(SECRET_OF_A_ROUTE)
}

/// A route has a key of its own, or the global one where it is at the origin of the global URL.
fn keys_stay_at_their_origin(settings: &Settings) {
    let home = settings.routes.iter().find(|route| route.name.is_none()).map(|route| route.base.origin());
    for route in &settings.routes {
        let Some(key) = &route.key else { continue };
        let key = key.value.expose().to_str().unwrap_or_default();
        let own = route.name.is_some() && key.ends_with(SECRET_OF_A_ROUTE);
        assert!(own || (key.ends_with(SECRET) && home == Some(route.base.origin())), "{:?} has it", route.name);
    }
}

/// Whatever asks for a store has one; a process that does half of the work has one that others can reach.
fn a_store_is_there_for_whoever_needs_it(settings: &Settings) {
    let is_required = settings.store.as_ref().is_some_and(|store| store.is_required);
    assert_eq!(is_required, !settings.store_asked_by.is_empty(), "{:?}", settings.store_asked_by);
    let asks = settings.routes.iter().any(|route| {
        route.lanes.has(Lane::Queue)
            || route.oversize == Oversize::Queue
            || route.overflow.overflow == Overflow::Always
            || route.cache.kind == CacheKind::Store
    });
    let roles = settings.queue.roles;
    assert!(roles.front || roles.worker, "a process that does nothing");
    assert!(is_required || (roles.front && !asks), "there is no store");
    let is_embedded = settings.store.as_ref().is_some_and(|store| matches!(store.kind, StoreKind::Embedded { .. }));
    assert!(!is_embedded || (roles.front && roles.worker), "{roles:?} with a store of its own");
    for route in &settings.routes {
        assert!(route.jobs.timeout <= route.jobs.timeout_max, "{:?}", route.jobs);
        assert!(route.oversize != Oversize::Queue || route.jobs.max_body > route.max_request_body, "{:?}", route.name);
    }
}

fn times(settings: &Settings) -> impl PartialEq + std::fmt::Debug {
    let (edge, transport) = (&settings.edge, &settings.routes[0].transport);
    let timeouts = settings.routes[0].policy.timeouts;
    let hedge_after = settings.routes[0].policy.hedge_after;
    (
        [edge.header_timeout, edge.body_timeout, edge.write_timeout, edge.idle],
        [timeouts.connect, timeouts.write, timeouts.pool, transport.idle],
        (settings.routes[0].stream_idle, settings.routes[0].tunnel_idle, hedge_after),
        (settings.dns_cache, settings.shutdown_timeout),
        (settings.queue.lease, settings.routes[0].overflow.after, settings.routes[0].cache.ttl),
        jobs(&settings.routes[0].jobs),
    )
}

fn jobs(policy: &JobPolicy) -> impl PartialEq + std::fmt::Debug + use<> {
    ([policy.timeout, policy.timeout_max, policy.retention], [policy.header_deadline, policy.retry_delay])
}

fn sizes(settings: &Settings) -> impl PartialEq + std::fmt::Debug {
    let route = &settings.routes[0];
    (
        [settings.edge.max_header_bytes, settings.max_buffered, settings.cache.max_bytes],
        [route.max_request_body, route.jobs.max_body, route.jobs.max_response, route.cache.max_entry],
    )
}
