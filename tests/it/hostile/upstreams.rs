//! Upstreams on HTTP/1.1 that mean harm: 502 or a cut for who asked them, and nothing for anybody else.

use std::time::Duration;

use super::BOUND;
use crate::client::{Response, get};
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::{Forebay, Settings};
use crate::upstream::{Behaviour, FakeUpstream, OnAccept, answer, raw};

/// An upstream that does this to `/bad`, and answers everything else with its path.
fn stage(bad: &Behaviour) -> (FakeUpstream, Forebay) {
    let upstream = FakeUpstream::start();
    let bad = bad.clone();
    upstream.answer_with(move |seen, _| match seen.path().as_str() {
        "/bad" => bad.clone(),
        path => answer(200).body(path).into(),
    });
    let settings = Settings::in_front_of(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 1);
    let forebay = settings.set("RESPONSE_HEADER_TIMEOUT_SECONDS", 2).set("STREAM_IDLE_TIMEOUT_SECONDS", "1.5").start();
    (upstream, forebay)
}

/// Asks for it a few times, and for something else in between.
fn play(bad: &Behaviour, check: impl Fn(&Response)) {
    let (upstream, forebay) = stage(bad);
    assert_relayed(&forebay.get("/own"), 200, "/own");
    let memory = forebay.memory();
    for number in 0..2 {
        check(&forebay.get("/bad"));
        let own = format!("/own{number}");
        assert_relayed(&forebay.get(&own), 200, own.as_str());
    }
    let more = forebay.memory().saturating_sub(memory);
    assert!(more < BOUND, "it cost {more} bytes");
    let seen = upstream.seen();
    for bad in seen.iter().filter(|s| s.path() == "/bad") {
        let again = seen.iter().find(|s| s.connection == bad.connection && s.index > bad.index);
        assert!(again.is_none(), "its connection was used again: {again:#?}");
    }
}

fn is_a_bad_gateway(response: &Response) {
    assert_error(response, 502, "upstream_request_error");
}

/// These bytes, so often.
fn endless(beginning: &str, again: &str, times: usize) -> Behaviour {
    let block = again.repeat(64 * 1024 / again.len());
    (0..times * again.len() / block.len()).fold(raw(beginning), |behaviour, _| behaviour.then_send(&block))
}

#[test]
fn a_head_without_end() {
    play(&endless("HTTP/1.1 200 OK\r\n", "X-Field: and one more\r\n", 400_000), is_a_bad_gateway);
    play(&endless("HTTP/1.1 200 OK\r\nX: ", "y", 8 << 20), is_a_bad_gateway);
    play(&endless("HTTP/1.1 200 ", "OK ", 2 << 20), is_a_bad_gateway);
    // Which is not even a beginning.
    play(&endless("", "\r\n", 2 << 20), |response| assert!(matches!(response.status, 502 | 504), "{response:?}"));
}

#[test]
fn interim_answers_without_end() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    // As many as the deadline allows, or none any more: never an answer, never the client's.
    play(&endless("", interim, 100_000).then_stall(), |response| {
        assert!(matches!(response.status, 502 | 504), "{response:?}");
        assert!(response.interim.is_empty() && response.get("link").is_none(), "{response:?}");
    });
}

#[test]
fn trailers_and_chunk_lines_without_end() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
    let is_cut = |response: &Response| {
        assert!(!response.is_complete() || response.text() == "ok", "{response:?}");
        assert_eq!(response.status, 200, "{response:?}");
    };
    play(&endless(&format!("{head}0\r\n"), "X-Trailer: and one more\r\n", 200_000).then_stall(), is_cut);
    play(&endless(&format!("{head}5;"), "extension=", 400_000).then_stall(), is_cut);
    play(&endless(head, "0", 4 << 20).then_stall(), is_cut);
}

#[test]
fn bytes_that_nobody_asked_for_after_a_while() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
    let late = Behaviour::from(answer(200).body("ok")).then_pause(Duration::from_millis(100)).then_send(evil);
    let (upstream, forebay) = stage(&late);
    for number in 0..3 {
        assert_relayed(&forebay.get("/bad"), 200, "ok");
        // They lie on the connection of the pool before the next request is written.
        std::thread::sleep(Duration::from_millis(400));
        let own = format!("/own{number}");
        let response = forebay.get(&own);
        assert!(!response.text().contains("EVIL"), "the answer of nobody: {response:?}");
        assert_relayed(&response, 200, own.as_str());
    }
    assert!(upstream.accepted() >= 2, "a connection with bytes of nobody is not used again");
}

#[test]
fn an_answer_before_the_question() {
    let (upstream, forebay) = stage(&answer(200).body("ok").into());
    upstream.on_accept([OnAccept::Blurt, OnAccept::Speak, OnAccept::Blurt]);
    // Whoever gets a new connection cannot tell it from a quick answer; the one behind it can.
    for number in 0..6 {
        let mut client = forebay.connect();
        client.send(get(format!("/{number}")).bytes());
        let first = client.read("GET");
        assert!(matches!(first.status, 200 | 502), "{first:?}");
        // What the upstream says to the question comes too late, and is nobody's.
        std::thread::sleep(Duration::from_millis(150));
    }
    for number in 0..6 {
        let own = format!("/own{number}");
        assert_relayed(&forebay.get(&own), 200, own.as_str());
    }
}

#[test]
fn a_body_that_never_stops() {
    let (upstream, forebay) = stage(&answer(200).body_until_close("").into());
    upstream.answer_with(|_, _| raw("HTTP/1.1 200 OK\r\n\r\n").then_flood(1 << 40));
    let memory = forebay.memory();
    let mut client = forebay.connect();
    client.send(get("/bad").bytes());
    let mut response = client.read_head("GET");
    client.read_body(&mut response, 32 << 20);
    assert!(forebay.memory() < memory + BOUND, "{} bytes more", forebay.memory() - memory);
    drop(client);
    upstream.wait("the end of the flood", |seen| seen[0].aborted.is_some());
}

#[test]
fn connections_that_are_accepted_and_dropped() {
    let (upstream, forebay) = stage(&answer(200).into());
    upstream.on_accept([OnAccept::Close; 30]);
    let mut good = 0;
    for number in 0..40 {
        let response = forebay.get(&format!("/{number}"));
        match response.status {
            200 => good += 1,
            _ => assert_error(&response, 502, "upstream_request_error"),
        }
    }
    assert!(good >= 10, "{good} of forty");
}
