//! What settings an environment makes, and what is said about one that makes none.

use std::io;

use http::StatusCode;

use super::super::{VARIABLES, render_problems, report};
use super::*;
use crate::headers::WebPageRule;

pub(super) const URL: (&str, &str) = ("UPSTREAM_BASE_URL", "https://api.example");
const KEY: (&str, &str) = ("UPSTREAM_API_KEY", "sk-hidden");

/// Settings on a machine without files.
pub(in crate::config) fn settings(vars: &[(&str, &str)]) -> Result<Settings, Vec<Problem>> {
    with_files(vars, &[])
}

pub(super) fn with_files(vars: &[(&str, &str)], files: &[(&str, &[u8])]) -> Result<Settings, Vec<Problem>> {
    let read = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, bytes)| bytes.to_vec()).ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    Settings::resolve(vars.iter().map(|(n, v)| (n.into(), v.into())), &read)
}

/// With an upstream.
fn with(vars: &[(&str, &str)]) -> Settings {
    settings(&[&[URL], vars].concat()).unwrap_or_else(|problems| panic!("{}", render_problems(&problems)))
}

fn one(result: Result<Settings, Vec<Problem>>) -> String {
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

    let route = settings.routes[0].clone();
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
    assert_eq!(transport.idle, seconds(60));
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
    let effective: Vec<&str> = with(&[]).effective.iter().map(|e| e.name).collect();
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
    ]);
    assert_eq!(settings.listen, Listen { host: "::".into(), port: 80 });
    assert_eq!((settings.admin, settings.edge.health_path), (None, None));
    assert_eq!(settings.log, LogSettings { filter: "error".into(), format: LogFormat::Json });
    assert_eq!(settings.max_buffered, ByteSize::new(2 << 30));
    let route = settings.routes[0].clone();
    assert_eq!((route.policy.retry, route.policy.backoff.first), (Retry::Safe, Duration::ZERO));
    assert_eq!((route.stream_idle, route.answers.timeline), (None, true));
    assert_eq!(route.answers.dialect, dialect::Settings { auto: false, codex_final_status: None });
    assert_eq!(route.answers.source.name, "x-proxq-source");
}

#[test]
fn a_bad_value_of_any_variable_is_a_problem_that_names_it() {
    // Neither a number nor a name, a path, a URL, a header or a choice.
    let bad = "\u{1}é//";
    for variable in VARIABLES {
        let problem = only_problem_of(variable.name, bad);
        assert!(problem.starts_with(variable.name), "{problem}");
        assert!(!problem.contains('\u{1}'), "{problem}");
        assert!(problem.contains(&format!("for example {}=", variable.name)), "{problem}");
        assert_eq!(problem.contains("\\u{1}"), !variable.is_secret(), "{problem}");
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
        ("TLS_CERT_FILE", "/c.pem"),
        ("LISTEN_HSOT", "sk-hidden"),
        ("ROUTE_A_PREFIX", "/a"),
        ("UPSTREAM_API_KEY", "sk\nhidden"),
    ])
    .unwrap_err();
    let text = render_problems(&problems);
    assert!(text.starts_with("8 problems in the environment:\n"), "{text}");
    for part in [
        "LISTEN_PORT=\"80x\": must be a port from 0 to 65535, for example LISTEN_PORT=8788",
        "RESPONSE_HEADER_TIMEOUT_SECONDS=\"soon\": ",
        "CLIENT_IDLE_SECONDS=\"0\": must be more than 0",
        "TLS_CERT_FILE=\"/c.pem\": is not available in this version",
        "LISTEN_HSOT: is not a variable, did you mean LISTEN_HOST?",
        "ROUTE_A_PREFIX: routes are not available in this version",
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
        (&[("QUEUE_CONCURRENCY", "3")], "QUEUE_CONCURRENCY has no effect in this version"),
        (&[("https_proxy", "http://u:hidden@proxy")], "https_proxy is set, but this version connects directly"),
    ] {
        let warnings = with(vars).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(part) && !warnings[0].contains("hidden"), "{warnings:?}");
    }
}

#[test]
fn an_outbound_proxy_needs_no_warning_for_loopback_or_where_it_is_switched_off() {
    let proxy = ("HTTPS_PROXY", "http://proxy");
    assert_eq!(with(&[proxy, ("OUTBOUND_PROXY", "off")]).warnings, [""; 0]);
    assert_eq!(settings(&[("UPSTREAM_BASE_URL", "http://localhost:9"), proxy]).unwrap().warnings, [""; 0]);
}

