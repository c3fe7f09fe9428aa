//! Request bodies, the 100 that a client waits for, and answers that come too early (4).

use super::forebay_for;
use crate::client::{post, request};
use crate::expect::{assert_error, assert_relayed};
use crate::upstream::{Behaviour, FakeUpstream, Framing, Gate, answer, echo};

#[test]
fn bodies_pass_byte_for_byte_on_any_method() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = forebay_for(&upstream);
    for method in ["POST", "GET", "DELETE", "OPTIONS", "PROPFIND"] {
        for length in [1_u32, 65_536, 1_000_001] {
            let body: Vec<u8> = (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            let response = forebay.ask(&request(method, "/").body(&body));
            assert!(response.status == 200 && response.body == body, "{method} with {length} bytes: {response:?}");
        }
    }
}

#[test]
fn a_chunked_body_goes_out_with_its_length() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = forebay_for(&upstream);
    let many: Vec<&[u8]> = vec![b"x"; 500];
    for chunks in [vec![b"he".as_slice(), b"llo"], many, vec![]] {
        upstream.forget();
        assert_relayed(&forebay.ask(&request("POST", "/").chunks(chunks.iter().copied())), 200, chunks.concat());
        let seen = &upstream.seen()[0];
        assert_eq!(seen.get("content-length"), Some(chunks.concat().len().to_string()), "{seen:?}");
        assert!(seen.all("transfer-encoding").is_empty(), "{seen:?}");
    }
    // Extensions, zeros and capitals say nothing about the body.
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0005;a=b;c=\"d\"\r\nhello\r\nA\r\n0123456789\r\n000;x\r\n\r\n");
    assert_relayed(&client.read("POST"), 200, "hello0123456789");
    upstream.assert_unambiguous();
}

#[test]
fn an_empty_body_is_framed_as_the_client_framed_it() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    forebay.ask(&post("/", ""));
    forebay.ask(&request("POST", "/"));
    forebay.ask(&request("GET", "/"));
    let seen = upstream.seen();
    assert_eq!(seen[0].all("content-length"), [b"0"]);
    assert_eq!((seen[1].framing, seen[2].framing), (Framing::None, Framing::None), "{seen:#?}");
}

#[test]
fn expect_is_answered_here_and_not_forwarded() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = forebay_for(&upstream);
    for expect in ["100-continue", "100-Continue"] {
        upstream.forget();
        let mut client = forebay.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: {expect}\r\n\r\n"));
        assert_eq!(client.read_interim(), 100);
        assert!(upstream.seen().is_empty(), "nothing goes upstream before the body is complete");
        client.send("hello");
        assert_relayed(&client.read("POST"), 200, "hello");
        assert!(upstream.seen()[0].all("expect").is_empty());
    }
}

#[test]
fn who_expects_a_100_for_too_much_gets_the_refusal_instead() {
    let upstream = FakeUpstream::start();
    let forebay = super::patient(&upstream).set("MAX_REQUEST_BODY_BYTES", 1000).start();
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
    let response = client.read("POST");
    assert_error(&response, 413, "payload_too_large");
    assert!(response.interim.is_empty(), "the body was asked for: {response:?}");
    assert!(client.is_closed());
}

#[test]
fn an_answer_during_the_upload_is_delivered_and_ends_the_connection() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    // Nothing of the body is read before the client has its answer: the upload is still under way then.
    let early = Behaviour::from(answer(413).body("too much")).early().then_await_deaf(&gate);
    upstream.script([early, echo()]);
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect();
    let body = vec![b'u'; 24 << 20];
    assert_relayed(&client.ask(&post("/up", &body)), 413, "too much");
    gate.open();
    upstream.wait_all_closed();
    let seen = upstream.seen();
    assert_eq!((seen.len(), seen[0].complete), (1, false), "a request is never made to look complete: {seen:#?}");
    assert_relayed(&forebay.ask(&post("/next", "x")), 200, "x");
    assert_ne!(upstream.seen()[1].connection, seen[0].connection);
}

#[test]
fn an_answer_is_found_behind_a_write_error() {
    let upstream = FakeUpstream::start();
    upstream
        .script([Behaviour::from(answer(413).field("Connection", "close").body("too much")).early().then_abandon()]);
    let forebay = forebay_for(&upstream);
    assert_relayed(&forebay.ask(&post("/up", vec![b'u'; 24 << 20])), 413, "too much");
    assert_eq!(upstream.seen().len(), 1);
}
