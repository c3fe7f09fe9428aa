//! The HTTP/2 client and the HTTP/2 upstreams talk to each other.

use std::time::Duration;

use crate::client::{Cut, H2Client, get, post, request};
use crate::frames;
use crate::upstream::h2::raw::RawH2Upstream;
use crate::upstream::h2::{H2Upstream, Options, Play, refuse, reply, reset, stall};
use crate::upstream::{Authority, Framing, Gate};

fn connect(url: &str) -> H2Client {
    H2Client::connect(url.rsplit_once(':').unwrap().1.parse().unwrap())
}

#[test]
fn requests_and_answers_arrive_as_they_were_written() {
    let upstream = H2Upstream::start();
    upstream.script([reply(201).field("x-a", "1").field("x-a", "2").body("made").into(), Play::echo()]);
    let mut client = connect(&upstream.url());
    let response = client.ask(&post("/a?b", "hello").field("X-B", "c"));
    assert_eq!((response.status, response.text().as_str(), response.is_complete()), (201, "made", true));
    assert_eq!((response.all("x-a"), response.version.as_str()), (vec![b"1".as_slice(), b"2"], "HTTP/2"));
    // More than the windows of the beginning.
    let body = "0123456789".repeat(300_000);
    assert_eq!(client.ask(&request("PUT", "/c").chunks([body.as_bytes()])).text(), body);
    assert_eq!(client.ask(&get("/d")).text(), "");
    let seen = upstream.seen();
    assert_eq!(
        (seen[0].method.as_str(), seen[0].path().as_str(), seen[0].body.as_slice()),
        ("POST", "/a?b", &b"hello"[..])
    );
    assert_eq!((seen[0].framing, seen[2].framing), (Framing::Frames, Framing::None));
    assert_eq!((seen[0].connection, seen[0].index, seen[2].index), (1, 1, 3));
    assert_eq!(
        (seen[0].get("x-b").as_deref(), seen[0].get(":authority").as_deref()),
        (Some("c"), Some("forebay.test"))
    );
    upstream.assert_unambiguous();
}

#[test]
fn heads_larger_than_a_frame_go_on_in_continuations() {
    let upstream = H2Upstream::start();
    let value = "v".repeat(50_000);
    upstream.script([reply(200).field("x-large", &value).body("ok").into()]);
    let response = connect(&upstream.url()).ask(&get("/").field("x-large", &value));
    assert_eq!(response.get("x-large").as_deref(), Some(value.as_str()));
    assert_eq!(upstream.seen()[0].get("x-large"), Some(value));
}

#[test]
fn streams_are_told_apart_and_read_piece_by_piece() {
    let upstream = H2Upstream::start();
    let gate = Gate::new();
    let waiting = gate.clone();
    upstream.answer_with(move |seen, _| match seen.path().as_str() {
        "/slow" => reply(200).open().then_data("one").then_await(&waiting).then_data("two").then_end(),
        path => reply(200).body(path).into(),
    });
    let mut client = connect(&upstream.url());
    let slow = client.send(&get("/slow"));
    assert_eq!(client.read_body(slow, 3).text(), "one");
    assert_eq!(client.ask(&get("/quick")).text(), "/quick");
    let response = client.read_until(slow, Duration::from_millis(50), |r| r.body.len() > 3);
    assert_eq!((response.text().as_str(), response.cut), ("one", Some(Cut::Timeout)));
    gate.open();
    assert_eq!(client.read(slow).text(), "onetwo");
    assert_eq!((upstream.accepted(), upstream.most_streams()), (1, 2));
}

#[test]
fn every_way_to_end_a_stream_is_seen_as_what_it_is() {
    let upstream = H2Upstream::start();
    for (play, code) in [
        (refuse(), frames::REFUSED_STREAM),
        (reset(h2::Reason::CANCEL), frames::CANCEL),
        (reset(h2::Reason::INTERNAL_ERROR), 2),
    ] {
        upstream.script([play]);
        let response = connect(&upstream.url()).ask(&get("/"));
        assert_eq!((response.status, response.cut), (0, Some(Cut::Stream(code))));
    }
    upstream.script([reply(200).open().then_data("part").then_reset(h2::Reason::INTERNAL_ERROR)]);
    let response = connect(&upstream.url()).ask(&get("/"));
    assert_eq!((response.status, response.cut, response.is_complete()), (200, Some(Cut::Stream(2)), false));
    upstream.script([Play::new()
        .then_interim(103)
        .then_do(reply(200).open().then_data("x").then_trailers(&[("x-t", "1")]))]);
    let response = connect(&upstream.url()).ask(&get("/"));
    assert_eq!((response.interim.as_slice(), response.text().as_str()), ([103].as_slice(), "x"));
    assert_eq!((response.trailer("x-t").as_deref(), response.is_complete()), (Some("1"), true));
}

