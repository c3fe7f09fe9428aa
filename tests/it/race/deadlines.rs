//! Which header deadline an exchange has (3.3): the short one, or the one for answers that come as a whole.

use std::thread;
use std::time::Duration;

use crate::client::{Request, get, post, request};
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::{Forebay, Settings};
use crate::upstream::{FakeUpstream, answer, raw};

/// Answers after the short deadline and long before the long one.
fn slow_upstream() -> FakeUpstream {
    let upstream = FakeUpstream::start();
    upstream.script([raw("").then_pause(Duration::from_millis(1800)).then_do(answer(200).body("whole"))]);
    upstream
}

fn json(target: &str, body: &str) -> Request {
    request("POST", target).json(body)
}

fn ask_all(forebay: &Forebay, requests: &[(&str, Request)], check: impl Fn(&crate::client::Response) + Sync) {
    thread::scope(|scope| {
        for (what, request) in requests {
            let check = &check;
            scope.spawn(move || {
                println!("{what}");
                let response = forebay.ask(request);
                println!("{what}: {response:?}");
                check(&response);
            });
        }
    });
}

fn settings(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.5").set("UPSTREAM_MAX_ATTEMPTS", 1)
}

#[test]
fn a_generation_that_does_not_stream_has_the_long_deadline() {
    let upstream = slow_upstream();
    let forebay = settings(&upstream).set("NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS", 30).start();
    let multipart = "multipart/form-data; boundary=b";
    let requests = [
        ("a model", json("/x", r#"{"model":"m"}"#)),
        ("a model behind other members", json("/x", r#"{"input":[{"a":"b"}], "n": 1, "model" : "m"}"#)),
        ("stream is false", json("/x", r#"{"model":"m","stream":false}"#)),
        ("stream is no boolean", json("/x", r#"{"model":"m","stream":"true"}"#)),
        ("stream below the top", json("/x", r#"{"model":"m","options":{"stream":true}}"#)),
        ("stream in a string", json("/x", r#"{"model":"m","input":"\"stream\": true"}"#)),
        (
            "a charset",
            request("POST", "/x").field("Content-Type", "application/json; charset=utf-8").body(r#"{"model":"m"}"#),
        ),
        (
            "chunked",
            request("POST", "/x")
                .field("Content-Type", "application/json")
                .chunks([br#"{"mod"#.as_slice(), br#"el":"m"}"#]),
        ),
        ("a form with a file", post("/v1/audio/transcriptions", "--b--\r\n").field("Content-Type", multipart)),
        ("compaction", json("/v1/responses/compact", r#"{"input":[]}"#)),
        ("compaction with a query", json("/responses/compact?a=b", r#"{"input":[]}"#)),
        ("Gemini", json("/v1beta/models/g:generateContent", r#"{"contents":[]}"#)),
        ("Ollama's chat without a stream", json("/api/chat", r#"{"model":"m","stream":false}"#)),
        ("Ollama's generate without a stream", json("/api/generate", r#"{"model":"m","stream": false}"#)),
        ("an Accept without event streams", json("/x", r#"{"model":"m"}"#).field("Accept", "application/json, */*")),
        ("a body that cannot be decoded", json("/x", "no gzip").field("Content-Encoding", "gzip")),
    ];
    ask_all(&forebay, &requests, |response| assert_relayed(response, 200, "whole"));
}

#[test]
fn everything_else_has_the_short_deadline() {
    let upstream = slow_upstream();
    let forebay = settings(&upstream).set("NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS", 30).start();
    let requests = [
        ("a stream", json("/x", r#"{"model":"m","stream":true}"#)),
        ("a stream without a model", json("/x", r#"{"stream": true}"#)),
        ("a stream before its model", json("/x", r#"{ "stream" : true , "model":"m"}"#)),
        ("Accept", json("/x", r#"{"model":"m"}"#).field("Accept", "text/event-stream")),
        (
            "Accept in a list",
            json("/x", r#"{"model":"m"}"#).field("Accept", "application/json, text/event-stream;q=0.5"),
        ),
        (
            "Accept on a second line",
            json("/x", r#"{"model":"m"}"#).field("Accept", "a/b").field("Accept", "text/event-stream"),
        ),
        ("Ollama's chat", json("/api/chat", r#"{"model":"m"}"#)),
        ("Ollama's generate", json("/api/generate", r#"{"model":"m"}"#)),
        ("JSON without a model", json("/x", r#"{"query":"q"}"#)),
        ("a model below the top", json("/x", r#"{"a":{"model":"m"}}"#)),
        ("a list", json("/x", r#"[{"model":"m"}]"#)),
        ("no JSON", json("/x", r#"{"model":"#)),
        ("text", post("/x", "model").field("Content-Type", "text/plain")),
        ("an empty body", post("/x", "")),
        ("GET", get("/x")),
        ("GET of a path that is compaction for POST", get("/v1/responses/compact")),
        ("PUT of a model", request("PUT", "/x").json(r#"{"model":"m"}"#)),
        ("Gemini's stream", json("/v1beta/models/g:streamGenerateContent", r#"{"contents":[]}"#)),
    ];
    // In these dialects the status stays 504; only Codex gets another.
    ask_all(&forebay, &requests, |response| assert_error(response, 504, "upstream_header_timeout"));
}

#[test]
fn where_only_the_short_deadline_is_set_it_is_the_long_one_too() {
    let upstream = slow_upstream();
    let forebay = settings(&upstream).start();
    assert_error(&forebay.ask(&json("/x", r#"{"model":"m"}"#)), 504, "upstream_header_timeout");
}
