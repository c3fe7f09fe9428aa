//! Refusals and their shape (4, 5).

use super::one_attempt;
use crate::client::{Cut, get, post, request};
use crate::expect::{assert_error, assert_relayed, attempts};
use crate::upstream::FakeUpstream;

#[test]
fn a_request_names_one_host() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).start();
    for bytes in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: b\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET http://a:81/ HTTP/1.1\r\nHost: a:82\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        let mut client = forebay.connect();
        client.send(bytes);
        assert_error(&client.read("GET"), 400, "bad_request");
        assert!(client.is_closed(), "{bytes:?}");
    }
    assert!(upstream.seen().is_empty(), "{:#?}", upstream.seen());
}

#[test]
fn an_unknown_expectation_fails() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).start();
    assert_error(&forebay.ask(&post("/", "x").field("Expect", "the-unexpected")), 417, "expectation_failed");
    assert!(upstream.seen().is_empty(), "{:#?}", upstream.seen());
}

#[test]
fn connect_is_not_allowed() {
    let (upstream, trap) = (FakeUpstream::start(), FakeUpstream::start());
    let forebay = one_attempt(&upstream).start();
    let response = forebay.ask(&request("CONNECT", trap.authority()).host(trap.authority()));
    assert_error(&response, 405, "method_not_allowed");
    assert!(response.get("allow").is_some(), "{response:?}");
    assert_eq!((upstream.accepted(), trap.accepted()), (0, 0));
}

#[test]
fn a_body_above_the_cap_is_refused_however_it_is_framed() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).set("MAX_REQUEST_BODY_BYTES", 1000).start();
    for length in [0, 999, 1000, 1001, 50_000] {
        let body = vec![b'q'; length];
        for asked in [post("/", &body), request("POST", "/").chunks(body.chunks(300))] {
            upstream.forget();
            let response = forebay.ask(&asked);
            if length > 1000 {
                assert_error(&response, 413, "payload_too_large");
                assert_eq!(attempts(&response), Some(0));
                assert!(upstream.seen().is_empty());
            } else {
                assert_relayed(&response, 200, "ok");
                assert_eq!(upstream.seen()[0].body.len(), length);
            }
        }
    }
}

#[test]
fn a_refusal_by_its_length_comes_before_the_body() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).set("MAX_REQUEST_BODY_BYTES", 1000).start();
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nxx");
    assert_error(&client.read("POST"), 413, "payload_too_large");
    assert!(client.is_closed());
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).set("MAX_REQUEST_BODY_BYTES", 1000).start();
    // More than fits into the buffers of the system: it has to be read, and dropped.
    let body = vec![b'q'; 16 << 20];
    for asked in [post("/", &body), request("POST", "/").chunks(body.chunks(100_000))] {
        let mut client = forebay.connect();
        // Whoever closes while bytes are unread sends a RST, and the answer may be lost on its way.
        assert!(client.try_send(asked.bytes()), "the connection was reset during the upload");
        assert_error(&client.read("POST"), 413, "payload_too_large");
        assert_eq!(client.read("POST").cut, Some(Cut::Fin));
    }
}

#[test]
fn what_follows_a_refused_body_is_never_a_request() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).set("MAX_REQUEST_BODY_BYTES", 10).start();
    let mut client = forebay.connect();
    let smuggled = get("/smuggled").bytes();
    client.send([post("/big", smuggled.repeat(5)).bytes(), smuggled].concat());
    assert_error(&client.read("POST"), 413, "payload_too_large");
    let next = client.read("GET");
    assert_eq!(next.status, 0, "{next:?}");
    assert!(upstream.seen().is_empty(), "{:#?}", upstream.seen());
}
