//! What settings an environment makes, and what is said about one that makes none.

use std::io;
use std::path::Path;

use http::StatusCode;

use super::super::{Sight, VARIABLES, render_problems, report};
use super::*;
use crate::dialect;
use crate::headers::WebPageRule;
use crate::race::{Backoff, BudgetSettings, Policy, Retry};
use crate::routes::{Chunked, Lane, Oversize, Prefix};
use crate::upstream::{Http2, Timeouts};

pub(in crate::config) const URL: (&str, &str) = ("UPSTREAM_BASE_URL", "https://api.example");
pub(super) const KEY: (&str, &str) = ("UPSTREAM_API_KEY", "sk-hidden");

/// Settings on a machine without files.
pub(in crate::config) fn settings(vars: &[(&str, &str)]) -> Result<Settings, Vec<Problem>> {
    with_files(vars, &[])
}

pub(in crate::config) fn with_files(vars: &[(&str, &str)], files: &[(&str, &[u8])]) -> Result<Settings, Vec<Problem>> {
    let read = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    Settings::resolve(vars.iter().map(|(n, v)| (n.into(), v.into())), &read)
}

/// With an upstream.
pub(super) fn with(vars: &[(&str, &str)]) -> Settings {
    settings(&[&[URL], vars].concat()).unwrap_or_else(|problems| panic!("{}", render_problems(&problems)))
}

