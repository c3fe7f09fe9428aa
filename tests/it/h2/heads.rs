//! Heads that are too large, and heads that say too little or too much.

use super::{forebay_for, patient};
use crate::client::{Cut, Request, get, post, request};
use crate::expect::{assert_error, assert_relayed};
use crate::upstream::{FakeUpstream, echo};

fn with_fields(count: usize) -> Request {
    (0..count).fold(get("/"), |asked, n| asked.field(&format!("x-{n}"), "y"))
}

#[test]
fn a_head_has_at_most_128_fields() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    assert_relayed(&client.ask(&with_fields(120)), 200, "ok");
    for count in [129, 140, 1000] {
        assert_error(&client.ask(&with_fields(count)), 431, "headers_too_large");
    }
    assert_relayed(&client.ask(&get("/")), 200, "ok");
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn a_head_has_at_most_its_bytes() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).set("MAX_HEADER_BYTES", "16KiB").start();
    let mut client = forebay.connect_h2();
    assert_relayed(&client.ask(&get("/").field("x-a", "y".repeat(14_000))), 200, "ok");
    for asked in [
        get("/").field("x-a", "y".repeat(20_000)),
        get("/").field("x-a", "y".repeat(10_000)).field("x-b", "y".repeat(15_000)),
        get("/").field(&"n".repeat(20_000), "y"),
        get(format!("/{}", "p".repeat(20_000))),
    ] {
        assert_error(&client.ask(&asked), 431, "headers_too_large");
    }
    assert_relayed(&client.ask(&get("/")), 200, "ok");
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn far_above_its_bytes_the_protocols_own_refusal_stands() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).set("MAX_HEADER_BYTES", "16KiB").start();
    for size in [40_000, 200_000] {
        let response = forebay.connect_h2().ask(&get("/").field("x-a", "y".repeat(size)));
        assert!(response.status == 431 || (response.status == 0 && response.cut.is_some()), "{response:?}");
        assert_ne!(response.cut, Some(Cut::Timeout), "{response:?}");
    }
    assert_relayed(&forebay.connect_h2().ask(&get("/")), 200, "ok");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_target_that_is_too_long_is_named_so_where_it_could_be_read() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).set("MAX_HEADER_BYTES", "256KiB").start();
    let response = forebay.connect_h2().ask(&get(format!("/{}", "a".repeat(65_600))));
    // The library may end the stream before anybody can answer.
    if response.status == 0 {
        assert!(matches!(response.cut, Some(Cut::Stream(_))), "{response:?}");
    } else {
        assert_error(&response, 414, "uri_too_long");
    }
    assert!(upstream.seen().is_empty(), "{:#?}", upstream.seen());
}

#[test]
fn a_request_names_one_host() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    for asked in [
        get("/").no_host(),
        get("/").host("a").field("host", "b"),
        get("/").host("a:81").field("host", "a:82"),
        get("/").no_host().field("host", "a").field("host", "b"),
    ] {
        assert_error(&client.ask(&asked), 400, "bad_request");
    }
    assert!(upstream.seen().is_empty(), "{:#?}", upstream.seen());
    for asked in [get("/").host("a").field("host", "a"), get("/").no_host().field("host", "a")] {
        upstream.forget();
        assert_relayed(&client.ask(&asked), 200, "ok");
        assert_eq!(upstream.seen()[0].all("host"), [upstream.authority().as_bytes()]);
    }
}

#[test]
fn cookie_crumbs_are_joined() {
    let upstream = FakeUpstream::start();
    let crumbs = get("/").field("cookie", "a=1").field("cookie", "b=2").field("cookie", "c=3");
    assert_relayed(&forebay_for(&upstream).connect_h2().ask(&crumbs), 200, "ok");
    assert_eq!(upstream.seen()[0].all("cookie"), [b"a=1; b=2; c=3"]);
}

#[test]
fn an_expectation_is_consumed_without_a_100() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    // The body does not wait for a 100, and none comes.
    let response = client.ask(&post("/", "hello").field("expect", "100-continue"));
    assert_relayed(&response, 200, "hello");
    assert!(response.interim.is_empty(), "{response:?}");
    assert!(upstream.seen()[0].all("expect").is_empty());
    assert_error(&client.ask(&post("/", "x").field("expect", "the-unexpected")), 417, "expectation_failed");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn connect_is_not_allowed() {
    let (upstream, trap) = (FakeUpstream::start(), FakeUpstream::start());
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    let stream = client.send_fields(&[(":method", "CONNECT"), (":authority", &trap.authority())], false);
    let response = client.read(stream);
    assert_error(&response, 405, "method_not_allowed");
    assert!(response.get("allow").is_some(), "{response:?}");
    assert_eq!((upstream.accepted(), trap.accepted()), (0, 0));
}

#[test]
fn websocket_over_http2_is_not_offered() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3).
    assert!(client.setting(8).is_none_or(|value| value == 0));
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/chat"),
        (":authority", "a"),
        ("sec-websocket-version", "13"),
    ];
    let stream = client.send_fields(&fields, false);
    let response = client.read(stream);
    assert_ne!((response.status, response.cut), (0, Some(Cut::Timeout)), "{response:?}");
    assert!(!(200..300).contains(&response.status), "{response:?}");
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn the_asterisk_goes_to_the_root() {
    let upstream = FakeUpstream::start();
    assert_relayed(&forebay_for(&upstream).connect_h2().ask(&request("OPTIONS", "*")), 200, "ok");
    let seen = upstream.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].path().as_str()), ("OPTIONS", "/"));
}
