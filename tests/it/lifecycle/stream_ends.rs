//! Streams that stall or break after their head (3.3, 5, 8): cut, or ended with a last event that the client understands.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::client::{Request, Response, get, post};
use crate::expect::{A_WHILE, assert_relayed};
use crate::forebay::{Forebay, Settings};
use crate::upstream::{Behaviour, FakeUpstream, Gate, answer, raw};

fn impatient(upstream: &FakeUpstream) -> Forebay {
    Settings::in_front_of(upstream).set("STREAM_IDLE_TIMEOUT_SECONDS", "0.7").start()
}

fn events() -> Behaviour {
    answer(200).field("Content-Type", "text/event-stream; charset=utf-8").chunked_head()
}

fn codex(number: usize) -> Request {
    post(format!("/responses?{number}"), "{}").field("originator", "codex_cli_rs")
}

fn openai(number: usize) -> Request {
    post(format!("/v1/chat/completions?{number}"), "{}")
}

fn anthropic(number: usize) -> Request {
    post(format!("/messages?{number}"), "{}").field("anthropic-version", "2023-06-01")
}

/// The name and the data of the last event of a stream that ended normally after this beginning.
#[track_caller]
fn last_event(response: &Response, beginning: &str) -> (Option<String>, Value) {
    assert!(response.is_complete(), "the response ends normally: {response:?}");
    let text = response.text();
    let last = text.strip_prefix(beginning).unwrap_or_else(|| panic!("the stream begins as it came: {text:?}"));
    assert!(last.ends_with("\n\n"), "a whole event: {last:?}");
    let line = |name: &str| last.lines().find_map(|l| l.strip_prefix(name)).map(|v| v.trim_start().to_owned());
    let data = serde_json::from_str(&line("data:").unwrap_or_default());
    (line("event:"), data.unwrap_or_else(|e| panic!("data in JSON ({e}): {last:?}")))
}

/// Event streams that stall after these beginnings; the query of a request says which.
fn streams_that_begin_with<const N: usize>(upstream: &FakeUpstream, beginnings: [&'static str; N]) {
    upstream.answer_with(move |seen, _| {
        let number: usize = seen.path().rsplit_once('?').unwrap().1.parse().unwrap();
        let begun = if beginnings[number].is_empty() { events() } else { events().then_chunk(beginnings[number]) };
        begun.then_stall()
    });
}

#[test]
fn a_stalled_event_stream_ends_with_an_event_of_the_clients_dialect() {
    let upstream = FakeUpstream::start();
    let forebay = impatient(&upstream);
    let beginnings = ["data: 1\n\n", "data: 1\r\n\r\n", ": a comment\n\n", ""];
    streams_that_begin_with(&upstream, beginnings);
    thread::scope(|scope| {
        for (number, beginning) in beginnings.into_iter().enumerate() {
            let forebay = &forebay;
            scope.spawn(move || {
                let (name, data) = last_event(&forebay.ask(&openai(number)), beginning);
                assert_eq!((name, data["error"]["code"].as_str()), (None, Some("upstream_stalled")), "{data}");
                assert_eq!(data["error"]["type"], "upstream_error", "{data}");
            });
            scope.spawn(move || {
                let (name, data) = last_event(&forebay.ask(&anthropic(number)), beginning);
                assert_eq!((name.as_deref(), data["type"].as_str()), (Some("error"), Some("error")), "{data}");
                assert!(data["error"]["message"].is_string(), "{data}");
            });
            scope.spawn(move || {
                let (name, data) = last_event(&forebay.ask(&codex(number)), beginning);
                assert_eq!(
                    (name.as_deref(), data["type"].as_str()),
                    (Some("response.failed"), Some("response.failed"))
                );
                assert_eq!(data["response"]["error"]["code"], "server_error", "{data}");
                assert!(data["response"]["error"]["message"].is_string(), "{data}");
            });
        }
    });
    forebay.wait_log("the code of the ended streams", |log| log.contains("upstream_stalled"));
}

#[test]
fn a_broken_event_stream_ends_with_an_event_too() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    let broken = events().then_chunk("data: 1\n\n").then_pause(Duration::from_millis(100));
    for behaviour in [broken.clone().then_close(), broken.then_reset()] {
        upstream.script([behaviour]);
        let (name, data) = last_event(&forebay.ask(&openai(0)), "data: 1\n\n");
        assert_eq!((name, data["error"]["code"].as_str()), (None, Some("upstream_broken")), "{data}");
        let (name, data) = last_event(&forebay.ask(&codex(0)), "data: 1\n\n");
        assert_eq!(
            (name.as_deref(), &data["response"]["error"]["code"]),
            (Some("response.failed"), &"server_error".into())
        );
    }
    forebay.wait_log("the code of the ended streams", |log| log.contains("upstream_broken"));
}

