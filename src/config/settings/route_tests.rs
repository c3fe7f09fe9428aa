//! Routes: what is theirs, what they fall back to, and what is wrong with them.

use super::super::report;
use super::tests::{KEY, URL, one, settings, with};
use super::*;
use crate::routes::Lane;
use crate::upstream::Http2;

const A: [(&str, &str); 2] = [("ROUTE_A_PREFIX", "/a"), ("ROUTE_A_UPSTREAM_BASE_URL", "https://a.example")];
const B: [(&str, &str); 2] = [("ROUTE_B_PREFIX", "/b"), ("ROUTE_B_UPSTREAM_BASE_URL", "https://b.example/base")];
/// At the origin of the global URL.
const SAME: [(&str, &str); 2] = [("ROUTE_S_PREFIX", "/s"), ("ROUTE_S_UPSTREAM_BASE_URL", "https://API.example:443/s")];

/// The routes of an environment that is accepted.
fn routes(parts: &[&[(&str, &str)]]) -> Vec<RouteSettings> {
    settings(&parts.concat()).unwrap_or_else(|problems| panic!("{}", super::super::render_problems(&problems))).routes
}

fn problems(parts: &[&[(&str, &str)]]) -> Vec<String> {
    settings(&parts.concat()).unwrap_err().iter().map(ToString::to_string).collect()
}

fn only_problem(parts: &[&[(&str, &str)]]) -> String {
    one(settings(&parts.concat()))
}

/// What a route sends as its key, by its name.
fn key_of(routes: &[RouteSettings], name: Option<&str>) -> Option<String> {
    let route = routes.iter().find(|route| route.name.as_deref() == name).unwrap();
    route.key.as_ref().map(|key| format!("{}: {}", key.header, key.value.expose().to_str().unwrap()))
}

fn proxy_of(routes: &[RouteSettings], name: Option<&str>) -> Option<String> {
    let route = routes.iter().find(|route| route.name.as_deref() == name).unwrap();
    route.transport.proxy.as_ref().map(ToString::to_string)
}

#[test]
fn routes_stand_beside_the_global_one_or_alone() {
    let described = |routes: Vec<RouteSettings>| {
        let describe = |r: RouteSettings| format!("{:?} {} {}", r.name, r.prefix, r.base);
        routes.into_iter().map(describe).collect::<Vec<_>>()
    };
    assert_eq!(
        described(routes(&[&B, &[URL], &A])),
        ["None / https://api.example", "Some(\"A\") /a https://a.example", "Some(\"B\") /b https://b.example/base"]
    );
    assert_eq!(described(routes(&[&A])), ["Some(\"A\") /a https://a.example"]);
    let root = [("ROUTE_x1_PREFIX", "/"), ("ROUTE_x1_UPSTREAM_BASE_URL", "http://x")];
    assert_eq!(described(routes(&[&root])), ["Some(\"x1\") / http://x"]);
}

#[test]
fn names_that_differ_in_case_are_different_routes() {
    let lower = [("ROUTE_a_PREFIX", "/lower"), ("ROUTE_a_UPSTREAM_BASE_URL", "http://x"), ("ROUTE_a_LANE", "stream")];
    let routes = routes(&[&A, &lower]);
    let found: Vec<_> = routes.iter().map(|r| (r.name.as_deref().unwrap(), r.lanes.otherwise)).collect();
    assert_eq!(found, [("A", Lane::Race), ("a", Lane::Stream)]);
}

#[test]
fn a_route_has_its_own_value_then_the_global_one_then_the_default() {
    let routes = routes(&[
        &[URL],
        &A,
        &B,
        &[
            ("UPSTREAM_MAX_ATTEMPTS", "5"),
            ("ROUTE_A_UPSTREAM_MAX_ATTEMPTS", "3"),
            ("ROUTE_B_LANE", "stream"),
            ("STREAM_PATHS", "^/a/big"),
            ("ROUTE_B_STREAM_PATHS", ""),
            ("SOURCE_HEADER", "X-S: global"),
            ("ROUTE_A_SOURCE_HEADER", "X-S: a"),
            ("ROUTE_B_UPSTREAM_HTTP2", "off"),
        ],
    ]);
    let attempts: Vec<u32> = routes.iter().map(|r| r.policy.max_attempts).collect();
    assert_eq!(attempts, [5, 3, 5]);
    assert_eq!(routes[1].lanes.of("/a/big"), Lane::Stream);
    assert_eq!(routes[2].lanes.of("/b/x"), Lane::Stream);
    let sources: Vec<_> = routes.iter().map(|r| r.answers.source.value.to_str().unwrap()).collect();
    assert_eq!(sources, ["global", "a", "global"]);
    assert_eq!(routes.iter().map(|r| r.transport.http2).collect::<Vec<_>>(), [Http2::Auto, Http2::Auto, Http2::Off]);
}

