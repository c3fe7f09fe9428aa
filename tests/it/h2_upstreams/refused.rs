//! Streams that the upstream says it did not process: replaced free of charge, once (3.3).

use super::patient;
use crate::client::{get, post};
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts};
use crate::forebay::Settings;
use crate::frames;
use crate::upstream::h2::raw::RawH2Upstream;
use crate::upstream::h2::{Play, refuse, reply, reset};
use crate::upstream::{Gate, H2Upstream};

fn in_front_of_raw(upstream: &RawH2Upstream) -> Settings {
    let settings = Settings::new().set("UPSTREAM_BASE_URL", upstream.url()).set("UPSTREAM_HTTP2", "prior-knowledge");
    settings.set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30)
}

#[test]
fn a_refused_stream_is_replaced_free_of_charge() {
    let upstream = H2Upstream::start();
    for settings in [
        patient(&upstream),
        patient(&upstream).set("RETRY", "safe"),
        patient(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 1),
    ] {
        let forebay = settings.start();
        for asked in [get("/"), post("/", "hello")] {
            upstream.forget();
            upstream.script([refuse(), Play::echo()]);
            let response = forebay.ask(&asked);
            assert_relayed(&response, 200, if asked.method() == "GET" { "" } else { "hello" });
            assert_eq!((attempts(&response), upstream.seen().len()), (Some(1), 2));
        }
    }
}

#[test]
fn the_second_refusal_is_a_failed_attempt() {
    let upstream = H2Upstream::start();
    let forebay = patient(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 2).start();
    upstream.script([refuse(), refuse(), Play::echo()]);
    let response = forebay.ask(&post("/", "hello"));
    assert_relayed(&response, 200, "hello");
    assert_eq!((attempts(&response), upstream.seen().len()), (Some(2), 3));
    upstream.forget();
    upstream.script([refuse()]);
    let response = forebay.get("/");
    assert_error(&response, 502, "upstream_request_error");
    assert_eq!(attempts(&response), Some(2));
    let requests = upstream.seen().len();
    assert!((3..=4).contains(&requests), "{requests} requests for two attempts");
    upstream.assert_no_more_than(requests, A_WHILE);
}

#[test]
fn other_resets_are_failed_attempts() {
    let upstream = H2Upstream::start();
    for reason in [h2::Reason::INTERNAL_ERROR, h2::Reason::CANCEL, h2::Reason::ENHANCE_YOUR_CALM] {
        upstream.forget();
        upstream.script([reset(reason), reply(200).body("second").into()]);
        let response = patient(&upstream).start().ask(&post("/", "x"));
        assert_relayed(&response, 200, "second");
        assert_eq!(attempts(&response), Some(2), "{reason:?}");
        upstream.forget();
        upstream.script([reset(reason), reply(200).body("second").into()]);
        let response = patient(&upstream).set("RETRY", "safe").start().ask(&post("/", "x"));
        assert_error(&response, 502, "upstream_request_error");
        upstream.assert_no_more_than(1, A_WHILE);
    }
}

#[test]
fn a_stream_above_the_last_one_of_a_goaway_is_replaced_free_of_charge() {
    let upstream = RawH2Upstream::start(|peer, connection| {
        while let Some((stream, path)) = peer.next_request() {
            if connection == 1 && path == "/second" {
                // The first stream is the last that was processed.
                peer.send(frames::goaway(1, frames::NO_ERROR));
                return;
            }
            peer.answer(stream, 200, &format!("{connection} {path}"));
        }
    });
    let forebay = in_front_of_raw(&upstream).set("RETRY", "safe").set("UPSTREAM_MAX_ATTEMPTS", 1).start();
    assert_relayed(&forebay.get("/first"), 200, "1 /first");
    let response = forebay.ask(&post("/second", "hello"));
    assert_relayed(&response, 200, "2 /second");
    assert_eq!((attempts(&response), upstream.accepted()), (Some(1), 2));
}

#[test]
fn after_a_goaway_streams_are_finished_and_others_go_elsewhere() {
    let upstream = H2Upstream::start();
    let gate = Gate::new();
    upstream.answer_with({
        let gate = gate.clone();
        move |seen, _| match seen.path().as_str() {
            "/drains" => reply(200).open().then_data("a").then_goaway().then_await(&gate).then_data("b").then_end(),
            path => reply(200).body(path).into(),
        }
    });
    let forebay = patient(&upstream).start();
    let mut client = forebay.connect();
    client.send(get("/drains").bytes());
    let mut response = client.read_head("GET");
    client.read_body(&mut response, 1);
    for path in ["/1", "/2", "/3"] {
        let other = forebay.get(path);
        assert_relayed(&other, 200, path);
        assert_eq!(attempts(&other), Some(1));
    }
    gate.open();
    client.read_rest(&mut response);
    assert_relayed(&response, 200, "ab");
    assert_relayed(&forebay.get("/4"), 200, "/4");
    let seen = upstream.seen();
    assert_eq!(seen.iter().filter(|s| s.path() == "/drains").count(), 1);
    assert!(upstream.accepted() >= 2, "{seen:#?}");
}

#[test]
fn a_connection_that_ends_fails_every_stream_on_it_and_each_is_repeated() {
    let upstream = H2Upstream::start();
    let gate = Gate::new();
    upstream.answer_with({
        let gate = gate.clone();
        move |seen, _| match (seen.connection, seen.path().as_str()) {
            (1, "/bomb") => Play::new().then_await(&gate).then_abort(h2::Reason::INTERNAL_ERROR),
            (1, _) => Play::new().then_await(&gate).then_stall(),
            (_, path) => reply(200).body(path).into(),
        }
    });
    let forebay = patient(&upstream).start();
    let paths = ["/1", "/2", "/3", "/bomb"];
    let mut clients: Vec<_> = paths.iter().map(|_| forebay.connect()).collect();
    for (number, (client, path)) in clients.iter_mut().zip(paths).enumerate() {
        client.send(get(path).bytes());
        // The first brings the connection about.
        upstream.wait_seen(number + 1);
    }
    assert_eq!(upstream.accepted(), 1);
    gate.open();
    for (client, path) in clients.iter_mut().zip(paths) {
        assert_relayed(&client.read("GET"), 200, path);
    }
}

#[test]
fn a_dead_connection_of_the_pool_is_replaced_free_of_charge() {
    let upstream = RawH2Upstream::start(|peer, connection| {
        let mut answered = 0;
        while let Some((stream, path)) = peer.next_request() {
            if answered == 1 {
                // Without a word.
                return peer.hang_up();
            }
            answered += 1;
            peer.answer(stream, 200, &format!("{connection} {path}"));
        }
    });
    let forebay = in_front_of_raw(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 1).start();
    for expected in ["1 /a", "2 /a", "3 /a"] {
        let response = forebay.get("/a");
        assert_relayed(&response, 200, expected);
        assert_eq!(attempts(&response), Some(1));
    }
}
