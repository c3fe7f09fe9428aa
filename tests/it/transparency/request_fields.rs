//! Field lines of requests: what passes, what is removed, what is set (4).

use super::{forebay_for, patient};
use crate::client::{get, post, request};
use crate::expect::assert_relayed;
use crate::upstream::{FakeUpstream, Framing, echo};

#[test]
fn host_becomes_the_upstreams() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    for host in ["client.example:1234", "localhost", "[::1]:80", "a"] {
        upstream.forget();
        assert_relayed(&forebay.ask(&get("/").host(host)), 200, "ok");
        assert_eq!(upstream.seen()[0].all("host"), [upstream.authority().as_bytes()]);
    }
}

#[test]
fn repeated_fields_keep_their_values_and_their_order() {
    let upstream = FakeUpstream::start();
    let asked = get("/").field("X-D", "1").field("Cookie", "a=1").field("X-D", "2").field("Accept", "x/y");
    forebay_for(&upstream).ask(&asked.field("Cookie", "b=2").field("x-d", "3, 4"));
    let seen = &upstream.seen()[0];
    assert_eq!(seen.all("x-d"), [b"1".as_slice(), b"2", b"3, 4"]);
    let cookies = seen.all("cookie");
    assert!(cookies == [b"a=1", b"b=2"] || cookies == [b"a=1; b=2"], "{cookies:?}");
    assert_eq!(seen.all("accept"), [b"x/y"]);
}

#[test]
fn field_values_pass_byte_for_byte() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let values: [&[u8]; 7] = [b"", b"caf\xc3\xa9", b"\xff\x80", b"\"q, \\\"x\"", b"a  b", b"a\tb", b"%0d%0a"];
    for value in values {
        upstream.forget();
        let response = forebay.ask(&get("/").field("X-V", value).field("X-After", "1"));
        assert_eq!(response.status, 200, "{}", value.escape_ascii());
        assert_eq!(upstream.seen()[0].all("x-v"), [value]);
        assert_eq!(upstream.seen()[0].all("x-after"), [b"1"]);
    }
}

#[test]
fn nothing_is_added() {
    let upstream = FakeUpstream::start();
    forebay_for(&upstream).get("/");
    let seen = &upstream.seen()[0];
    let added: Vec<_> = seen.fields.iter().filter(|(n, _)| !n.eq_ignore_ascii_case("host")).collect();
    assert!(added.iter().all(|(n, _)| n.eq_ignore_ascii_case("connection")), "{added:?}");
    assert_eq!((seen.framing, seen.all("content-length").len()), (Framing::None, 0));
}

#[test]
fn encodings_and_types_are_not_touched() {
    let upstream = FakeUpstream::start();
    let asked = post("/", b"\x1f\x8bnot really gzip\0\xff").field("Content-Encoding", "gzip");
    let asked = asked.field("Content-Type", "application/x-foo; a=b").field("Accept-Encoding", "br;q=1, zstd");
    let asked = asked.field("Content-MD5", "x").field("Range", "bytes=0-1").field("If-None-Match", "\"e\"");
    forebay_for(&upstream).ask(&asked);
    let seen = &upstream.seen()[0];
    assert_eq!(seen.body, b"\x1f\x8bnot really gzip\0\xff");
    assert_eq!(seen.all("content-encoding"), [b"gzip"]);
    assert_eq!(seen.all("content-type"), [b"application/x-foo; a=b"]);
    assert_eq!(seen.all("accept-encoding"), [b"br;q=1, zstd"]);
    assert_eq!(seen.all("range"), [b"bytes=0-1"]);
    assert_eq!(seen.all("if-none-match"), [b"\"e\""]);
}

#[test]
fn hop_by_hop_fields_are_removed() {
    let upstream = FakeUpstream::start();
    let asked = get("/")
        .field("Connection", "close, X-Nominated")
        .field("Connection", "x-second ,, X-Third")
        .field("X-Nominated", "secret")
        .field("X-Second", "secret")
        .field("X-Third", "secret")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("Proxy-Authorization", "Basic eDp5")
        .field("Proxy-Authenticate", "Basic")
        .field("TE", "gzip")
        .field("Trailer", "X-T")
        .field("Upgrade", "foo/1")
        .field("X-Stay", "1");
    assert_relayed(&forebay_for(&upstream).ask(&asked), 200, "ok");
    let seen = &upstream.seen()[0];
    for name in ["X-Nominated", "X-Second", "X-Third", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization"] {
        assert!(seen.all(name).is_empty(), "{name}: {seen:?}");
    }
    for name in ["Proxy-Authenticate", "Trailer", "Upgrade"] {
        assert!(seen.all(name).is_empty(), "{name}: {seen:?}");
    }
    assert!(seen.all("te").iter().all(|v| *v == b"trailers"), "{seen:?}");
    let connection = seen.all("connection").join(&b',').to_ascii_lowercase();
    assert!(connection.is_empty() || connection == b"keep-alive", "{seen:?}");
    assert_eq!(seen.all("x-stay"), [b"1"]);
}

#[test]
fn connection_cannot_remove_what_holds_the_message_together() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = forebay_for(&upstream);
    for victim in ["Host", "Content-Length", "Transfer-Encoding", "host, content-length"] {
        upstream.forget();
        assert_relayed(&forebay.ask(&post("/", "12345").field("Connection", format!("close, {victim}"))), 200, "12345");
        let chunked = request("POST", "/").chunks([b"12345".as_slice()]).field("Connection", victim);
        assert_relayed(&forebay.ask(&chunked), 200, "12345");
        for seen in upstream.seen() {
            assert_eq!(seen.all("host"), [upstream.authority().as_bytes()], "{victim}");
            assert_eq!(seen.all("content-length"), [b"5"], "{victim}");
        }
    }
    upstream.assert_unambiguous();
}

#[test]
fn connection_cannot_remove_the_key_that_forebay_sets() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).set("UPSTREAM_API_KEY", "sk-proxy").start();
    let asked = get("/").host("localhost").field("Connection", "Authorization").field("Authorization", "Bearer client");
    assert_relayed(&forebay.ask(&asked), 200, "ok");
    assert_eq!(upstream.seen()[0].all("authorization"), [b"Bearer sk-proxy"]);
}

#[test]
fn forebays_own_names_are_removed_from_requests() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).set("SOURCE_HEADER", "X-Proxq-Source: proxq").start();
    let names = ["X-Forebay-Source", "X-Forebay-Attempts", "x-forebay-anything", "X-Forebay-Timeout", "X-Proxq-Source"];
    let asked = names.iter().fold(get("/"), |asked, name| asked.field(name, "1s"));
    assert_relayed(&forebay.ask(&asked.field("X-Forebayed", "stays")), 200, "ok");
    let seen = &upstream.seen()[0];
    for name in names {
        assert!(seen.all(name).is_empty(), "{name}: {seen:?}");
    }
    assert_eq!(seen.all("x-forebayed"), [b"stays"]);
}

#[test]
fn forwarded_fields_stay_as_the_client_sent_them() {
    let upstream = FakeUpstream::start();
    let asked = get("/").field("X-Forwarded-For", "1.2.3.4").field("X-Real-IP", "1.2.3.4").field("Forwarded", "for=a");
    forebay_for(&upstream).ask(&asked);
    let seen = &upstream.seen()[0];
    assert_eq!(seen.all("x-forwarded-for"), [b"1.2.3.4"]);
    assert_eq!(seen.all("x-real-ip"), [b"1.2.3.4"]);
    assert_eq!(seen.all("forwarded"), [b"for=a"]);
    assert!(seen.all("x-forwarded-proto").is_empty());
}
