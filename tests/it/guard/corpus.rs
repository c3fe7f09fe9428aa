//! Messages that one parser could read differently from another (4; RFC 9112 §2.2, §3, §5, §6, §7, §11).
//!
//! Asserted is what the *upstream* received: nothing, or one request that has one reading.

use super::judge::Verdict::{Bad, Clean, Refused};
use super::judge::{Case, judge, settings};
use crate::client::get;
use crate::expect::assert_error;
use crate::upstream::{AnyUpstream, FakeUpstream};

/// All of it.
pub fn every_case() -> Vec<Case> {
    [
        both_framings(),
        disguised(),
        lengths(),
        field_lines(),
        request_lines_and_targets(),
        chunked_bodies(),
        expectations_and_upgrades(),
    ]
    .concat()
}

fn judge_on_http1(cases: Vec<Case>) {
    judge(cases, &AnyUpstream::One(FakeUpstream::start()));
}

/// The request that must never be seen.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const HELLO: &str = "5\r\nhello\r\n0\r\n\r\n";

/// `POST /t` with these field lines, and what follows them.
fn sent(fields: &[&[u8]], rest: &str) -> Vec<u8> {
    with_line(b"POST /t HTTP/1.1", fields, rest)
}

fn with_line(line: &[u8], fields: &[&[u8]], rest: &str) -> Vec<u8> {
    let fields: Vec<u8> = fields.iter().flat_map(|f| [f, b"\r\n".as_slice()].concat()).collect();
    [line, b"\r\nHost: a\r\n", &fields, b"\r\n", rest.as_bytes()].concat()
}

fn both_framings() -> Vec<Case> {
    let smuggling_chunk = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let mut cases = vec![
        (Clean, sent(&[b"Content-Length: 6", b"Transfer-Encoding: chunked"], "0\r\n\r\nG")),
        (Clean, sent(&[b"Transfer-Encoding: chunked", b"Content-Length: 4"], &smuggling_chunk)),
        (Clean, sent(&[b"Content-Length: 0", b"Transfer-Encoding: chunked"], &smuggling_chunk)),
        (Clean, with_line(b"GET /t HTTP/1.1", &[b"Content-Length: 4", b"Transfer-Encoding: chunked"], "0\r\n\r\n")),
        (
            Clean,
            with_line(
                b"POST /t HTTP/1.0",
                &[b"Connection: keep-alive", b"Content-Length: 5", b"Transfer-Encoding: chunked"],
                &format!("0\r\n\r\n{SMUGGLED}"),
            ),
        ),
    ];
    // In disguise, a length that lies beside it.
    for disguise in disguised_codings() {
        cases.push((Clean, sent(&[b"Content-Length: 5", disguise], &format!("0\r\n\r\n{SMUGGLED}"))));
    }
    cases
}

/// Every one of these is, to somebody, `Transfer-Encoding: chunked`.
fn disguised_codings() -> Vec<&'static [u8]> {
    vec![
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding\t: chunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding: chunked\x0b",
        b"Transfer-Encoding: chunked\x00",
        b"Transfer-Encoding: 'chunked'",
        b"Transfer-Encoding: \"chunked\"",
        b"Transfer-Encoding: identity, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked;q=0.5",
        b"Transfer-Encoding: chunked,",
        b"Transfer-Encoding: ,chunked",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: chunke",
        b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"X: y\r\n Transfer-Encoding: chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"Transfer-Encoding\n: chunked",
        b" Transfer-Encoding: chunked",
        b"Transfer-Encoding\x00: chunked",
        b"\x00Transfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\xa0",
        b"Transfer-Encoding: \xefchunked",
        b"Transfer_Encoding: chunked",
    ]
}

fn disguised() -> Vec<Case> {
    // Alone, some are an odd way to say nothing: refused, or passed on without a second reading.
    let clean: [&[u8]; 2] = [b"X: y\nTransfer-Encoding: chunked", b"Transfer-Encoding: ,chunked"];
    let cases = disguised_codings().into_iter().filter(|d| !clean.contains(d)).map(|d| (Bad, sent(&[d], HELLO)));
    let clean = clean.into_iter().map(|d| (Clean, sent(&[d], HELLO)));
    cases.chain(clean).collect()
}

fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for value in
        ["+5", "-5", "0x5", "5.0", "5e0", "5,6", "1_0", "5\0", "\u{0665}", "'5'", "5 5", "", "99999999999999999999"]
    {
        cases.push((Bad, sent(&[format!("Content-Length: {value}").as_bytes()], "hello")));
    }
    cases.push((Refused, sent(&[b"Content-Length: 9223372036854775808"], "hello")));
    for (first, second) in [("5", "6"), ("36", "0"), ("0", "36"), ("5", "+5"), ("5", "")] {
        let fields = [format!("Content-Length: {first}"), format!("content-length: {second}")];
        cases.push((Bad, sent(&[fields[0].as_bytes(), fields[1].as_bytes()], SMUGGLED)));
    }
    cases.push((Clean, sent(&[b"Content-Length: 5, 5"], "hello")));
    cases.push((Clean, sent(&[b"Content-Length: 5", b"Content-Length: 5"], "hello")));
    cases.push((Clean, sent(&[b"Content-Length: 005"], "hello")));
    cases.push((Bad, sent(&[b"Content-Length: 5", b"Content_Length: 0"], "hello")));
    cases.push((Bad, sent(&[b"Content_Length: 5"], "hello")));
    cases.push((Bad, sent(&[b"Content-Length : 5"], "hello")));
    cases.push((Clean, b"POST /t HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 5\r\n\r\nhello".to_vec()));
    cases
}