#[test]
fn the_deadline_for_whole_answers_follows_the_header_deadline_of_the_route() {
    let deadlines = |vars: &[(&str, &str)]| {
        let policy = routes(&[&A, vars]).remove(0).policy;
        [policy.header_deadline.as_secs(), policy.whole_answer_deadline.as_secs()]
    };
    let (header, whole) = ("RESPONSE_HEADER_TIMEOUT_SECONDS", "NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS");
    let (own_header, own_whole) =
        ("ROUTE_A_RESPONSE_HEADER_TIMEOUT_SECONDS", "ROUTE_A_NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS");
    assert_eq!(deadlines(&[]), [30, 290]);
    assert_eq!(deadlines(&[(header, "20")]), [20, 20]);
    assert_eq!(deadlines(&[(header, "20"), (own_header, "10")]), [10, 10]);
    assert_eq!(deadlines(&[(whole, "100"), (own_header, "10")]), [10, 100]);
    assert_eq!(deadlines(&[(header, "20"), (own_whole, "50")]), [20, 50]);
}

#[test]
fn a_key_falls_back_only_to_routes_of_the_same_origin() {
    let routes = routes(&[
        &[URL, KEY, ("UPSTREAM_API_KEY_HEADER", "api-key"), ("UPSTREAM_API_KEY_PREFIX", "")],
        &A,
        &B,
        &SAME,
        &[("ROUTE_B_UPSTREAM_API_KEY", "sk-b")],
    ]);
    assert_eq!(key_of(&routes, None), Some("api-key: sk-hidden".into()));
    assert_eq!(key_of(&routes, Some("S")), Some("api-key: sk-hidden".into()));
    assert_eq!(key_of(&routes, Some("A")), None);
    // Not even the header of the other key is taken over.
    assert_eq!(key_of(&routes, Some("B")), Some("authorization: Bearer sk-b".into()));
}

#[test]
fn another_scheme_port_or_host_is_another_origin() {
    for url in ["http://api.example", "https://api.example:8443", "https://api.example.", "https://xapi.example"] {
        let other = [("ROUTE_O_PREFIX", "/o"), ("ROUTE_O_UPSTREAM_BASE_URL", url)];
        let routes = routes(&[&[URL, KEY, ("OUTBOUND_PROXY", "socks5://u:p@proxy")], &other]);
        assert_eq!((key_of(&routes, Some("O")), proxy_of(&routes, Some("O"))), (None, None), "{url}");
    }
}

#[test]
fn a_key_without_a_route_that_may_use_it_is_a_warning() {
    let settings = settings(&[&A[..], &[KEY, ("OUTBOUND_PROXY", "http://u:p@proxy")]].concat()).unwrap();
    assert_eq!(key_of(&settings.routes, Some("A")), None);
    assert_eq!(settings.warnings.len(), 2, "{:?}", settings.warnings);
    for name in ["UPSTREAM_API_KEY", "OUTBOUND_PROXY"] {
        assert!(settings.warnings.iter().any(|w| w.starts_with(&format!("{name} has no effect"))));
    }
}

#[test]
fn the_rule_against_web_pages_holds_for_each_route_that_has_a_key() {
    let allowed = [("ALLOWED_ORIGINS", "https://app.example"), ("ROUTE_A_ALLOWED_HOSTS", "gate.example")];
    let settings = settings(&[&A[..], &B, &allowed, &[("ROUTE_A_UPSTREAM_API_KEY", "sk-a")]].concat()).unwrap();
    let rule = settings.routes[0].web.clone().unwrap();
    assert_eq!((rule.hosts, rule.origins), (vec!["gate.example".into()], vec!["https://app.example".into()]));
    assert_eq!(settings.routes[1].web, None);
    assert_eq!(settings.warnings, [""; 0]);
    let exposed = with(&[&A[..], &[("LISTEN_HOST", "0.0.0.0"), ("ROUTE_A_UPSTREAM_API_KEY", "sk-a")]].concat());
    assert!(exposed.warnings[0].starts_with("ROUTE_A_UPSTREAM_API_KEY is set and 0.0.0.0"), "{:?}", exposed.warnings);
    let idle = with(&[&A[..], &B, &allowed].concat()).warnings;
    assert_eq!(idle.len(), 2, "{idle:?}");
    assert!(idle.iter().any(|w| w == "ALLOWED_ORIGINS has no effect without UPSTREAM_API_KEY"), "{idle:?}");
    assert!(idle.iter().any(|w| w == "ROUTE_A_ALLOWED_HOSTS has no effect without UPSTREAM_API_KEY"), "{idle:?}");
}

