//! What the log says, and what it never says (4).

use crate::client::{get, post};
use crate::expect::assert_relayed;
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, answer, close, raw, stall};

#[test]
fn secrets_are_never_logged() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream)
        .set("UPSTREAM_API_KEY", "sk-PROXYSECRET")
        .set("LOG_LEVEL", "DEBUG")
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.3")
        .set("UPSTREAM_MAX_ATTEMPTS", 2)
        .start();
    let asked = || {
        post("/k?api_key=QUERYSECRET", r#"{"prompt":"BODYSECRET"}"#)
            .host("localhost")
            .field("Authorization", "Bearer CLIENTSECRET")
            .field("Cookie", "sid=COOKIESECRET")
            .field("X-Api-Key", "HEADERSECRET")
    };
    upstream.script([close(), answer(200).field("Set-Cookie", "sid=ANSWERSECRET").body("ANSWERBODYSECRET").into()]);
    assert_eq!(forebay.ask(&asked()).status, 200);
    upstream.script([stall()]);
    assert_eq!(forebay.ask(&asked()).status, 504);
    upstream.script([raw("HTTP/1.1 200 ANSWERSECRET\r\nX ANSWERSECRET\r\n\r\n")]);
    assert_eq!(forebay.ask(&asked()).status, 502);
    // Refused: other paths through the program.
    assert_eq!(forebay.ask(&asked().field("Expect", "HEADERSECRET")).status, 417);
    assert_eq!(forebay.ask(&asked().field("Content_Length", "HEADERSECRET")).status, 400);
    assert_eq!(forebay.ask(&get("/k?QUERYSECRET#QUERYSECRET").host("localhost")).status, 400);
    let log = forebay.wait_log("an exchange", |log| log.contains("/k"));
    assert!(!log.contains("SECRET"), "{log}");
}

#[test]
fn log_lines_cannot_be_forged() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).set("LOG_LEVEL", "DEBUG").start();
    forebay.get("/%0aFORGED%0d%0aFORGED?x=%1b[31m");
    forebay.ask(&get("/x").field("User-Agent", "a\tFORGED").field("X-Request-Id", b"FORGED\xff"));
    forebay.ask(&get("/caf\u{9b}31m\u{2028}FORGED"));
    upstream.script([raw("HTTP/1.1 200 OK\r\nX: \u{1b}[2J\r\nContent-Length: 2\r\n\r\nok")]);
    forebay.get("/last-of-all");
    let log = forebay.wait_log("the last exchange", |log| log.contains("/last-of-all"));
    assert!(!log.lines().any(|line| line.starts_with("FORGED")), "{log}");
    assert!(!log.contains("\u{1b}[2J") && !log.contains("\u{1b}[31m") && !log.contains('\u{9b}'), "{log}");
    assert!(!log.contains('\u{2028}'), "{log}");
}

#[test]
fn every_exchange_has_one_summary_line() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).set("LOG_FORMAT", "json").start();
    upstream.answer_with(|seen, _| match seen.path().as_str() {
        "/path-broken" => raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").then_close(),
        _ => answer(200).body("ok").into(),
    });
    let paths = ["/path-one", "/path-two", "/path-broken", "/path-refused"];
    let mut client = forebay.connect();
    assert_relayed(&client.ask(&get("/path-one?q")), 200, "ok");
    assert_relayed(&client.ask(&post("/path-two", "x")), 200, "ok");
    client.ask(&get("/path-broken"));
    forebay.ask(&get("/path-refused").field("Expect", "nothing"));
    let log = forebay.wait_log("all four", |log| paths.iter().all(|path| log.contains(path)));
    for line in log.lines().filter(|line| !line.is_empty()) {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "a line is one JSON object: {line}");
    }
    for path in paths {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(path)).collect();
        assert_eq!(lines.len(), 1, "{path}: {lines:#?}");
    }
}
