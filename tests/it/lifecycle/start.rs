//! Configuration (3): all problems at once, by name, without secrets; `forebay check`.

use crate::client::get;
use crate::expect::assert_relayed;
use crate::forebay::{EX_CONFIG, ScratchFile, Settings};
use crate::upstream::FakeUpstream;

fn valid() -> Settings {
    // As in an environment that says nothing of a store.
    Settings::new().unset("STORE").set("UPSTREAM_BASE_URL", "http://127.0.0.1:9")
}

#[test]
fn a_problem_is_named_and_ends_the_start() {
    for (name, value) in [
        ("UPSTREAM_BASE_URL", ""),
        ("UPSTREAM_BASE_URL", "ftp://x"),
        ("UPSTREAM_BASE_URL", "x"),
        ("UPSTREAM_BASE_URL", "http://"),
        ("UPSTREAM_BASE_URL", "http://user:NEVERSHOWN@x"),
        ("UPSTREAM_BASE_URL", "http://x/?NEVERSHOWN"),
        ("UPSTREAM_BASE_URL", "http://x/#f"),
        ("RESPONSE_HEADER_TIMEOUT_SECONDS", "abc"),
        ("RESPONSE_HEADER_TIMEOUT_SECONDS", "0"),
        ("RESPONSE_HEADER_TIMEOUT_SECONDS", "-1"),
        ("RESPONSE_HEADER_TIMEOUT_SECONDS", "5 apples"),
        ("CONNECT_TIMEOUT_SECONDS", "0"),
        ("UPSTREAM_MAX_ATTEMPTS", "0"),
        ("UPSTREAM_MAX_ATTEMPTS", "two"),
        ("MAX_REQUEST_BODY_BYTES", "-"),
        ("MAX_REQUEST_BODY_BYTES", "5 MB of it"),
        ("LISTEN_PORT", "70000"),
        ("LISTEN_PORT", "http"),
        ("LISTEN_HOST", "not an address"),
        ("RETRY", "maybe"),
        ("DIALECT", "klingon"),
        ("CODEX_FINAL_STATUS", "nine"),
        ("SOURCE_HEADER", "no colon"),
        ("LOG_FORMAT", "xml"),
        ("HEALTH_PATH", "no-slash"),
        ("UPSTREAM_CA_FILE", "/does/not/exist.pem"),
        ("UPSTREAM_API_KEY_FILE", "/does/not/exist"),
        ("UPSTREAM_API_KEY", "NEVERSHOWN\nNEVERSHOWN"),
        ("UPSTREAM_API_KEY_HEADER", "not a name"),
        ("ADMIN_TOKEN", "NEVERSHOWN\nNEVERSHOWN"),
        ("STORE", "sqlite"),
        ("REDIS_URL", "http://user:NEVERSHOWN@cache"),
        ("REDIS_URL_FILE", "/does/not/exist"),
        ("ROLES", "front"),
        ("ROLES", "back"),
        ("JOBS_PATH", "/"),
        ("JOBS_PATH", "/healthz"),
        ("QUEUE_NAME", "two words"),
        ("LANE", "relay"),
        ("QUEUE_PATHS", "(?=x)"),
        ("OVERFLOW", "sometimes"),
        ("JOB_MAX_RETRIES", "many"),
        ("JOB_RETRY_STATUSES", "200"),
        ("CACHE", "disk"),
        ("CACHE_KEY_EXCLUDE_HEADERS", "Authorization"),
        // One letter away from a name that is not set itself.
        ("UPSTREAM_API_KEYS", "NEVERSHOWN"),
        ("RESPONSE_HEADER_TIMEOUT_SECOND", "5"),
        ("UPSTREAM_BASE_URI", "http://x"),
        ("REDIS_URI", "redis://user:NEVERSHOWN@cache"),
        ("JOB_TIMEOUTS_SECONDS", "5"),
        ("ROUTE_A_NONSENSE", "1"),
        ("ROUTE_A_STORE", "redis"),
    ] {
        let mut settings = valid().set(name, value);
        if name.starts_with("RESPONSE_HEADER_TIMEOUT") && name != "RESPONSE_HEADER_TIMEOUT_SECONDS" {
            settings = settings.unset("RESPONSE_HEADER_TIMEOUT_SECONDS");
        }
        if name == "UPSTREAM_BASE_URI" {
            settings = settings.unset("UPSTREAM_BASE_URL");
        }
        let (log, status) = settings.run();
        assert_eq!(status, Some(EX_CONFIG), "{name}={value:?}:\n{log}");
        assert!(log.contains(name), "{name}={value:?}:\n{log}");
        assert!(!log.contains("NEVERSHOWN"), "{name}={value:?}:\n{log}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let (log, status) = valid()
        .unset("UPSTREAM_BASE_URL")
        .set("RETRY_BACKOFF_SECONDS", "soon")
        .set("POOL_TIMEOUT_SECONDS", "later")
        .set("MAX_HEADER_BYTES", "many")
        .set("UPSTREAM_API_KEY", "NEVERSHOWN")
        .set("UPSTREAM_API_KEY_FILE", "/dev/null")
        .run();
    assert_eq!(status, Some(EX_CONFIG), "{log}");
    for name in [
        "UPSTREAM_BASE_URL",
        "RETRY_BACKOFF_SECONDS",
        "POOL_TIMEOUT_SECONDS",
        "MAX_HEADER_BYTES",
        "UPSTREAM_API_KEY_FILE",
    ] {
        assert!(log.contains(name), "{name} is missing:\n{log}");
    }
    assert!(!log.contains("NEVERSHOWN"), "{log}");
}

#[test]
fn check_prints_the_effective_configuration_without_secrets() {
    let secret = ScratchFile::with("sk-FROMFILE\n");
    for settings in [valid().set("UPSTREAM_API_KEY", "sk-FROMVALUE"), valid().set("UPSTREAM_API_KEY_FILE", &secret)] {
        let (output, status) = settings.argument("check").run();
        assert_eq!(status, Some(0), "{output}");
        for shown in ["UPSTREAM_BASE_URL", "http://127.0.0.1:9", "RESPONSE_HEADER_TIMEOUT_SECONDS", "UPSTREAM_API_KEY"]
        {
            assert!(output.contains(shown), "{shown} is missing:\n{output}");
        }
        assert!(!output.contains("FROMVALUE") && !output.contains("FROMFILE"), "{output}");
    }
    let (output, status) = valid().set("RETRY", "maybe").argument("check").run();
    assert_eq!(status, Some(EX_CONFIG), "{output}");
    assert!(output.contains("RETRY"), "{output}");
}

#[test]
fn check_says_which_store_is_in_force_and_what_asks_for_it() {
    let checked = |settings: Settings| settings.argument("check").run();
    let (output, status) = checked(valid().set("DATA_DIR", "/data"));
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains("embedded, in \"/data\", at most 10GiB"), "{output}");
    assert!(output.contains("by nothing: where it cannot be opened, forebay goes on without it"), "{output}");

    let redis = valid().set("REDIS_URL", "rediss://user:NEVERSHOWN@cache").set("LANE", "queue").set("CACHE", "redis");
    let (output, status) = checked(redis.set("ADMIN_TOKEN", "NEVERSHOWN"));
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains("Redis, keys beginning with forebay:, at most 1GiB"), "{output}");
    assert!(output.contains("by LANE=queue, CACHE=store") && !output.contains("NEVERSHOWN"), "{output}");

    let (output, status) = checked(valid().set("STORE", "off"));
    assert_eq!(status, Some(0), "{output}");
    assert!(output.contains("none (STORE=off)"), "{output}");
}

