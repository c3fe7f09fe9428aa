//! One exchange: what goes in comes out, and the race is the same.

use std::time::Duration;

use super::patient;
use crate::client::{get, post, request};
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts};
use crate::forebay::Settings;
use crate::frames;
use crate::upstream::h2::raw::RawH2Upstream;
use crate::upstream::h2::{Play, reply, stall};
use crate::upstream::{Gate, H2Upstream};

#[test]
fn requests_and_answers_pass() {
    let upstream = H2Upstream::start();
    upstream.script([reply(201)
        .field("x-up", "v")
        .field("set-cookie", "a=1")
        .field("set-cookie", "b=2")
        .body("made")
        .into()]);
    let forebay = patient(&upstream).start();
    let asked =
        post("/a%2Fb/../c?q=%20&r", "hello").field("X-Dup", "1").field("X-Dup", "2").field("X-Bin", b"\xc3\xa9\xff");
    for response in [forebay.ask(&asked), forebay.connect_h2().ask(&asked)] {
        assert_relayed(&response, 201, "made");
        assert_eq!((response.all("set-cookie"), attempts(&response)), (vec![&b"a=1"[..], b"b=2"], Some(1)));
        let seen = upstream.seen().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.path().as_str()), ("POST", "/a%2Fb/../c?q=%20&r"));
        assert_eq!((seen.all("x-dup"), seen.all("x-bin")), (vec![&b"1"[..], b"2"], vec![&b"\xc3\xa9\xff"[..]]));
        assert_eq!((seen.body.as_slice(), seen.get(":authority")), (b"hello".as_slice(), Some(upstream.authority())));
    }
    upstream.assert_unambiguous();
}

