//! Every byte is passed on as it comes, and no more is taken than the client reads (2, 4).

use std::thread;
use std::time::{Duration, Instant};

use super::forebay_for;
use crate::client::get;
use crate::expect::assert_relayed;
use crate::upstream::{Behaviour, FakeUpstream, Gate, PATIENCE, answer};

/// Each event is sent only after the client has read the one before it: a buffered one would never come.
fn one_by_one(upstream: &FakeUpstream, head: Behaviour, chunked: bool) {
    let forebay = forebay_for(upstream);
    let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
    let event = |n: usize| format!("data: {{\"i\": {n}}}\n\n");
    let mut behaviour = head;
    for (n, gate) in gates.iter().enumerate() {
        behaviour = behaviour.then_await(gate);
        behaviour = if chunked { behaviour.then_chunk(event(n)) } else { behaviour.then_send(event(n)) };
    }
    upstream.script([if chunked { behaviour.then_last_chunk() } else { behaviour.then_close() }]);
    let mut client = forebay.connect();
    client.send(get("/sse").bytes());
    let mut response = client.read_head("GET");
    assert_eq!(response.get("content-type").as_deref(), Some("text/event-stream"));
    for (n, gate) in gates.iter().enumerate() {
        gate.open();
        client.read_body(&mut response, event(0).len() * (n + 1));
        assert_eq!(response.cut, None, "event {n} is held back: {response:?}");
    }
    client.read_rest(&mut response);
    assert_relayed(&response, 200, (0..5).map(event).collect::<String>());
}

#[test]
fn the_head_and_every_chunk_are_flushed_as_they_come() {
    let head = answer(200).field("Content-Type", "text/event-stream");
    one_by_one(&FakeUpstream::start(), head.chunked_head(), true);
}

#[test]
fn a_stream_that_ends_with_its_connection_is_flushed_as_it_comes() {
    let head = answer(200).field("Content-Type", "text/event-stream").field("Connection", "close");
    one_by_one(&FakeUpstream::start(), head.head(), false);
}

#[test]
fn a_stream_with_a_length_is_flushed_as_it_comes() {
    let length = 5 * "data: {\"i\": 0}\n\n".len();
    let head = answer(200).field("Content-Type", "text/event-stream").field("Content-Length", length.to_string());
    one_by_one(&FakeUpstream::start(), head.head(), false);
}

#[test]
fn a_client_that_stops_reading_stops_the_upstream() {
    let upstream = FakeUpstream::start();
    let total = 1 << 30;
    upstream.script([answer(200).field("Content-Length", total.to_string()).head().then_flood(total)]);
    let forebay = forebay_for(&upstream);
    let before = forebay.memory();
    let mut client = forebay.connect().with_small_window();
    client.send(get("/flood").bytes());
    let response = client.read_head("GET");
    assert_eq!(response.status, 200);
    // It stands still when the buffers of the system are full.
    let flooded = || upstream.seen()[0].flooded;
    let end = Instant::now() + PATIENCE;
    loop {
        let taken = flooded();
        thread::sleep(Duration::from_millis(500));
        if taken == flooded() {
            break;
        }
        assert!(taken < 64 << 20 && Instant::now() < end, "{taken} bytes were taken for a client that does not read");
    }
    assert!(forebay.memory() < before + (64 << 20), "{} bytes more", forebay.memory() - before);
    drop(client);
    upstream.wait("the end of the download", |seen| seen[0].aborted.is_some());
}
