//! Clients that take their time (3.4), where a connection has many exchanges.

use std::thread;
use std::time::{Duration, Instant};

use super::patient;
use crate::client::{H2Client, get, request};
use crate::expect::assert_relayed;
use crate::frames;
use crate::upstream::{FakeUpstream, Gate, answer, raw};

/// A head without END_HEADERS.
fn half_a_head(client: &mut H2Client) -> u32 {
    let stream = client.next_stream();
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/half"), (":authority", "a")];
    client.write(frames::frame(frames::HEADERS, frames::END_STREAM, stream, frames::block(&fields)));
    stream
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.6").start();
    let mut half = H2Client::silent(forebay.port);
    half.write(&frames::PREFACE[..14]);
    let mut prefaced = H2Client::silent(forebay.port);
    prefaced.write(frames::PREFACE);
    let mut greeted = forebay.connect_h2();
    let mut begun = forebay.connect_h2();
    half_a_head(&mut begun);
    for (what, client) in [
        ("half a preface", &mut half),
        ("a preface", &mut prefaced),
        ("SETTINGS", &mut greeted),
        ("half a head", &mut begun),
    ] {
        assert!(client.is_closed(), "after {what} and nothing more the connection stays open");
    }
    assert!(upstream.seen().is_empty(), "{:#?}", upstream.seen());
}

#[test]
fn a_head_that_does_not_end_is_cut_however_busy_the_client_is() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.6").start();
    for first in [true, false] {
        let mut client = forebay.connect_h2();
        if !first {
            assert_relayed(&client.ask(&get("/")), 200, "ok");
        }
        let stream = half_a_head(&mut client);
        let begin = Instant::now();
        while !client.is_closed_within(Duration::from_millis(100)) {
            assert!(
                begin.elapsed() < crate::upstream::PATIENCE,
                "a CONTINUATION every 100 ms keeps the connection open"
            );
            client.write(frames::frame(frames::CONTINUATION, 0, stream, frames::literal("x", "y")));
        }
    }
}

#[test]
fn a_request_under_way_is_not_idle_and_has_no_header_timeout() {
    let upstream = FakeUpstream::start();
    upstream.script([raw("").then_pause(Duration::from_millis(1800)).then_do(answer(200).body("slow"))]);
    let forebay =
        patient(&upstream).set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.5").set("CLIENT_IDLE_SECONDS", "0.5").start();
    assert_relayed(&forebay.connect_h2().ask(&get("/")), 200, "slow");
}

#[test]
fn between_requests_the_idle_time_counts() {
    let upstream = FakeUpstream::start();
    let settings = patient(&upstream).set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.5");
    let forebay = settings.clone().set("CLIENT_IDLE_SECONDS", 60).start();
    let mut client = forebay.connect_h2();
    assert_relayed(&client.ask(&get("/1")), 200, "ok");
    thread::sleep(Duration::from_millis(1200));
    assert_relayed(&client.ask(&get("/2")), 200, "ok");

    let forebay = settings.set("CLIENT_IDLE_SECONDS", "0.5").start();
    let mut client = forebay.connect_h2();
    assert_relayed(&client.ask(&get("/1")), 200, "ok");
    assert_eq!(client.wait_for_goaway().1, frames::NO_ERROR);
    assert!(client.is_closed());
}

#[test]
fn a_client_that_gives_no_window_loses_its_stream_after_the_write_timeout() {
    let upstream = FakeUpstream::start();
    let total = 64 << 20;
    upstream.answer_with(move |seen, _| match seen.path().as_str() {
        "/flood" => answer(200).field("Content-Length", total.to_string()).head().then_flood(total),
        _ if seen.method == "HEAD" => answer(200).no_framing().into(),
        _ => answer(200).body("ok").into(),
    });
    let forebay = patient(&upstream).set("CLIENT_WRITE_TIMEOUT_SECONDS", "0.8").start();
    let mut client = H2Client::with_stream_window(forebay.port, 1000);
    let flood = client.send(&get("/flood"));
    client.read_body(flood, 1000);
    assert_relayed(&client.ask(&get("/during")), 200, "ok");
    upstream.wait("the upstream connection to be released", |seen| seen[0].aborted.is_some());
    let response = client.read_until(flood, Duration::from_millis(300), |_| false);
    assert_eq!((response.body.len(), response.is_complete()), (1000, false), "{response:?}");
    assert_relayed(&client.ask(&get("/after")), 200, "ok");

    // Not even the first byte may be sent.
    upstream.forget();
    let mut client = H2Client::with_stream_window(forebay.port, 0);
    let flood = client.send(&get("/flood"));
    assert_eq!(client.read_head(flood).status, 200);
    upstream.wait("the upstream connection to be released", |seen| seen[0].aborted.is_some());
    let response = client.read_until(flood, Duration::from_millis(300), |_| false);
    assert_eq!((response.body.len(), response.is_complete()), (0, false), "{response:?}");
    assert_relayed(&client.ask(&request("HEAD", "/after")), 200, "");
}

#[test]
fn a_client_that_reads_slowly_but_reads_is_served() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).body("x".repeat(12_000)).into()]);
    let forebay = patient(&upstream).set("CLIENT_WRITE_TIMEOUT_SECONDS", "1.5").start();
    let mut client = H2Client::with_stream_window(forebay.port, 1000);
    let stream = client.send(&get("/"));
    for part in 1..12 {
        assert_eq!(client.read_body(stream, part * 1000).body.len(), part * 1000);
        thread::sleep(Duration::from_millis(200));
        client.grant(stream, 1000);
    }
    assert_relayed(&client.read(stream), 200, "x".repeat(12_000));
}

#[test]
fn a_stream_that_says_nothing_is_not_cut_by_clocks_of_the_client() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([answer(200).chunked_head().then_chunk("a").then_await(&gate).then_chunk("b").then_last_chunk()]);
    let settings = patient(&upstream).set("CLIENT_WRITE_TIMEOUT_SECONDS", "0.4").set("CLIENT_IDLE_SECONDS", "0.4");
    let forebay = settings.set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.4").start();
    let mut client = forebay.connect_h2();
    let stream = client.send(&get("/"));
    client.read_body(stream, 1);
    thread::sleep(Duration::from_millis(1500));
    gate.open();
    assert_relayed(&client.read(stream), 200, "ab");
}