#[test]
fn an_upstream_that_is_forebay_itself_is_a_problem() {
    for (listen, port, url) in [
        ("127.0.0.1", "8788", "http://127.0.0.1:8788/v1"),
        ("127.0.0.1", "8788", "http://localhost:8788"),
        ("localhost", "8788", "http://[::1]:8788"),
        ("0.0.0.0", "8788", "http://127.0.0.9:8788"),
        ("0.0.0.0", "8788", "http://0.0.0.0:8788"),
        ("::", "80", "http://127.0.0.1"),
        ("gate.example", "443", "https://Gate.Example"),
    ] {
        let vars = [("LISTEN_HOST", listen), ("LISTEN_PORT", port), ("UPSTREAM_BASE_URL", url)];
        let problem = one(settings(&vars));
        assert!(problem.contains("is the address that forebay itself listens on"), "{problem}");
    }
    for (listen, port, url) in [
        ("127.0.0.1", "8788", "http://127.0.0.1:8787"),
        ("127.0.0.1", "8788", "http://127.0.0.2:8788"),
        ("0.0.0.0", "8788", "http://10.0.0.1:8788"),
        ("0.0.0.0", "8788", "http://[::1]:8788"),
        ("127.0.0.1", "0", "http://127.0.0.1:8788"),
    ] {
        let vars = [("LISTEN_HOST", listen), ("LISTEN_PORT", port), ("UPSTREAM_BASE_URL", url)];
        assert!(settings(&vars).is_ok(), "{vars:?}");
    }
}

#[test]
fn two_listeners_on_one_socket_are_a_problem() {
    let problem = one(settings(&[URL, ("LISTEN_PORT", "8789")]));
    assert!(problem.starts_with("LISTEN_PORT=\"8789\": is the port of both"), "{problem}");
    assert!(settings(&[URL, ("ADMIN_PORT", "8788"), ("ADMIN_HOST", "0.0.0.0")]).is_err());
    assert!(settings(&[URL, ("ADMIN_PORT", "8788"), ("ADMIN_HOST", "127.0.0.2")]).is_ok());
    assert!(settings(&[URL, ("ADMIN_PORT", "0"), ("LISTEN_PORT", "0")]).is_ok());
}

#[test]
fn the_buffer_for_bodies_follows_the_memory_limit() {
    let max = |vars: &[(&str, &str)], limit: &str| {
        let files = [("/sys/fs/cgroup/memory.max", limit.as_bytes())];
        with_files(&[&[URL], vars].concat(), &files).unwrap().max_buffered.get()
    };
    assert_eq!(max(&[], "536870912\n"), 134_217_728);
    assert_eq!(max(&[], "8589934592\n"), 1 << 30);
    assert_eq!(max(&[], "max\n"), 1 << 30);
    assert_eq!(max(&[("MAX_BUFFERED_BYTES", "2GiB")], "536870912\n"), 2 << 30);
}

#[test]
fn further_roots_come_from_a_pem_file_with_certificates() {
    let certificate = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem();
    let vars = [URL, ("UPSTREAM_CA_FILE", "/ca.pem")];
    let read = |bytes: &[u8]| with_files(&vars, &[("/ca.pem", bytes)]);
    let two = read(format!("# ours\n{certificate}{certificate}").as_bytes()).unwrap();
    assert_eq!(two.routes[0].transport.extra_roots.len(), 2);

    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (bytes, reason) in [
        (&b""[..], "contains no certificate in PEM form"),
        (b"\x30\x82\x01\x00", "contains no certificate in PEM form"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "is not a PEM file that can be read to its end"),
        (no_certificate.as_bytes(), "contains a certificate that cannot be a root (number 1)"),
    ] {
        let problem = one(read(bytes));
        assert!(problem.starts_with("UPSTREAM_CA_FILE=\"/ca.pem\": ") && problem.contains(reason), "{problem}");
    }
    let missing = one(settings(&vars));
    assert!(missing.starts_with("UPSTREAM_CA_FILE=\"/ca.pem\": cannot be read: "), "{missing}");
}

#[test]
fn a_url_with_a_password_is_refused_without_showing_it() {
    for url in
        ["https://user:hidden@api.example", "https://hidden@api.example", "ftp://u:hidden@x", "https://x/?k=hidden"]
    {
        let problem = one(settings(&[("UPSTREAM_BASE_URL", url)]));
        assert!(problem.starts_with("UPSTREAM_BASE_URL: ") && !problem.contains("hidden"), "{problem}");
    }
    let problem = one(settings(&[("UPSTREAM_BASE_URL", "api.example")]));
    assert!(problem.starts_with("UPSTREAM_BASE_URL=\"api.example\": must start with http://"), "{problem}");
}

#[test]
fn a_value_that_is_no_text_is_one_problem_even_where_it_is_required() {
    use std::os::unix::ffi::OsStringExt;
    let bad = OsString::from_vec(b"http://x\xff".to_vec());
    let problem = one(Settings::resolve([("UPSTREAM_BASE_URL".into(), bad)], &|_| Err(io::ErrorKind::NotFound.into())));
    assert!(problem.starts_with("UPSTREAM_BASE_URL: is not UTF-8"), "{problem}");
}
