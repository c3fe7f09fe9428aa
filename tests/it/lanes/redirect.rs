//! The redirect lane: clients that can reach the upstream themselves are sent there.

use crate::client::{Response, get, post, request};
use crate::expect::{assert_error, attempts, is_own};
use crate::forebay::Settings;
use crate::upstream::FakeUpstream;

#[track_caller]
fn assert_redirect(response: &Response, location: &str) {
    assert_eq!(response.status, 307, "{response:?}");
    assert!(response.is_complete() && is_own(response), "{response:?}");
    assert_eq!((response.get("location").as_deref(), attempts(response)), (Some(location), Some(0)), "{response:?}");
}

/// Bytes, with what is percent-encoded decoded.
fn decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = (byte == b'%').then(|| tail.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(value) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(value);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    bytes
}

#[test]
fn everybody_is_sent_to_the_upstreams_url() {
    let upstream = FakeUpstream::start();
    let base = format!("{}/base", upstream.url());
    let forebay = Settings::in_front_of(&upstream).set("UPSTREAM_BASE_URL", &base).set("LANE", "redirect").start();
    for target in ["/", "/x?y=z", "/a%2Fb/c%20d?q=%20&r=+", "/q?", "//a//b", "/a;b=c,d:e@f", "/%E2%82%AC?%00"] {
        assert_redirect(&forebay.get(target), &format!("{base}{target}"));
        assert_redirect(&forebay.connect_h2().ask(&get(target)), &format!("{base}{target}"));
    }
    for asked in [
        post("/x", "hello"),
        request("HEAD", "/x"),
        request("DELETE", "/x"),
        request("PUT", "/x").chunks([b"ab".as_slice()]),
    ] {
        assert_redirect(&forebay.ask(&asked), &format!("{base}/x"));
    }
    assert_eq!(upstream.accepted(), 0);
    assert_eq!(forebay.get("/healthz").status, 200);
}

#[test]
fn odd_characters_come_back_as_a_url_that_means_the_same() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).set("LANE", "redirect").start();
    for target in [
        "/caf\u{e9}",
        "/a\"b",
        "/a|b",
        "/a\\b",
        "/a^b",
        "/{a}",
        "/q?caf\u{e9}",
        "/q?a=\"b\"&c={d}|e",
        "/q?'%22'",
        "/%0d%0aX:y",
    ] {
        let response = forebay.get(target);
        assert_eq!(response.status, 307, "{target}: {response:?}");
        let location = response.get("location").unwrap();
        assert!(location.starts_with(&upstream.url()), "{location}");
        // As header fields go, anything else would be read differently by different clients.
        assert!(location.bytes().all(|b| b.is_ascii_graphic()), "{target}: {location}");
        assert_eq!(decoded(&location), decoded(&format!("{}{target}", upstream.url())), "{target}");
        assert_eq!((response.all("location").len(), response.get("x")), (1, None), "{response:?}");
    }
}

#[test]
fn the_prefix_of_a_route_is_stripped_and_its_fence_stands() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::new()
        .set("ROUTE_FILES_PREFIX", "/files")
        .set("ROUTE_FILES_UPSTREAM_BASE_URL", format!("{}/bucket", upstream.url()))
        .set("ROUTE_FILES_LANE", "redirect")
        .start();
    assert_redirect(&forebay.get("/files/img.png?x"), &format!("{}/bucket/img.png?x", upstream.url()));
    assert_redirect(&forebay.get("/files?x"), &format!("{}/bucket/?x", upstream.url()));
    for target in ["/files/../x", "/files/%2e%2e/x", "/files/a%5c..%5cb"] {
        assert_error(&forebay.get(target), 400, "bad_request");
    }
    assert_error(&forebay.get("/other"), 502, "no_route");
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn no_credential_goes_along() {
    let upstream = FakeUpstream::start();
    let forebay =
        Settings::in_front_of(&upstream).set("LANE", "redirect").set("UPSTREAM_API_KEY", "sk-NEVERSHOWN").start();
    let response = forebay.ask(&get("/x").host("localhost").field("Authorization", "Bearer NEVERSHOWN"));
    assert_redirect(&response, &format!("{}/x", upstream.url()));
    assert!(!format!("{response:?}").contains("NEVERSHOWN"), "{response:?}");
}

#[test]
fn a_large_body_is_not_waited_for() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).set("LANE", "redirect").set("MAX_REQUEST_BODY_BYTES", 1000).start();
    let mut client = forebay.connect();
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nabc");
    assert_redirect(&client.read("POST"), &format!("{}/x", upstream.url()));
    let mut client = forebay.connect();
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let response = client.read("POST");
    assert_redirect(&response, &format!("{}/x", upstream.url()));
    assert!(response.interim.is_empty(), "the body was asked for: {response:?}");
}
