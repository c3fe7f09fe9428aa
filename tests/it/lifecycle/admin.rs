//! Health on both listeners (3.1).

use crate::client::{Client, get, post, request};
use crate::expect::{assert_error, assert_relayed, is_own};
use crate::forebay::{Forebay, Settings, free_port};
use crate::upstream::{FakeUpstream, stall};

#[test]
fn the_proxy_answers_its_health_path_itself() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = Forebay::in_front_of(&upstream);
    let response = forebay.get("/healthz");
    assert_eq!((response.status, response.text().replace(' ', "").trim()), (200, "{\"ok\":true}"));
    assert!(is_own(&response), "{response:?}");
    assert_eq!(forebay.get("/healthz?x=y").status, 200);
    let mut client = forebay.connect();
    assert_eq!(client.ask(&request("HEAD", "/healthz")).status, 200);
    assert_eq!(client.ask(&get("/healthz")).status, 200);
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn another_health_path_and_none() {
    let upstream = FakeUpstream::start();
    let other = Settings::in_front_of(&upstream).set("HEALTH_PATH", "/alive").start();
    assert!(is_own(&other.get("/alive")));
    assert_relayed(&other.get("/healthz"), 200, "ok");
    let none = Settings::in_front_of(&upstream).set("HEALTH_PATH", "off").start();
    assert_relayed(&none.get("/healthz"), 200, "ok");
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn the_admin_listener_knows_its_paths_and_methods() {
    let upstream = FakeUpstream::start();
    let admin = free_port();
    let _forebay = Settings::in_front_of(&upstream).set("ADMIN_PORT", admin).start();
    let ask = |asked| Client::connect(admin).ask(&asked);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(ask(get(path).host("localhost")).status, 200, "{path}");
        assert_eq!(ask(request("HEAD", path).host("localhost")).status, 200, "{path}");
        let response = ask(post(path, "x").host("localhost"));
        assert_error(&response, 405, "method_not_allowed");
        assert!(response.get("allow").is_some_and(|a| a.contains("GET")), "{response:?}");
    }
    for path in ["/", "/nothing", "/healthz/", "/healthzz"] {
        assert_error(&ask(get(path).host("localhost")), 404, "not_found");
    }
    assert_eq!(upstream.accepted(), 0);
}
