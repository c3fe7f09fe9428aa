//! `RETRY_STATUSES` (3.3): a head with one of these statuses is a failed attempt while attempts are left.

use std::time::{Duration, Instant};

use crate::client::{get, post};
use crate::expect::{A_WHILE, assert_relayed, attempts};
use crate::forebay::{EX_CONFIG, Settings};
use crate::upstream::h2::reply;
use crate::upstream::{FakeUpstream, H2Upstream, answer, close, stall};

fn settings(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream).set("RETRY_STATUSES", "502, 503,529").set("RESPONSE_HEADER_TIMEOUT_SECONDS", 10)
}

#[test]
fn a_listed_status_is_a_failed_attempt() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).start();
    for status in [502, 503, 529] {
        upstream.forget();
        upstream.script([answer(status).field("X-Up", "bad").body("bad").into(), answer(200).body("good").into()]);
        let response = forebay.ask(&post("/x?y", "body"));
        assert_relayed(&response, 200, "good");
        assert_eq!((attempts(&response), response.get("x-up")), (Some(2), None), "{response:?}");
        let seen = upstream.seen();
        assert_eq!((seen.len(), seen[1].body.as_slice()), (2, b"body".as_slice()));
    }
}

#[test]
fn the_last_one_passes_as_it_came() {
    let upstream = FakeUpstream::start();
    upstream.answer_with(|_, nth| answer(503).field("X-Nth", nth.to_string()).body(format!("bad {nth}")).into());
    let forebay = settings(&upstream).start();
    let response = forebay.get("/");
    assert_relayed(&response, 503, "bad 2");
    assert_eq!((response.get("x-nth").as_deref(), attempts(&response)), (Some("2"), Some(3)));
    let forebay = settings(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 1).start();
    upstream.script([answer(503).body("the only one").into()]);
    assert_relayed(&forebay.get("/"), 503, "the only one");
}

#[test]
fn other_statuses_are_final() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).start();
    for status in [200, 429, 500, 501, 504] {
        upstream.forget();
        upstream.script([answer(status).body("final").into()]);
        let response = forebay.get("/");
        assert_relayed(&response, status, "final");
        assert_eq!((attempts(&response), upstream.seen().len()), (Some(1), 1));
    }
    // And without the setting all are.
    upstream.forget();
    upstream.script([answer(503).body("final").into()]);
    assert_relayed(&Settings::in_front_of(&upstream).start().get("/"), 503, "final");
    upstream.assert_no_more_than(1, A_WHILE);
}

#[test]
fn a_short_retry_after_is_waited_for() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(503).field("Retry-After", "1").body("bad").into(), answer(200).body("good").into()]);
    let forebay = settings(&upstream).set("RETRY_BACKOFF_MAX_SECONDS", 5).start();
    let begin = Instant::now();
    assert_relayed(&forebay.get("/"), 200, "good");
    assert!(begin.elapsed() >= Duration::from_millis(990), "{:?}", begin.elapsed());
}

#[test]
fn a_long_retry_after_commits() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).set("RETRY_BACKOFF_MAX_SECONDS", 5).start();
    for value in ["6", "3600", "Fri, 01 Jan 2100 00:00:00 GMT"] {
        upstream.forget();
        upstream
            .script([answer(503).field("Retry-After", value).body("later").into(), answer(200).body("good").into()]);
        let response = forebay.get("/");
        assert_relayed(&response, 503, "later");
        assert_eq!((response.get("retry-after").as_deref(), attempts(&response)), (Some(value), Some(1)));
        upstream.assert_no_more_than(1, A_WHILE);
    }
}

#[test]
fn a_retry_after_that_says_nothing_is_no_reason_to_wait() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).start();
    for value in ["soon", "-1", ""] {
        upstream.forget();
        upstream.script([answer(503).field("Retry-After", value).body("bad").into(), answer(200).body("good").into()]);
        assert_relayed(&forebay.get("/"), 200, "good");
    }
}

#[test]
fn the_latest_failure_is_the_answer() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 2).start();
    upstream.script([close(), answer(503).body("bad").into()]);
    assert_relayed(&forebay.get("/"), 503, "bad");
    upstream.script([answer(503).body("bad").into(), close()]);
    crate::expect::assert_error(&forebay.get("/"), 502, "upstream_request_error");
    let impatient =
        settings(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 2).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.4").start();
    upstream.script([answer(503).body("bad").into(), stall()]);
    crate::expect::assert_error(&impatient.get("/"), 504, "upstream_header_timeout");
}

#[test]
fn with_retry_safe_only_harmless_requests_are_repeated() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).set("RETRY", "safe").start();
    for (asked, sent) in [(get("/"), 2), (post("/", "x").field("Idempotency-Key", "k"), 2), (post("/", "x"), 1)] {
        upstream.forget();
        upstream.script([answer(503).body("bad").into(), answer(200).body("good").into()]);
        let response = forebay.ask(&asked);
        assert_relayed(&response, if sent == 2 { 200 } else { 503 }, if sent == 2 { "good" } else { "bad" });
        assert_eq!((attempts(&response), upstream.seen().len()), (Some(sent), sent as usize));
    }
}

#[test]
fn on_the_stream_lane_every_head_is_final() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(503).body("final").into(), answer(200).body("good").into()]);
    let response = settings(&upstream).set("LANE", "stream").start().ask(&post("/", "x"));
    assert_relayed(&response, 503, "final");
    upstream.assert_no_more_than(1, A_WHILE);
}

#[test]
fn an_endless_body_of_a_failed_attempt_is_not_read() {
    let upstream = FakeUpstream::start();
    let total = 1 << 30;
    let flood = answer(503).field("Content-Length", total.to_string()).head().then_flood(total);
    upstream.script([flood, answer(200).body("good").into()]);
    assert_relayed(&settings(&upstream).start().get("/"), 200, "good");
    let seen = upstream.wait("the end of the flood", |seen| seen[0].aborted.is_some());
    assert!(seen[0].flooded < 64 << 20, "{} bytes were read", seen[0].flooded);
}

#[test]
fn on_http2_it_is_the_same() {
    let upstream = H2Upstream::start();
    upstream.script([reply(503).body("bad").into(), reply(200).body("good").into()]);
    let settings = Settings::in_front_of_h2(&upstream).set("RETRY_STATUSES", "503");
    let response = settings.set("RESPONSE_HEADER_TIMEOUT_SECONDS", 10).start().get("/");
    assert_relayed(&response, 200, "good");
    assert_eq!(attempts(&response), Some(2));
}

#[test]
fn a_list_of_something_else_is_a_problem() {
    for value in ["soon", "99", "502;503", "5xx"] {
        let settings = Settings::new().set("UPSTREAM_BASE_URL", "http://127.0.0.1:9").set("RETRY_STATUSES", value);
        let (log, status) = settings.run();
        assert_eq!(status, Some(EX_CONFIG), "{value}:\n{log}");
        assert!(log.contains("RETRY_STATUSES"), "{value}:\n{log}");
    }
}