#[test]
fn each_route_follows_the_environments_proxy_for_its_own_url() {
    let plain = [("ROUTE_P_PREFIX", "/p"), ("ROUTE_P_UPSTREAM_BASE_URL", "http://p.example")];
    let environment = [("HTTPS_PROXY", "http://u:hidden@secure:1"), ("NO_PROXY", "b.example")];
    let direct = routes(&[&[URL], &A, &B, &plain, &environment]);
    let secure = Some("http://secure:1".to_owned());
    assert_eq!(proxy_of(&direct, None), secure);
    assert_eq!(proxy_of(&direct, Some("A")), secure);
    assert_eq!((proxy_of(&direct, Some("B")), proxy_of(&direct, Some("P"))), (None, None));

    let set = routes(&[&[URL, ("OUTBOUND_PROXY", "socks5://u:hidden@own")], &A, &SAME, &environment]);
    assert_eq!(proxy_of(&set, None), Some("socks5://own:1080".into()));
    assert_eq!(proxy_of(&set, Some("S")), Some("socks5://own:1080".into()));
    assert_eq!(proxy_of(&set, Some("A")), secure);

    let off =
        routes(&[&[URL, ("OUTBOUND_PROXY", "off"), ("ROUTE_B_OUTBOUND_PROXY", "http://b")], &A, &B, &environment]);
    assert_eq!((proxy_of(&off, None), proxy_of(&off, Some("A"))), (None, None));
    assert_eq!(proxy_of(&off, Some("B")), Some("http://b:80".into()));
}

#[test]
fn a_route_needs_a_prefix_and_a_url() {
    assert!(only_problem(&[&A[..1]]).starts_with("ROUTE_A_UPSTREAM_BASE_URL: is required, for example ROUTE_A_"));
    assert!(only_problem(&[&[URL], &A[1..]]).starts_with("ROUTE_A_PREFIX: is required, for example ROUTE_A_PREFIX=/"));
    // The global URL is no route's by inheritance.
    assert_eq!(problems(&[&[URL], &[("ROUTE_A_LANE", "stream")]]).len(), 2);
}

#[test]
fn a_prefix_that_cannot_match_or_matches_twice_is_a_problem() {
    for prefix in ["a", "/a?x", "/a#x", "/a/../b", "/a b", "/<a>", "http://x/"] {
        let problem = only_problem(&[&[("ROUTE_A_PREFIX", prefix)], &A[1..]]);
        assert!(problem.starts_with(&format!("ROUTE_A_PREFIX={prefix:?}: ")), "{problem}");
    }
    for (one, other) in [("/a", "/a"), ("/a", "/a/"), ("/", "/")] {
        let problem = only_problem(&[&[("ROUTE_A_PREFIX", one), ("ROUTE_B_PREFIX", other)], &A[1..], &B[1..]]);
        let part = format!("ROUTE_B_PREFIX={other:?}: is the prefix of two routes: ROUTE_A_PREFIX has it already");
        assert!(problem.starts_with(&part), "{problem}");
    }
    let twice = only_problem(&[&[URL, ("ROUTE_A_PREFIX", "/")], &A[1..]]);
    assert!(twice.contains("ROUTE_A_PREFIX=\"/\"") && twice.contains("UPSTREAM_BASE_URL has it"), "{twice}");
    routes(&[&[("ROUTE_A_PREFIX", "/a"), ("ROUTE_B_PREFIX", "/a/b")], &A[1..], &B[1..]]);
}