#[test]
fn a_stalled_stream_is_aborted_when_its_client_resets_it_or_goes() {
    let upstream = H2Upstream::start();
    upstream.script([stall()]);
    let mut client = connect(&upstream.url());
    let first = client.send(&get("/1"));
    client.send(&get("/2"));
    upstream.wait_seen(2);
    client.reset(first, frames::CANCEL);
    upstream.wait("the end of the first", |seen| seen[0].aborted.is_some());
    assert!(upstream.seen()[1].aborted.is_none());
    drop(client);
    upstream.wait("the end of the second", |seen| seen[1].aborted.is_some());
    upstream.wait_all_closed();
}

#[test]
fn goaway_lets_streams_finish_and_abort_does_not() {
    let upstream = H2Upstream::start();
    let gate = Gate::new();
    upstream.script([reply(200).open().then_data("a").then_goaway().then_await(&gate).then_data("b").then_end()]);
    let mut client = connect(&upstream.url());
    let stream = client.send(&get("/"));
    client.read_body(stream, 1);
    assert_eq!(client.wait_for_goaway().1, frames::NO_ERROR);
    gate.open();
    assert_eq!(client.read(stream).text(), "ab");
    assert!(client.is_closed());
    upstream.script([reply(200).open().then_data("a").then_abort(h2::Reason::ENHANCE_YOUR_CALM).then_stall()]);
    let mut client = connect(&upstream.url());
    let response = client.ask(&get("/"));
    assert!(!response.is_complete(), "{response:?}");
    assert_eq!(client.goaway().map(|(_, code)| code), Some(frames::ENHANCE_YOUR_CALM));
}

#[test]
fn windows_hold_back_what_was_not_granted() {
    let upstream = H2Upstream::start();
    upstream.script([reply(200).open().then_flood(1000, 100).then_end()]);
    let port = upstream.url().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut client = H2Client::with_stream_window(port, 1000);
    let stream = client.send(&get("/"));
    let response = client.read_until(stream, Duration::from_millis(200), |_| false);
    assert_eq!((response.body.len(), response.cut), (1000, Some(Cut::Timeout)));
    client.grant(stream, 1_000_000);
    assert_eq!(client.read(stream).body.len(), 100_000);
}

#[test]
fn an_early_answer_comes_before_the_body_is_read_and_the_limit_of_streams_is_said() {
    let upstream = H2Upstream::start_with(&Options { max_streams: Some(7), ..Options::default() });
    upstream.script([Play::from(reply(413).body("no")).early()]);
    let mut client = connect(&upstream.url());
    assert_eq!(client.setting(frames::MAX_CONCURRENT_STREAMS), Some(7));
    let stream = client.open(&request("POST", "/"));
    assert_eq!(client.read(stream).status, 413);
    client.data(stream, b"late", true);
    let seen = upstream.wait("the body", |seen| seen[0].complete);
    assert_eq!(seen[0].body, b"late");
    client.round_trip();
}

#[test]
fn over_tls_it_is_chosen_by_alpn() {
    let authority = Authority::new();
    let upstream = H2Upstream::start_tls(&authority);
    let port = upstream.url().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut client = H2Client::connect_tls(port, authority.client_config(&["h2"])).unwrap();
    assert_eq!(client.ask(&get("/")).text(), "ok");
    assert!(H2Client::connect_tls(port, Authority::new().client_config(&["h2"])).is_err(), "another authority");
    assert!(H2Client::connect_tls(port, authority.client_config(&["http/1.1"])).is_err(), "no common protocol");
}

#[test]
fn a_raw_upstream_says_what_the_story_says() {
    let upstream = RawH2Upstream::start(|peer, connection| {
        while let Some((stream, path)) = peer.next_request() {
            match path.as_str() {
                "/bad" => drop(peer.send(frames::frame(frames::DATA, 0, stream, "DATA before HEADERS"))),
                "/leave" => return,
                path => drop(peer.answer(stream, 200, &format!("{connection} {path}"))),
            }
        }
    });
    let mut client = connect(&upstream.url());
    assert_eq!(client.ask(&get("/a")).text(), "1 /a");
    assert_eq!(client.ask(&get("/b")).text(), "1 /b");
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.ask(&get("/bad"))));
    assert!(read.is_err(), "{read:?}");
    drop(client);
    upstream.wait_all_closed();
    assert_eq!(upstream.accepted(), 1);
}

#[test]
fn what_has_two_readings_is_recorded() {
    let upstream = H2Upstream::start();
    let mut client = connect(&upstream.url());
    for (name, value) in [("content_length", "5"), ("host", "other")] {
        upstream.forget();
        client.ask(&get("/").field(name, value));
        assert!(!upstream.seen()[0].problems.is_empty(), "{name}");
    }
}