#[test]
fn what_asks_for_a_store_ends_the_start_where_there_is_none() {
    for (name, value) in
        [("LANE", "queue"), ("QUEUE_PATHS", "^/q"), ("OVERFLOW", "always"), ("CACHE", "store"), ("ROLES", "worker")]
    {
        let (log, status) = valid().set("STORE", "off").set(name, value).run();
        assert_eq!(status, Some(EX_CONFIG), "{name}={value}:\n{log}");
        assert!(log.contains(&format!("{name}=\"{value}\": needs a store, and STORE=off")), "{log}");
    }
}

#[test]
fn units_and_spellings_of_values() {
    let (output, status) = valid()
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", "250ms")
        .set("CONNECT_TIMEOUT_SECONDS", "0.25")
        .set("STREAM_IDLE_TIMEOUT_SECONDS", "1h30m")
        .set("SHUTDOWN_TIMEOUT_SECONDS", "5m")
        .set("MAX_REQUEST_BODY_BYTES", "64KiB")
        .set("MAX_HEADER_BYTES", "65536")
        .set("LOG_LEVEL", "warning")
        .set("LOG_FORMAT", "json")
        .set("CODEX_FINAL_STATUS", "off")
        .argument("check")
        .run();
    assert_eq!(status, Some(0), "{output}");
}