#[test]
fn a_prefix_over_a_path_of_ours_is_a_problem() {
    let with = |prefix: &'static str, more: &[(&'static str, &'static str)]| {
        settings(&[&[("ROUTE_A_PREFIX", prefix)], &A[1..], more].concat())
    };
    for (prefix, more) in [
        ("/healthz", &[][..]),
        ("/api", &[("HEALTH_PATH", "/api/health")]),
        ("/api/", &[("HEALTH_PATH", "/api")]),
        ("/__jobs", &[]),
        ("/__jobs/x", &[]),
        ("/x", &[("JOBS_PATH", "/x/jobs")]),
        ("/x/jobs", &[("JOBS_PATH", "/x/")]),
    ] {
        let problem = one(with(prefix, more));
        assert!(problem.starts_with(&format!("ROUTE_A_PREFIX={prefix:?}: must not ")), "{problem}");
    }
    for (prefix, more) in [
        ("/", &[][..]),
        ("/health", &[]),
        ("/healthz/x", &[]),
        ("/healthz", &[("HEALTH_PATH", "off")]),
        ("/__jobs2", &[]),
        ("/__jobs", &[("JOBS_PATH", "/elsewhere")]),
    ] {
        assert!(with(prefix, more).is_ok(), "{prefix} {more:?}");
    }
}

#[test]
fn routes_that_share_connections_agree_on_what_holds_for_these() {
    for (variable, value) in [
        ("UPSTREAM_HTTP2", "off"),
        ("UPSTREAM_MAX_CONNECTIONS", "7"),
        ("UPSTREAM_IDLE_SECONDS", "7"),
        ("RETRY_BUDGET_PERCENT", "7"),
        ("RETRY_BUDGET_MIN", "7"),
    ] {
        let own = format!("ROUTE_S_{variable}");
        let problem = only_problem(&[&[URL], &SAME, &[(&own, value)]]);
        let part =
            format!("{own}=\"{value}\": must agree with {variable}: the two routes share connections to https://api");
        assert!(problem.starts_with(&part), "{problem}");
        // With another proxy or the same value, or at another origin, nothing is shared or nothing differs.
        routes(&[&[URL], &SAME, &[(&own, value), ("ROUTE_S_OUTBOUND_PROXY", "socks5://p")]]);
        routes(&[&[URL, (variable, value)], &SAME, &[(&own, value)]]);
        routes(&[&[URL], &SAME[..1], &A[1..], &[(&own, value), ("ROUTE_S_UPSTREAM_BASE_URL", "http://x")], &A[..1]]);
    }
    let (other, same) = ([("ROUTE_T_PREFIX", "/t"), ("ROUTE_T_UPSTREAM_BASE_URL", "https://api.example/t")], &SAME);
    let problem = only_problem(&[&other, same, &[("ROUTE_S_RETRY_BUDGET_MIN", "3")]]);
    assert!(problem.starts_with("ROUTE_S_RETRY_BUDGET_MIN=\"3\": must agree with RETRY_BUDGET_MIN:"), "{problem}");
}

#[test]
fn what_is_wrong_in_a_route_names_its_variable_and_what_is_wrong_for_all_is_said_once() {
    let found = problems(&[
        &A,
        &B,
        &[
            ("RETRY", "maybe"),
            ("ROUTE_A_RETRY_STATUSES", "200"),
            ("ROUTE_A_UPSTREAM_API_KEY", "sk\nhidden"),
            ("ROUTE_A_RACE_PATHS", "^/a,(b"),
            ("ROUTE_B_UPSTREAM_BASE_URL_", "x"),
            ("ROUTE_B_LISTEN_PORT", "1"),
            ("ROUTE_B_QUEUE_PATHS", "x)"),
            ("ROUTE_B_HEDGE_AFTER_SECONDS", "30"),
        ],
    ]);
    for part in [
        "RETRY=\"maybe\": must be all or safe",
        "ROUTE_A_RETRY_STATUSES=\"200\": must be a list of statuses",
        "ROUTE_A_UPSTREAM_API_KEY: contains a character that cannot be sent in a header, for example ROUTE_A_UPSTREAM_API",
        "ROUTE_A_RACE_PATHS=\"^/a,(b\": must be a list of regular expressions, and number 2 is none: unclosed group",
        "ROUTE_B_UPSTREAM_BASE_URL_: is not a variable of a route",
        "ROUTE_B_LISTEN_PORT: cannot be set for one route",
        "ROUTE_B_QUEUE_PATHS=\"x)\": must be a list of regular expressions",
        "ROUTE_B_HEDGE_AFTER_SECONDS=\"30\": must be less than the header deadline (RESPONSE_HEADER_TIMEOUT_SECONDS, 30s)",
    ] {
        assert_eq!(found.iter().filter(|problem| problem.starts_with(part)).count(), 1, "{part}\nin {found:#?}");
    }
    assert_eq!(found.len(), 8, "{found:#?}");
    assert!(!found.iter().any(|problem| problem.contains("hidden")));
}

