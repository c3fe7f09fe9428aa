//! Hedging (3.3): a further attempt while the earlier one stays in the race, and heads that are held back meanwhile.

use std::thread;
use std::time::Duration;

use crate::client::{get, post};
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts};
use crate::forebay::{EX_CONFIG, Settings};
use crate::upstream::{Behaviour, FakeUpstream, Gate, answer, close, raw, reset, stall};

/// A hedge soon, and deadlines that play no part.
fn hedging(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream)
        .set("HEDGE_AFTER_SECONDS", "0.4")
        .set("HEDGE_BUDGET_PERCENT", 100)
        .set("UPSTREAM_MAX_ATTEMPTS", 2)
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30)
}

/// Waits for the gate, and then does it.
fn when_open(gate: &Gate, then: impl Into<Behaviour>) -> Behaviour {
    raw("").then_await(gate).then_do(then)
}

#[test]
fn a_hedge_that_answers_first_wins_and_the_other_is_cancelled() {
    let upstream = FakeUpstream::start();
    upstream.script([stall(), answer(200).body("hedge").into()]);
    let response = hedging(&upstream).start().ask(&post("/x?y", "body").field("X-A", "1"));
    assert_relayed(&response, 200, "hedge");
    assert_eq!(attempts(&response), Some(2));
    let seen = upstream.wait("the lost attempt to be cancelled", |seen| seen[0].aborted.is_some());
    assert_eq!((seen[0].raw_head.clone(), seen[0].body.clone()), (seen[1].raw_head.clone(), seen[1].body.clone()));
    assert!(
        seen[1].at - seen[0].at >= Duration::from_millis(350),
        "the hedge came after {:?}",
        seen[1].at - seen[0].at
    );
    assert_ne!(seen[0].connection, seen[1].connection);
}

#[test]
fn an_earlier_attempt_stays_in_the_race() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([when_open(&gate, answer(200).body("first")), stall()]);
    let forebay = hedging(&upstream).start();
    let mut client = forebay.connect();
    client.send(post("/", "body").bytes());
    upstream.wait_seen(2);
    gate.open();
    let response = client.read("POST");
    assert_relayed(&response, 200, "first");
    assert_eq!(attempts(&response), Some(2));
    upstream.wait("the hedge to be cancelled", |seen| seen[1].aborted.is_some());
    upstream.assert_no_more_than(2, A_WHILE);
}

#[test]
fn who_answers_in_time_is_not_hedged() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200)
        .chunked_head()
        .then_chunk("a")
        .then_pause(Duration::from_millis(1500))
        .then_last_chunk()]);
    let response = hedging(&upstream).set("HEDGE_AFTER_SECONDS", 1).start().get("/");
    assert_relayed(&response, 200, "a");
    assert_eq!((attempts(&response), upstream.seen().len()), (Some(1), 1), "after the head there is no race");
}

#[test]
fn a_slow_upload_is_not_hedged() {
    let upstream = FakeUpstream::start();
    let forebay = hedging(&upstream).start();
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(300));
        client.send("x");
    }
    assert_relayed(&client.read("POST"), 200, "ok");
    upstream.assert_no_more_than(1, A_WHILE);
}

#[test]
fn a_bad_head_is_held_back_while_another_attempt_may_do_better() {
    let upstream = FakeUpstream::start();
    let forebay = hedging(&upstream).start();
    for status in [429, 500, 502, 503, 529] {
        upstream.forget();
        let gate = Gate::new();
        upstream.script([when_open(&gate, answer(200).body("better")), answer(status).body("bad").into()]);
        let mut client = forebay.connect();
        client.send(get("/").bytes());
        upstream.wait_seen(2);
        // The bad head has time to arrive.
        let nothing = client.read_within("GET", Duration::from_millis(150));
        assert_eq!(nothing.status, 0, "{status} was not held back: {nothing:?}");
        gate.open();
        let response = client.read("GET");
        assert_relayed(&response, 200, "better");
        assert_eq!(attempts(&response), Some(2));
    }
}

#[test]
fn other_heads_are_not_held_back() {
    let upstream = FakeUpstream::start();
    let forebay = hedging(&upstream).start();
    for status in [200, 302, 400, 404, 408, 499] {
        upstream.forget();
        upstream.script([stall(), answer(status).body("final").into()]);
        assert_relayed(&forebay.get("/"), status, "final");
        upstream.wait("the other to be cancelled", |seen| seen[0].aborted.is_some());
    }
}

#[test]
fn a_head_that_was_held_back_is_used_when_the_others_end_without_a_better_one() {
    let upstream = FakeUpstream::start();
    let settings = hedging(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 3).set("HEDGE_AFTER_SECONDS", "1.2");
    for end in [close(), reset()] {
        // On connections of its own: one of the pool that dies without a byte would be replaced free of charge.
        let forebay = settings.clone().start();
        upstream.forget();
        let gate = Gate::new();
        let held = answer(503).field("Retry-After", "9").body("held back");
        upstream.script([when_open(&gate, end), held.into(), answer(200).body("a third").into()]);
        let mut client = forebay.connect();
        client.send(get("/").bytes());
        upstream.wait_seen(2);
        // It has time to arrive; the next hedge would come much later.
        thread::sleep(Duration::from_millis(150));
        gate.open();
        let response = client.read("GET");
        assert_relayed(&response, 503, "held back");
        assert_eq!((response.get("retry-after").as_deref(), attempts(&response)), (Some("9"), Some(2)));
        upstream.assert_no_more_than(2, A_WHILE);
    }
}

