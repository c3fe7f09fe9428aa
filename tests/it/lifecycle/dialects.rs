//! Answers in the dialect of the client (8), and the name under which forebay gives them (3.8).

use std::thread;

use crate::client::{Request, Response, get, post};
use crate::expect::{assert_error, assert_error_body, assert_relayed};
use crate::forebay::{Forebay, Settings};
use crate::upstream::{FakeUpstream, answer, close, stall};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    Codex,
    OpenAi,
    Anthropic,
    Plain,
}
use Dialect::{Anthropic, Codex, OpenAi, Plain};

fn examples() -> Vec<(Dialect, Request)> {
    vec![
        (Codex, post("/responses", "{}").field("originator", "codex_cli_rs")),
        (OpenAi, post("/v1/chat/completions", "{}")),
        (Anthropic, post("/v1/messages", "{}")),
        (Plain, post("/other", "{}")),
    ]
}

fn settings(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.4").set("UPSTREAM_MAX_ATTEMPTS", 1)
}

#[track_caller]
fn assert_in(dialect: Dialect, response: &Response, status: u16, code: &str, should_retry: Option<&str>) {
    assert_eq!(response.status, status, "{dialect:?}: {response:?}");
    assert_error_body(response, code);
    assert_eq!(response.get("x-should-retry").as_deref(), should_retry, "{dialect:?}: {response:?}");
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["type"] == "error", dialect == Anthropic, "the shape for {dialect:?}: {body}");
}

#[test]
fn missed_deadlines() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = settings(&upstream).start();
    for (dialect, asked) in examples() {
        let response = forebay.ask(&asked);
        match dialect {
            // Whether a 400 that was a 504 carries x-should-retry is nothing that Codex looks at.
            Codex => {
                assert_in(
                    dialect,
                    &response,
                    400,
                    "upstream_header_timeout",
                    response.get("x-should-retry").as_deref(),
                );
            }
            OpenAi | Anthropic => assert_in(dialect, &response, 504, "upstream_header_timeout", Some("false")),
            Plain => assert_in(dialect, &response, 504, "upstream_header_timeout", None),
        }
    }
}

#[test]
fn failed_requests() {
    let upstream = FakeUpstream::start();
    upstream.script([close()]);
    let forebay = settings(&upstream).start();
    for (dialect, asked) in examples() {
        assert_in(dialect, &forebay.ask(&asked), 502, "upstream_request_error", None);
    }
}

#[test]
fn bodies_that_are_too_large() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).set("MAX_REQUEST_BODY_BYTES", 10).start();
    for (dialect, asked) in examples() {
        let response = forebay.ask(&asked.body("more than ten bytes"));
        match dialect {
            Codex => assert_in(dialect, &response, 400, "payload_too_large", response.get("x-should-retry").as_deref()),
            OpenAi | Anthropic => assert_in(dialect, &response, 413, "payload_too_large", Some("false")),
            Plain => assert_in(dialect, &response, 413, "payload_too_large", None),
        }
    }
}

#[test]
fn other_refusals_say_whether_to_come_again() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream)
        .set("UPSTREAM_BASE_URL", format!("{}/base", upstream.url()))
        .set("CLIENT_BODY_TIMEOUT_SECONDS", "0.4")
        .start();
    assert_in(OpenAi, &forebay.get("/v1/../x"), 400, "bad_request", Some("false"));
    assert_in(Anthropic, &forebay.get("/./messages"), 400, "bad_request", Some("false"));
    assert_in(Plain, &forebay.get("/../x"), 400, "bad_request", None);

    let slow = |target: &str| {
        let mut client = forebay.connect();
        client.send(format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"));
        client.read("POST")
    };
    let response = slow("/v1/responses");
    assert_in(OpenAi, &response, 408, "client_timeout", Some("true"));
    assert_eq!(response.get("retry-after").as_deref(), Some("1"));
    assert_in(Plain, &slow("/x"), 408, "client_timeout", None);
}

#[test]
fn the_final_status_of_codex_can_be_chosen() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let codex = || post("/responses", "{}").field("originator", "codex_vscode");
    for (value, status) in [("off", 504), ("429", 429)] {
        let response = settings(&upstream).set("CODEX_FINAL_STATUS", value).start().ask(&codex());
        assert_eq!(response.status, status, "{response:?}");
        assert_error_body(&response, "upstream_header_timeout");
    }
    let response = settings(&upstream).set("DIALECT", "plain").start().ask(&codex());
    assert_in(Plain, &response, 504, "upstream_header_timeout", None);
}

#[test]
fn answers_of_the_upstream_have_no_dialect() {
    let upstream = FakeUpstream::start();
    let forebay = settings(&upstream).start();
    for status in [413, 502, 503, 504] {
        upstream.script([answer(status).body("as it came").into()]);
        for (dialect, asked) in examples() {
            let response = forebay.ask(&asked);
            assert_relayed(&response, status, "as it came");
            assert_eq!(response.get("x-should-retry"), None, "{dialect:?}: {response:?}");
        }
    }
}

#[test]
fn who_speaks_which_dialect() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = settings(&upstream).start();
    let requests = [
        (Codex, get("/x").field("originator", "codex_exec")),
        (Codex, get("/v1/responses").field("Originator", "codex_cli_rs").field("x-stainless-lang", "python")),
        (Codex, get("/messages").field("originator", "codex")),
        (Anthropic, get("/x").field("anthropic-version", "2023-06-01")),
        (Anthropic, get("/v1/messages?beta=true").field("x-stainless-lang", "python")),
        (OpenAi, get("/x").field("x-stainless-lang", "js")),
        (OpenAi, get("/v1")),
        (OpenAi, get("/api/v1/models")),
        (OpenAi, get("/chat/completions")),
        (OpenAi, get("/completions")),
        (OpenAi, get("/embeddings?x")),
        (OpenAi, get("/responses")),
        (OpenAi, get("/v1/x").field("originator", "another")),
        (Plain, get("/")),
        (Plain, get("/v1x/models")),
        (Plain, get("/responses/x")),
        (Plain, get("/xmessages")),
        (Plain, get("/x?p=/v1/messages")),
        (Plain, get("/x").field("originator", "another")),
    ];
    thread::scope(|scope| {
        for (dialect, asked) in &requests {
            let forebay = &forebay;
            scope.spawn(move || {
                let response = forebay.ask(asked);
                let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
                let found = match (response.status, response.get("x-should-retry"), body["type"] == "error") {
                    (400, _, false) => Codex,
                    (504, Some(_), true) => Anthropic,
                    (504, Some(_), false) => OpenAi,
                    (504, None, false) => Plain,
                    _ => panic!("{asked:?}: {response:?}"),
                };
                assert_eq!(found, *dialect, "{asked:?}: {response:?}");
            });
        }
    });
}

#[test]
fn own_answers_carry_the_source_header_that_was_chosen() {
    let upstream = FakeUpstream::refusing();
    assert_error(&Forebay::in_front_of(&upstream).get("/"), 502, "upstream_request_error");
    let response = Settings::in_front_of(&upstream).set("SOURCE_HEADER", "X-Proxq-Source: proxq").start().get("/");
    assert_eq!((response.status, response.get("x-proxq-source").as_deref()), (502, Some("proxq")), "{response:?}");
    assert_eq!(response.get("x-forebay-source"), None, "no other source header: {response:?}");
    assert_error_body(&response, "upstream_request_error");
}