#[test]
fn bodies_larger_than_every_window_pass() {
    let upstream = H2Upstream::start();
    upstream.script([Play::echo()]);
    let forebay = patient(&upstream).start();
    let body: Vec<u8> = (0..5_000_001_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for asked in [post("/", &body), request("POST", "/").chunks(body.chunks(70_000))] {
        for response in [forebay.ask(&asked), forebay.connect_h2().ask(&asked)] {
            assert!(response.is_complete() && response.body == body, "{response:?}");
        }
    }
}

#[test]
fn every_event_is_flushed_as_it_comes() {
    let upstream = H2Upstream::start();
    let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
    let mut play = reply(200).field("content-type", "text/event-stream").open();
    for (n, gate) in gates.iter().enumerate() {
        play = play.then_await(gate).then_data(format!("data: {n}\n\n"));
    }
    upstream.script([play.then_end()]);
    let forebay = patient(&upstream).start();
    let mut client = forebay.connect();
    client.send(get("/").bytes());
    let mut response = client.read_head("GET");
    for (n, gate) in gates.iter().enumerate() {
        gate.open();
        client.read_body(&mut response, 9 * (n + 1));
        assert_eq!(response.cut, None, "event {n} is held back: {response:?}");
    }
    client.read_rest(&mut response);
    assert_eq!((response.body.len(), response.is_complete()), (45, true));
}

#[test]
fn a_missed_header_deadline_is_repeated_and_its_stream_reset() {
    let upstream = H2Upstream::start();
    upstream.script([stall(), reply(200).body("second").into()]);
    let forebay = patient(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.5").start();
    let response = forebay.ask(&post("/", "hello"));
    assert_relayed(&response, 200, "second");
    assert_eq!(attempts(&response), Some(2));
    let seen = upstream.wait("the lost stream to be reset", |seen| seen[0].aborted.is_some());
    assert_eq!((seen.len(), seen[0].body.clone()), (2, seen[1].body.clone()));
    // Interim answers do not extend it.
    let mut interim = Play::new();
    for _ in 0..20 {
        interim = interim.then_interim(103).then_pause(Duration::from_millis(100));
    }
    upstream.script([interim.then_do(reply(200))]);
    let forebay =
        patient(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.6").set("UPSTREAM_MAX_ATTEMPTS", 1).start();
    assert_error(&forebay.get("/"), 504, "upstream_header_timeout");
}

#[test]
fn interim_answers_are_no_answers() {
    let upstream = H2Upstream::start();
    upstream.script([Play::new().then_interim(103).then_interim(102).then_do(reply(200).body("final"))]);
    let response = patient(&upstream).start().get("/");
    assert_relayed(&response, 200, "final");
    assert_eq!((response.interim.as_slice(), response.get("link")), ([].as_slice(), None));
}

#[test]
fn an_answer_that_breaks_off_is_cut_and_not_repeated() {
    let upstream = H2Upstream::start();
    let forebay = patient(&upstream).start();
    for reason in [h2::Reason::INTERNAL_ERROR, h2::Reason::CANCEL, h2::Reason::REFUSED_STREAM, h2::Reason::NO_ERROR] {
        upstream.forget();
        let gate = Gate::new();
        upstream.script([reply(200).open().then_data("part").then_await(&gate).then_reset(reason)]);
        let mut client = forebay.connect();
        client.send(get("/").bytes());
        let mut response = client.read_head("GET");
        client.read_body(&mut response, 4);
        gate.open();
        client.read_rest(&mut response);
        assert_eq!((response.text().as_str(), response.is_complete()), ("part", false), "{reason:?}: {response:?}");
        upstream.assert_no_more_than(1, A_WHILE);
    }
    upstream.script([reply(200).field("content-length", "10").open().then_data("part").then_stall()]);
    let forebay = patient(&upstream).set("STREAM_IDLE_TIMEOUT_SECONDS", "0.6").start();
    let response = forebay.get("/");
    assert_eq!((response.text().as_str(), response.is_complete()), ("part", false), "{response:?}");
    upstream.wait("the stalled stream to be reset", |seen| seen[1].aborted.is_some());
}

#[test]
fn an_early_answer_is_delivered_and_the_connection_goes_on() {
    let upstream = H2Upstream::start();
    let gate = Gate::new();
    upstream.answer_with({
        let gate = gate.clone();
        move |seen, _| match seen.path().as_str() {
            "/early" => Play::from(reply(413).body("too much")).early().then_await(&gate),
            path => reply(200).body(path).into(),
        }
    });
    let forebay = patient(&upstream).start();
    assert_relayed(&forebay.ask(&post("/early", vec![b'u'; 8 << 20])), 413, "too much");
    assert_relayed(&forebay.get("/next"), 200, "/next");
    gate.open();
    assert!(!upstream.seen()[0].complete, "a request is never made to look complete");
    assert_eq!(upstream.accepted(), 1, "one stream does not cost its connection");
}

#[test]
fn a_client_that_leaves_resets_its_stream_and_no_other() {
    let upstream = H2Upstream::start();
    let gate = Gate::new();
    upstream.answer_with({
        let gate = gate.clone();
        move |seen, _| match seen.path().as_str() {
            "/stall" => stall(),
            _ => Play::new().then_await(&gate).then_do(reply(200).body("ok")),
        }
    });
    let forebay = patient(&upstream).start();
    let mut neighbour = forebay.connect();
    neighbour.send(get("/neighbour").bytes());
    let mut leaving = forebay.connect();
    leaving.send(post("/stall", "x").bytes());
    upstream.wait("both requests", |seen| seen.len() == 2 && seen.iter().all(|s| s.complete));
    drop(leaving);
    let stalled = |seen: &crate::upstream::Seen| seen.path() == "/stall";
    upstream.wait("the stream to be reset", |seen| seen.iter().any(|s| stalled(s) && s.aborted.is_some()));
    gate.open();
    assert_relayed(&neighbour.read("GET"), 200, "ok");
    upstream.assert_no_more_than(2, A_WHILE);
    assert_eq!(upstream.accepted(), 1);
}

#[test]
fn an_upstream_that_gives_no_window_is_given_up_after_the_write_timeout() {
    let upstream = RawH2Upstream::start(|peer, _| {
        peer.send(frames::settings(&[(frames::INITIAL_WINDOW_SIZE, 0)]));
        while peer.next().is_some() {}
    });
    let forebay = Settings::new()
        .set("UPSTREAM_BASE_URL", upstream.url())
        .set("UPSTREAM_HTTP2", "prior-knowledge")
        .set("WRITE_TIMEOUT_SECONDS", "0.6")
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30)
        .set("UPSTREAM_MAX_ATTEMPTS", 1)
        .start();
    assert_error(&forebay.ask(&post("/", vec![b'x'; 1 << 20])), 504, "upstream_timeout");
}
