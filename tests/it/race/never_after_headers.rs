//! A complete head commits: from there on nothing is retried, and bytes only flow (2, 3.3).

use std::thread;
use std::time::Duration;

use super::good;
use crate::client::{get, post};
use crate::expect::{A_WHILE, assert_relayed, attempts};
use crate::forebay::{Forebay, Settings};
use crate::upstream::{FakeUpstream, Gate, answer, raw, stall};

#[test]
fn every_complete_head_is_final_whatever_its_status() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    for status in [400, 401, 404, 408, 409, 413, 429, 500, 502, 503, 504, 529, 599] {
        upstream.forget();
        upstream.script([answer(status).field("Retry-After", "1").body(r#"{"e":1}"#).into()]);
        let response = forebay.ask(&post("/", "{}"));
        assert_relayed(&response, status, r#"{"e":1}"#);
        assert_eq!(response.get("retry-after").as_deref(), Some("1"));
        assert_eq!((attempts(&response), upstream.seen().len()), (Some(1), 1), "{status}");
    }
    upstream.assert_no_more_than(1, A_WHILE);
}

#[test]
fn after_the_head_the_header_deadline_is_over() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.3").start();
    let gate = Gate::new();
    upstream.script([answer(200).chunked_head().then_await(&gate).then_chunk("late").then_last_chunk()]);
    let mut client = forebay.connect();
    client.send(post("/", "x").bytes());
    let mut response = client.read_head("POST");
    assert_eq!(response.status, 200);
    thread::sleep(Duration::from_millis(900));
    gate.open();
    client.read_rest(&mut response);
    assert_relayed(&response, 200, "late");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_body_that_breaks_off_is_cut_for_the_client_and_not_repeated() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    for (what, broken) in [
        ("a length", raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")),
        ("chunks", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")),
        ("a chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\npart")),
        ("the last chunk", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n")),
    ] {
        for reset in [false, true] {
            upstream.forget();
            let gate = Gate::new();
            let broken = broken.clone().then_await(&gate);
            upstream.script([if reset { broken.then_reset() } else { broken.then_close() }]);
            let mut client = forebay.connect();
            client.send(get("/").bytes());
            let mut response = client.read_head("GET");
            client.read_body(&mut response, 4);
            gate.open();
            client.read_rest(&mut response);
            assert_eq!((response.status, response.text().as_str()), (200, "part"), "{what}: {response:?}");
            assert!(!response.is_complete() && response.cut.is_some(), "{what}: {response:?}");
            assert!(client.is_closed(), "{what}: the connection ends with its answer");
            assert_eq!(upstream.seen().len(), 1, "{what}");
        }
    }
    upstream.assert_no_more_than(1, A_WHILE);
}

#[test]
fn a_late_answer_of_a_lost_attempt_is_never_used() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    let late = raw("").then_pause(Duration::from_secs(2)).then_do(answer(200).body("late"));
    upstream.script([late, answer(200).body("second").into(), answer(200).body("third").into()]);
    let mut client = forebay.connect();
    assert_relayed(&client.ask(&get("/1")), 200, "second");
    assert_relayed(&client.ask(&get("/2")), 200, "third");
    let seen = upstream.wait("the lost attempt to be closed", |seen| seen[0].aborted.is_some());
    assert!(seen[1..].iter().all(|s| s.connection != seen[0].connection), "{seen:#?}");
}

#[test]
fn half_a_head_of_a_lost_attempt_is_not_mixed_with_the_next() {
    let upstream = FakeUpstream::start();
    upstream.script([raw("HTTP/1.1 500 Wrong\r\nX-Wrong: 1\r\n").then_stall(), good("right"), stall()]);
    let response = Forebay::in_front_of(&upstream).get("/");
    assert_relayed(&response, 200, "right");
    assert_eq!(response.get("x-wrong"), None);
}