pub(in crate::config) fn one(result: Result<Settings, Vec<Problem>>) -> String {
    let problems = result.expect_err("there is no problem");
    assert_eq!(problems.len(), 1, "{}", render_problems(&problems));
    problems[0].to_string()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn an_upstream_alone_gives_the_defaults_of_the_contract() {
    let settings = with(&[]);
    assert_eq!(settings.listen, Listen { host: "127.0.0.1".into(), port: 8788 });
    assert_eq!(settings.admin, Some(Listen { host: "127.0.0.1".into(), port: 8789 }));
    assert_eq!(settings.log, LogSettings { filter: "warn,forebay=info".into(), format: LogFormat::Text });
    assert_eq!(settings.dns_cache, seconds(30));
    assert_eq!(settings.max_buffered, ByteSize::new(1 << 30));
    assert_eq!(settings.shutdown_timeout, seconds(300));
    assert_eq!(settings.warnings, [""; 0]);

    let edge = settings.edge;
    assert_eq!([edge.header_timeout, edge.body_timeout], [seconds(10), seconds(30)]);
    assert_eq!([edge.write_timeout, edge.idle], [seconds(60), seconds(75)]);
    assert_eq!((edge.max_connections, edge.max_header_bytes), (10_000, ByteSize::new(64 << 10)));
    assert_eq!(edge.health_path.as_deref(), Some("/healthz"));
    assert_eq!((edge.tls, edge.trusted_proxies), (None, TrustedProxies::default()));
    assert_eq!((edge.forwarded, edge.forwarded_jobs), (Forwarded::Keep, Forwarded::Add));

    assert_eq!(settings.routes.len(), 1);
    let route = settings.routes[0].clone();
    assert_eq!((route.name, route.prefix), (None, Prefix::default()));
    assert_eq!(route.base.to_string(), "https://api.example");
    assert_eq!((route.key, route.web), (None, None));
    assert_eq!(
        route.policy,
        Policy {
            header_deadline: seconds(30),
            whole_answer_deadline: seconds(290),
            max_attempts: 2,
            backoff: Backoff { first: Duration::from_millis(250), max: seconds(5) },
            retry: Retry::All,
            retry_statuses: Vec::new(),
            hedge_after: None,
            timeouts: Timeouts { pool: seconds(10), connect: seconds(10), write: seconds(30) },
        }
    );
    assert_eq!(route.budget, BudgetSettings { percent: 100, min: 10 });
    let transport = route.transport;
    assert_eq!((transport.idle, transport.http2, transport.proxy), (seconds(60), Http2::Auto, None));
    assert_eq!((route.hedge_budget_percent, route.tunnel_idle), (10, Some(seconds(3600))));
    assert_eq!((route.oversize, route.queue_oversize), (Oversize::Reject, Oversize::Stream));
    assert_eq!((route.chunked, route.key_header), (Chunked::Buffer, http::header::AUTHORIZATION));
    assert_eq!(["/", "/v1/x"].map(|path| route.lanes.of(path)), [Lane::Race; 2]);
    assert_eq!((transport.max_connections, transport.extra_roots.len()), (10_000, 0));
    assert_eq!((route.stream_idle, route.max_request_body), (Some(seconds(240)), ByteSize::new(33_554_432)));
    assert_eq!(
        route.answers.dialect,
        dialect::Settings { auto: true, codex_final_status: Some(StatusCode::BAD_REQUEST) }
    );
    assert_eq!(
        (route.answers.source.name.as_str(), route.answers.source.value.as_bytes()),
        ("x-forebay-source", &b"forebay"[..])
    );
    assert!(!route.answers.timeline);
}

#[test]
fn every_variable_is_in_force_once_and_in_the_order_of_the_table() {
    let effective: Vec<String> = with(&[]).effective.into_iter().map(|e| e.name).collect();
    assert_eq!(effective, VARIABLES.iter().map(|v| v.name).collect::<Vec<_>>());
}

#[test]
fn every_variable_can_be_set() {
    let settings = with(&[
        ("LISTEN_HOST", "[::]"),
        ("LISTEN_PORT", " 80\r"),
        ("ADMIN_PORT", "off"),
        ("HEALTH_PATH", "off"),
        ("LOG_LEVEL", "Error"),
        ("LOG_FORMAT", "JSON"),
        ("RETRY", "safe"),
        ("STREAM_IDLE_TIMEOUT_SECONDS", "0"),
        ("RETRY_BACKOFF_SECONDS", "0"),
        ("MAX_BUFFERED_BYTES", "2GiB"),
        ("DIALECT", "plain"),
        ("CODEX_FINAL_STATUS", "off"),
        ("SOURCE_HEADER", "X-Proxq-Source: proxq"),
        ("TIMELINE", "yes"),
        ("UPSTREAM_HTTP2", "Prior-Knowledge"),
        ("OUTBOUND_PROXY", " socks5h://u:p@proxy.example "),
        ("RETRY_STATUSES", "502,503"),
        ("HEDGE_AFTER_SECONDS", "5"),
        ("HEDGE_BUDGET_PERCENT", "25"),
        ("TUNNEL_IDLE_TIMEOUT_SECONDS", "0"),
        ("OVERSIZE", "Stream"),
        ("CHUNKED", "bypass"),
        ("TRUSTED_PROXIES", "10.1.2.3/8"),
        ("FORWARDED_HEADERS", "strip"),
        ("LANE", "redirect"),
        ("STREAM_PATHS", "^/big"),
        ("RACE_PATHS", "^/v1/"),
    ]);
    assert_eq!(settings.warnings, [""; 0]);
    assert_eq!(settings.listen, Listen { host: "::".into(), port: 80 });
    assert_eq!((settings.admin, settings.edge.health_path), (None, None));
    assert_eq!([settings.edge.forwarded, settings.edge.forwarded_jobs], [Forwarded::Strip; 2]);
    assert!(settings.edge.trusted_proxies.trusts([10, 9, 9, 9].into()));
    assert_eq!(settings.log, LogSettings { filter: "error".into(), format: LogFormat::Json });
    assert_eq!(settings.max_buffered, ByteSize::new(2 << 30));
    let route = settings.routes[0].clone();
    assert_eq!((route.policy.retry, route.policy.backoff.first), (Retry::Safe, Duration::ZERO));
    assert_eq!((route.stream_idle, route.answers.timeline), (None, true));
    assert_eq!(route.answers.dialect, dialect::Settings { auto: false, codex_final_status: None });
    assert_eq!(route.answers.source.name, "x-proxq-source");
    assert_eq!(route.transport.http2, Http2::PriorKnowledge);
    assert_eq!(route.transport.proxy.unwrap().to_string(), "socks5h://proxy.example:1080");
    let statuses: Vec<u16> = route.policy.retry_statuses.iter().map(StatusCode::as_u16).collect();
    assert_eq!((statuses, route.policy.hedge_after), (vec![502, 503], Some(seconds(5))));
    assert_eq!((route.hedge_budget_percent, route.tunnel_idle), (25, None));
    assert_eq!((route.oversize, route.queue_oversize), (Oversize::Stream, Oversize::Stream));
    assert_eq!(route.chunked, Chunked::Bypass);
    let lanes = ["/big", "/v1/x", "/x"].map(|path| route.lanes.of(path));
    assert_eq!(lanes, [Lane::Stream, Lane::Race, Lane::Redirect]);
}

#[test]
fn a_bad_value_of_any_variable_is_a_problem_that_names_it() {
    // Neither a number nor a name, a path, a URL, a header, a choice or a pattern.
    let bad = "\u{1}é//(";
    for variable in VARIABLES {
        let problem = only_problem_of(variable.name, bad);
        assert!(problem.starts_with(variable.name), "{problem}");
        assert!(!problem.contains('\u{1}'), "{problem}");
        assert!(problem.contains(&format!("for example {}=", variable.name)), "{problem}");
        assert_eq!(problem.contains("\\u{1}"), matches!(variable.sight, Sight::Open | Sight::Url), "{problem}");
    }
}

fn only_problem_of(name: &str, value: &str) -> String {
    let url = Some(URL).filter(|(url, _)| *url != name);
    let vars: Vec<(&str, &str)> = url.into_iter().chain([(name, value)]).collect();
    one(settings(&vars))
}

#[test]
fn all_problems_are_reported_at_once() {
    let problems = settings(&[
        ("LISTEN_PORT", "80x"),
        ("RESPONSE_HEADER_TIMEOUT_SECONDS", "soon"),
        ("CLIENT_IDLE_SECONDS", "0"),
        ("CACHE", "somewhere"),
        ("LISTEN_HSOT", "sk-hidden"),
        ("ROUTE_A_PREFX", "/a"),
        ("UPSTREAM_API_KEY", "sk\nhidden"),
    ])
    .unwrap_err();
    let text = render_problems(&problems);
    assert!(text.starts_with("8 problems in the environment:\n"), "{text}");
    for part in [
        "LISTEN_PORT=\"80x\": must be a port from 0 to 65535, for example LISTEN_PORT=8788",
        "RESPONSE_HEADER_TIMEOUT_SECONDS=\"soon\": ",
        "CLIENT_IDLE_SECONDS=\"0\": must be more than 0",
        "CACHE=\"somewhere\": must be none or memory or store or redis",
        "LISTEN_HSOT: is not a variable, did you mean LISTEN_HOST?",
        "ROUTE_A_PREFX: is not a variable of a route, did you mean ROUTE_A_PREFIX?",
        "UPSTREAM_API_KEY: contains a character that cannot be sent in a header",
        "UPSTREAM_BASE_URL: is required, for example UPSTREAM_BASE_URL=https://api.openai.com",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(!text.contains("hidden"), "{text}");
}

#[test]
fn the_deadline_for_whole_answers_follows_the_header_deadline_where_only_that_is_set() {
    let deadlines = |vars: &[(&str, &str)]| {
        let policy = with(vars).routes.remove(0).policy;
        [policy.header_deadline.as_secs(), policy.whole_answer_deadline.as_secs()]
    };
    let (header, whole) = ("RESPONSE_HEADER_TIMEOUT_SECONDS", "NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS");
    assert_eq!(deadlines(&[]), [30, 290]);
    assert_eq!(deadlines(&[(header, "20")]), [20, 20]);
    assert_eq!(deadlines(&[(whole, "100")]), [30, 100]);
    assert_eq!(deadlines(&[(header, "20"), (whole, "100")]), [20, 100]);
    assert_eq!(deadlines(&[(header, "30"), (whole, "")]), [30, 30]);
}

#[test]
fn the_pauses_agree_with_each_other_or_are_a_problem() {
    let backoff = |vars: &[(&str, &str)]| {
        let Backoff { first, max } = with(vars).routes[0].policy.backoff;
        [first.as_millis(), max.as_millis()]
    };
    let (first, max) = ("RETRY_BACKOFF_SECONDS", "RETRY_BACKOFF_MAX_SECONDS");
    assert_eq!(backoff(&[(first, "10")]), [10_000, 10_000]);
    assert_eq!(backoff(&[(first, "1")]), [1_000, 5_000]);
    assert_eq!(backoff(&[(max, "100ms")]), [100, 100]);
    assert_eq!(backoff(&[(max, "1")]), [250, 1_000]);
    assert_eq!(backoff(&[(first, "2"), (max, "2")]), [2_000, 2_000]);
    let problem = one(settings(&[URL, (first, "2"), (max, "1")]));
    assert!(problem.starts_with("RETRY_BACKOFF_MAX_SECONDS=\"1\": must not be less than"), "{problem}");
}

#[test]
fn the_key_is_sent_with_its_prefix_in_its_header() {
    let key = |vars: &[(&str, &str)]| {
        let key = with(&[&[KEY], vars].concat()).routes.remove(0).key.unwrap();
        assert!(key.value.expose().is_sensitive());
        (key.header.to_string(), key.value.expose().to_str().unwrap().to_owned())
    };
    assert_eq!(key(&[]), ("authorization".into(), "Bearer sk-hidden".into()));
    assert_eq!(
        key(&[("UPSTREAM_API_KEY_HEADER", "Api-Key"), ("UPSTREAM_API_KEY_PREFIX", "")]),
        ("api-key".into(), "sk-hidden".into())
    );
    assert_eq!(key(&[("UPSTREAM_API_KEY_PREFIX", "Key ")]).1, "Key sk-hidden");
    let from_file = with_files(&[URL, ("UPSTREAM_API_KEY_FILE", "/run/key")], &[("/run/key", b"sk-hidden\n")]).unwrap();
    assert_eq!(from_file.routes[0].key.as_ref().unwrap().value.expose(), "Bearer sk-hidden");
    assert!(report(&from_file).contains("(from file)"));
}

#[test]
fn a_key_that_cannot_be_sent_is_a_problem_without_its_value() {
    for key in ["sk\nhidden", "hiddené", "hidden\0", " hidden", "hidden\t"] {
        let problem = one(settings(&[URL, ("UPSTREAM_API_KEY", key)]));
        assert!(problem.starts_with("UPSTREAM_API_KEY: ") && !problem.contains("hidden"), "{problem}");
    }
    for header in ["Host", "content-length", "Transfer-Encoding", "Connection", "TE", "a b"] {
        let problem = one(settings(&[URL, KEY, ("UPSTREAM_API_KEY_HEADER", header)]));
        assert!(problem.starts_with("UPSTREAM_API_KEY_HEADER=") && !problem.contains("hidden"), "{problem}");
    }
    let taken = one(settings(&[URL, KEY, ("UPSTREAM_API_KEY_HEADER", "X-Src"), ("SOURCE_HEADER", "x-src: me")]));
    assert!(taken.starts_with("SOURCE_HEADER=\"x-src: me\": must not be the header that carries the key"), "{taken}");
}

#[test]
fn web_pages_are_kept_from_the_key_where_there_is_one_on_loopback() {
    let lists = [("ALLOWED_HOSTS", "Gate.Example"), ("ALLOWED_ORIGINS", "https://App.Example")];
    let rule = WebPageRule { hosts: vec!["gate.example".into()], origins: vec!["https://app.example".into()] };
    for host in ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"] {
        let settings = with(&[&[KEY, ("LISTEN_HOST", host)], &lists[..]].concat());
        assert_eq!(settings.routes[0].web.as_ref(), Some(&rule), "{host}");
        assert_eq!(settings.warnings, [""; 0], "{host}");
    }
    assert_eq!(with(&[KEY]).routes[0].web, Some(WebPageRule::default()));
}

#[test]
fn a_key_on_another_address_is_a_warning() {
    for host in ["0.0.0.0", "::", "10.0.0.1", "gate.example"] {
        let settings = with(&[KEY, ("LISTEN_HOST", host)]);
        assert_eq!(settings.routes[0].web, None, "{host}");
        assert!(settings.warnings.iter().any(|w| w.contains("UPSTREAM_API_KEY is set and")), "{host}");
        assert_eq!(with(&[("LISTEN_HOST", host)]).warnings, [""; 0]);
    }
}

#[test]
fn what_has_no_effect_or_is_rarely_meant_is_a_warning() {
    for (vars, part) in [
        (&[("ALLOWED_HOSTS", "x")][..], "ALLOWED_HOSTS has no effect without UPSTREAM_API_KEY"),
        (&[("UPSTREAM_API_KEY_HEADER", "api-key")], "UPSTREAM_API_KEY_HEADER has no effect"),
        (&[KEY, ("UPSTREAM_API_KEY_HEADER", "api-key")], "set UPSTREAM_API_KEY_PREFIX to an empty value"),
        (&[("UPSTREAM_API_KEY", "Bearer sk-hidden")], "is sent twice"),
        (&[("MAX_BUFFERED_BYTES", "1MiB")], "request bodies above 1MiB are answered with 503"),
        (
            &[("HEDGE_AFTER_SECONDS", "5"), ("UPSTREAM_MAX_ATTEMPTS", "1")],
            "HEDGE_AFTER_SECONDS has no effect without a second",
        ),
        (&[("RETRY_STATUSES", "503"), ("UPSTREAM_MAX_ATTEMPTS", "1")], "RETRY_STATUSES has no effect without a second"),
        (&[("HEDGE_BUDGET_PERCENT", "5")], "HEDGE_BUDGET_PERCENT has no effect without HEDGE_AFTER_SECONDS"),
    ] {
        let warnings = with(vars).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(part) && !warnings[0].contains("hidden"), "{warnings:?}");
    }
}

