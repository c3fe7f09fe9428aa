//! Clients on HTTP/2 that ask for much and take nothing.

use std::time::Duration;

use super::Target;
use crate::client::{H2Client, get, request};
use crate::frames;
use crate::upstream::{FakeUpstream, PATIENCE, answer};

/// More than all buffers between take.
const LARGE: usize = 64 << 20;

/// Every answer but `/own` is large.
fn target_with_large_answers() -> Target {
    let upstream = FakeUpstream::start();
    upstream.answer_with(|seen, _| match seen.path().as_str() {
        "/own" => answer(200).body("own").into(),
        _ => answer(200).field("Content-Length", LARGE.to_string()).head().then_flood(LARGE),
    });
    let forebay = Target::settings(&upstream).start();
    Target::under(upstream, forebay)
}

#[test]
fn answers_for_which_there_is_no_window() {
    let target = target_with_large_answers();
    let mut clients: Vec<H2Client> = (0..2).map(|_| H2Client::with_stream_window(target.forebay.port, 0)).collect();
    for client in &mut clients {
        for _ in 0..40 {
            client.send(&get("/large"));
        }
    }
    target.upstream.wait_seen(81);
    target.serves_others();
    target.has_kept_its_memory();
    // They are given up while their clients are still there.
    target.upstream.wait("every download to be given up", |seen| {
        seen.iter().filter(|s| s.path() == "/large").all(|s| s.aborted.is_some())
    });
    target.is_as_before();
    drop(clients);
}

#[test]
fn a_window_that_opens_byte_by_byte_is_progress_and_no_more() {
    let target = target_with_large_answers();
    let mut client = H2Client::with_stream_window(target.forebay.port, 1);
    let streams: Vec<u32> = (0..20).map(|_| client.send(&get("/large"))).collect();
    target.upstream.wait_seen(21);
    for _ in 0..10 {
        for stream in &streams {
            client.grant(*stream, 1);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    target.serves_others();
    target.has_kept_its_memory();
    drop(client);
    target.is_as_before();
}

#[test]
fn a_client_that_reads_nothing_from_its_socket() {
    let target = target_with_large_answers();
    let mut clients: Vec<H2Client> =
        (0..4).map(|_| H2Client::connect(target.forebay.port).with_small_receive_buffer().impolite()).collect();
    for client in &mut clients {
        for _ in 0..10 {
            client.send(&get("/large"));
        }
    }
    target.upstream.wait_seen(41);
    target.serves_others();
    target.has_kept_its_memory();
    target.upstream.wait("every download to end", |seen| {
        seen.iter().filter(|s| s.path() == "/large").all(|s| s.aborted.is_some())
    });
    target.is_as_before();
    drop(clients);
}

#[test]
fn windows_that_shrink_below_nothing() {
    let target = target_with_large_answers();
    let mut client = H2Client::with_stream_window(target.forebay.port, 100_000);
    let streams: Vec<u32> = (0..10).map(|_| client.send(&get("/large"))).collect();
    for stream in &streams {
        client.read_body(*stream, 50_000);
    }
    for size in [0, 1 << 30, 0, 1, 0] {
        client.write(frames::settings(&[(frames::INITIAL_WINDOW_SIZE, size)]));
    }
    target.upstream.wait("every download to end", |seen| {
        seen.iter().filter(|s| s.path() == "/large").all(|s| s.aborted.is_some() || s.flooded == LARGE)
    });
    drop(client);
    target.is_as_before();
}

#[test]
fn uploads_that_never_end_on_many_streams() {
    let target = Target::new();
    let mut clients: Vec<H2Client> = (0..4).map(|_| target.forebay.connect_h2()).collect();
    for client in &mut clients {
        for _ in 0..50 {
            let stream = client.open(&request("POST", "/upload").field("content-length", "1000000"));
            client.data(stream, &[b'x'; 10], false);
        }
    }
    target.serves_others();
    target.has_kept_its_memory();
    for client in &mut clients {
        let response = client.read(1);
        assert_eq!(response.status, 408, "{response:?}");
    }
    assert!(
        target.upstream.seen().iter().all(|s| s.path() == "/own"),
        "no byte goes upstream before the body is complete"
    );
    drop(clients);
    target.is_as_before();
}

#[test]
fn connections_that_never_say_anything() {
    let target = Target::new();
    let files = target.forebay.open_files();
    let mut clients = Vec::new();
    for number in 0..120 {
        let mut client = H2Client::silent(target.forebay.port);
        match number % 4 {
            0 => {}
            1 => drop(client.write(&frames::PREFACE[..number / 4 % 23])),
            2 => drop(client.write(frames::PREFACE)),
            _ => drop(client.write([frames::PREFACE, &frames::settings(&[])].concat())),
        }
        clients.push(client);
    }
    target.serves_others();
    let end = std::time::Instant::now() + PATIENCE;
    while target.forebay.open_files() > files + 10 {
        assert!(std::time::Instant::now() < end, "{} files, {files} before", target.forebay.open_files());
        std::thread::sleep(Duration::from_millis(50));
    }
    target.is_as_before();
    drop(clients);
}

#[test]
fn more_connections_and_streams_than_there_are_file_descriptors() {
    let upstream = FakeUpstream::start();
    upstream.answer_with(|_, _| answer(200).body("own").into());
    let forebay = Target::settings(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 2).open_files(64).start();
    let mut clients: Vec<H2Client> = (0..10).map(|_| forebay.connect_h2()).collect();
    let mut streams = Vec::new();
    for client in &mut clients {
        streams.push((0..50).map(|_| client.send(&get("/own"))).collect::<Vec<_>>());
    }
    for (client, streams) in clients.iter_mut().zip(streams) {
        for stream in streams {
            let response = client.read(stream);
            assert!(matches!(response.status, 200 | 502 | 503 | 504), "{response:?}");
            assert!(response.is_complete(), "{response:?}");
        }
    }
    drop(clients);
    let end = std::time::Instant::now() + PATIENCE;
    while forebay.get("/own").status != 200 {
        assert!(std::time::Instant::now() < end, "it does not recover");
    }
}
