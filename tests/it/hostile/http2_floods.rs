//! Floods of frames on one connection (CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316 and their kin).

use std::time::{Duration, Instant};

use super::Target;
use crate::client::{H2Client, request};
use crate::frames;

const REQUEST: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/own"), (":authority", "a")];

/// No attack lasts longer: then the peer has let it happen, which is its good right.
const LONGEST: Duration = Duration::from_secs(4);

/// Sends these bytes again and again, so many times, or until the peer has had enough. Nothing is ever read.
fn flood(client: &mut H2Client, times: usize, bytes: &[u8]) {
    let begin = Instant::now();
    let block = bytes.repeat((16_384 / bytes.len()).max(1));
    let times = (times * bytes.len()).div_ceil(block.len());
    for _ in 0..times {
        if begin.elapsed() > LONGEST || !client.write_within(&block, Duration::from_millis(500)) {
            return;
        }
    }
}

#[test]
fn rapid_reset() {
    let target = Target::new();
    for code in [frames::CANCEL, frames::NO_ERROR] {
        let mut client = target.forebay.connect_h2().impolite();
        let mut batch = Vec::new();
        for _ in 0..5000 {
            let stream = client.next_stream();
            batch.extend(frames::headers(stream, true, &frames::block(&REQUEST)));
            batch.extend(frames::rst_stream(stream, code));
        }
        client.write_within(&batch, LONGEST);
        target.serves_others();
    }
    target.is_as_before();
}

#[test]
fn resets_that_the_client_makes_the_server_send() {
    // CVE-2025-8671: a frame that is wrong on its stream makes the server reset it, and the exchange runs on behind.
    let target = Target::new();
    let mut client = target.forebay.connect_h2().impolite();
    let mut batch = Vec::new();
    for _ in 0..3000 {
        let stream = client.next_stream();
        batch.extend(frames::headers(stream, true, &frames::block(&REQUEST)));
        // After END_STREAM, and beyond every window.
        batch.extend(frames::window_update(stream, frames::LARGEST_WINDOW));
    }
    client.write_within(&batch, LONGEST);
    target.serves_others();
    drop(client);
    target.is_as_before();
}

#[test]
fn continuations_without_end() {
    let target = Target::new();
    for piece in [frames::literal("x", "y".repeat(1000)), frames::literal("x", "y"), Vec::new()] {
        let mut client = target.forebay.connect_h2().impolite();
        let stream = client.next_stream();
        client.write(frames::frame(frames::HEADERS, frames::END_STREAM, stream, frames::block(&REQUEST)));
        flood(&mut client, 30_000, &frames::frame(frames::CONTINUATION, 0, stream, piece));
        target.serves_others();
        target.has_kept_its_memory();
        assert!(client.is_closed(), "a head that does not end keeps its connection");
    }
    target.is_as_before();
}

#[test]
fn control_frames_without_end() {
    let target = Target::new();
    let mut clients = Vec::new();
    for (what, frame) in [
        ("SETTINGS", frames::settings(&[])),
        ("SETTINGS with something in them", frames::settings(&[(frames::INITIAL_WINDOW_SIZE, 70_000), (1, 4096)])),
        ("PING", frames::frame(frames::PING, 0, 0, *b"floods!!")),
        ("answers to PING", frames::frame(frames::PING, frames::ACK, 0, *b"floods!!")),
        ("PRIORITY", frames::frame(frames::PRIORITY, 0, 1, [0, 0, 0, 0, 16])),
        ("PRIORITY of many", frames::frame(frames::PRIORITY, 0, 1_000_001, [0, 0, 0, 3, 16])),
        ("an unknown type", frames::frame(0xbb, 0, 0, [0; 100])),
        ("GOAWAY", frames::goaway(0, frames::NO_ERROR)),
        ("WINDOW_UPDATE", frames::window_update(0, 1)),
    ] {
        println!("{what}");
        let mut client = target.forebay.connect_h2().impolite();
        flood(&mut client, 200_000, &frame);
        target.serves_others();
        target.has_kept_its_memory();
        // It stays while the others come: what it holds is not given back.
        clients.push(client);
    }
    drop(clients);
    target.is_as_before();
}

#[test]
fn frames_of_nothing_on_an_open_stream() {
    let target = Target::new();
    for (what, flags, payload) in [
        ("empty", 0, vec![]),
        ("padding alone", frames::PADDED, [[200].as_slice(), &[0; 200]].concat()),
        ("a byte each", 0, vec![b'x']),
    ] {
        println!("{what}");
        let mut client = target.forebay.connect_h2().impolite();
        let stream = client.open(&request("POST", "/own"));
        flood(&mut client, 200_000, &frames::frame(frames::DATA, flags, stream, payload));
        target.serves_others();
        target.has_kept_its_memory();
    }
    target.is_as_before();
}

#[test]
fn a_small_block_that_becomes_a_large_head() {
    let target = Target::new();
    for (entry, times) in [(4000, 15_000), (60, 60_000)] {
        // One field goes into the table, and then a byte stands for it, again and again.
        let mut block = frames::block(&REQUEST);
        block.extend(frames::inserted("x", "y".repeat(entry)));
        block.extend(frames::indexed(62).repeat(times));
        let mut client = target.forebay.connect_h2();
        let stream = client.send_block(&block, true);
        let response = client.read(stream);
        assert!(response.status == 431 || response.cut.is_some(), "{response:?}");
        assert_ne!(response.cut, Some(crate::client::Cut::Timeout), "{response:?}");
        target.has_kept_its_memory();
    }
    // And so on many connections at once, which stay.
    let mut block = frames::block(&REQUEST);
    block.extend(frames::inserted("x", "y".repeat(3000)));
    block.extend(frames::indexed(62).repeat(10_000));
    let mut clients: Vec<H2Client> = (0..30).map(|_| target.forebay.connect_h2()).collect();
    for client in &mut clients {
        client.send_block(&block, true);
    }
    target.serves_others();
    target.has_kept_its_memory();
    assert_eq!(target.upstream.seen().iter().filter(|s| s.all("x").len() > 1).count(), 0);
    drop(clients);
    target.is_as_before();
}

#[test]
fn more_streams_than_were_allowed() {
    let target = Target::new();
    let mut client = target.forebay.connect_h2();
    let most = client.setting(frames::MAX_CONCURRENT_STREAMS).expect("a limit of streams is said") as usize;
    assert!(most <= 1000, "{most} streams on each connection");
    // All of them upload, and none ends.
    let mut batch = Vec::new();
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/own"), (":authority", "a")];
    let streams: Vec<u32> = (0..most + 500).map(|_| client.next_stream()).collect();
    for stream in &streams {
        batch.extend(frames::headers(*stream, false, &frames::block(&fields)));
    }
    client.write_within(&batch, LONGEST);
    let refused = client.read(streams[most + 100]);
    assert!(refused.cut.is_some() && refused.cut != Some(crate::client::Cut::Timeout), "{refused:?}");
    target.serves_others();
    drop(client);
    target.is_as_before();
    assert!(target.upstream.seen().iter().all(|s| s.method == "GET"), "{:#?}", target.upstream.seen());
}
