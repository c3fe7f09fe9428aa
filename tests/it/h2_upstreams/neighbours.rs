//! Streams on one upstream connection are in nobody's way, however small their frames and however slow their clients.

use std::thread;
use std::time::Duration;

use super::patient;
use crate::client::{Client, H2Client, get};
use crate::expect::assert_relayed;
use crate::forebay::Forebay;
use crate::upstream::H2Upstream;
use crate::upstream::h2::reply;

const SIZE: usize = 100;

/// `/small/<n>`: so many small frames, as a model's tokens come. Everything else is answered at once.
fn upstream() -> H2Upstream {
    let upstream = H2Upstream::start();
    upstream.answer_with(|seen, _| {
        let path = seen.path();
        let Some(frames) = path.strip_prefix("/small/") else { return reply(200).body(path).into() };
        let head = reply(200).field("content-type", "text/event-stream").open();
        head.then_flood(frames.parse().unwrap(), SIZE).then_end()
    });
    upstream
}

/// Clients that have asked for more small frames than there are buffers for, and read nothing of them.
fn slow_clients(forebay: &Forebay, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| forebay.connect().with_small_window()).collect();
    for client in &mut clients {
        client.send(get("/small/60000").bytes());
    }
    clients
}

/// Waits until nothing moves on the streams of small frames, of which none has come to its end.
#[track_caller]
fn wait_until_it_stands(upstream: &H2Upstream, frames: usize) {
    let taken = || -> Vec<usize> {
        upstream.seen().iter().filter(|s| s.path().starts_with("/small")).map(|s| s.flooded).collect()
    };
    let mut before = taken();
    loop {
        thread::sleep(Duration::from_millis(400));
        let now = taken();
        if now == before && now.iter().all(|n| *n > 0) {
            assert!(now.iter().all(|n| *n < frames * SIZE), "nobody is slow: {now:?}");
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
    let _slow = slow_clients(&forebay, 2);
    upstream.wait_seen(3);
    wait_until_it_stands(&upstream, 60_000);
    for number in 0..30 {
        let path = format!("/{number}");
        assert_relayed(&forebay.get(&path), 200, &path);
    }
    let response = forebay.get("/small/5000");
    assert!(response.is_complete() && response.body.len() == 5000 * SIZE, "{response:?}");
    assert_eq!(upstream.accepted(), 1, "they are neighbours, or nothing was shown");
    assert!(forebay.memory() < before + (64 << 20), "{} bytes more", forebay.memory() - before);
}

#[test]
fn slow_readers_that_leave_leave_nothing() {
    let upstream = upstream();
    let forebay = patient(&upstream).start();
    let slow = slow_clients(&forebay, 2);
    upstream.wait_seen(2);
    wait_until_it_stands(&upstream, 60_000);
    drop(slow);
    upstream.wait("every stream to be reset", |seen| seen.iter().all(|s| s.aborted.is_some()));
    // Their share of the connection's window has come back.
    for _ in 0..5 {
        let response = forebay.get("/small/5000");
        assert!(response.is_complete() && response.body.len() == 5000 * SIZE, "{response:?}");
    }
}

#[test]
fn a_slow_stream_of_a_client_on_http2_is_in_nobodys_way_either() {
    let upstream = upstream();
    let forebay = patient(&upstream).start();
    let mut client = H2Client::with_stream_window(forebay.port, 5000);
    let slow: Vec<u32> = (0..5).map(|_| client.send(&get("/small/20000"))).collect();
    upstream.wait_seen(5);
    wait_until_it_stands(&upstream, 20_000);
    for number in 0..30 {
        let path = format!("/{number}");
        assert_relayed(&client.ask(&get(&path)), 200, &path);
    }
    assert_eq!(upstream.accepted(), 1, "they are neighbours, or nothing was shown");
    // And the slow ones get every byte, now that they may.
    for stream in slow {
        client.grant(stream, 1 << 30);
        let response = client.read(stream);
        assert!(response.is_complete() && response.body.len() == 20_000 * SIZE, "{response:?}");
    }
}
