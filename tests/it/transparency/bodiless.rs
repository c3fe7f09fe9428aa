//! Answers without a body: HEAD, 204, 304 (4, RFC 9112 §6.3).

use super::forebay_for;
use crate::client::{get, request};
use crate::expect::assert_relayed;
use crate::upstream::{FakeUpstream, answer, raw};

#[test]
fn no_content_and_not_modified_end_with_their_head() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    for status in [204, 304] {
        upstream.script([answer(status).field("ETag", "\"e\"").no_framing().into(), answer(200).body("next").into()]);
        let mut client = forebay.connect();
        let response = client.ask(&get("/a"));
        assert_relayed(&response, status, "");
        assert_eq!(response.get("etag").as_deref(), Some("\"e\""));
        assert_relayed(&client.ask(&get("/b")), 200, "next");
    }
}

#[test]
fn a_length_in_not_modified_announces_nothing() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    upstream.script([raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"), answer(200).body("next").into()]);
    let mut client = forebay.connect();
    assert_relayed(&client.ask(&get("/a")), 304, "");
    assert_relayed(&client.ask(&get("/b")), 200, "next");
}

#[test]
fn an_answer_to_head_keeps_its_fields_and_has_no_body() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    for (field, value) in [("Content-Length", "12345"), ("Transfer-Encoding", "chunked"), ("X-None", "1")] {
        let head = answer(200).field("X-Up", "1").field(field, value).no_framing();
        upstream.script([head.into(), answer(200).body("next").into()]);
        let mut client = forebay.connect();
        let response = client.ask(&request("HEAD", "/a"));
        assert_relayed(&response, 200, "");
        assert_eq!(response.get("x-up").as_deref(), Some("1"));
        if field == "Content-Length" {
            assert_eq!(response.all("content-length"), [b"12345"]);
        } else {
            assert!(response.all("content-length").is_empty(), "a length that nobody sent: {response:?}");
        }
        assert_relayed(&client.ask(&get("/b")), 200, "next");
    }
}

#[test]
fn lengths_that_agree_become_one_whoever_asks() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n";
    upstream.script([raw(twice), raw(format!("{twice}ok"))]);
    for (method, body) in [("HEAD", ""), ("GET", "ok")] {
        let response = forebay.ask(&request(method, "/"));
        assert_relayed(&response, 200, body);
        assert_eq!(response.all("content-length"), [b"2"]);
    }
}

#[test]
fn errors_for_head_have_no_body_either() {
    let upstream = FakeUpstream::refusing();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect();
    for _ in 0..2 {
        let response = client.ask(&request("HEAD", "/"));
        assert_eq!(response.status, 502, "{response:?}");
        assert_eq!(response.get("x-forebay-error").as_deref(), Some("upstream_request_error"));
    }
}