#[test]
fn inside_an_event_the_stream_is_cut() {
    let upstream = FakeUpstream::start();
    let forebay = impatient(&upstream);
    let parts = ["data: {\"a\"", "data: 1\n", "data: 1\n\ndata: 2", "data: 1\n\nevent: x\n"];
    streams_that_begin_with(&upstream, parts);
    thread::scope(|scope| {
        for (number, part) in parts.into_iter().enumerate() {
            for asked in [openai(number), anthropic(number), codex(number)] {
                let forebay = &forebay;
                scope.spawn(move || {
                    let response = forebay.ask(&asked);
                    assert_eq!((response.text().as_str(), response.is_complete()), (part, false), "{response:?}");
                });
            }
        }
    });
}

#[test]
fn what_is_no_plain_event_stream_is_cut() {
    let upstream = FakeUpstream::start();
    let forebay = impatient(&upstream);
    let part = "data: 1\n\n";
    let stream = answer(200).field("Content-Type", "text/event-stream");
    for (what, behaviour) in [
        ("JSON", answer(200).field("Content-Type", "application/json").chunked_head().then_chunk(part)),
        ("no type", answer(200).chunked_head().then_chunk(part)),
        ("an encoding", stream.clone().field("Content-Encoding", "br").chunked_head().then_chunk(part)),
        ("a length", stream.field("Content-Length", "1000").head().then_send(part)),
    ] {
        upstream.script([behaviour.then_stall()]);
        let response = forebay.ask(&openai(0));
        assert_eq!((response.text().as_str(), response.is_complete()), (part, false), "{what}: {response:?}");
    }
    // A plain client has no event for it.
    upstream.script([events().then_chunk(part).then_stall()]);
    let response = forebay.ask(&post("/plain", "x"));
    assert_eq!((response.text().as_str(), response.is_complete()), (part, false), "{response:?}");
}

#[test]
fn a_stall_after_the_head_is_never_repeated_and_its_upstream_is_left() {
    let upstream = FakeUpstream::start();
    let forebay = impatient(&upstream);
    upstream.script([events().then_chunk("data: 1\n\n").then_stall()]);
    forebay.ask(&openai(0));
    upstream.wait("the stalled stream to be closed", |seen| seen[0].aborted.is_some());
    upstream.assert_no_more_than(1, A_WHILE);
}

#[test]
fn every_byte_starts_the_idle_clock_anew() {
    let upstream = FakeUpstream::start();
    let mut drip = events();
    for _ in 0..12 {
        drip = drip.then_chunk("x").then_pause(Duration::from_millis(200));
    }
    upstream.script([drip.then_last_chunk()]);
    let forebay = Settings::in_front_of(&upstream).set("STREAM_IDLE_TIMEOUT_SECONDS", "1.8").start();
    assert_relayed(&forebay.ask(&openai(0)), 200, "x".repeat(12));
}

#[test]
fn the_idle_clock_can_be_off() {
    let upstream = FakeUpstream::start();
    upstream.script([events().then_chunk("a").then_pause(Duration::from_secs(1)).then_chunk("b").then_last_chunk()]);
    let forebay = Settings::in_front_of(&upstream).set("STREAM_IDLE_TIMEOUT_SECONDS", 0).start();
    assert_relayed(&forebay.ask(&openai(0)), 200, "ab");
}

#[test]
fn a_client_that_leaves_its_stream_ends_the_upstreams() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    let never = Gate::new();
    let total = 1 << 30;
    let flood = answer(200).field("Content-Length", total.to_string()).head().then_flood(total);
    for behaviour in
        [events().then_chunk("data: 1\n\n").then_await(&never), flood, raw("HTTP/1.1 200 OK\r\n\r\n").then_stall()]
    {
        for reset in [false, true] {
            upstream.forget();
            upstream.script([behaviour.clone()]);
            let mut client = forebay.connect();
            client.send(get("/").bytes());
            assert_eq!(client.read_head("GET").status, 200);
            if reset {
                client.reset();
            } else {
                drop(client);
            }
            upstream.wait("the upstream's end of the stream", |seen| seen[0].aborted.is_some());
            assert!(upstream.seen()[0].flooded < total);
        }
    }
}
