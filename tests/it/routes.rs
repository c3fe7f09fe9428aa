//! Routes (3.5): prefixes, the fence around them, and variables of their own.

use crate::client::{get, post};
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts};
use crate::forebay::{EX_CONFIG, Forebay, Settings};
use crate::upstream::{FakeUpstream, answer, close, raw, stall};

/// Three upstreams: `/`, `/files` with a base path, and `/files/deep`. Each says who it is.
struct Three {
    default: FakeUpstream,
    files: FakeUpstream,
    deep: FakeUpstream,
}

impl Three {
    fn start() -> Self {
        let named = |name: &'static str| {
            let upstream = FakeUpstream::start();
            upstream.answer_with(move |seen, _| answer(200).body(format!("{name} {}", seen.path())).into());
            upstream
        };
        Self { default: named("default"), files: named("files"), deep: named("deep") }
    }

    fn routes(&self) -> Settings {
        Settings::new()
            .set("ROUTE_FILES_PREFIX", "/files")
            .set("ROUTE_FILES_UPSTREAM_BASE_URL", format!("{}/bucket/data", self.files.url()))
            .set("ROUTE_DEEP2_PREFIX", "/files/deep")
            .set("ROUTE_DEEP2_UPSTREAM_BASE_URL", self.deep.url())
    }

    fn forebay(&self) -> Forebay {
        self.routes().set("UPSTREAM_BASE_URL", self.default.url()).start()
    }
}

#[test]
fn the_longest_prefix_wins_and_is_stripped() {
    let three = Three::start();
    let forebay = three.forebay();
    for (target, expected) in [
        ("/files/img.png", "files /bucket/data/img.png"),
        ("/files", "files /bucket/data/"),
        ("/files/", "files /bucket/data/"),
        ("/files?x", "files /bucket/data/?x"),
        ("/files?", "files /bucket/data/?"),
        ("/files/?a=/files/b", "files /bucket/data/?a=/files/b"),
        ("/files//a", "files /bucket/data//a"),
        ("/files/files/a", "files /bucket/data/files/a"),
        ("/files/a%2Fb%20c?q=%20", "files /bucket/data/a%2Fb%20c?q=%20"),
        ("/files/deeper", "files /bucket/data/deeper"),
        ("/files/deep", "deep /"),
        ("/files/deep?x", "deep /?x"),
        ("/files/deep/x/y?z", "deep /x/y?z"),
        ("/", "default /"),
        ("/other?x", "default /other?x"),
        ("/files2", "default /files2"),
        ("/filesx/img.png", "default /filesx/img.png"),
        ("/x/files/img.png", "default /x/files/img.png"),
        // Another spelling simply does not match.
        ("/%66iles/x", "default /%66iles/x"),
        ("/files%2Fx", "default /files%2Fx"),
        ("/FILES/x", "default /FILES/x"),
        ("//files/x", "default //files/x"),
    ] {
        assert_relayed(&forebay.get(target), 200, expected);
        assert_relayed(&forebay.connect_h2().ask(&get(target)), 200, expected);
    }
    for upstream in [&three.default, &three.files, &three.deep] {
        assert!(upstream.seen().iter().all(|s| s.all("host") == [upstream.authority().as_bytes()]));
        upstream.assert_unambiguous();
    }
}

#[test]
fn without_a_default_what_matches_nothing_has_no_route() {
    let three = Three::start();
    let forebay = three.routes().start();
    assert_relayed(&forebay.get("/files/x"), 200, "files /bucket/data/x");
    for target in ["/", "/other", "/files2", "/%66iles/x", "//files"] {
        let response = forebay.get(target);
        assert_error(&response, 502, "no_route");
        assert_eq!(attempts(&response), Some(0));
    }
    // A body that goes nowhere does not disturb what follows it.
    let mut client = forebay.connect();
    let response = client.ask(&post("/nowhere", "x".repeat(100_000)));
    assert_error(&response, 502, "no_route");
    assert_relayed(&forebay.get("/files/x"), 200, "files /bucket/data/x");
    assert_eq!(forebay.get("/healthz").status, 200);
}

