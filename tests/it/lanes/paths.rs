//! Which lane serves a path (3.6).

use crate::client::request;
use crate::expect::assert_relayed;
use crate::forebay::{Forebay, Settings};
use crate::upstream::{FakeUpstream, Framing, echo};

/// By what becomes of a chunked body: the race buffers it, a stream passes it, a redirect sends it away.
#[track_caller]
fn lane_of(forebay: &Forebay, upstream: &FakeUpstream, target: &str) -> &'static str {
    upstream.forget();
    let response = forebay.ask(&request("POST", target).chunks([b"he".as_slice(), b"llo"]));
    if response.status == 307 {
        assert!(upstream.seen().is_empty());
        return "redirect";
    }
    assert_relayed(&response, 200, "hello");
    match upstream.seen()[0].framing {
        Framing::Chunked => "stream",
        Framing::Length => "race",
        framing => panic!("{target}: {framing:?}"),
    }
}

fn settings(upstream: &FakeUpstream) -> Settings {
    upstream.script([echo()]);
    Settings::in_front_of(upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20)
}

#[test]
fn the_lists_are_asked_in_their_order_before_the_lane() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream)
        .set("STREAM_PATHS", "^/api/health, big")
        .set("REDIRECT_PATHS", "^/files/,^/api,^/w{2,3}/")
        .set("RACE_PATHS", "^/files,^/other")
        .start();
    for (target, lane) in [
        ("/api/health", "stream"),
        ("/api/health/x", "stream"),
        ("/x/very-big/y", "stream"),
        ("/files/big", "stream"),
        ("/files/a", "redirect"),
        ("/api/x", "redirect"),
        ("/ww/x", "redirect"),
        ("/w/x", "race"),
        ("/files", "race"),
        ("/", "race"),
        // Not in the query, and not decoded.
        ("/x?/big", "race"),
        ("/x?y=/api/health", "race"),
        ("/%61pi/x", "race"),
        ("/API/x", "race"),
    ] {
        assert_eq!(lane_of(&forebay, &upstream, target), lane, "{target}");
    }
}

#[test]
fn a_lane_may_have_exceptions() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).set("LANE", "stream").set("RACE_PATHS", "/responses$").start();
    assert_eq!(lane_of(&forebay, &upstream, "/v1/responses"), "race");
    assert_eq!(lane_of(&forebay, &upstream, "/v1/responses?x"), "race");
    assert_eq!(lane_of(&forebay, &upstream, "/v1/responses/x"), "stream");
    let forebay =
        settings(&upstream).set("LANE", "redirect").set("STREAM_PATHS", "^/s").set("RACE_PATHS", "^/r").start();
    for (target, lane) in [("/s", "stream"), ("/r", "race"), ("/x", "redirect")] {
        assert_eq!(lane_of(&forebay, &upstream, target), lane, "{target}");
    }
}

#[test]
fn patterns_are_for_the_clients_path_and_each_route_has_its_own() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream)
        .set("STREAM_PATHS", "^/global")
        .set("ROUTE_A_PREFIX", "/a")
        .set("ROUTE_A_UPSTREAM_BASE_URL", format!("{}/base", upstream.url()))
        .set("ROUTE_A_STREAM_PATHS", "^/a/s")
        .set("ROUTE_B_PREFIX", "/global/b")
        .set("ROUTE_B_UPSTREAM_BASE_URL", format!("{}/b", upstream.url()))
        .set("ROUTE_C_PREFIX", "/c")
        .set("ROUTE_C_UPSTREAM_BASE_URL", format!("{}/c", upstream.url()))
        .set("ROUTE_C_LANE", "stream")
        .start();
    for (target, lane) in [
        ("/global/x", "stream"),
        ("/x", "race"),
        ("/a/s", "stream"),
        ("/a/x", "race"),
        // What the upstream sees as its path counts for nothing.
        ("/a/a/s", "race"),
        ("/s", "race"),
        ("/global/b/x", "stream"),
        ("/c/x", "stream"),
    ] {
        assert_eq!(lane_of(&forebay, &upstream, target), lane, "{target}");
    }
}

#[test]
fn an_unusual_pattern_costs_no_time() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).set("STREAM_PATHS", "^/(a+)+$").start();
    let target = format!("/{}b", "a".repeat(50_000));
    assert_eq!(lane_of(&forebay, &upstream, &target), "race");
    assert_eq!(lane_of(&forebay, &upstream, "/aaaa"), "stream");
}
