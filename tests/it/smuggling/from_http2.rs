//! From a client on HTTP/2, to upstreams of both protocols.

use std::panic::AssertUnwindSafe;

use crate::client::{Cut, H2Client, Response, get};
use crate::expect::is_own;
use crate::forebay::Forebay;
use crate::frames;
use crate::guard::judge::settings;
use crate::upstream::{AnyUpstream, Seen};

/// What must become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing upstream: a 4xx of forebay's own, or the stream or the connection is ended.
    Never,
    /// Refused, or passed on in a form that has one reading.
    Clean,
}
use Verdict::{Clean, Never};

/// A request: its fields in order, pseudo fields included, and its body.
#[derive(Clone)]
struct Message {
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Option<Vec<u8>>,
    trailers: Vec<(&'static str, &'static str)>,
}

const PSEUDO: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "http"), (":path", "/t"), (":authority", "a")];

/// A request without a body, and these fields behind the pseudo fields.
fn with(fields: &[(&str, &[u8])]) -> Message {
    let pseudo = PSEUDO.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()));
    let fields = fields.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.to_vec()));
    Message { fields: pseudo.chain(fields).collect(), body: None, trailers: Vec::new() }
}

fn one(name: &str, value: &str) -> Message {
    with(&[(name, value.as_bytes())])
}

/// One of the pseudo fields has another value.
fn pseudo(name: &str, value: &[u8]) -> Message {
    let mut message = with(&[]);
    for field in &mut message.fields {
        if field.0 == name.as_bytes() {
            field.1 = value.to_vec();
        }
    }
    message
}

fn without(name: &str) -> Message {
    let mut message = with(&[]);
    message.fields.retain(|(n, _)| n != name.as_bytes());
    message
}

impl Message {
    fn body(mut self, body: &str) -> Self {
        self.body = Some(body.as_bytes().to_vec());
        self
    }

    fn trailers(mut self, fields: &[(&'static str, &'static str)]) -> Self {
        self.trailers = fields.to_vec();
        self
    }

    /// On a connection of its own; the window of the beginning is enough for it.
    fn send(&self, forebay: &Forebay) -> Response {
        let mut client: H2Client = forebay.connect_h2();
        let stream = client.send_fields(&self.fields, self.body.is_none() && self.trailers.is_empty());
        if let Some(body) = &self.body {
            let flags = if self.trailers.is_empty() { frames::END_STREAM } else { 0 };
            client.write(frames::frame(frames::DATA, flags, stream, body));
        }
        if !self.trailers.is_empty() {
            client.trailers(stream, &self.trailers);
        }
        client.read(stream)
    }
}

/// One forebay for all cases: a connection that one of them poisons shows in the next. All failures are told at once.
fn judge(cases: &[(Verdict, Message)]) {
    let mut failures = Vec::new();
    for upstream in AnyUpstream::both() {
        upstream.answer_with_target("up");
        let forebay = settings(upstream.settings()).start();
        for (number, (verdict, message)) in cases.iter().enumerate() {
            upstream.forget();
            let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
                judge_one(&upstream, &forebay, *verdict, message);
                let canary = format!("/canary{number}");
                let next = forebay.get(&canary);
                assert_eq!((next.status, next.get("x-target")), (200, Some(canary)), "another exchange was disturbed");
            }));
            if judged.is_err() {
                let shown = message.fields.iter();
                let shown: Vec<_> = shown.map(|(n, v)| format!("{}: {}", n.escape_ascii(), v.escape_ascii())).collect();
                failures.push(format!("{verdict:?}, to {}: {shown:?} {:?}", upstream.protocol(), message.trailers));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures, told above:\n{}", failures.len(), failures.join("\n"));
}

fn judge_one(upstream: &AnyUpstream, forebay: &Forebay, verdict: Verdict, message: &Message) {
    let response = message.send(forebay);
    let seen = upstream.seen();
    assert_verdict(verdict, &response, &seen);
    assert!(seen.iter().all(|s| s.path() != "/smuggled"), "smuggled: {seen:#?}");
    assert!(seen.iter().all(|s| s.problems.is_empty()), "two readings reached the upstream: {seen:#?}");
    // A server that merges trailers into the head must not find a second length there (RFC 9110 §6.5.1).
    let framing = ["content-length", "transfer-encoding", "host"];
    let merged = seen.iter().flat_map(|s| &s.trailers).find(|(n, _)| framing.contains(&n.to_lowercase().as_str()));
    assert!(merged.is_none(), "{seen:#?}");
    let authority = upstream.authority();
    assert!(seen.iter().all(|s| s.all(upstream.host_field()) == [authority.as_bytes()]), "{seen:#?}");
}

