//! Streams on one upstream connection are in nobody's way, however small their frames and however slow their clients.

use std::thread;
use std::time::Duration;

use super::patient;
use crate::client::{Client, H2Client, get};
use crate::expect::assert_relayed;
use crate::forebay::Forebay;
use crate::upstream::H2Upstream;
use crate::upstream::h2::reply;

const FRAMES: usize = 60_000;
const SIZE: usize = 100;

/// `/small`: what a model's tokens look like. Everything else is answered at once.
fn upstream() -> H2Upstream {
    let upstream = H2Upstream::start();
    upstream.answer_with(|seen, _| match seen.path().as_str() {
        "/small" => reply(200).field("content-type", "text/event-stream").open().then_flood(FRAMES, SIZE).then_end(),
        path => reply(200).body(path).into(),
    });
    upstream
}

/// Clients that have asked for many small frames, and read nothing of them.
fn slow_clients(forebay: &Forebay, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| forebay.connect().with_small_window()).collect();
    for client in &mut clients {
        client.send(get("/small").bytes());
    }
    clients
}

fn until_it_stands(upstream: &H2Upstream) {
    let taken = || upstream.seen().iter().map(|s| s.flooded).sum::<usize>();
    let mut before = taken();
    loop {
        thread::sleep(Duration::from_millis(400));
        let now = taken();
        if now == before && now > 0 {
            return;
        }
        before = now;
    }
}

#[test]
fn a_slow_reader_of_small_frames_neither_stalls_nor_kills_its_neighbours() {
    let upstream = upstream();
    let forebay = patient(&upstream).start();
    assert_relayed(&forebay.get("/first"), 200, "/first");
    let before = forebay.memory();
    let mut slow = slow_clients(&forebay, 3);
    upstream.wait_seen(4);
    until_it_stands(&upstream);
    for number in 0..30 {
        let path = format!("/{number}");
        assert_relayed(&forebay.get(&path), 200, &path);
    }
    assert_eq!(upstream.accepted(), 1, "they are neighbours, or nothing was shown");
    assert!(forebay.memory() < before + (64 << 20), "{} bytes more", forebay.memory() - before);
    // And the slow ones get every byte, now that they read.
    let mut client = slow.pop().unwrap();
    let response = client.read("GET");
    assert!(response.is_complete() && response.body.len() == FRAMES * SIZE, "{response:?}");
}

#[test]
fn slow_readers_that_leave_leave_nothing() {
    let upstream = upstream();
    let forebay = patient(&upstream).start();
    let slow = slow_clients(&forebay, 5);
    upstream.wait_seen(5);
    until_it_stands(&upstream);
    drop(slow);
    upstream.wait("every stream to be reset", |seen| seen.iter().filter(|s| s.aborted.is_some()).count() == 5);
    // Their share of the connection's window has come back.
    for _ in 0..3 {
        let response = forebay.get("/small");
        assert!(response.is_complete() && response.body.len() == FRAMES * SIZE, "{response:?}");
    }
}

#[test]
fn a_slow_stream_of_a_client_on_http2_is_in_nobodys_way_either() {
    let upstream = upstream();
    let forebay = patient(&upstream).start();
    let mut client = H2Client::with_stream_window(forebay.port, 5000);
    let slow: Vec<u32> = (0..3).map(|_| client.send(&get("/small"))).collect();
    upstream.wait_seen(3);
    until_it_stands(&upstream);
    for number in 0..30 {
        let path = format!("/{number}");
        assert_relayed(&client.ask(&get(&path)), 200, &path);
    }
    assert_eq!(upstream.accepted(), 1, "they are neighbours, or nothing was shown");
    client.grant(slow[1], 1 << 30);
    let response = client.read(slow[1]);
    assert!(response.is_complete() && response.body.len() == FRAMES * SIZE, "{response:?}");
}
