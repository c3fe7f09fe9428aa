//! Several requests in one go (RFC 9112 §9.3.2).

use super::one_attempt;
use crate::client::{get, post, request};
use crate::expect::{assert_error, assert_relayed};
use crate::upstream::{FakeUpstream, Gate, Seen, answer, echo, raw};

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let slow = gate.clone();
    upstream.answer_with(move |seen, _| {
        let response = answer(200).body(seen.path());
        if seen.path() == "/1" { raw("").then_await(&slow).then_do(response) } else { response.into() }
    });
    let forebay = one_attempt(&upstream).start();
    let mut client = forebay.connect();
    client.send([get("/1").bytes(), get("/2").bytes(), get("/3").bytes()].concat());
    upstream.wait_seen(1);
    gate.open();
    for target in ["/1", "/2", "/3"] {
        assert_relayed(&client.read("GET"), 200, target);
    }
    assert_eq!(upstream.seen().iter().map(Seen::path).collect::<Vec<_>>(), ["/1", "/2", "/3"]);
}

#[test]
fn what_follows_a_body_is_the_next_request() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = one_attempt(&upstream).start();
    let chunked = request("POST", "/1").chunks([b"one".as_slice(), b"two"]).bytes();
    let mut client = forebay.connect();
    client.send([chunked, post("/2", "three").bytes(), get("/3").bytes()].concat());
    assert_relayed(&client.read("POST"), 200, "onetwo");
    assert_relayed(&client.read("POST"), 200, "three");
    assert_relayed(&client.read("GET"), 200, "");
    assert_eq!(upstream.seen().len(), 3);
    upstream.assert_unambiguous();
}

#[test]
fn a_good_request_is_answered_before_a_bad_one_ends_the_connection() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).start();
    for bad in [
        "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        "GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /bad#x HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        upstream.forget();
        let mut client = forebay.connect();
        client.send([&get("/good").bytes(), bad.as_bytes(), &get("/smuggled").bytes()].concat());
        assert_relayed(&client.read("GET"), 200, "ok");
        assert_error(&client.read("POST"), 400, "bad_request");
        assert!(client.is_closed());
        assert_eq!(upstream.seen().iter().map(Seen::path).collect::<Vec<_>>(), ["/good"], "{bad:?}");
    }
}
