//! Many streams, and answers that come piece by piece.

use std::time::Duration;

use super::forebay_for;
use crate::client::{Cut, get, post};
use crate::expect::{A_WHILE, assert_relayed};
use crate::frames;
use crate::upstream::{FakeUpstream, Gate, PATIENCE, answer, echo, raw};

#[test]
fn a_hundred_streams_are_served_at_once() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let waiting = gate.clone();
    upstream.answer_with(move |_, _| raw("").then_await(&waiting).then_do(echo()));
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    assert!(client.setting(frames::MAX_CONCURRENT_STREAMS).is_none_or(|most| most >= 100));
    let streams: Vec<u32> = (0..100).map(|n| client.send(&post(format!("/{n}"), format!("body {n}")))).collect();
    upstream.wait_seen(100);
    gate.open();
    for (number, stream) in streams.into_iter().enumerate() {
        assert_relayed(&client.read(stream), 200, format!("body {number}"));
    }
    upstream.assert_unambiguous();
}

#[test]
fn a_slow_answer_is_in_nobodys_way() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let waiting = gate.clone();
    upstream.answer_with(move |seen, _| match seen.path().as_str() {
        "/slow" => raw("").then_await(&waiting).then_do(answer(200).body("slow")),
        path => answer(200).body(path).into(),
    });
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    let slow = client.send(&get("/slow"));
    upstream.wait_seen(1);
    for number in 0..20 {
        let path = format!("/{number}");
        assert_relayed(&client.ask(&get(&path)), 200, &path);
    }
    gate.open();
    assert_relayed(&client.read(slow), 200, "slow");
}

#[test]
fn the_head_and_every_event_are_flushed_as_they_come() {
    let upstream = FakeUpstream::start();
    let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
    let event = |n: usize| format!("data: {{\"i\": {n}}}\n\n");
    let mut behaviour = answer(200).field("Content-Type", "text/event-stream").chunked_head();
    for (n, gate) in gates.iter().enumerate() {
        behaviour = behaviour.then_await(gate).then_chunk(event(n));
    }
    upstream.script([behaviour.then_last_chunk()]);
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    let stream = client.send(&get("/sse"));
    let head = client.read_head(stream);
    assert_eq!((head.status, head.get("content-type").as_deref()), (200, Some("text/event-stream")));
    for (n, gate) in gates.iter().enumerate() {
        gate.open();
        let response = client.read_body(stream, event(0).len() * (n + 1));
        assert_eq!(response.cut, None, "event {n} is held back: {response:?}");
    }
    assert_relayed(&client.read(stream), 200, (0..5).map(event).collect::<String>());
}

#[test]
fn a_stream_whose_window_is_used_up_stops_its_upstream_and_no_other() {
    let upstream = FakeUpstream::start();
    let total = 32 << 20;
    upstream.answer_with(move |seen, _| match seen.path().as_str() {
        "/flood" => answer(200).field("Content-Length", total.to_string()).head().then_flood(total),
        _ => answer(200).body("ok").into(),
    });
    let forebay = forebay_for(&upstream);
    let before = forebay.memory();
    let mut client = crate::client::H2Client::with_stream_window(forebay.port, 10_000);
    let flood = client.send(&get("/flood"));
    assert_eq!(client.read_body(flood, 10_000).body.len(), 10_000);
    let stands = || {
        let taken = upstream.seen()[0].flooded;
        std::thread::sleep(Duration::from_millis(400));
        taken == upstream.seen()[0].flooded
    };
    let end = std::time::Instant::now() + PATIENCE;
    while !stands() {
        assert!(std::time::Instant::now() < end, "the upstream is never stopped");
    }
    assert!(upstream.seen()[0].flooded < total);
    assert_relayed(&client.ask(&get("/other")), 200, "ok");
    assert!(forebay.memory() < before + (32 << 20), "{} bytes more", forebay.memory() - before);
    // The rest comes as soon as it may.
    client.grant(flood, 1 << 30);
    assert_eq!(client.read(flood).body.len(), total);
}

#[test]
fn an_answer_that_breaks_off_is_a_reset_and_the_connection_goes_on() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    for (what, broken) in [
        ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"),
        ("a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\npart"),
    ] {
        for reset in [false, true] {
            upstream.forget();
            let gate = Gate::new();
            let broken = raw(broken).then_await(&gate);
            upstream.script([if reset { broken.then_reset() } else { broken.then_close() }]);
            let stream = client.send(&get("/"));
            assert_eq!(client.read_body(stream, 4).text(), "part", "{what}");
            gate.open();
            let response = client.read(stream);
            assert!(
                matches!(response.cut, Some(Cut::Stream(code)) if code != frames::NO_ERROR),
                "{what}: {response:?}"
            );
            upstream.assert_no_more_than(1, A_WHILE);
            upstream.script([answer(200).body("next").into()]);
            assert_relayed(&client.ask(&get("/next")), 200, "next");
        }
    }
}

#[test]
fn a_broken_event_stream_ends_with_an_event_of_the_clients_dialect() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let head = answer(200).field("Content-Type", "text/event-stream").chunked_head();
    upstream.script([head.then_chunk("data: 1\n\n").then_await(&gate).then_close()]);
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    let stream = client.send(&post("/v1/chat/completions", "{}"));
    client.read_body(stream, 9);
    gate.open();
    let response = client.read(stream);
    assert!(response.is_complete(), "the response ends normally: {response:?}");
    let text = response.text();
    let last = text.strip_prefix("data: 1\n\ndata: ").unwrap_or_else(|| panic!("one more event: {text:?}"));
    let error: serde_json::Value = serde_json::from_str(last.trim_end()).unwrap();
    assert_eq!(error["error"]["code"], "upstream_broken", "{error}");
}

#[test]
fn trailers_of_the_upstream_arrive() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).field("Trailer", "X-T").trailers("body", &[("X-T", "v"), ("X-U", "w")]).into()]);
    let response = forebay_for(&upstream).connect_h2().ask(&get("/").field("te", "trailers"));
    assert_relayed(&response, 200, "body");
    assert_eq!(response.trailer("x-t").as_deref(), Some("v"), "{response:?}");
}
