//! Answers of the upstream that have two readings: 502, or cut; and their connection is never used again (4, 5).

use super::one_attempt;
use crate::client::{Response, get};
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::Forebay;
use crate::upstream::{FakeUpstream, Seen, answer, raw};

/// An answer that is nobody's.
const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";

/// One upstream and one forebay for many bad answers: what one of them poisons shows in the next.
struct Stage {
    upstream: FakeUpstream,
    forebay: Forebay,
}

impl Stage {
    fn new() -> Self {
        let upstream = FakeUpstream::start();
        let forebay = one_attempt(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 1).start();
        Self { upstream, forebay }
    }

    /// Plays the bad answer, and then checks that others get their own, on other connections.
    fn play(&self, bytes: &str, check: impl Fn(&Response)) {
        for seen in self.play_on_any_connection(bytes, check) {
            let bad = &seen[0];
            let again = seen[1..].iter().find(|s| s.connection == bad.connection);
            assert!(again.is_none(), "the connection was used again: {again:#?}");
        }
    }

    /// Plays the bad answer, without and with a FIN after it, and then checks that others get their own.
    fn play_on_any_connection(&self, bytes: &str, check: impl Fn(&Response)) -> [Vec<Seen>; 2] {
        println!("{:?}", &bytes[..bytes.len().min(200)]);
        [false, true].map(|close| {
            let bytes = bytes.to_owned();
            self.upstream.forget();
            self.upstream.answer_with(move |seen, _| match seen.path().as_str() {
                "/bad" if close => raw(&bytes).then_close(),
                "/bad" => raw(&bytes),
                own => answer(200).body(own).into(),
            });
            let mut client = self.forebay.connect();
            let response = client.ask(&get("/bad"));
            check(&response);
            assert_eq!(response.get("set-cookie"), None, "a field that the upstream did not send: {response:?}");
            if response.is_complete() && client.try_send(get("/same").bytes()) {
                let next = client.read("GET");
                assert!(next.status == 0 || next.text() == "/same", "{next:?}");
            }
            for own in ["/own1", "/own2", "/own3"] {
                assert_relayed(&self.forebay.get(own), 200, own);
            }
            self.upstream.seen()
        })
    }
}

#[test]
fn a_malformed_head_is_a_bad_gateway() {
    let stage = Stage::new();
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
        "HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 000 Zero\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 2000 Long\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 2xx Letters\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX\0: y\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: y\0z\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\nraw bytes",
        "hello world, this is not http at all\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n",
    ] {
        stage.play(bytes, |response| assert_error(response, 502, "upstream_request_error"));
    }
}

#[test]
fn a_head_above_its_limit_is_a_bad_gateway_and_costs_no_memory() {
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nok", "a".repeat(4_000_000));
    Stage::new().play(&huge, |response| assert_error(response, 502, "upstream_request_error"));
    let upstream = FakeUpstream::start();
    upstream.script([raw(huge)]);
    let forebay = one_attempt(&upstream).start();
    let before = forebay.memory();
    for _ in 0..5 {
        assert_error(&forebay.get("/"), 502, "upstream_request_error");
    }
    assert!(forebay.memory() < before + (64 << 20), "{} bytes more", forebay.memory() - before);
}

#[test]
fn a_large_head_below_its_limit_passes() {
    let upstream = FakeUpstream::start();
    let value = "v".repeat(100_000);
    upstream.script([answer(200).field("X-Large", &value).body("ok").into()]);
    let response = one_attempt(&upstream).start().get("/");
    assert_relayed(&response, 200, "ok");
    assert_eq!(response.get("x-large"), Some(value));
}

#[test]
fn bytes_after_an_answer_are_nobodys() {
    let stage = Stage::new();
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        stage.play(&format!("{head}{EVIL}"), |response| assert_relayed(response, 200, "ok"));
    }
    for head in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 49\r\n\r\n"] {
        stage.play(&format!("{head}{EVIL}"), |response| {
            assert!(matches!(response.status, 204 | 304 | 502), "{response:?}");
            assert!(!response.text().contains("EVIL"), "{response:?}");
        });
    }
}

#[test]
fn a_length_beside_chunks_counts_for_nothing() {
    let stage = Stage::new();
    for length in [0, 1, 2, 40] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n");
        stage.play(&format!("{head}2\r\nok\r\n0\r\n\r\n"), |response| {
            assert!(response.status == 200 && response.is_complete(), "{response:?}");
            assert_eq!((response.text().as_str(), response.get("content-length")), ("ok", None));
        });
    }
}

#[test]
fn what_can_be_read_in_two_ways_arrives_in_one_or_not_at_all() {
    let stage = Stage::new();
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil=1\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokEVIL\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nok\r\n0\r\n\r\n",
    ] {
        stage.play_on_any_connection(bytes, |response| {
            // The client reads strictly: what arrives is HTTP, or the test has failed already.
            assert!(matches!(response.status, 200 | 502 | 504), "{response:?}");
            assert!(!response.text().contains("EVIL"), "{response:?}");
        });
    }
}
