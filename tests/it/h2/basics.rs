//! What goes in comes out, as on HTTP/1.1.

use std::time::Duration;

use super::{forebay_for, patient};
use crate::client::{Client, H2Client, get, post, request};
use crate::expect::{assert_error, assert_relayed, attempts, is_own};
use crate::frames;
use crate::upstream::{FakeUpstream, Framing, answer, echo, raw};

#[test]
fn a_request_arrives_as_it_would_have_on_http1() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(201)
        .field("X-Up", "v")
        .field("Set-Cookie", "a=1")
        .field("Set-Cookie", "b=2")
        .body("made")
        .into()]);
    let asked = post("/a%2Fb/../c?q=%20&r", "hello")
        .field("X-Dup", "1")
        .field("X-Other", "between")
        .field("X-Dup", "2")
        .field("Authorization", "Bearer client")
        .field("X-Bin", b"\xc3\xa9\xff");
    let response = forebay_for(&upstream).connect_h2().ask(&asked);
    assert_relayed(&response, 201, "made");
    assert_eq!((response.get("x-up").as_deref(), response.all("set-cookie")), (Some("v"), vec![&b"a=1"[..], b"b=2"]));
    assert_eq!(attempts(&response), Some(1));
    let seen = &upstream.seen()[0];
    assert!(seen.raw_head.starts_with(b"POST /a%2Fb/../c?q=%20&r HTTP/1.1\r\n"), "{seen:?}");
    assert_eq!(seen.all("host"), [upstream.authority().as_bytes()]);
    assert_eq!((seen.all("x-dup"), seen.all("x-bin")), (vec![&b"1"[..], b"2"], vec![&b"\xc3\xa9\xff"[..]]));
    assert_eq!((seen.framing, seen.body.as_slice()), (Framing::Length, b"hello".as_slice()));
    assert_eq!(seen.get("authorization").as_deref(), Some("Bearer client"));
    upstream.assert_unambiguous();
}

#[test]
fn bodies_pass_byte_for_byte_with_and_without_a_length() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    for length in [0_u32, 1, 65_535, 65_536, 3_000_001] {
        let body: Vec<u8> = (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for asked in [post("/", &body), request("PUT", "/").chunks(body.chunks(50_000))] {
            let response = client.ask(&asked);
            assert!(response.is_complete() && response.body == body, "{length} bytes: {response:?}");
        }
    }
    for seen in upstream.seen() {
        // An empty one may have none: nothing announced it.
        let framed = seen.framing == Framing::Length || (seen.body.is_empty() && seen.framing == Framing::None);
        assert!(framed, "a buffered body goes out with its length: {seen:?}");
    }
}

#[test]
fn a_request_without_a_body_gets_no_framing() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    for method in ["GET", "POST", "DELETE", "OPTIONS", "PROPFIND"] {
        upstream.forget();
        assert_relayed(&client.ask(&request(method, "/m")), 200, "ok");
        let seen = &upstream.seen()[0];
        assert_eq!((seen.method.as_str(), seen.framing), (method, Framing::None), "{seen:?}");
    }
}

#[test]
fn targets_pass_byte_for_byte() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    for target in [
        "/",
        "//a//b",
        "/a%2fb",
        "/a/./b",
        "/%zz",
        "/q?",
        "/q??",
        "/q?a=1&a=2&",
        "/a|b^c",
        "/{a}",
        "/caf\u{e9}",
        "/a\\b",
    ] {
        upstream.forget();
        let response = client.ask(&get(target));
        assert_eq!(response.status, 200, "{target}: {response:?}");
        assert_eq!(upstream.seen()[0].path(), target);
    }
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    upstream.script([answer(200).field("X-Up", "1").field("Content-Length", "12345").no_framing().into()]);
    let response = client.ask(&request("HEAD", "/"));
    assert_relayed(&response, 200, "");
    assert_eq!(
        (response.get("x-up").as_deref(), response.get("content-length").as_deref()),
        (Some("1"), Some("12345"))
    );
    for status in [204, 304] {
        upstream.script([answer(status).field("ETag", "\"e\"").no_framing().into()]);
        let response = client.ask(&get("/"));
        assert_relayed(&response, status, "");
        assert_eq!(response.get("etag").as_deref(), Some("\"e\""));
    }
}