#[test]
fn a_prefix_is_a_fence_for_dot_segments() {
    let three = Three::start();
    let forebay = three.forebay();
    for target in [
        "/files/..",
        "/files/../x",
        "/files/.",
        "/files/./x",
        "/files/a/../../x",
        "/files/%2e%2e/x",
        "/files/.%2E/x",
        "/files/%2e",
        "/files/a%2f..%2f..%2fx",
        "/files/..%2fx",
        "/files/..%5cx",
        "/files/a%5c..%5cb",
        "/files/a\\..\\b",
        "/files/..?q",
        "/files/deep/../x",
        "/files/deep/%2e%2e/%2e%2e/x",
    ] {
        assert_error(&forebay.get(target), 400, "bad_request");
        assert_error(&forebay.connect_h2().ask(&get(target)), 400, "bad_request");
    }
    for upstream in [&three.default, &three.files, &three.deep] {
        assert!(upstream.seen().is_empty(), "{:#?}", upstream.seen());
    }
    // Without a prefix and a base path they pass unchanged; and what only looks like one passes anywhere.
    for target in ["/../x", "/x/../files/y", "/./files/x", "/..", "/a/%2e%2e/b"] {
        assert_relayed(&forebay.get(target), 200, format!("default {target}"));
    }
    for rest in ["/...", "/..a", "/a..", "/.well-known", "/a?x=/../y", "/%2e%2ea"] {
        assert_relayed(&forebay.get(&format!("/files{rest}")), 200, format!("files /bucket/data{rest}"));
    }
}

#[test]
fn variables_of_a_route_count_before_the_global_ones() {
    let (one, other) = (FakeUpstream::start(), FakeUpstream::start());
    let forebay = Settings::in_front_of(&one)
        .set("ROUTE_B_PREFIX", "/b")
        .set("ROUTE_B_UPSTREAM_BASE_URL", other.url())
        .set("UPSTREAM_MAX_ATTEMPTS", 3)
        .set("ROUTE_B_UPSTREAM_MAX_ATTEMPTS", 1)
        .set("MAX_REQUEST_BODY_BYTES", 1000)
        .set("ROUTE_B_MAX_REQUEST_BODY_BYTES", 10)
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20)
        .set("ROUTE_B_RESPONSE_HEADER_TIMEOUT_SECONDS", "0.3")
        .set("ROUTE_B_SOURCE_HEADER", "X-B: b")
        .set("ROUTE_B_RETRY", "safe")
        .start();
    one.script([close()]);
    other.script([close()]);
    assert_eq!(attempts(&forebay.get("/x")), Some(3));
    let response = forebay.get("/b/x");
    assert_eq!((attempts(&response), response.get("x-b").as_deref()), (Some(1), Some("b")), "{response:?}");
    other.script([stall()]);
    assert_eq!(forebay.get("/b/x").status, 504);
    one.script([raw("").then_pause(std::time::Duration::from_millis(900)).then_do(answer(200).body("slow"))]);
    assert_relayed(&forebay.get("/x"), 200, "slow");
    assert_relayed(&forebay.ask(&post("/x", "more than ten bytes")), 200, "slow");
    assert_eq!(forebay.ask(&post("/b/x", "more than ten bytes")).status, 413);
}

