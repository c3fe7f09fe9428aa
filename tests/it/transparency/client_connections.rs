//! Connections of clients: kept, closed, and old ones (4).

use super::forebay_for;
use crate::client::{get, post};
use crate::expect::assert_relayed;
use crate::upstream::{FakeUpstream, answer, echo};

#[test]
fn a_hundred_requests_on_one_connection_are_answered_in_order() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect();
    for number in 0..100 {
        assert_relayed(&client.ask(&post(format!("/{number}"), format!("{number}"))), 200, format!("{number}"));
    }
    let targets: Vec<_> = upstream.seen().iter().map(crate::upstream::Seen::path).collect();
    assert_eq!(targets, (0..100).map(|n| format!("/{n}")).collect::<Vec<_>>());
}

#[test]
fn a_client_that_says_close_is_closed_after_its_answer() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect();
    assert_relayed(&client.ask(&get("/").field("Connection", "close")), 200, "ok");
    assert!(client.is_closed());
}

#[test]
fn an_upstream_that_says_close_does_not_close_the_client() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).field("Connection", "close").body("x").into()]);
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect();
    for _ in 0..2 {
        assert_relayed(&client.ask(&get("/")), 200, "x");
    }
}

#[test]
fn old_clients_are_served_without_chunks() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let body = "x".repeat(5000);
    for behaviour in [
        answer(200).body(&body).into(),
        answer(200).body_until_close(&body).into(),
        answer(200).chunked_head().then_chunk(&body).then_last_chunk(),
    ] {
        upstream.forget();
        upstream.script([behaviour]);
        let mut client = forebay.connect();
        let response = client.ask(&get("/").http10());
        assert_relayed(&response, 200, &body);
        assert!(response.all("transfer-encoding").is_empty(), "{response:?}");
        assert!(client.is_closed());
        assert!(upstream.seen()[0].raw_head.starts_with(b"GET / HTTP/1.1\r\n"));
    }
}

#[test]
fn old_clients_may_lack_a_host() {
    let upstream = FakeUpstream::start();
    assert_relayed(&forebay_for(&upstream).ask(&get("/old").no_host().http10()), 200, "ok");
    upstream.assert_unambiguous();
    assert_eq!(upstream.seen()[0].all("host"), [upstream.authority().as_bytes()]);
}