#[test]
fn statuses_and_bodies_pass_however_the_upstream_framed_them() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    for status in [200, 206, 302, 400, 404, 429, 500, 503, 599] {
        upstream.script([answer(status).field("Retry-After", "7").body("as it came").into()]);
        let response = client.ask(&get("/"));
        assert_relayed(&response, status, "as it came");
        assert_eq!(response.get("retry-after").as_deref(), Some("7"));
    }
    let body = "x".repeat(500_000);
    for behaviour in [
        answer(200).body(&body).into(),
        answer(200).chunked_head().then_chunk(&body).then_last_chunk(),
        answer(200).body_until_close(&body).into(),
        raw(format!("HTTP/1.0 200 OK\r\n\r\n{body}")).then_close(),
    ] {
        upstream.script([behaviour]);
        assert_relayed(&client.ask(&get("/")), 200, &body);
    }
}

#[test]
fn hop_by_hop_and_own_fields_of_answers_are_removed() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200)
        .field("Connection", "X-Nominated")
        .field("X-Nominated", "1")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("Upgrade", "foo")
        .field("X-Forebay-Error", "made up")
        .field("X-Forebay-Source", "made up")
        .field("X-Stay", "1")
        .after_interim(103)
        .chunks(["o", "k"])
        .into()]);
    let response = forebay_for(&upstream).connect_h2().ask(&get("/"));
    assert_relayed(&response, 200, "ok");
    // The client refuses those that HTTP/2 forbids.
    assert_eq!((response.get("x-nominated"), response.get("x-stay").as_deref()), (None, Some("1")), "{response:?}");
    assert!(response.interim.is_empty(), "1xx answers are not forwarded: {response:?}");
}

#[test]
fn the_health_path_is_answered_here() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect_h2();
    let response = client.ask(&get("/healthz"));
    assert_eq!((response.status, response.text().replace(' ', "").trim()), (200, "{\"ok\":true}"));
    assert!(is_own(&response), "{response:?}");
    assert_eq!(client.ask(&request("HEAD", "/healthz")).status, 200);
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn both_protocols_are_served_on_one_port() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let (mut two, mut one) = (forebay.connect_h2(), forebay.connect());
    for _ in 0..3 {
        assert_relayed(&two.ask(&get("/2")), 200, "ok");
        assert_relayed(&one.ask(&get("/1")), 200, "ok");
    }
}

#[test]
fn a_preface_may_come_in_pieces() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    for cut in [1, 3, 4, 14, 16, 18, 23] {
        let mut client = H2Client::silent(forebay.port);
        client.write(&frames::PREFACE[..cut]);
        std::thread::sleep(Duration::from_millis(30));
        client.write(&frames::PREFACE[cut..]);
        client.write(frames::settings(&[]));
        assert_relayed(&client.ask(&get("/")), 200, "ok");
    }
}

#[test]
fn a_broken_preface_is_a_bad_request() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).set("CLIENT_HEADER_TIMEOUT_SECONDS", 5).start();
    for broken in [
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        "PRI * HTTP/2.0\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n",
        "PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client: Client = forebay.connect();
        client.send(broken);
        assert_error(&client.read("GET"), 400, "bad_request");
        assert!(client.is_closed(), "{broken:?}");
    }
    assert!(upstream.seen().is_empty(), "{:#?}", upstream.seen());
}

#[test]
fn an_upgrade_to_http2_is_not_made() {
    let upstream = FakeUpstream::start();
    let asked = get("/")
        .field("Connection", "Upgrade, HTTP2-Settings")
        .field("Upgrade", "h2c")
        .field("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA");
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect();
    for _ in 0..2 {
        assert_relayed(&client.ask(&asked), 200, "ok");
    }
    for seen in upstream.seen() {
        for gone in ["upgrade", "http2-settings", "connection"] {
            assert!(seen.all(gone).is_empty(), "{gone}: {seen:?}");
        }
    }
}
