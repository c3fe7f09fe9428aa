//! `RETRY=safe`: what may have reached the upstream is repeated only where that is harmless (3.3).

use std::thread;
use std::time::Duration;

use super::good;
use crate::client::{post, request};
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts};
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, answer, close, reset};

#[test]
fn only_harmless_requests_are_repeated_after_bytes_were_sent() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).set("RETRY", "safe").start();
    let harmless = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].map(|m| (m, None, 2));
    let harmful = ["POST", "PATCH", "PROPFIND", "get"].map(|m| (m, None, 1));
    let keyed = ["POST", "PATCH"].map(|m| (m, Some("key-1"), 2));
    for (method, key, expected) in harmless.into_iter().chain(harmful).chain(keyed) {
        upstream.forget();
        let second =
            if method == "HEAD" { answer(200).field("Connection", "close").no_framing().into() } else { good("2") };
        upstream.script([close(), second.then_close()]);
        let asked = request(method, "/safe");
        let asked = if let Some(key) = key { asked.field("Idempotency-Key", key) } else { asked };
        let response = forebay.ask(&asked);
        let what = format!("{method} with the key {key:?}: {response:?}");
        assert_eq!(response.status, if expected == 2 { 200 } else { 502 }, "{what}");
        assert_eq!(attempts(&response), Some(expected), "{what}");
        if expected == 1 {
            assert_error(&response, 502, "upstream_request_error");
            upstream.assert_no_more_than(1, A_WHILE);
        }
        for seen in upstream.seen() {
            assert_eq!(seen.get("idempotency-key").as_deref(), key, "the key is forwarded unchanged");
        }
    }
}

#[test]
fn a_failed_connect_is_repeated_whatever_the_method() {
    let mut upstream = FakeUpstream::refusing();
    let forebay = Settings::in_front_of(&upstream)
        .set("RETRY", "safe")
        .set("UPSTREAM_MAX_ATTEMPTS", 50)
        .set("RETRY_BACKOFF_SECONDS", "0.1")
        .set("RETRY_BACKOFF_MAX_SECONDS", "0.1")
        .start();
    let response = thread::scope(|scope| {
        let asked = scope.spawn(|| forebay.ask(&post("/", "x")));
        thread::sleep(Duration::from_millis(300));
        upstream.listen();
        asked.join().unwrap()
    });
    assert_relayed(&response, 200, "ok");
    assert!(attempts(&response).is_some_and(|n| n > 1), "{response:?}");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn without_it_every_method_is_repeated() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).start();
    for method in ["POST", "PATCH", "PROPFIND"] {
        upstream.script([reset(), good("second")]);
        let response = forebay.ask(&request(method, "/").body("x"));
        assert_relayed(&response, 200, "second");
        assert_eq!(attempts(&response), Some(2), "{method}");
    }
}
