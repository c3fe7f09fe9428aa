//! The free replacement (3.3): a reused connection that closes before a response byte costs no attempt.

use std::thread;
use std::time::Duration;

use crate::client::{Request, Response, get, post};
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts};
use crate::forebay::{Forebay, Settings};
use crate::upstream::{Behaviour, FakeUpstream, Gate, answer, close, raw, reset, stall};

/// Time for a connection to go back to the pool after its answer. Too short a time costs a round, and no test.
const SETTLED: Duration = Duration::from_millis(30);

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

/// One good answer, and then the request on the connection that was kept for it, whose fate is `then`.
///
/// When a connection is back in the pool cannot be seen from outside: a round that opened a new one is played again.
#[track_caller]
fn on_a_reused_connection(
    then: &Behaviour,
    settings: fn(Settings) -> Settings,
    asked: &Request,
    check: impl Fn(&Response, &FakeUpstream),
) {
    for round in 1..=8 {
        let upstream = FakeUpstream::start();
        once_per_connection(&upstream, then.clone());
        let forebay = settings(one_attempt(&upstream)).start();
        assert_relayed(&forebay.get("/first"), 200, "/first");
        thread::sleep(SETTLED * round);
        let response = forebay.ask(asked);
        if upstream.seen().get(1).is_some_and(|s| s.index == 2) {
            check(&response, &upstream);
            return;
        }
    }
    panic!("no connection was reused");
}

#[test]
fn a_stale_connection_is_replaced_without_counting() {
    for stale in [close(), reset()] {
        on_a_reused_connection(
            &stale,
            |s| s,
            &post("/second", "body"),
            |response, upstream| {
                assert_relayed(response, 200, "/second");
                assert_eq!(attempts(response), Some(1));
                let seen = upstream.seen();
                assert_eq!((seen.len(), &seen[1].raw_head, &seen[1].body), (3, &seen[2].raw_head, &seen[2].body));
                assert_ne!(seen[1].connection, seen[2].connection);
            },
        );
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
    thread::sleep(SETTLED * 2);
    let response = forebay.ask(&post("/", "x"));
    assert_relayed(&response, 200, "x");
    assert_eq!(attempts(&response), Some(1));
}

#[test]
fn it_is_given_once() {
    let once = |upstream: &FakeUpstream| {
        // Only the very first request is answered: the replacement fails like any attempt.
        upstream.answer_with(|seen, nth| if nth == 0 { answer(200).body(seen.path()).into() } else { close() });
    };
    for round in 1..=8 {
        let upstream = FakeUpstream::start();
        once(&upstream);
        let forebay = one_attempt(&upstream).start();
        assert_eq!(forebay.get("/first").status, 200);
        thread::sleep(SETTLED * round);
        let response = forebay.get("/second");
        assert_error(&response, 502, "upstream_request_error");
        assert_eq!(attempts(&response), Some(1));
        if upstream.seen()[1].index == 2 {
            upstream.assert_no_more_than(3, A_WHILE);
            return;
        }
    }
    panic!("no connection was reused");
}

#[test]
fn a_single_response_byte_makes_it_a_failed_attempt() {
    on_a_reused_connection(
        &raw("H").then_close(),
        |s| s,
        &get("/second"),
        |response, upstream| {
            assert_error(response, 502, "upstream_request_error");
            upstream.assert_no_more_than(2, A_WHILE);
        },
    );
}

#[test]
fn a_stall_on_a_reused_connection_is_a_failed_attempt() {
    on_a_reused_connection(
        &stall(),
        |s| s,
        &get("/second"),
        |response, upstream| {
            assert_error(response, 504, "upstream_header_timeout");
            upstream.assert_no_more_than(2, A_WHILE);
        },
    );
}

#[test]
fn with_retry_safe_a_request_that_was_written_is_only_replaced_where_that_is_harmless() {
    let safe = |settings: Settings| settings.set("RETRY", "safe");
    on_a_reused_connection(&close(), safe, &post("/second", "x"), |response, upstream| {
        assert_error(response, 502, "upstream_request_error");
        upstream.assert_no_more_than(2, A_WHILE);
    });
    for harmless in [get("/second"), post("/second", "x").field("Idempotency-Key", "k")] {
        on_a_reused_connection(&close(), safe, &harmless, |response, _| {
            assert_relayed(response, 200, "/second");
            assert_eq!(attempts(response), Some(1));
        });
    }
}

#[test]
fn connections_are_kept_and_used_again() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    for number in 0..20 {
        assert_eq!(forebay.ask(&post(format!("/{number}"), "x")).status, 200);
        thread::sleep(SETTLED);
    }
    assert!(upstream.accepted() <= 5, "{} connections for twenty requests in a row", upstream.accepted());
}

#[test]
fn trailers_end_an_answer_in_order() {
    let upstream = FakeUpstream::start();
    upstream.script([raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: v\r\n\r\n",
    )]);
    let forebay = Forebay::in_front_of(&upstream);
    for _ in 0..5 {
        assert_relayed(&forebay.get("/trailers"), 200, "ok");
        thread::sleep(SETTLED);
    }
    assert_eq!(upstream.accepted(), 1, "its connection is kept");
    let log = forebay.wait_log("all exchanges", |log| log.matches("/trailers").count() == 5);
    assert_eq!(log.matches("complete").count(), 5, "{log}");
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