#[test]
fn what_environments_are_full_of_is_ignored() {
    let (output, status) = valid()
        .set("LANG", "C.UTF-8")
        .set("LC_ALL", "C")
        .set("ADMIN_PORT", "tcp://10.0.0.1:8789")
        .set("LISTEN_PORT", "tcp://10.0.0.1:8788")
        .set("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        .set("KUBERNETES_SERVICE_PORT_HTTPS", "443")
        .set("UPSTREAM_PORT_80_TCP_ADDR", "10.0.0.1")
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", "")
        .set("EDITOR", "vi")
        .argument("check")
        .run();
    assert_eq!(status, Some(0), "{output}");
}

#[test]
fn port_zero_is_a_free_port_whose_address_is_logged() {
    let upstream = FakeUpstream::start();
    // The log may name the upstream too: it must not be taken for forebay.
    let forebay = Settings::in_front_of(&upstream)
        .set("UPSTREAM_BASE_URL", upstream.url().replace("127.0.0.1", "localhost"))
        .start_on_any_port();
    assert_relayed(&forebay.ask(&get("/")), 200, "ok");
}

#[test]
fn each_of_several_routes_is_announced_with_its_proxy_but_without_a_password() {
    let forebay = valid()
        .set("ROUTE_FILES_PREFIX", "/files")
        .set("ROUTE_FILES_UPSTREAM_BASE_URL", "http://storage.example/bucket")
        .set("HTTP_PROXY", "user:NEVERSHOWN@proxy.example:3128")
        .start_on_any_port();
    let log = forebay.wait_log("the line of the last route", |log| log.contains("route FILES serves /files"));
    let line = |part: &str| log.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}:\n{log}"));
    assert!(line("listens on http://127.0.0.1:").contains("routes=2"), "{log}");
    assert!(line("route of UPSTREAM_BASE_URL serves /").contains("proxy=none"), "{log}");
    let files = line("route FILES serves /files");
    for part in ["upstream=http://storage.example/bucket", "proxy=http://proxy.example:3128"] {
        assert!(files.contains(part), "{log}");
    }
    assert!(!log.contains("NEVERSHOWN"), "{log}");
}

#[test]
fn routes_that_contradict_each_other_end_the_start() {
    let (log, status) = valid()
        .set("ROUTE_A_PREFIX", "/")
        .set("ROUTE_A_UPSTREAM_BASE_URL", "http://a.example")
        .set("ROUTE_B_PREFIX", "/__jobs/x")
        .set("ROUTE_B_UPSTREAM_BASE_URL", "http://127.0.0.1:9/b")
        .set("ROUTE_B_RETRY_BUDGET_MIN", "3")
        .set("ROUTE_C_LANE", "stream")
        .run();
    assert_eq!(status, Some(EX_CONFIG), "{log}");
    for name in
        ["ROUTE_A_PREFIX", "ROUTE_B_PREFIX", "ROUTE_B_RETRY_BUDGET_MIN", "ROUTE_C_PREFIX", "ROUTE_C_UPSTREAM_BASE_URL"]
    {
        assert!(log.contains(&format!("\n  {name}")), "{name} is missing:\n{log}");
    }
}
