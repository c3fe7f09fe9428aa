//! Errors of forebay's own, in the shape of section 5, one stream at a time.

use super::{forebay_for, patient};
use crate::client::{get, post, request};
use crate::expect::{A_WHILE, assert_error, assert_error_body, assert_relayed, attempts};
use crate::forebay::Settings;
use crate::frames;
use crate::upstream::{FakeUpstream, close, echo, stall};

#[test]
fn failures_of_the_upstream() {
    let upstream = FakeUpstream::start();
    upstream.answer_with(|seen, _| if seen.path() == "/stall" { stall() } else { close() });
    let forebay = Settings::in_front_of(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 2).start();
    let mut client = forebay.connect_h2();
    let response = client.ask(&get("/close"));
    assert_error(&response, 502, "upstream_request_error");
    assert_eq!(attempts(&response), Some(2));
    let response = client.ask(&post("/stall", "x"));
    assert_error(&response, 504, "upstream_header_timeout");
    assert_eq!(attempts(&response), Some(2));
    let response = client.ask(&request("HEAD", "/close"));
    assert_eq!((response.status, response.text().as_str(), response.is_complete()), (502, "", true), "{response:?}");
}

#[test]
fn the_dialect_is_that_of_the_client() {
    let upstream = FakeUpstream::refusing();
    let forebay = patient(&upstream).set("UPSTREAM_BASE_URL", format!("{}/base", upstream.url())).start();
    let mut client = forebay.connect_h2();
    let response = client.ask(&get("/v1/../x"));
    assert_error(&response, 400, "bad_request");
    assert_eq!(response.get("x-should-retry").as_deref(), Some("false"));
    let response = client.ask(&post("/v1/messages", "{}").field("anthropic-version", "2023-06-01"));
    assert_error_body(&response, "upstream_request_error");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&response.body).unwrap()["type"], "error");
}

#[test]
fn a_body_above_the_cap_is_refused_and_its_connection_goes_on() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = patient(&upstream).set("MAX_REQUEST_BODY_BYTES", "100KiB").start();
    let mut client = forebay.connect_h2();
    let body = vec![b'q'; 300_000];
    // A window that is not given back would be used up after a few of them.
    for _ in 0..30 {
        for asked in [post("/", &body), request("POST", "/").chunks(body.chunks(10_000))] {
            let response = client.ask(&asked);
            assert_error(&response, 413, "payload_too_large");
            assert_eq!(attempts(&response), Some(0));
        }
    }
    let body = vec![b'q'; 102_400];
    assert_relayed(&client.ask(&post("/", &body)), 200, &body);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_refusal_by_its_length_comes_before_the_body() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).set("MAX_REQUEST_BODY_BYTES", 1000).start();
    let mut client = forebay.connect_h2();
    let stream = client.open(&request("POST", "/").field("content-length", "99999999"));
    assert_error(&client.read(stream), 413, "payload_too_large");
    assert_relayed(&client.ask(&post("/", "x")), 200, "ok");
}

#[test]
fn a_stream_that_its_client_resets_ends_its_attempt_and_no_other() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = Settings::in_front_of(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20).start();
    let mut client = forebay.connect_h2();
    let first = client.send(&post("/1", "x"));
    upstream.wait_seen(1);
    client.send(&post("/2", "x"));
    upstream.wait("both requests", |seen| seen.len() == 2 && seen.iter().all(|s| s.complete));
    client.reset(first, frames::CANCEL);
    upstream.wait("the attempt to be cancelled", |seen| seen[0].aborted.is_some());
    upstream.assert_no_more_than(2, A_WHILE);
    assert!(upstream.seen()[1].aborted.is_none(), "its neighbour was cancelled too");
    drop(client);
    upstream.wait("the other attempt to be cancelled", |seen| seen[1].aborted.is_some());
    upstream.assert_no_more_than(2, A_WHILE);
}

#[test]
fn an_upload_that_its_client_resets_costs_the_upstream_nothing() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    let stream = client.open(&post("/", vec![b'x'; 1000]));
    client.data(stream, b"abc", false);
    client.round_trip();
    client.reset(stream, frames::CANCEL);
    client.round_trip();
    upstream.assert_no_more_than(0, A_WHILE);
    assert_relayed(&client.ask(&get("/next")), 200, "ok");
}