#[track_caller]
fn assert_verdict(verdict: Verdict, response: &Response, seen: &[Seen]) {
    assert_ne!(response.cut, Some(Cut::Timeout), "an answer, or an end: {response:?}");
    if verdict == Clean && response.status == 200 {
        assert_eq!(seen.len(), 1, "{seen:#?}");
        return;
    }
    assert!(seen.is_empty(), "what is refused does not reach the upstream: {seen:#?}");
    match response.status {
        0 => assert!(response.cut.is_some(), "{response:?}"),
        // h2 itself answers what is too large with a bare 431.
        status => assert!(matches!(status, 400..=499) && (is_own(response) || status == 431), "{response:?}"),
    }
}

#[test]
fn pseudo_fields() {
    let twice = |name: &str, value: &str| one(name, value);
    let late = {
        let mut message = with(&[("x-a", b"1")]);
        let method = message.fields.remove(0);
        message.fields.push(method);
        message
    };
    let mut cases = vec![
        (Clean, with(&[])),
        (Never, twice(":method", "GET")),
        (Never, twice(":path", "/smuggled")),
        (Never, twice(":scheme", "http")),
        (Never, twice(":authority", "b")),
        (Never, one(":status", "200")),
        (Never, one(":foo", "bar")),
        (Never, one(":", "bar")),
        (Never, one(":protocol", "websocket")),
        (Never, late),
        (Never, without(":method")),
        (Never, without(":path")),
        (Never, without(":scheme")),
    ];
    for path in ["", "/t u", "/t<u", "/t>u", "/t`u", "/t\0u", "/t\ru", "/t\nu", "/t\tu", "/t\x0bu", "/t\x7fu"] {
        cases.push((Never, pseudo(":path", path.as_bytes())));
    }
    for path in [
        "/t HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled",
        "/t HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX: y",
        "/t\r\nX: y",
        "/smuggled HTTP/1.1\nHost: a\n\n",
    ] {
        cases.push((Never, pseudo(":path", path.as_bytes())));
    }
    for path in [b"/caf\xe9".as_slice(), b"/\xc3", b"/t?\xff"] {
        cases.push((Never, pseudo(":path", path)));
    }
    for path in ["t", "*", "?q", "//a/t", "\\t", "http:/t", "http://a/t", "http://elsewhere/t", "@x/t"] {
        cases.push((Clean, pseudo(":path", path.as_bytes())));
    }
    for method in ["", "G T", "G(T", "GET\0", "GET\r\nX: y", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET", "G\u{c9}T"]
    {
        cases.push((Never, pseudo(":method", method.as_bytes())));
    }
    for scheme in ["https", "ftp", "HTTP", ""] {
        cases.push((Clean, pseudo(":scheme", scheme.as_bytes())));
    }
    for scheme in ["http://elsewhere/", "h ttp", "http\r\nX: y"] {
        cases.push((Never, pseudo(":scheme", scheme.as_bytes())));
    }
    for authority in ["a b", "a/b", "a\r\nX: y", "a\0", "a:80:80"] {
        cases.push((Never, pseudo(":authority", authority.as_bytes())));
    }
    cases.push((Clean, pseudo(":authority", b"u:p@a")));
    judge(&cases);
}

#[test]
fn hosts() {
    let mut both = without(":authority");
    both.fields.extend([(b"host".to_vec(), b"a".to_vec()), (b"host".to_vec(), b"a".to_vec())]);
    let mut host_alone = without(":authority");
    host_alone.fields.push((b"host".to_vec(), b"a".to_vec()));
    judge(&[
        (Clean, one("host", "a")),
        (Clean, host_alone),
        (Never, one("host", "b")),
        (Never, one("host", "a:81")),
        (Never, one("host", "")),
        (Never, with(&[("host", b"a"), ("host", b"b")])),
        (Never, both),
        (Never, without(":authority")),
    ]);
}

#[test]
fn names_and_values_that_hide_something() {
    let mut cases = Vec::new();
    let hidden = [
        "transfer-encoding: chunked\r\nx",
        "x\r\ntransfer-encoding",
        "x y",
        "x:y",
        "x\0",
        "x\n",
        "x\t",
        "x\x7f",
        "x\u{e9}",
        "",
        " x",
        "x ",
        "X-Upper",
        "Content-Length",
        "x(y",
        "\"x\"",
    ];
    for name in hidden {
        cases.push((Never, one(name, "1")));
    }
    for value in [
        "a\r\ntransfer-encoding: chunked",
        "a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        "a\nb: c",
        "a\rb: c",
        "a\0b",
        "a\x01b",
        "a\x7fb",
        "\r\n b",
    ] {
        cases.push((Never, one("x-a", value)));
    }
    // Blanks around a value are malformed (RFC 9113 §8.2.1), and harmless: whoever passes them on passes one value.
    for value in [" a", "a ", "\ta", "a\t", "", "a\tb"] {
        cases.push((Clean, one("x-a", value)));
    }
    judge(&cases);
}

#[test]
fn fields_of_another_protocol() {
    let mut cases = Vec::new();
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", ""),
        ("connection", "close"),
        ("connection", "x-a"),
        ("connection", "upgrade"),
        ("connection", ""),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "h2c"),
        ("upgrade", "websocket"),
        ("content_length", "0"),
        ("transfer_encoding", "chunked"),
    ] {
        cases.push((Never, one(name, value)));
        cases.push((Never, one(name, value).body("0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")));
    }
    cases.push((Clean, one("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA")));
    for te in ["trailers", "trailers, gzip", "gzip", "Trailers", "", "chunked"] {
        cases.push((Clean, one("te", te)));
    }
    cases.push((Clean, with(&[("te", b"trailers"), ("te", b"gzip")])));
    judge(&cases);
}

