//! Codex falls back to POST at once when an upgrade fails with 426, and only then (8).

use super::{handshake, switch};
use crate::client::{Request, post};
use crate::expect::{assert_error, assert_relayed, attempts};
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, answer, close, raw, reset, stall};

fn codex() -> [Request; 2] {
    [
        handshake("/responses").field("OpenAI-Beta", "responses_websockets=2026-02-06"),
        handshake("/responses").field("originator", "codex_cli_rs"),
    ]
}

fn settings(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.3").set("UPSTREAM_MAX_ATTEMPTS", 2)
}

#[test]
fn what_codex_cannot_use_is_a_426() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).start();
    for status in [400, 404, 405, 426, 500, 501, 502, 503, 504, 529] {
        upstream.script([answer(status).field("Retry-After", "7").body("as it came").into()]);
        for asked in codex() {
            upstream.forget();
            let response = forebay.connect().upgrade(&asked);
            assert_error(&response, 426, "upgrade_failed");
            assert_eq!(response.get("upgrade").as_deref(), Some("websocket"), "{status}: {response:?}");
            assert_eq!((attempts(&response), upstream.seen().len()), (Some(1), 1), "{status}");
        }
    }
}

#[test]
fn what_says_something_to_the_user_passes() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).start();
    for status in [401, 403, 429] {
        upstream.script([answer(status).field("X-Up", "v").body("as it came").into()]);
        for asked in codex() {
            let response = forebay.connect().upgrade(&asked);
            assert_relayed(&response, status, "as it came");
            assert_eq!(response.get("x-up").as_deref(), Some("v"));
        }
    }
}

#[test]
fn an_upstream_that_does_not_answer_is_a_426_too() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).start();
    for failure in [stall(), reset(), close(), raw("no HTTP at all\r\n\r\n")] {
        upstream.script([failure]);
        let response = forebay.connect().upgrade(&codex()[0]);
        assert_error(&response, 426, "upgrade_failed");
        assert_eq!(
            (response.get("upgrade").as_deref(), attempts(&response)),
            (Some("websocket"), Some(2)),
            "{response:?}"
        );
    }
    let nobody = FakeUpstream::refusing();
    assert_error(&settings(&nobody).start().connect().upgrade(&codex()[1]), 426, "upgrade_failed");
}

#[test]
fn after_a_426_the_same_connection_takes_the_post() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(404).body("no").into(), answer(200).body("posted").into()]);
    let forebay = settings(&upstream).start();
    let mut client = forebay.connect();
    assert_error(&client.upgrade(&codex()[0]), 426, "upgrade_failed");
    let post = post("/responses", "{}").field("originator", "codex_cli_rs");
    // It may have been closed instead, which a client notices.
    let response = if client.try_send(post.bytes()) { client.read("POST") } else { forebay.ask(&post) };
    let response = if response.status == 0 { forebay.ask(&post) } else { response };
    assert_relayed(&response, 200, "posted");
}

#[test]
fn an_upgrade_that_succeeds_is_a_tunnel() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_echo_bytes()]);
    let forebay = settings(&upstream).start();
    let mut client = forebay.connect();
    assert_eq!(client.upgrade(&codex()[0]).status, 101);
    client.send("hello");
    assert_eq!(client.take(5), b"hello");
}

#[test]
fn others_get_what_came() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(404).body("as it came").into()]);
    let forebay = settings(&upstream).start();
    for asked in
        [handshake("/v1/responses"), handshake("/x").field("anthropic-version", "2023-06-01"), handshake("/chat")]
    {
        assert_relayed(&forebay.connect().upgrade(&asked), 404, "as it came");
    }
    let plain = settings(&upstream).set("DIALECT", "plain").start();
    for asked in codex() {
        assert_relayed(&plain.connect().upgrade(&asked), 404, "as it came");
    }
    // A request that is no upgrade keeps its answer.
    let asked = post("/responses", "{}").field("originator", "codex_cli_rs");
    assert_relayed(&forebay.ask(&asked), 404, "as it came");
}
