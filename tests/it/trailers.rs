//! Trailers pass (4): on HTTP/1.1 where they are announced and wanted, on HTTP/2 always.

use crate::client::{Client, get};
use crate::expect::{assert_relayed, attempts};
use crate::forebay::Settings;
use crate::upstream::h2::{Play, reply};
use crate::upstream::{AnyUpstream, FakeUpstream, Framing, H2Upstream, Seen, answer, close, echo};

const WITH_TRAILERS: &str = "3\r\nabc\r\n0\r\nX-T: v\r\nX-U: w\r\n\r\n";

fn send(client: &mut Client, fields: &str, body: &str) {
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}Transfer-Encoding: chunked\r\n\r\n{body}"));
}

fn settings(upstream: &AnyUpstream) -> Settings {
    upstream.settings().set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20)
}

fn echoing() -> [AnyUpstream; 2] {
    let both = AnyUpstream::both();
    for upstream in &both {
        match upstream {
            AnyUpstream::One(upstream) => upstream.script([echo()]),
            AnyUpstream::Two(upstream) => upstream.script([Play::echo()]),
        }
    }
    both
}

#[track_caller]
fn assert_trailers(seen: &Seen) {
    assert_eq!(seen.body, b"abc", "{seen:?}");
    assert_eq!((seen.trailer("x-t").as_deref(), seen.trailer("x-u").as_deref()), (Some("v"), Some("w")), "{seen:?}");
}

/// The names that `Trailer` announces.
fn announced(seen: &Seen) -> Vec<String> {
    let value = seen.all("trailer").join(b",".as_slice());
    let value = String::from_utf8(value).unwrap().to_lowercase();
    value.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

#[test]
fn trailers_of_a_request_arrive_and_are_announced() {
    for upstream in echoing() {
        let forebay = settings(&upstream).start();
        for fields in ["Trailer: X-T, X-U\r\n", "Trailer: X-T\r\nTrailer: X-U\r\n", ""] {
            upstream.forget();
            let mut client = forebay.connect();
            send(&mut client, fields, WITH_TRAILERS);
            assert_relayed(&client.read("POST"), 200, "abc");
            let seen = upstream.wait("the whole request", |seen| seen[0].complete);
            assert_trailers(&seen[0]);
            if matches!(upstream, AnyUpstream::One(_)) {
                assert!(["x-t", "x-u"].iter().all(|t| announced(&seen[0]).iter().any(|a| a == t)), "{seen:?}");
                assert_eq!(seen[0].framing, Framing::Chunked, "a body with trailers goes out in chunks: {seen:?}");
            }
            // The connection is not out of step.
            assert_relayed(&client.ask(&get("/next")), 200, "");
        }
        upstream.assert_unambiguous();
    }
}

#[test]
fn on_the_stream_lane_what_was_announced_arrives() {
    for upstream in echoing() {
        let forebay = settings(&upstream).set("LANE", "stream").start();
        let mut client = forebay.connect();
        send(&mut client, "Trailer: X-T, X-U\r\n", WITH_TRAILERS);
        assert_relayed(&client.read("POST"), 200, "abc");
        assert_trailers(&upstream.wait("the whole request", |seen| seen[0].complete)[0]);
        let mut client = forebay.connect_h2();
        let stream = client.open(&crate::client::request("POST", "/").field("trailer", "x-t, x-u"));
        client.data(stream, b"abc", false);
        client.trailers(stream, &[("x-t", "v"), ("x-u", "w")]);
        assert_relayed(&client.read(stream), 200, "abc");
        assert_trailers(&upstream.wait("the whole request", |seen| seen[1].complete)[1]);
        upstream.assert_unambiguous();
    }
}

#[test]
fn trailers_are_repeated_with_their_request() {
    let upstream = FakeUpstream::start();
    upstream.script([close(), close(), echo()]);
    let forebay = Settings::in_front_of(&upstream).start();
    let mut client = forebay.connect();
    send(&mut client, "", WITH_TRAILERS);
    let response = client.read("POST");
    assert_relayed(&response, 200, "abc");
    assert_eq!(attempts(&response), Some(3));
    for seen in upstream.seen() {
        assert_trailers(&seen);
    }
}

#[test]
fn an_announcement_without_trailers_is_not_kept() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = Settings::in_front_of(&upstream).start();
    let mut client = forebay.connect();
    send(&mut client, "Trailer: X-T\r\n", "3\r\nabc\r\n0\r\n\r\n");
    assert_relayed(&client.read("POST"), 200, "abc");
    assert_relayed(&forebay.ask(&get("/").field("Trailer", "X-T")), 200, "");
    for seen in upstream.seen() {
        assert!(seen.all("trailer").is_empty() && seen.trailers.is_empty(), "{seen:?}");
    }
    assert_eq!(upstream.seen()[0].framing, Framing::Length);
}

