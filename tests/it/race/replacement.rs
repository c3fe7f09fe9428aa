//! The free replacement (3.3): a reused connection that closes before a response byte costs no attempt.

use std::thread;

use crate::client::{get, post};
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts};
use crate::forebay::{Forebay, Settings};
use crate::upstream::{Behaviour, FakeUpstream, Gate, answer, close, raw, reset, stall};

/// Each connection answers once; what happens to its second request is the test's business.
fn once_per_connection(upstream: &FakeUpstream, then: Behaviour) {
    upstream.answer_with(move |seen, _| match seen.index {
        1 => answer(200).body(seen.path()).into(),
        _ => then.clone(),
    });
}

fn one_attempt(upstream: &FakeUpstream) -> Settings {
    // A pause would outlast the patience of the client.
    Settings::in_front_of(upstream)
        .set("UPSTREAM_MAX_ATTEMPTS", 1)
        .set("RETRY_BACKOFF_SECONDS", 30)
        .set("RETRY_BACKOFF_MAX_SECONDS", 30)
}

#[test]
fn a_stale_connection_is_replaced_without_counting() {
    for stale in [close(), reset()] {
        let upstream = FakeUpstream::start();
        once_per_connection(&upstream, stale);
        let forebay = one_attempt(&upstream).start();
        for target in ["/1", "/2", "/3"] {
            let response = forebay.ask(&post(target, "body"));
            assert_relayed(&response, 200, target);
            assert_eq!(attempts(&response), Some(1));
        }
        let seen = upstream.seen();
        assert!(seen.len() > 3, "no connection was reused: {seen:#?}");
        assert!(seen.iter().all(|s| s.body == b"body"));
    }
}

#[test]
fn an_upstream_that_closes_after_each_answer_costs_no_request() {
    let upstream = FakeUpstream::start();
    upstream.script([Behaviour::from(answer(200).body("x")).then_close()]);
    let forebay = one_attempt(&upstream).start();
    for _ in 0..20 {
        assert_relayed(&forebay.ask(&post("/", "1")), 200, "x");
    }
}

#[test]
fn the_replacement_is_a_fresh_connection_and_not_another_stale_one() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let held = gate.clone();
    upstream.answer_with(move |seen, _| match seen.index {
        1 => raw("").then_await(&held).then_do(answer(200).body("x")),
        _ => close(),
    });
    let forebay = one_attempt(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 10).start();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_relayed(&forebay.get("/fill-the-pool"), 200, "x"));
        }
        upstream.wait_seen(4);
        gate.open();
    });
    let response = forebay.ask(&post("/", "x"));
    assert_relayed(&response, 200, "x");
    assert_eq!(attempts(&response), Some(1));
}

#[test]
fn it_is_given_once() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).into(), close(), close()]);
    let forebay = one_attempt(&upstream).start();
    assert_eq!(forebay.get("/").status, 200);
    let response = forebay.get("/");
    assert_error(&response, 502, "upstream_request_error");
    assert_eq!(attempts(&response), Some(1));
    upstream.assert_no_more_than(3, A_WHILE);
}

#[test]
fn a_single_response_byte_makes_it_a_failed_attempt() {
    let upstream = FakeUpstream::start();
    once_per_connection(&upstream, raw("H").then_close());
    let forebay = one_attempt(&upstream).start();
    assert_eq!(forebay.get("/").status, 200);
    let response = forebay.get("/");
    assert_error(&response, 502, "upstream_request_error");
    upstream.assert_no_more_than(2, A_WHILE);
}

#[test]
fn a_stall_on_a_reused_connection_is_a_failed_attempt() {
    let upstream = FakeUpstream::start();
    once_per_connection(&upstream, stall());
    let forebay = one_attempt(&upstream).start();
    assert_eq!(forebay.get("/").status, 200);
    assert_error(&forebay.get("/"), 504, "upstream_header_timeout");
    upstream.assert_no_more_than(2, A_WHILE);
}

#[test]
fn with_retry_safe_a_request_that_was_written_is_only_replaced_where_that_is_harmless() {
    let upstream = FakeUpstream::start();
    once_per_connection(&upstream, close());
    let forebay = one_attempt(&upstream).set("RETRY", "safe").start();

    assert_eq!(forebay.get("/fresh").status, 200);
    let response = forebay.ask(&post("/written", "x"));
    assert_error(&response, 502, "upstream_request_error");
    upstream.assert_no_more_than(2, A_WHILE);

    assert_eq!(forebay.get("/fresh").status, 200);
    assert_relayed(&forebay.ask(&post("/keyed", "x").field("Idempotency-Key", "k")), 200, "/keyed");
    assert_relayed(&forebay.ask(&get("/harmless")), 200, "/harmless");
}

#[test]
fn connections_are_kept_and_used_again() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    for number in 0..20 {
        assert_eq!(forebay.ask(&post(format!("/{number}"), "x")).status, 200);
    }
    assert!(upstream.accepted() <= 2, "{} connections for twenty requests in a row", upstream.accepted());
}

#[test]
fn a_connection_that_says_close_is_not_used_again() {
    let upstream = FakeUpstream::start();
    // It stays open: whoever uses it again gets no answer.
    let polite = Behaviour::from(answer(200).field("Connection", "close").body("x"));
    let old = raw("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx");
    for behaviour in [polite, old] {
        upstream.script([behaviour]);
        let forebay = Forebay::in_front_of(&upstream);
        for _ in 0..3 {
            assert_relayed(&forebay.get("/"), 200, "x");
        }
    }
    assert!(upstream.seen().iter().all(|s| s.index == 1), "{:#?}", upstream.seen());
}
