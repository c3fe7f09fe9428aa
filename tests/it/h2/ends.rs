//! SIGTERM on connections with streams (3.4): GOAWAY, what runs is finished, and then everybody is told.

use std::time::Duration;

use super::patient;
use crate::client::{Cut, H2Client, get, post};
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::Forebay;
use crate::frames;
use crate::upstream::{Behaviour, FakeUpstream, Gate, answer, raw, stall};

/// A stream of events that goes on when the gate opens.
fn held_stream(gate: &Gate) -> Behaviour {
    let head = answer(200).field("Content-Type", "text/event-stream").chunked_head();
    head.then_chunk("data: 1\n\n").then_await(gate).then_chunk("data: 2\n\n").then_last_chunk()
}

/// A client that has read the first event of its stream.
fn streaming_client(forebay: &Forebay, target: &str) -> (H2Client, u32) {
    let mut client = forebay.connect_h2();
    let stream = client.send(&get(target));
    assert_eq!(client.read_body(stream, "data: 1\n\n".len()).text(), "data: 1\n\n");
    (client, stream)
}

#[test]
fn an_idle_connection_ends_at_once() {
    let upstream = FakeUpstream::start();
    let mut forebay = patient(&upstream).set("SHUTDOWN_TIMEOUT_SECONDS", 60).start();
    let mut idle = forebay.connect_h2();
    assert_relayed(&idle.ask(&get("/")), 200, "ok");
    let mut silent = forebay.connect_h2();
    silent.round_trip();
    forebay.terminate();
    assert_eq!(forebay.wait_for_end().code(), Some(0));
    assert!(idle.is_closed() && silent.is_closed());
}

#[test]
fn streams_under_way_are_finished_behind_a_goaway() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let waiting = gate.clone();
    upstream.answer_with(move |seen, _| match seen.path().as_str() {
        "/late" => raw("").then_await(&waiting).then_do(answer(200).body("late")),
        _ => held_stream(&waiting),
    });
    let mut forebay = patient(&upstream).start();
    let (mut client, events) = streaming_client(&forebay, "/stream");
    let late = client.send(&post("/late", "x"));
    upstream.wait_seen(2);
    forebay.terminate();
    forebay.wait_until_it_refuses();
    assert_eq!(client.wait_for_goaway().1, frames::NO_ERROR);
    assert!(forebay.is_running(), "it ended in the middle of a stream:\n{}", forebay.log());
    gate.open();
    assert_relayed(&client.read(events), 200, "data: 1\n\ndata: 2\n\n");
    assert_relayed(&client.read(late), 200, "late");
    assert!(client.is_closed());
    assert_eq!(forebay.wait_for_end().code(), Some(0));
}

#[test]
fn an_upload_under_way_is_finished_too() {
    let upstream = FakeUpstream::start();
    upstream.script([crate::upstream::echo()]);
    let mut forebay = patient(&upstream).start();
    let mut client = forebay.connect_h2();
    let stream = client.open(&crate::client::request("POST", "/"));
    client.data(stream, b"before, ", false);
    client.round_trip();
    forebay.terminate();
    forebay.wait_until_it_refuses();
    client.data(stream, b"after", true);
    assert_relayed(&client.read(stream), 200, "before, after");
    assert_eq!(forebay.wait_for_end().code(), Some(0));
}

#[test]
fn at_the_end_of_the_shutdown_time_everybody_is_told() {
    let upstream = FakeUpstream::start();
    let never = Gate::new();
    upstream.answer_with(move |seen, _| match seen.path().as_str() {
        "/silent" => stall(),
        _ => held_stream(&never),
    });
    let mut forebay = patient(&upstream).set("SHUTDOWN_TIMEOUT_SECONDS", "0.7").start();
    let (mut client, plain) = streaming_client(&forebay, "/plain");
    let openai = client.send(&post("/v1/chat/completions", "{}"));
    client.read_body(openai, 9);
    let silent = client.send(&post("/silent", "x"));
    upstream.wait_seen(3);
    forebay.terminate();
    assert_error(&client.read(silent), 503, "shutting_down");
    let response = client.read(openai);
    assert!(response.is_complete() && response.text().contains("shutting_down"), "the last event: {response:?}");
    let response = client.read(plain);
    assert!(!response.is_complete(), "{response:?}");
    assert_ne!(response.cut, Some(Cut::Timeout), "{response:?}");
    assert_eq!(forebay.wait_for_end().code(), Some(0));
}

#[test]
fn a_second_signal_cuts_at_once() {
    let upstream = FakeUpstream::start();
    let never = Gate::new();
    upstream.script([held_stream(&never)]);
    let mut forebay = patient(&upstream).set("SHUTDOWN_TIMEOUT_SECONDS", 300).start();
    let (mut client, stream) = streaming_client(&forebay, "/stream");
    forebay.terminate();
    forebay.wait_until_it_refuses();
    std::thread::sleep(Duration::from_millis(100));
    assert!(forebay.is_running());
    forebay.terminate();
    forebay.wait_for_end();
    assert!(!client.read(stream).is_complete());
}
