//! From a client on HTTP/1.1 to an upstream on HTTP/2.

use crate::client::{get, post, request};
use crate::expect::assert_relayed;
use crate::forebay::Settings;
use crate::guard::corpus;
use crate::guard::judge::judge;
use crate::upstream::h2::{Play, reply};
use crate::upstream::{AnyUpstream, Framing, H2Upstream};

#[test]
fn what_has_two_readings_on_http1_has_one_on_http2_or_none() {
    judge(corpus::every_case(), &AnyUpstream::Two(H2Upstream::start()));
}

#[test]
fn hop_by_hop_fields_do_not_cross() {
    let upstream = H2Upstream::start();
    let forebay = Settings::in_front_of_h2(&upstream).start();
    let asked = post("/", "x")
        .field("Connection", "X-Nominated, keep-alive")
        .field("Connection", "x-second, Content-Length, Host")
        .field("X-Nominated", "1")
        .field("X-Second", "1")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("Proxy-Authorization", "Basic x")
        .field("TE", "gzip;q=0.5, trailers")
        .field("Upgrade", "h2c")
        .field("HTTP2-Settings", "AAMAAABk")
        .field("X-Stay", "1");
    assert_relayed(&forebay.ask(&asked), 200, "ok");
    let seen = &upstream.seen()[0];
    for gone in [
        "connection",
        "x-nominated",
        "x-second",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "upgrade",
        "http2-settings",
        "transfer-encoding",
        "host",
    ] {
        assert!(seen.all(gone).is_empty(), "{gone}: {seen:?}");
    }
    assert_eq!((seen.get("x-stay").as_deref(), seen.body.as_slice()), (Some("1"), b"x".as_slice()));
    assert!(seen.all("te").iter().all(|v| *v == b"trailers"), "{seen:?}");
    assert_eq!(seen.get(":authority"), Some(upstream.authority()));
    upstream.assert_unambiguous();
}

#[test]
fn bodies_are_framed_as_http2_frames_them() {
    let upstream = H2Upstream::start();
    upstream.script([Play::echo()]);
    let forebay = Settings::in_front_of_h2(&upstream).start();
    for (asked, body, length) in [
        (post("/", "hello"), "hello", Some("5")),
        (request("POST", "/").chunks([b"he".as_slice(), b"llo"]), "hello", Some("5")),
        (post("/", ""), "", Some("0")),
        (get("/"), "", None),
    ] {
        upstream.forget();
        let response = forebay.ask(&asked);
        assert_eq!((response.status, response.text().as_str()), (200, body));
        let seen = &upstream.seen()[0];
        assert_eq!(
            (seen.get("content-length").as_deref(), seen.body.as_slice()),
            (length, body.as_bytes()),
            "{seen:?}"
        );
        assert!(seen.complete, "{seen:?}");
        if length.is_none() {
            assert_eq!(seen.framing, Framing::None, "{seen:?}");
        }
    }
}

#[test]
fn answers_of_http2_become_answers_of_http1() {
    let upstream = H2Upstream::start();
    let forebay = Settings::in_front_of_h2(&upstream).start();
    // Without a length: chunks, or the end of the connection for who knows no chunks.
    upstream.script([reply(200)
        .field("x-up", "v")
        .field("set-cookie", "a=1")
        .field("set-cookie", "b=2")
        .body("hello")
        .into()]);
    let response = forebay.get("/");
    assert_relayed(&response, 200, "hello");
    assert_eq!(response.all("set-cookie"), [b"a=1", b"b=2"]);
    assert_eq!(response.reason, "OK");
    let response = forebay.ask(&get("/").http10());
    assert_relayed(&response, 200, "hello");
    assert!(response.all("transfer-encoding").is_empty(), "{response:?}");
    // With one.
    upstream.script([reply(200).field("content-length", "5").body("hello").into()]);
    let response = forebay.get("/");
    assert_relayed(&response, 200, "hello");
    assert_eq!(response.all("content-length"), [b"5"]);
    // Bodiless.
    for status in [204, 304] {
        upstream.script([reply(status).field("etag", "\"e\"").into()]);
        let mut client = forebay.connect();
        assert_relayed(&client.ask(&get("/")), status, "");
        assert_relayed(&client.ask(&get("/")), status, "");
    }
    upstream.script([reply(200).field("content-length", "12345").into()]);
    let response = forebay.ask(&request("HEAD", "/"));
    assert_relayed(&response, 200, "");
    assert_eq!(response.get("content-length").as_deref(), Some("12345"));
}