#[test]
fn of_several_that_were_held_back_the_latest_is_used() {
    let upstream = FakeUpstream::start();
    let (first, second) = (Gate::new(), Gate::new());
    upstream.script([
        when_open(&first, close()),
        when_open(&second, answer(503).body("later")),
        answer(500).body("earlier").into(),
    ]);
    let forebay = hedging(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 3).start();
    let mut client = forebay.connect();
    client.send(get("/").bytes());
    upstream.wait_seen(3);
    for gate in [second, first] {
        thread::sleep(Duration::from_millis(250));
        gate.open();
    }
    assert_relayed(&client.read("GET"), 503, "later");
}

#[test]
fn a_bad_head_without_company_commits_at_once() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(503).body("as it came").into()]);
    let response = hedging(&upstream).start().get("/");
    assert_relayed(&response, 503, "as it came");
    assert_eq!((attempts(&response), upstream.seen().len()), (Some(1), 1));
}

#[test]
fn a_failure_does_not_start_another_while_one_is_in_flight() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    // The second fails at once; the first is still there, so nothing but the hedge timer may start the third.
    upstream.script([when_open(&gate, answer(200).body("first")), reset(), stall()]);
    let settings = hedging(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 3).set("RETRY_BACKOFF_SECONDS", "0.05");
    let forebay = settings.set("HEDGE_AFTER_SECONDS", 2).start();
    let mut client = forebay.connect();
    client.send(get("/").bytes());
    let seen = upstream.wait_seen(2);
    upstream.assert_no_more_than(2, Duration::from_millis(600));
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(1800), "{:?}", seen[1].at - seen[0].at);
    gate.open();
    assert_relayed(&client.read("GET"), 200, "first");
}

#[test]
fn a_failure_of_the_only_attempt_is_repeated_as_ever() {
    let upstream = FakeUpstream::start();
    upstream.script([reset(), answer(200).body("second").into()]);
    let response = hedging(&upstream).set("HEDGE_AFTER_SECONDS", 20).start().get("/");
    assert_relayed(&response, 200, "second");
    assert_eq!(attempts(&response), Some(2));
}

#[test]
fn hedges_are_attempts() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = hedging(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 1).start();
    let response = forebay.ask(&post("/", "x"));
    assert_error(&response, 504, "upstream_header_timeout");
    assert_eq!(attempts(&response), Some(2));
    upstream.assert_no_more_than(2, A_WHILE);
}

#[test]
fn a_client_that_leaves_ends_all_of_them() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = hedging(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 3).start();
    let mut client = forebay.connect();
    client.send(get("/").bytes());
    upstream.wait_seen(3);
    drop(client);
    upstream.wait("all attempts to be cancelled", |seen| seen.iter().all(|s| s.aborted.is_some()));
    upstream.assert_no_more_than(3, A_WHILE);
}

#[test]
fn with_retry_safe_only_harmless_requests_are_hedged() {
    let upstream = FakeUpstream::start();
    let forebay = hedging(&upstream).set("RETRY", "safe").start();
    for (asked, requests) in [(get("/"), 2), (post("/", "x").field("Idempotency-Key", "k"), 2), (post("/", "x"), 1)] {
        upstream.forget();
        let gate = Gate::new();
        upstream.script([when_open(&gate, answer(200).body("ok"))]);
        let mut client = forebay.connect();
        client.send(asked.bytes());
        upstream.wait_seen(requests);
        upstream.assert_no_more_than(requests, Duration::from_millis(900));
        gate.open();
        let response = client.read(asked.method());
        assert_relayed(&response, 200, "ok");
        assert_eq!(attempts(&response), u32::try_from(requests).ok());
    }
}

#[test]
fn hedges_have_a_budget() {
    let upstream = FakeUpstream::start();
    upstream.script([raw("").then_pause(Duration::from_millis(1500)).then_do(answer(200).body("slow"))]);
    let forebay = hedging(&upstream).set("HEDGE_BUDGET_PERCENT", 10).start();
    thread::scope(|scope| {
        for number in 0..40 {
            let forebay = &forebay;
            scope.spawn(move || assert_relayed(&forebay.get(&format!("/{number}")), 200, "slow"));
        }
    });
    let hedges = upstream.seen().len() - 40;
    // A tenth of forty, and one a second for as long as this machine takes.
    assert!((1..=20).contains(&hedges), "{hedges} hedges for forty exchanges");
}

#[test]
fn a_hedge_that_could_never_start_is_a_problem() {
    let settings =
        || Settings::new().set("UPSTREAM_BASE_URL", "http://127.0.0.1:9").set("RESPONSE_HEADER_TIMEOUT_SECONDS", 2);
    for settings in [
        settings().set("HEDGE_AFTER_SECONDS", 2),
        settings().set("HEDGE_AFTER_SECONDS", 3),
        settings().set("HEDGE_AFTER_SECONDS", 0),
        settings().set("HEDGE_AFTER_SECONDS", 3).set("NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS", 10),
    ] {
        let (log, status) = settings.run();
        assert_eq!(status, Some(EX_CONFIG), "{log}");
        assert!(log.contains("HEDGE_AFTER_SECONDS"), "{log}");
    }
    let (output, status) = settings().set("HEDGE_AFTER_SECONDS", "1.9").argument("check").run();
    assert_eq!(status, Some(0), "{output}");
}
