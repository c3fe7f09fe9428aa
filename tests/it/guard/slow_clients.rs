//! Clients that take their time (3.4).

use std::thread;
use std::time::{Duration, Instant};

use super::one_attempt;
use crate::client::{get, post};
use crate::expect::{NOISE, assert_error, assert_relayed};
use crate::upstream::{FakeUpstream, echo};

#[test]
fn a_head_that_does_not_end_is_cut_however_busy_the_client_is() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.8").start();
    let mut client = forebay.connect();
    let begin = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    while client.try_send("X: y\r\n") && begin.elapsed() < Duration::from_millis(800) + NOISE {
        let answer = client.read_within("GET", Duration::from_millis(100));
        if answer.status != 0 {
            assert_error(&answer, 408, "client_timeout");
            assert!(client.is_closed());
            return;
        }
        assert_eq!(answer.cut, Some(crate::client::Cut::Timeout), "cut without a word");
    }
    panic!("a field line every 100 ms keeps the connection open");
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.5").start();
    let mut silent = forebay.connect();
    let response = silent.read("GET");
    if response.status != 0 {
        assert_error(&response, 408, "client_timeout");
    }
    assert!(silent.is_closed());
    let mut half = forebay.connect();
    half.send("GE");
    assert_error(&half.read("GET"), 408, "client_timeout");
    assert!(half.is_closed());
}

#[test]
fn between_two_requests_the_idle_time_counts() {
    let upstream = FakeUpstream::start();
    let settings = one_attempt(&upstream).set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.5");
    let forebay = settings.clone().set("CLIENT_IDLE_SECONDS", 60).start();
    let mut client = forebay.connect();
    assert_relayed(&client.ask(&get("/1")), 200, "ok");
    thread::sleep(Duration::from_millis(1200));
    assert_relayed(&client.ask(&get("/2")), 200, "ok");
    // From the first byte of the next head the header timeout counts again.
    client.send("GET /3 HT");
    assert_error(&client.read("GET"), 408, "client_timeout");

    let forebay = settings.set("CLIENT_IDLE_SECONDS", "0.5").start();
    let mut client = forebay.connect();
    assert_relayed(&client.ask(&get("/1")), 200, "ok");
    let next = client.read("GET");
    assert_eq!((next.status, next.cut), (0, Some(crate::client::Cut::Fin)), "an idle connection is closed silently");
}

#[test]
fn a_body_without_progress_is_cut() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).set("CLIENT_BODY_TIMEOUT_SECONDS", "0.6").start();
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let mut client = forebay.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n3\r\nabc\r\n"));
        assert_error(&client.read("POST"), 408, "client_timeout");
        assert!(client.is_closed());
    }
    assert!(upstream.seen().is_empty(), "{:#?}", upstream.seen());
}

#[test]
fn a_body_with_progress_may_take_its_time() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = one_attempt(&upstream)
        .set("CLIENT_BODY_TIMEOUT_SECONDS", 2)
        .set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.5")
        .start();
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n");
    for _ in 0..12 {
        client.send("x");
        thread::sleep(Duration::from_millis(200));
    }
    assert_relayed(&client.read("POST"), 200, "x".repeat(12));
}

#[test]
fn a_client_that_reads_nothing_is_cut_after_the_write_timeout() {
    let upstream = FakeUpstream::start();
    let total = 256 << 20;
    let head = crate::upstream::answer(200).field("Content-Length", total.to_string()).head();
    upstream.script([head.then_flood(total)]);
    let forebay = one_attempt(&upstream).set("CLIENT_WRITE_TIMEOUT_SECONDS", "0.8").start();
    let mut client = forebay.connect().with_small_window();
    client.send(post("/", "x").bytes());
    upstream.wait("the download to be cut", |seen| seen.first().is_some_and(|s| s.aborted.is_some()));
    let response = client.read("POST");
    assert!(!response.is_complete(), "{response:?}");
}
