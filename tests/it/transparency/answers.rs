//! Answers of the upstream (4): status, fields, bodies and their framing.

use super::{forebay_for, patient};
use crate::client::get;
use crate::expect::{assert_relayed, attempts};
use crate::upstream::{Behaviour, FakeUpstream, answer, raw};

#[test]
fn statuses_and_reason_phrases_pass() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    for status in [200, 201, 202, 203, 206, 226, 299, 300, 400, 402, 404, 410, 418, 421, 429, 451, 500, 503, 511, 599] {
        upstream.script([answer(status)
            .reason("As It Came")
            .field("Retry-After", "7")
            .body(format!("b{status}"))
            .into()]);
        let response = forebay.get("/");
        assert_relayed(&response, status, format!("b{status}"));
        assert_eq!(response.reason, "As It Came", "{status}");
        assert_eq!(response.get("retry-after").as_deref(), Some("7"));
        assert_eq!(response.version, "HTTP/1.1");
    }
}

#[test]
fn fields_pass_with_their_values_and_their_order() {
    let upstream = FakeUpstream::start();
    let sent: [(&str, &[u8]); 13] = [
        ("Set-Cookie", b"a=1; Path=/"),
        ("Set-Cookie", b"b=2"),
        ("Set-Cookie", b"c=3, x"),
        ("Link", b"</a>"),
        ("Link", b"</b>"),
        ("X-Empty", b""),
        ("WWW-Authenticate", b"Basic"),
        ("WWW-Authenticate", b"Bearer"),
        ("X-Bin", b"\xc3\xa9\xff"),
        ("ETag", b"\"x\""),
        ("Date", b"Tue, 01 Jan 2030 00:00:00 GMT"),
        ("Server", b"up/1"),
        ("Content-Encoding", b"gzip"),
    ];
    upstream.script([sent.iter().fold(answer(200), |a, (name, value)| a.field(name, value)).body("ok").into()]);
    let response = forebay_for(&upstream).get("/");
    for (name, _) in sent {
        let expected: Vec<&[u8]> = sent.iter().filter(|(n, _)| *n == name).map(|(_, v)| *v).collect();
        assert_eq!(response.all(name), expected, "{name}");
    }
    assert_relayed(&response, 200, "ok");
}

#[test]
fn no_date_server_or_via_is_added() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).field("X-Up", "v").body("ok").into()]);
    let response = forebay_for(&upstream).get("/");
    for (name, value) in &response.fields {
        let name = name.to_ascii_lowercase();
        let known = ["x-up", "content-length", "connection", "x-forebay-attempts"].contains(&name.as_str());
        assert!(known, "{name}: {} was added", value.escape_ascii());
    }
}

#[test]
fn hop_by_hop_fields_of_answers_are_removed() {
    let upstream = FakeUpstream::start();
    let behaviour = answer(200)
        .field("Connection", "X-Nominated")
        .field("Connection", "x-second ,,")
        .field("X-Nominated", "1")
        .field("X-Second", "1")
        .field("Keep-Alive", "timeout=5")
        .field("Proxy-Connection", "keep-alive")
        .field("Proxy-Authenticate", "Basic")
        .field("Upgrade", "foo")
        .field("Trailer", "X-T")
        .field("TE", "gzip")
        .field("X-Stay", "1")
        .body("ok");
    upstream.script([behaviour.into()]);
    let response = forebay_for(&upstream).get("/");
    assert_relayed(&response, 200, "ok");
    let gone =
        ["X-Nominated", "X-Second", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Upgrade", "Trailer", "TE"];
    for name in gone {
        assert!(response.all(name).is_empty(), "{name}: {response:?}");
    }
    assert_eq!(response.all("x-stay"), [b"1"]);
}

#[test]
fn forebays_own_names_are_removed_from_answers() {
    let upstream = FakeUpstream::start();
    let names = ["X-Forebay-Source", "X-Forebay-Error", "X-Forebay-Foo", "X-Cache-Status", "X-Proxq-Source"];
    let behaviour = names.iter().fold(answer(200).field("X-Forebay-Attempts", "9"), |a, name| a.field(name, "forebay"));
    upstream.script([behaviour.field("X-Up", "v").body("ok").into()]);
    let response = patient(&upstream).set("SOURCE_HEADER", "X-Proxq-Source: proxq").start().get("/");
    assert_relayed(&response, 200, "ok");
    for name in names {
        assert!(response.all(name).is_empty(), "{name}: {response:?}");
    }
    assert_eq!((attempts(&response), response.all("x-forebay-attempts").len()), (Some(1), 1));
    assert_eq!(response.all("x-up"), [b"v"]);
}

#[test]
fn bodies_arrive_whole_however_they_are_framed() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let chunked = body.chunks(70_001).fold(answer(200).chunked_head(), Behaviour::then_chunk).then_last_chunk();
    let old = raw([b"HTTP/1.0 200 OK\r\n\r\n", body.as_slice()].concat()).then_close();
    for (what, behaviour) in [
        ("a length", answer(200).body(&body).into()),
        ("chunks", chunked),
        ("until close", answer(200).body_until_close(&body).into()),
        ("HTTP/1.0", old),
    ] {
        upstream.script([behaviour]);
        let response = forebay.get("/");
        assert!(response.is_complete() && response.body == body, "{what}: {} bytes", response.body.len());
    }
    for (what, behaviour) in [
        ("a length", answer(200).into()),
        ("chunks", answer(200).chunks([]).into()),
        ("until close", answer(200).body_until_close("").into()),
    ] {
        upstream.script([behaviour]);
        let response = forebay.get("/");
        assert_relayed(&response, 200, "");
        assert!(response.is_complete(), "{what}: {response:?}");
    }
}

#[test]
fn a_length_stays_a_length() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).body("12345").into()]);
    let response = forebay_for(&upstream).ask(&get("/"));
    assert_eq!(response.all("content-length"), [b"5"]);
    assert!(response.all("transfer-encoding").is_empty());
}

#[test]
fn chunk_extensions_of_the_upstream_are_not_forwarded_as_body() {
    let upstream = FakeUpstream::start();
    upstream.script([raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0;c\r\n\r\n")]);
    assert_relayed(&forebay_for(&upstream).get("/"), 200, "hello");
}