#[test]
fn what_disagrees_only_in_a_route_names_the_variable_of_the_route() {
    for (global, own, culprit) in [
        (
            ("RETRY_BACKOFF_MAX_SECONDS", "1"),
            ("RETRY_BACKOFF_SECONDS", "2"),
            "must not be more than RETRY_BACKOFF_MAX_SECONDS",
        ),
        (
            ("RETRY_BACKOFF_SECONDS", "2"),
            ("RETRY_BACKOFF_MAX_SECONDS", "1"),
            "must not be less than RETRY_BACKOFF_SECONDS",
        ),
        (
            ("HEDGE_AFTER_SECONDS", "5"),
            ("RESPONSE_HEADER_TIMEOUT_SECONDS", "5"),
            "must be more than HEDGE_AFTER_SECONDS (5s)",
        ),
        (("SOURCE_HEADER", "X-S: v"), ("UPSTREAM_API_KEY_HEADER", "x-s"), "must not be the header that marks answers"),
    ] {
        let own = (&*format!("ROUTE_A_{}", own.0), own.1);
        let problem = only_problem(&[&A, &[global, own, ("ROUTE_A_UPSTREAM_API_KEY", "k")]]);
        assert!(problem.starts_with(own.0) && problem.contains(culprit), "{problem}");
    }
    let own = [("LISTEN_PORT", "80"), ("ROUTE_A_PREFIX", "/a"), ("ROUTE_A_UPSTREAM_BASE_URL", "http://127.0.0.1")];
    let looped = only_problem(&[&[URL], &own]);
    assert!(
        looped.starts_with("ROUTE_A_UPSTREAM_BASE_URL=\"http://127.0.0.1\": is the address that forebay"),
        "{looped}"
    );
    // Global values that no route uses together contradict nothing.
    let unused = [("RETRY_BACKOFF_SECONDS", "2"), ("RETRY_BACKOFF_MAX_SECONDS", "1")];
    routes(&[&A, &unused, &[("ROUTE_A_RETRY_BACKOFF_MAX_SECONDS", "3")]]);
}

#[test]
fn the_report_shows_each_route_and_what_it_has_for_itself() {
    let vars = [
        URL,
        ("ROUTE_B_LANE", "stream"),
        ("ROUTE_B_RACE_PATHS", "^/b/v1"),
        ("ROUTE_B_UPSTREAM_API_KEY", "sk-hidden"),
        ("ROUTE_B_OUTBOUND_PROXY", "socks5h://u:hidden@proxy"),
        ("ROUTE_B_RESPONSE_HEADER_TIMEOUT_SECONDS", "7"),
    ];
    let text = report(&settings(&[&vars[..], &A, &B].concat()).unwrap());
    let route = |title: &str| {
        let rest = text.lines().skip_while(|line| *line != title).skip(1).take_while(|line| !line.is_empty());
        rest.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let overflow = "overflow where the client asks for it (Prefer: respond-async)";
    let jobs = "jobs 300s each (up to 3600s where the request says so), no retries, kept 3600s for their owners";
    assert_eq!(
        route("Route of UPSTREAM_BASE_URL"),
        ["prefix /", "upstream https://api.example", "lane race", "proxy none", overflow, jobs]
    );
    assert_eq!(
        route("Route A"),
        [
            "prefix /a",
            "upstream https://a.example",
            "lane race",
            "proxy none",
            overflow,
            jobs,
            "ROUTE_A_PREFIX /a set",
            "ROUTE_A_UPSTREAM_BASE_URL https://a.example set",
            "waits as Route of UPSTREAM_BASE_URL"
        ]
    );
    assert_eq!(
        route("Route B"),
        [
            "prefix /b",
            "upstream https://b.example/base",
            "lane stream, race for RACE_PATHS",
            "proxy socks5h://proxy:1080",
            overflow,
            jobs,
            "ROUTE_B_PREFIX /b set",
            "ROUTE_B_UPSTREAM_BASE_URL https://b.example/base set",
            "ROUTE_B_UPSTREAM_API_KEY (set) set",
            "ROUTE_B_OUTBOUND_PROXY (set) set",
            "ROUTE_B_RESPONSE_HEADER_TIMEOUT_SECONDS 7s set",
            "ROUTE_B_NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS 7s as RESPONSE_HEADER_TIMEOUT_SECONDS",
            "ROUTE_B_LANE stream set",
            "ROUTE_B_RACE_PATHS ^/b/v1 set"
        ]
    );
    assert!(!text.contains("hidden"), "{text}");
}