#[test]
fn a_key_never_reaches_another_host_by_inheritance() {
    let (main, other) = (FakeUpstream::start(), FakeUpstream::start());
    let forebay = Settings::in_front_of(&main)
        .set("UPSTREAM_API_KEY", "sk-main")
        .set("ROUTE_SAME_PREFIX", "/same")
        .set("ROUTE_SAME_UPSTREAM_BASE_URL", format!("{}/base", main.url()))
        .set("ROUTE_OTHER_PREFIX", "/other")
        .set("ROUTE_OTHER_UPSTREAM_BASE_URL", other.url())
        .set("ROUTE_NAME_PREFIX", "/name")
        .set("ROUTE_NAME_UPSTREAM_BASE_URL", main.url().replace("127.0.0.1", "localhost"))
        .set("ROUTE_OWN_PREFIX", "/own")
        .set("ROUTE_OWN_UPSTREAM_BASE_URL", format!("{}/own", other.url()))
        .set("ROUTE_OWN_UPSTREAM_API_KEY", "sk-own")
        .set("ROUTE_OWN_UPSTREAM_API_KEY_HEADER", "X-Api-Key")
        .set("ROUTE_OWN_UPSTREAM_API_KEY_PREFIX", "")
        .start();
    let ask = |target: &str| {
        main.forget();
        other.forget();
        let response = forebay.ask(&get(target).host("localhost").field("Authorization", "Bearer client"));
        assert_relayed(&response, 200, "ok");
        [main.seen(), other.seen()].concat().remove(0)
    };
    for (target, authorization) in [
        ("/x", "Bearer sk-main"),
        ("/same/x", "Bearer sk-main"),
        ("/other/x", "Bearer client"),
        ("/name/x", "Bearer client"),
    ] {
        let seen = ask(target);
        assert_eq!(seen.all("authorization"), [authorization.as_bytes()], "{target}: {seen:?}");
    }
    let seen = ask("/own/x");
    assert_eq!((seen.all("x-api-key"), seen.all("authorization")), (vec![&b"sk-own"[..]], vec![&b"Bearer client"[..]]));
    assert!(!forebay.log().contains("sk-"), "{}", forebay.log());
}

#[test]
fn an_outage_of_one_upstream_is_not_that_of_another() {
    let (main, other) = (FakeUpstream::start(), FakeUpstream::start());
    main.script([stall()]);
    let forebay = Settings::in_front_of(&main)
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20)
        .set("UPSTREAM_MAX_CONNECTIONS", 2)
        .set("ROUTE_B_PREFIX", "/b")
        .set("ROUTE_B_UPSTREAM_BASE_URL", other.url())
        .start();
    let mut waiting: Vec<_> = (0..2).map(|_| forebay.connect()).collect();
    for client in &mut waiting {
        client.send(get("/x").bytes());
    }
    main.wait_seen(2);
    for _ in 0..5 {
        assert_relayed(&forebay.get("/b/x"), 200, "ok");
    }
    main.assert_no_more_than(2, A_WHILE);
}