fn field_lines() -> Vec<Case> {
    let field = |bytes: &[u8]| with_line(b"GET /t HTTP/1.1", &[bytes], "");
    let mut cases = vec![
        (Bad, field(b"X: a\r\n b")),
        (Bad, field(b"X: a\r\n\tb")),
        (Bad, field(b"X: a\rY: b")),
        (Bad, field(b"X: a\0b")),
        (Bad, field(b"X\0: a")),
        (Bad, field(b"X : a")),
        (Bad, field(b"X\t: a")),
        (Bad, field(b"XYZ")),
        (Bad, field(b": a")),
        (Bad, field(b"X: a\x01b")),
        (Bad, field(b"X: a\x7fb")),
        (Clean, field(b"X: a\nY: b")),
        (Bad, b"GET /t HTTP/1.1\r\nHost: a\r\r\nX: y\r\n\r\n".to_vec()),
        (Refused, b"GET /t HTTP/1.1\r\nHost: a\r\n\r\r".to_vec()),
        (Bad, b"GET /t HTTP/1.1\r\n Host: a\r\n\r\n".to_vec()),
        (Clean, b"GET /t HTTP/1.1\nHost: a\n\n".to_vec()),
        (Clean, b"\nGET /t HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (Clean, b"\r\nGET /t HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (Bad, b"xx\r\nGET /t HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
    ];
    for byte in b"(),/;<=>?@[\\]{}\"" {
        cases.push((Bad, field(&[b"X", [*byte].as_slice(), b"Y: a"].concat())));
    }
    cases
}

fn request_lines_and_targets() -> Vec<Case> {
    let line = |bytes: &[u8]| with_line(bytes, &[], "");
    let target = |bytes: &[u8]| line(&[b"GET ", bytes, b" HTTP/1.1"].concat());
    let mut cases = vec![
        (Bad, line(b"GET /t /u HTTP/1.1")),
        (Bad, line(b"GET /t HTTP/2.0")),
        (Bad, line(b"GET /t HTTP/1.1x")),
        (Bad, line(b"GET /t http/1.1")),
        (Bad, line(b"GET /t HTTP/0.9")),
        (Bad, line(b"GET /t HTTP/+1.1")),
        (Bad, line(b"GET /t")),
        (Bad, line(b"G(T /t HTTP/1.1")),
        (Bad, line(b"GE\0T /t HTTP/1.1")),
        (Bad, line(b" /t HTTP/1.1")),
        (Clean, line(b"GET  /t HTTP/1.1")),
        (Clean, line(b"GET /t  HTTP/1.1")),
        (Bad, line(b"GET\t/t\tHTTP/1.1")),
    ];
    for bad in [
        "/t#frag",
        "/#",
        "/t?q#frag",
        "/t%00#",
        "/t<u",
        "/t>u",
        "/t`u",
        "/t?<",
        "/t?>",
        "/t\0u",
        "/t\ru",
        "/t\x0bu",
        "/t\tu",
    ] {
        cases.push((Bad, target(bad.as_bytes())));
    }
    for bad in [b"/t\x7fu".as_slice(), b"/t\x0c", b"/caf\xe9", b"/\xc3", b"/t?\xff", b"/\xed\xa0\x80"] {
        cases.push((Bad, target(bad)));
    }
    for clean in ["t", ":80/t", "\\t", "*", "http:/t", "?q", "", "//a/t", "/t\nu", "ftp://a/t", "file:///etc/passwd"] {
        cases.push((Clean, target(clean.as_bytes())));
    }
    cases
}

fn chunked_bodies() -> Vec<Case> {
    let body = |bytes: &str| sent(&[b"Transfer-Encoding: chunked"], bytes);
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(200_000));
    let mut cases: Vec<Case> = [
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "0_5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "x\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\rX0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
    ]
    .map(|bytes| (Bad, body(bytes)))
    .into();
    for refused in [
        "5\rhello\r0\r\r",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhel",
    ] {
        cases.push((Refused, body(refused)));
    }
    for clean in [
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;x\n7a\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "0000000005\r\nhello\r\n000\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n",
        "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "5\r\nhello\r\n0\r\nHost: evil\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\n\r\n",
        "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : a\r\n\r\n",
        &long_extension,
    ] {
        cases.push((Clean, body(clean)));
    }
    cases
}

fn expectations_and_upgrades() -> Vec<Case> {
    vec![
        (Refused, sent(&[b"Expect: y 100-continue", b"Content-Length: 5"], "hello")),
        (Clean, sent(&[b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 5"], "hello")),
        (
            Clean,
            with_line(
                b"GET /t HTTP/1.1",
                &[b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"],
                "",
            ),
        ),
        (Clean, with_line(b"GET /t HTTP/1.1", &[b"Connection: Upgrade", b"Upgrade: foo"], "")),
    ]
}

#[test]
fn the_upstreams_address_never_comes_from_the_request() {
    let trap = FakeUpstream::start();
    let upstream = FakeUpstream::start();
    let forebay = settings(crate::forebay::Settings::in_front_of(&upstream)).start();
    let elsewhere = trap.authority();
    for target in [
        format!("http://{elsewhere}/t"),
        format!("http://u:p@{elsewhere}/t"),
        format!("https://{elsewhere}/t"),
        format!("HTTP://{elsewhere}"),
    ] {
        let mut client = forebay.connect();
        assert_error(&client.ask(&get(&target)), 400, "bad_request");
        assert!(client.is_closed(), "{target}");
    }
    // These agree with their Host; the address is still the configured one.
    for target in [format!("http://{elsewhere}/t"), format!("//{elsewhere}/t"), "/t".to_owned()] {
        assert_eq!(forebay.ask(&get(&target).host(&elsewhere)).status, 200, "{target}");
    }
    assert_eq!((trap.accepted(), upstream.seen().len()), (0, 3));
    upstream.assert_unambiguous();
}

#[test]
fn after_both_framings_the_connection_closes_and_the_length_is_gone() {
    let upstream = FakeUpstream::start();
    let forebay = settings(crate::forebay::Settings::in_front_of(&upstream)).start();
    let mut client = forebay.connect();
    client.send(sent(&[b"Content-Length: 3", b"Transfer-Encoding: chunked"], &format!("{HELLO}{SMUGGLED}")));
    let response = client.read("POST");
    assert!(client.is_closed(), "{response:?}");
    let seen = upstream.seen();
    if response.status == 400 {
        assert!(seen.is_empty(), "{seen:#?}");
        return;
    }
    assert_eq!((response.status, seen.len()), (200, 1), "{seen:#?}");
    assert_eq!((seen[0].body.as_slice(), seen[0].get("content-length").as_deref()), (b"hello".as_slice(), Some("5")));
}

#[test]
fn content_length_beside_transfer_encoding() {
    judge_on_http1(both_framings());
}

#[test]
fn a_transfer_coding_in_disguise() {
    judge_on_http1(disguised());
}

#[test]
fn a_content_length_that_is_no_number_or_two() {
    judge_on_http1(lengths());
}

#[test]
fn field_lines_that_hide_something() {
    judge_on_http1(field_lines());
}

#[test]
fn request_lines_and_targets_have_one_reading() {
    judge_on_http1(request_lines_and_targets());
}

#[test]
fn chunked_bodies_have_one_reading() {
    judge_on_http1(chunked_bodies());
}

#[test]
fn expectations_and_upgrades_have_one_reading() {
    judge_on_http1(expectations_and_upgrades());
}