#[test]
fn a_hedge_that_would_never_start_is_a_problem() {
    let hedge = |after: &str, more: &[(&str, &str)]| settings(&[&[URL, ("HEDGE_AFTER_SECONDS", after)], more].concat());
    assert!(hedge("29.9", &[]).is_ok());
    let problem = one(hedge("30", &[]));
    let part =
        "HEDGE_AFTER_SECONDS=\"30\": must be less than the header deadline (RESPONSE_HEADER_TIMEOUT_SECONDS, 30s)";
    assert!(problem.starts_with(part), "{problem}");
    let shorter = one(hedge("10", &[("NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS", "5")]));
    assert!(shorter.contains("(NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS, 5s)"), "{shorter}");
}

#[test]
fn what_only_later_versions_can_do_is_refused_as_such() {
    let problem = one(settings(&[URL, ("LANE", "Relay")]));
    assert!(problem.starts_with("LANE=\"Relay\": is not available in this version"), "{problem}");
}

#[test]
fn the_proxy_is_that_of_the_environment_unless_it_is_set_or_off() {
    let proxy = |vars: &[(&str, &str)]| with(vars).routes.remove(0).transport.proxy.map(|proxy| proxy.to_string());
    let https = ("https_proxy", "http://u:hidden@proxy.example:3128");
    assert_eq!(proxy(&[https]), Some("http://proxy.example:3128".into()));
    assert_eq!(proxy(&[https, ("OUTBOUND_PROXY", "ENV"), ("NO_PROXY", "api.example")]), None);
    assert_eq!(proxy(&[https, ("OUTBOUND_PROXY", "off")]), None);
    assert_eq!(proxy(&[https, ("OUTBOUND_PROXY", "socks5://a")]), Some("socks5://a:1080".into()));
    let unusable = ("HTTPS_PROXY", "https://u:hidden@proxy");
    assert_eq!(proxy(&[unusable, ("OUTBOUND_PROXY", "off")]), None);
    let problem = one(settings(&[URL, unusable]));
    assert!(problem.starts_with("HTTPS_PROXY: must start with") && !problem.contains("hidden"), "{problem}");
    let text = report(&with(&[https]));
    assert!(text.contains("proxy     http://proxy.example:3128") && !text.contains("hidden"), "{text}");
}
