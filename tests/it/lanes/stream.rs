//! The stream lane: a request goes out as it comes in.

use std::thread;
use std::time::Duration;

use super::streaming;
use crate::client::{Cut, get, post, request};
use crate::expect::{assert_error, assert_relayed, attempts};
use crate::forebay::Settings;
use crate::upstream::h2::Play;
use crate::upstream::{Behaviour, FakeUpstream, Framing, Gate, H2Upstream, answer, echo, raw};

#[test]
fn the_first_bytes_arrive_before_the_last_are_sent() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = streaming(&upstream).start();
    for (framing, parts) in [
        ("Content-Length: 9", ["abc", "def", "ghi"]),
        ("Transfer-Encoding: chunked", ["3\r\nabc\r\n", "3\r\ndef\r\n", "3\r\nghi\r\n0\r\n\r\n"]),
    ] {
        upstream.forget();
        let mut client = forebay.connect();
        client.send(format!("POST /up HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"));
        for (part, arrived) in parts.into_iter().zip([&b"abc"[..], b"abcdef", b"abcdefghi"]) {
            client.send(part);
            upstream.wait("what was sent so far", |seen| seen.first().is_some_and(|s| s.body == arrived));
        }
        let response = client.read("POST");
        assert_relayed(&response, 200, "abcdefghi");
        assert_eq!(attempts(&response), Some(1));
        let seen = &upstream.seen()[0];
        let expected = if framing.starts_with('C') { Framing::Length } else { Framing::Chunked };
        assert_eq!((seen.framing, seen.complete), (expected, true), "it is framed as it came: {seen:?}");
    }
    upstream.assert_unambiguous();
}

#[test]
fn from_http2_to_http2_it_is_the_same() {
    let upstream = H2Upstream::start();
    upstream.script([Play::echo()]);
    let settings = Settings::in_front_of_h2(&upstream).set("LANE", "stream").set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30);
    let forebay = settings.start();
    let mut client = forebay.connect_h2();
    let stream = client.open(&request("POST", "/up"));
    for (part, arrived) in [(b"abc", &b"abc"[..]), (b"def", b"abcdef")] {
        client.data(stream, part, false);
        upstream.wait("what was sent so far", |seen| seen.first().is_some_and(|s| s.body == arrived));
    }
    client.data(stream, b"ghi", true);
    assert_relayed(&client.read(stream), 200, "abcdefghi");
}

#[test]
fn from_http2_a_body_without_a_length_goes_out_in_chunks() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = streaming(&upstream).start();
    let mut client = forebay.connect_h2();
    let stream = client.open(&request("POST", "/up"));
    client.data(stream, b"abc", false);
    upstream.wait("the first bytes", |seen| seen.first().is_some_and(|s| s.body == b"abc"));
    client.data(stream, b"def", true);
    assert_relayed(&client.read(stream), 200, "abcdef");
    assert_relayed(&client.ask(&post("/up", "with a length")), 200, "with a length");
    assert_relayed(&client.ask(&get("/none")), 200, "");
    let framings: Vec<_> = upstream.seen().iter().map(|s| s.framing).collect();
    assert_eq!(framings, [Framing::Chunked, Framing::Length, Framing::None]);
    upstream.assert_unambiguous();
}

#[test]
fn what_is_not_buffered_has_no_cap_and_costs_no_memory() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([echo()]);
    let forebay = streaming(&upstream).set("MAX_REQUEST_BODY_BYTES", 1000).set("MAX_BUFFERED_BYTES", "1MiB").start();
    let body = vec![b'b'; 3 << 20];
    for asked in [post("/", &body), request("POST", "/").chunks(body.chunks(100_000))] {
        let response = forebay.ask(&asked);
        assert!(response.is_complete() && response.body == body, "{response:?}");
    }
    // An upstream that does not read stops the client.
    upstream.script([raw("").early().then_await_deaf(&gate).then_do(answer(200).body("read"))]);
    let before = forebay.memory();
    let body = vec![b'b'; 96 << 20];
    thread::scope(|scope| {
        let asked = scope.spawn(|| forebay.ask(&post("/", &body)));
        thread::sleep(Duration::from_millis(900));
        assert!(forebay.memory() < before + (32 << 20), "{} bytes more", forebay.memory() - before);
        gate.open();
        assert_relayed(&asked.join().unwrap(), 200, "read");
    });
}

#[test]
fn events_of_the_answer_are_flushed_as_they_come() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let head = answer(200).field("Content-Type", "text/event-stream").chunked_head();
    upstream.script([head.then_chunk("data: 1\n\n").then_await(&gate).then_chunk("data: 2\n\n").then_last_chunk()]);
    let forebay = streaming(&upstream).start();
    let mut client = forebay.connect();
    client.send(post("/", "{}").bytes());
    let mut response = client.read_head("POST");
    client.read_body(&mut response, 9);
    assert_eq!(response.text(), "data: 1\n\n");
    gate.open();
    client.read_rest(&mut response);
    assert_relayed(&response, 200, "data: 1\n\ndata: 2\n\n");
}

#[test]
fn a_100_is_sent_only_once_the_upstream_connection_stands() {
    let mut upstream = FakeUpstream::refusing();
    upstream.script([echo()]);
    let forebay = streaming(&upstream)
        .set("UPSTREAM_MAX_ATTEMPTS", 100)
        .set("RETRY_BACKOFF_SECONDS", "0.1")
        .set("RETRY_BACKOFF_MAX_SECONDS", "0.1")
        .start();
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let nothing = client.read_within("POST", Duration::from_millis(400));
    assert_eq!((nothing.interim.as_slice(), nothing.cut), ([].as_slice(), Some(Cut::Timeout)), "{nothing:?}");
    upstream.listen();
    assert_eq!(client.read_interim(), 100);
    client.send("hello");
    assert_relayed(&client.read("POST"), 200, "hello");
    assert!(upstream.seen()[0].all("expect").is_empty(), "{:?}", upstream.seen());
}

#[test]
fn who_expects_a_100_of_nobody_gets_the_failure_instead() {
    let upstream = FakeUpstream::refusing();
    let forebay = streaming(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 2).start();
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let response = client.read("POST");
    assert_error(&response, 502, "upstream_request_error");
    assert_eq!((response.interim.as_slice(), attempts(&response)), ([].as_slice(), Some(2)));
    assert!(client.is_closed());
}

#[test]
fn an_answer_during_the_upload_is_delivered_and_ends_the_connection() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let early = Behaviour::from(answer(413).body("too much")).early().then_await_deaf(&gate);
    upstream.script([early, echo()]);
    let forebay = streaming(&upstream).start();
    let mut client = forebay.connect();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nthe beginning");
    assert_relayed(&client.read("POST"), 413, "too much");
    gate.open();
    upstream.wait_all_closed();
    assert!(!upstream.seen()[0].complete, "a request is never made to look complete");
    assert_relayed(&forebay.ask(&post("/next", "x")), 200, "x");
}

#[test]
fn many_requests_share_connections() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = streaming(&upstream).start();
    let mut client = forebay.connect();
    for number in 0..20 {
        assert_relayed(&client.ask(&post("/", number.to_string())), 200, number.to_string());
        thread::sleep(Duration::from_millis(10));
    }
    assert!(upstream.accepted() < 20, "connections are kept");
}