/// Upstreams whose answers have these trailers, announced or not.
fn answering(announced: bool) -> [AnyUpstream; 2] {
    let (one, two) = (FakeUpstream::start(), H2Upstream::start());
    let (mut first, mut second) = (answer(200), reply(200));
    if announced {
        (first, second) = (first.field("Trailer", "X-T, X-U"), second.field("trailer", "X-T, X-U"));
    }
    one.script([first.trailers("body", &[("X-T", "v"), ("X-U", "w")]).into()]);
    two.script([second.open().then_data("body").then_trailers(&[("x-t", "v"), ("x-u", "w")])]);
    [AnyUpstream::One(one), AnyUpstream::Two(two)]
}

#[test]
fn trailers_of_an_answer_reach_a_client_that_wants_them() {
    for upstream in answering(true) {
        let forebay = settings(&upstream).start();
        let mut client = forebay.connect();
        for _ in 0..2 {
            let response = client.ask(&get("/").field("TE", "trailers"));
            assert_relayed(&response, 200, "body");
            assert_eq!(response.trailer("x-t").as_deref(), Some("v"), "{}: {response:?}", upstream.protocol());
            assert_eq!(response.trailer("x-u").as_deref(), Some("w"));
            let names = response.get("trailer").unwrap_or_default().to_lowercase();
            assert!(names.contains("x-t") && names.contains("x-u"), "{response:?}");
        }
        for seen in upstream.seen() {
            assert_eq!(seen.all("te"), [b"trailers"], "the upstream is told that they are wanted: {seen:?}");
        }
    }
}

#[test]
fn a_client_that_does_not_want_them_gets_its_body_alone() {
    for announced in [true, false] {
        for upstream in answering(announced) {
            let forebay = settings(&upstream).start();
            let mut client = forebay.connect();
            for _ in 0..2 {
                let response = client.ask(&get("/"));
                assert_relayed(&response, 200, "body");
                assert!(response.trailers.is_empty(), "{response:?}");
            }
            assert_relayed(&client.ask(&get("/").http10()), 200, "body");
        }
    }
}

#[test]
fn what_nobody_announced_does_not_reach_a_client_on_http1() {
    for upstream in answering(false) {
        let response = settings(&upstream).start().ask(&get("/").field("TE", "trailers"));
        assert_relayed(&response, 200, "body");
        assert!(response.trailers.is_empty(), "{response:?}");
    }
}

#[test]
fn a_client_on_http2_gets_them_in_any_case() {
    for announced in [true, false] {
        for upstream in answering(announced) {
            let forebay = settings(&upstream).start();
            let mut client = forebay.connect_h2();
            for asked in [get("/"), get("/").field("te", "trailers")] {
                let response = client.ask(&asked);
                assert_relayed(&response, 200, "body");
                assert_eq!(response.trailer("x-t").as_deref(), Some("v"), "{}: {response:?}", upstream.protocol());
                assert_eq!(response.trailer("x-u").as_deref(), Some("w"));
            }
        }
    }
}

#[test]
fn trailers_are_no_place_for_forebays_own_names() {
    let upstream = FakeUpstream::start();
    let trailers = [("X-Forebay-Error", "made up"), ("X-Forebay-Attempts", "9"), ("X-T", "v")];
    upstream.script([answer(200).field("Trailer", "X-T").trailers("body", &trailers).into()]);
    let response = Settings::in_front_of(&upstream).start().connect_h2().ask(&get("/"));
    assert_relayed(&response, 200, "body");
    assert_eq!((response.trailer("x-t").as_deref(), response.trailers.len()), (Some("v"), 1), "{response:?}");
}