#[test]
fn lengths_that_are_not_those_of_the_body() {
    let lengths = |values: &[&str]| with(&values.iter().map(|v| ("content-length", v.as_bytes())).collect::<Vec<_>>());
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut cases = vec![
        (Clean, lengths(&["5"]).body("hello")),
        (Clean, lengths(&["0"])),
        (Never, lengths(&["5"])),
        (Never, lengths(&["3"]).body("hello")),
        (Never, lengths(&["7"]).body("hello")),
        (Never, lengths(&["0"]).body(smuggled)),
        (Never, lengths(&["5", "6"]).body("hello")),
        (Never, lengths(&["0", "36"]).body(smuggled)),
        (Clean, lengths(&["5", "5"]).body("hello")),
        (Clean, lengths(&["5, 5"]).body("hello")),
        (Clean, lengths(&["005"]).body("hello")),
    ];
    for value in ["+5", "-5", "0x5", "5.0", "5e0", "5,6", "1_0", "'5'", "5 5", "99999999999999999999", "five"] {
        cases.push((Never, lengths(&[value]).body("hello")));
    }
    judge(&cases);
}

#[test]
fn trailers_that_would_change_the_request() {
    let body = || with(&[("trailer", b"x-t")]).body("hello");
    judge(&[
        (Clean, body().trailers(&[("x-t", "1")])),
        (Clean, body().trailers(&[("content-length", "50")])),
        (Clean, body().trailers(&[("transfer-encoding", "chunked")])),
        (Clean, body().trailers(&[("host", "elsewhere")])),
        (Clean, body().trailers(&[("x-t", "a\r\nGET /smuggled HTTP/1.1\r\n")])),
        (Clean, body().trailers(&[(":path", "/smuggled")])),
    ]);
}

#[test]
fn cookie_crumbs_are_one_field_for_a_server_of_http1() {
    for upstream in AnyUpstream::both() {
        upstream.answer_with_target("up");
        let forebay = settings(upstream.settings()).start();
        let crumbs = get("/").field("Cookie", "a=1").field("X", "y").field("Cookie", "b=2").field("Cookie", "c=3; d=4");
        assert_eq!(forebay.connect_h2().ask(&crumbs).status, 200);
        let seen = upstream.seen();
        let cookies = seen[0].all("cookie").join(b"; ".as_slice());
        assert_eq!(String::from_utf8(cookies).unwrap(), "a=1; b=2; c=3; d=4", "{seen:#?}");
        if matches!(upstream, AnyUpstream::One(_)) {
            assert_eq!(seen[0].all("cookie").len(), 1, "{seen:#?}");
        }
    }
}
