//! The limits of connecting, writing and waiting (3.2, 3.3), and the retry budget.

use std::thread;
use std::time::Duration;

use crate::client::{get, post};
use crate::expect::{assert_error, assert_relayed, attempts};
use crate::forebay::{ScratchFile, Settings};
use crate::upstream::{Authority, FakeUpstream, Gate, OnAccept, answer, raw, stall};

#[test]
fn a_refused_connect_is_repeated_until_the_upstream_is_back() {
    let mut upstream = FakeUpstream::refusing();
    let forebay = Settings::in_front_of(&upstream)
        .set("UPSTREAM_MAX_ATTEMPTS", 50)
        .set("RETRY_BACKOFF_SECONDS", "0.1")
        .set("RETRY_BACKOFF_MAX_SECONDS", "0.1")
        .start();
    let body = "0123456789".repeat(10_000);
    let response = thread::scope(|scope| {
        let asked = scope.spawn(|| forebay.ask(&post("/", &body)));
        thread::sleep(Duration::from_millis(300));
        upstream.listen();
        asked.join().unwrap()
    });
    assert_relayed(&response, 200, "ok");
    let seen = upstream.seen();
    assert_eq!((seen.len(), seen[0].body.len()), (1, body.len()));
}

#[test]
fn a_connect_that_is_always_refused_counts_every_attempt() {
    let upstream = FakeUpstream::refusing();
    let response = Settings::in_front_of(&upstream).start().ask(&post("/", "x"));
    assert_error(&response, 502, "upstream_request_error");
    assert_eq!(attempts(&response), Some(3));
}

#[test]
fn a_name_that_does_not_resolve_is_an_answer() {
    let settings = Settings::new().set("UPSTREAM_BASE_URL", "http://does-not-exist.invalid");
    let forebay = settings.set("UPSTREAM_MAX_ATTEMPTS", 1).set("CONNECT_TIMEOUT_SECONDS", 3).start();
    let response = forebay.get("/");
    // A resolver that does not answer at all takes the whole connect timeout.
    let (status, code) = match response.status {
        504 => (504, "upstream_timeout"),
        _ => (502, "upstream_request_error"),
    };
    assert_error(&response, status, code);
    assert!(!response.text().contains("does-not-exist"), "the upstream's address is nobody's business: {response:?}");
}

#[test]
fn a_handshake_that_is_never_answered_is_bounded_by_the_connect_timeout() {
    let upstream = FakeUpstream::start();
    upstream.on_accept([OnAccept::NeverRead]);
    let forebay = Settings::in_front_of(&upstream)
        .set("UPSTREAM_BASE_URL", upstream.url().replace("http:", "https:"))
        .set("CONNECT_TIMEOUT_SECONDS", "0.5")
        .set("UPSTREAM_MAX_ATTEMPTS", 1)
        .start();
    assert_error(&forebay.get("/"), 504, "upstream_timeout");
}

#[test]
fn a_failed_handshake_is_repeated_even_with_retry_safe() {
    let authority = Authority::new();
    let upstream = FakeUpstream::start_tls(&authority);
    upstream.on_accept([OnAccept::Close]);
    let roots = ScratchFile::with(authority.pem());
    let forebay = Settings::in_front_of(&upstream).set("UPSTREAM_CA_FILE", &roots).set("RETRY", "safe").start();
    let response = forebay.ask(&post("/", "x"));
    assert_relayed(&response, 200, "ok");
    assert_eq!(attempts(&response), Some(2));
}

#[test]
fn an_upstream_that_never_reads_is_given_up_after_the_write_timeout() {
    let upstream = FakeUpstream::start();
    upstream.on_accept([OnAccept::NeverRead]);
    let settings =
        Settings::in_front_of(&upstream).set("WRITE_TIMEOUT_SECONDS", "0.7").set("RESPONSE_HEADER_TIMEOUT_SECONDS", 60);
    let body = vec![b'z'; 16 << 20];

    let forebay = settings.clone().set("UPSTREAM_MAX_ATTEMPTS", 1).start();
    let response = forebay.ask(&post("/", &body));
    assert_error(&response, 504, "upstream_timeout");
    drop(forebay);

    upstream.on_accept([OnAccept::NeverRead]);
    let response = settings.set("UPSTREAM_MAX_ATTEMPTS", 2).start().ask(&post("/", &body));
    assert_relayed(&response, 200, "ok");
    assert_eq!((attempts(&response), upstream.seen()[0].body.len()), (Some(2), body.len()));
}

#[test]
fn who_finds_no_free_connection_waits_for_the_pool_timeout() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("held")), answer(200).body("free").into()]);
    let forebay = Settings::in_front_of(&upstream)
        .set("UPSTREAM_MAX_CONNECTIONS", 1)
        .set("POOL_TIMEOUT_SECONDS", "0.4")
        .set("UPSTREAM_MAX_ATTEMPTS", 2)
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30)
        .start();
    let mut holder = forebay.connect();
    holder.send(get("/holder").bytes());
    upstream.wait_seen(1);
    let response = forebay.get("/waiting");
    assert_error(&response, 504, "upstream_timeout");
    assert_eq!(attempts(&response), Some(2), "a pool timeout is an attempt");
    gate.open();
    assert_relayed(&holder.read("GET"), 200, "held");
    assert_relayed(&forebay.get("/afterwards"), 200, "free");
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn who_waits_for_a_connection_gets_it_when_it_is_free() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    // The body is still under way: a connection is not free before its answer has ended.
    upstream.script([
        answer(200).chunked_head().then_await(&gate).then_chunk("x").then_last_chunk(),
        answer(200).body("next").into(),
    ]);
    let forebay = Settings::in_front_of(&upstream)
        .set("UPSTREAM_MAX_CONNECTIONS", 1)
        .set("POOL_TIMEOUT_SECONDS", 30)
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30)
        .start();
    let mut holder = forebay.connect();
    holder.send(get("/holder").bytes());
    let mut response = holder.read_head("GET");
    let mut waiting = forebay.connect();
    waiting.send(get("/waiting").bytes());
    upstream.assert_no_more_than(1, crate::expect::A_WHILE);
    gate.open();
    holder.read_rest(&mut response);
    assert_relayed(&response, 200, "x");
    assert_relayed(&waiting.read("GET"), 200, "next");
}

#[test]
fn an_outage_does_not_multiply_its_own_load() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = Settings::in_front_of(&upstream)
        .set("RETRY_BUDGET_PERCENT", 1)
        .set("RETRY_BUDGET_MIN", 3)
        .set("UPSTREAM_MAX_ATTEMPTS", 2)
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 2)
        .start();
    let repeated: u32 = thread::scope(|scope| {
        let asked: Vec<_> = (0..30)
            .map(|n| {
                scope.spawn({
                    let f = &forebay;
                    move || f.get(&format!("/{n}"))
                })
            })
            .collect();
        asked
            .into_iter()
            .map(|one| {
                let response = one.join().unwrap();
                assert_error(&response, 504, "upstream_header_timeout");
                attempts(&response).unwrap() - 1
            })
            .sum()
    });
    // At once under way are three; a fourth only where a deadline of the thirty was two seconds later than the others.
    assert!((3..=6).contains(&repeated), "{repeated} of thirty were repeated");
    assert_eq!(upstream.seen().len(), 30 + usize::try_from(repeated).unwrap());
}
