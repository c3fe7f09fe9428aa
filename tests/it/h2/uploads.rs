//! Bodies that come piece by piece, and answers that come before their end.

use super::patient;
use crate::client::{post, request};
use crate::expect::{assert_error, assert_relayed};
use crate::upstream::{Behaviour, FakeUpstream, Framing, Gate, answer, echo};

#[test]
fn no_byte_goes_upstream_before_the_body_is_complete() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = super::forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    let stream = client.open(&request("POST", "/"));
    for part in [b"ab", b"cd"] {
        client.data(stream, part, false);
        client.round_trip();
        assert_eq!(upstream.accepted(), 0);
    }
    client.data(stream, b"ef", true);
    assert_relayed(&client.read(stream), 200, "abcdef");
    assert_eq!(upstream.seen()[0].framing, Framing::Length);
}

#[test]
fn trailers_of_a_request_arrive_behind_chunks() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = super::forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    let stream = client.open(&request("POST", "/").field("trailer", "x-t"));
    client.data(stream, b"hello", false);
    client.trailers(stream, &[("x-t", "v")]);
    assert_relayed(&client.read(stream), 200, "hello");
    let seen = &upstream.seen()[0];
    assert_eq!((seen.framing, seen.body.as_slice()), (Framing::Chunked, b"hello".as_slice()), "{seen:?}");
    assert_eq!(seen.trailer("x-t").as_deref(), Some("v"), "{seen:?}");
    assert!(seen.get("trailer").is_some_and(|t| t.eq_ignore_ascii_case("x-t")), "{seen:?}");
    upstream.assert_unambiguous();
}

#[test]
fn an_answer_during_the_upload_reaches_a_streaming_client() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let early = Behaviour::from(answer(413).body("too much")).early().then_await_deaf(&gate);
    upstream.script([early, echo()]);
    let forebay = patient(&upstream).set("LANE", "stream").start();
    let mut client = forebay.connect_h2();
    let stream = client.open(&request("POST", "/up").field("content-length", "1000000"));
    client.data(stream, b"the beginning", false);
    let response = client.read(stream);
    assert_relayed(&response, 413, "too much");
    gate.open();
    upstream.wait_all_closed();
    assert!(!upstream.seen()[0].complete, "a request is never made to look complete");
    // The connection is as good as before.
    assert_relayed(&client.ask(&post("/next", "x")), 200, "x");
}

#[test]
fn an_upload_that_does_not_go_on_is_a_client_timeout() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).set("CLIENT_BODY_TIMEOUT_SECONDS", "0.6").start();
    let mut client = forebay.connect_h2();
    let stream = client.open(&post("/", vec![b'x'; 1000]));
    client.data(stream, b"abc", false);
    // Others are served meanwhile.
    assert_relayed(&client.ask(&post("/other", "x")), 200, "ok");
    assert_error(&client.read(stream), 408, "client_timeout");
    assert_relayed(&client.ask(&post("/other", "x")), 200, "ok");
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn an_upload_with_progress_may_take_its_time() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let settings = patient(&upstream).set("CLIENT_BODY_TIMEOUT_SECONDS", 2).set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.5");
    let forebay = settings.set("CLIENT_IDLE_SECONDS", "0.5").start();
    let mut client = forebay.connect_h2();
    let stream = client.open(&request("POST", "/"));
    for _ in 0..12 {
        client.data(stream, b"x", false);
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    client.data(stream, b"", true);
    assert_relayed(&client.read(stream), 200, "x".repeat(12));
}
