//! The stream lane, when something fails: what is repeated is what nobody has seen yet.

use std::thread;
use std::time::Duration;

use super::streaming;
use crate::client::{get, post};
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts};
use crate::forebay::Settings;
use crate::upstream::h2::{Play, refuse};
use crate::upstream::{FakeUpstream, H2Upstream, OnAccept, answer, close, echo, raw, reset, stall};

#[test]
fn a_refused_connect_is_repeated_before_a_byte_of_the_body_was_taken() {
    let mut upstream = FakeUpstream::refusing();
    upstream.script([echo()]);
    let forebay = streaming(&upstream)
        .set("UPSTREAM_MAX_ATTEMPTS", 100)
        .set("RETRY_BACKOFF_SECONDS", "0.1")
        .set("RETRY_BACKOFF_MAX_SECONDS", "0.1")
        .start();
    let response = thread::scope(|scope| {
        let asked = scope.spawn(|| forebay.ask(&post("/", "hello")));
        thread::sleep(Duration::from_millis(350));
        upstream.listen();
        asked.join().unwrap()
    });
    assert_relayed(&response, 200, "hello");
    assert!(attempts(&response).is_some_and(|n| n > 1), "{response:?}");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_refused_stream_is_repeated_before_a_byte_of_the_body_was_taken() {
    let upstream = H2Upstream::start();
    upstream.script([refuse(), Play::echo()]);
    let settings = Settings::in_front_of_h2(&upstream).set("LANE", "stream").set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30);
    let response = settings.start().get("/");
    assert_relayed(&response, 200, "");
    assert_eq!(
        (attempts(&response), upstream.seen().len()),
        (Some(1), 2),
        "a refused stream is replaced free of charge"
    );
}

#[test]
fn what_an_upstream_may_have_seen_is_not_repeated() {
    let upstream = FakeUpstream::start();
    let forebay = streaming(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 3).start();
    for failure in [reset(), close(), raw("HTTP/1.1 200 OK\r\nX-").then_close(), raw("no HTTP at all\r\n\r\n")] {
        for asked in [post("/", "hello"), get("/")] {
            upstream.forget();
            upstream.script([failure.clone(), echo()]);
            let response = forebay.ask(&asked);
            assert_error(&response, 502, "upstream_request_error");
            assert_eq!(attempts(&response), Some(1));
            upstream.assert_no_more_than(1, Duration::from_millis(150));
        }
    }
}

#[test]
fn a_missed_header_deadline_is_final() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = streaming(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.5").start();
    let response = forebay.ask(&post("/", "hello"));
    assert_error(&response, 504, "upstream_header_timeout");
    assert_eq!(attempts(&response), Some(1));
    upstream.wait("the attempt to be closed", |seen| seen[0].aborted.is_some());
    upstream.assert_no_more_than(1, A_WHILE);
}

#[test]
fn the_deadline_is_the_longer_one_and_counts_from_the_end_of_the_request() {
    let upstream = FakeUpstream::start();
    upstream.script([raw("").then_pause(Duration::from_millis(900)).then_do(answer(200).body("slow")), echo()]);
    let forebay = streaming(&upstream)
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.4")
        .set("NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS", 20)
        .start();
    assert_relayed(&forebay.get("/"), 200, "slow");
    let forebay = streaming(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.8").start();
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(150));
        client.send("x");
    }
    assert_relayed(&client.read("POST"), 200, "xxxxxxxxxx");
}

#[test]
fn a_client_that_is_too_slow_is_told_and_its_request_never_looks_complete() {
    let upstream = FakeUpstream::start();
    let forebay = streaming(&upstream).set("CLIENT_BODY_TIMEOUT_SECONDS", "0.5").start();
    for beginning in ["Content-Length: 1000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        upstream.forget();
        let mut client = forebay.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{beginning}"));
        upstream.wait("the beginning", |seen| seen.first().is_some_and(|s| s.body == b"abc"));
        assert_error(&client.read("POST"), 408, "client_timeout");
        assert!(client.is_closed());
        upstream.wait_all_closed();
        let seen = upstream.seen();
        assert_eq!((seen.len(), seen[0].complete), (1, false), "{seen:#?}");
    }
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let upstream = FakeUpstream::start();
    let forebay = streaming(&upstream).start();
    for whole in [false, true] {
        for reset in [false, true] {
            upstream.forget();
            upstream.script([stall()]);
            let mut client = forebay.connect();
            let body = if whole { "0123456789" } else { "01234" };
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{body}"));
            upstream.wait("the body so far", |seen| seen.first().is_some_and(|s| s.body == body.as_bytes()));
            if reset {
                client.reset();
            } else {
                drop(client);
            }
            upstream.wait_all_closed();
            assert_eq!(upstream.seen()[0].complete, whole, "a request is never made to look complete");
            upstream.assert_no_more_than(1, Duration::from_millis(100));
        }
    }
}

#[test]
fn a_malformed_chunk_ends_both_sides() {
    let upstream = FakeUpstream::start();
    let forebay = streaming(&upstream).start();
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    upstream.wait("the beginning", |seen| seen.first().is_some_and(|s| s.body == b"abc"));
    client.send("+5\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_error(&client.read("POST"), 400, "bad_request");
    assert!(client.is_closed());
    upstream.wait_all_closed();
    let seen = upstream.seen();
    assert_eq!((seen.len(), seen[0].complete), (1, false), "{seen:#?}");
    upstream.assert_unambiguous();
}

#[test]
fn a_connection_of_the_pool_that_is_dead_is_replaced_free_of_charge() {
    let upstream = FakeUpstream::start();
    // Answers once on each connection, and closes it when the next request comes.
    upstream.answer_with(|seen, _| if seen.index == 1 { answer(200).body("fresh").into() } else { close() });
    let forebay = streaming(&upstream).start();
    for _ in 0..3 {
        let response = forebay.get("/");
        assert_relayed(&response, 200, "fresh");
        assert_eq!(attempts(&response), Some(1));
        thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn an_upstream_that_never_reads_is_given_up_after_the_write_timeout() {
    let upstream = FakeUpstream::start();
    upstream.on_accept([OnAccept::NeverRead]);
    let forebay = streaming(&upstream).set("WRITE_TIMEOUT_SECONDS", "0.7").start();
    let response = forebay.ask(&post("/", vec![b'z'; 16 << 20]));
    assert_error(&response, 504, "upstream_timeout");
    assert_eq!((attempts(&response), upstream.accepted()), (Some(1), 1));
}