#[test]
fn problems_of_routes_end_the_start() {
    let routes = || {
        let settings = Settings::new().set("STORE", "off").set("UPSTREAM_BASE_URL", "http://127.0.0.1:9");
        settings.set("ROUTE_A_PREFIX", "/a").set("ROUTE_A_UPSTREAM_BASE_URL", "http://127.0.0.1:9/a")
    };
    let b =
        |prefix: &str| routes().set("ROUTE_B_PREFIX", prefix).set("ROUTE_B_UPSTREAM_BASE_URL", "http://127.0.0.1:10");
    for (name, settings) in [
        ("ROUTE_B_PREFIX", b("/a")),
        ("ROUTE_B_PREFIX", b("/a/")),
        ("ROUTE_B_PREFIX", b("a")),
        ("ROUTE_B_PREFIX", b("/healthz")),
        ("ROUTE_B_PREFIX", b("/__jobs")),
        ("ROUTE_B_PREFIX", b("/__jobs/x")),
        ("ROUTE_A_PREFIX", routes().set("HEALTH_PATH", "/a/health")),
        ("ROUTE_B_UPSTREAM_BASE_URL", routes().set("ROUTE_B_PREFIX", "/b")),
        ("ROUTE_B_PREFIX", routes().set("ROUTE_B_UPSTREAM_BASE_URL", "http://127.0.0.1:9")),
        ("ROUTE_A_UPSTREAM_BASE_URL", routes().set("ROUTE_A_UPSTREAM_BASE_URL", "ftp://x")),
        ("ROUTE_A_UPSTREAM_BASE_URL", routes().set("ROUTE_A_UPSTREAM_BASE_URL", "http://x/?NEVERSHOWN")),
        ("ROUTE_A_STREAM_PATHS", routes().set("ROUTE_A_STREAM_PATHS", "(unclosed")),
        ("REDIRECT_PATHS", routes().set("REDIRECT_PATHS", "[z-a]")),
        ("ROUTE_A_LANE", routes().set("ROUTE_A_LANE", "fast")),
        ("ROUTE_A_UPSTREAM_MAX_ATTEMPTS", routes().set("ROUTE_A_UPSTREAM_MAX_ATTEMPTS", 0)),
        // Of the process, not of a route.
        ("ROUTE_A_DNS_CACHE_SECONDS", routes().set("ROUTE_A_DNS_CACHE_SECONDS", 5)),
        ("ROUTE_A_MAX_BUFFERED_BYTES", routes().set("ROUTE_A_MAX_BUFFERED_BYTES", "1GiB")),
        ("ROUTE_A_FORWARDED_HEADERS", routes().set("ROUTE_A_FORWARDED_HEADERS", "add")),
        ("ROUTE_A_LISTEN_PORT", routes().set("ROUTE_A_LISTEN_PORT", 80)),
        // Routes with the same pool must agree.
        ("UPSTREAM_MAX_CONNECTIONS", routes().set("ROUTE_A_UPSTREAM_MAX_CONNECTIONS", 7)),
        ("UPSTREAM_IDLE_SECONDS", routes().set("ROUTE_A_UPSTREAM_IDLE_SECONDS", 7)),
        ("UPSTREAM_HTTP2", routes().set("ROUTE_A_UPSTREAM_HTTP2", "prior-knowledge")),
        ("RETRY_BUDGET_PERCENT", routes().set("ROUTE_A_RETRY_BUDGET_PERCENT", 7)),
        ("RETRY_BUDGET_MIN", routes().set("ROUTE_A_RETRY_BUDGET_MIN", 7)),
    ] {
        let (log, status) = settings.run();
        assert_eq!(status, Some(EX_CONFIG), "{name}:\n{log}");
        assert!(log.contains(name) && !log.contains("NEVERSHOWN"), "{name}:\n{log}");
    }
}

#[test]
fn what_is_no_problem_starts() {
    let settings = Settings::new()
        .set("UPSTREAM_BASE_URL", "http://127.0.0.1:9")
        .set("ROUTE_A_PREFIX", "/a")
        .set("ROUTE_A_UPSTREAM_BASE_URL", "http://127.0.0.1:10")
        .set("ROUTE_A_UPSTREAM_MAX_CONNECTIONS", 7)
        .set("ROUTE_NESTED1_PREFIX", "/a/b")
        .set("ROUTE_NESTED1_UPSTREAM_BASE_URL", "http://127.0.0.1:11")
        .set("ROUTE_OTHER_PREFIX", "/healthzz")
        .set("ROUTE_OTHER_UPSTREAM_BASE_URL", "http://127.0.0.1:12");
    let (output, status) = settings.argument("check").run();
    assert_eq!(status, Some(0), "{output}");
    let (output, status) = Settings::new()
        .set("ROUTE_ROOT_PREFIX", "/")
        .set("ROUTE_ROOT_UPSTREAM_BASE_URL", "http://127.0.0.1:9")
        .set("ROUTE_A_PREFIX", "/a")
        .set("ROUTE_A_UPSTREAM_BASE_URL", "http://127.0.0.1:9")
        .argument("check")
        .run();
    assert_eq!(status, Some(0), "{output}");
}
