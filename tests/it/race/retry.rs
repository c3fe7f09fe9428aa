//! Every failure before a complete response head is repeated, with the same request (3.3).

use std::thread;
use std::time::{Duration, Instant};

use super::good;
use crate::client::{Client, get, post};
use crate::expect::{A_WHILE, NOISE, assert_error, assert_relayed, attempts};
use crate::forebay::{Forebay, Settings};
use crate::upstream::{Behaviour, FakeUpstream, OnAccept, PATIENCE, Seen, answer, close, echo, raw, reset, stall};

/// What goes wrong at once, before a complete head.
fn quick_failures() -> Vec<(&'static str, Behaviour)> {
    let huge_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nok", "a".repeat(400_000));
    vec![
        ("close", close()),
        ("reset", reset()),
        ("a status line cut by a FIN", raw("HTTP/1.1 20").then_close()),
        ("a status line cut by a RST", raw("HTTP/1.1 20").then_reset()),
        ("a head cut by a FIN", raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A").then_close()),
        ("a head without its empty line", raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n").then_close()),
        ("an interim answer and then a FIN", raw("HTTP/1.1 103 Early Hints\r\n\r\n").then_close()),
        ("no HTTP", raw("hello world, this is no HTTP at all\r\n\r\n").then_close()),
        ("another version", raw("HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok").then_close()),
        ("a status of two digits", raw("HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\nok").then_close()),
        ("two lengths", raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok").then_close()),
        (
            "an upgrade that nobody asked for",
            raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\n\r\n").then_close(),
        ),
        ("a head above 256 KiB", raw(huge_head).then_close()),
    ]
}

/// What takes the whole header deadline.
fn slow_failures() -> Vec<(&'static str, Behaviour)> {
    vec![
        ("stall", stall()),
        ("half a status line and then silence", raw("HTTP/1.1 20").then_stall()),
        ("half a head and then silence", raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n").then_stall()),
        ("an interim answer and then silence", raw("HTTP/1.1 100 Continue\r\n\r\n").then_stall()),
    ]
}

#[track_caller]
fn assert_replayed(what: &str, seen: &[Seen]) {
    assert_eq!(seen.len(), 2, "{what}: {seen:#?}");
    assert_eq!(seen[0].raw_head.escape_ascii().to_string(), seen[1].raw_head.escape_ascii().to_string(), "{what}");
    assert!(seen[0].body == seen[1].body && seen[1].complete, "{what}: {seen:#?}");
    assert_ne!(seen[0].connection, seen[1].connection, "{what}: a failed connection is not used again");
}

#[test]
fn quotes_in_a_query_are_in_every_attempt_and_behind_a_base_path() {
    let upstream = FakeUpstream::start();
    upstream.script([close(), close(), answer(200).body("ok").into()]);
    let base = format!("{}/base", upstream.url());
    let forebay = Settings::in_front_of(&upstream).set("UPSTREAM_BASE_URL", base).start();
    let target = "/q?query=up{job=\"x\"}&'\"";
    for request in [get(target), post(target, "a \"body\"")] {
        assert_relayed(&forebay.ask(&request), 200, "ok");
    }
    let targets: Vec<_> = upstream.seen().iter().map(|seen| String::from_utf8(seen.target.clone()).unwrap()).collect();
    assert_eq!(targets, vec![format!("/base{target}"); 4]);
    let plain = "/q?query=up{job='xxxxxxxxxxxxxx'}";
    assert_relayed(&forebay.get(plain), 200, "ok");
    let seen = upstream.seen();
    assert_eq!(seen[4].connection, seen[3].connection, "the next request goes over the same connection");
    assert_eq!(seen[4].target, format!("/base{plain}").into_bytes());
    assert_eq!(upstream.seen()[3].body, b"a \"body\"");
}

#[test]
fn a_quick_failure_is_repeated_with_the_same_bytes() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    let body = "0123456789".repeat(10_000);
    for (what, failure) in quick_failures() {
        for method in ["GET", "POST"] {
            upstream.forget();
            upstream.script([failure.clone(), good("second")]);
            let request = crate::client::request(method, "/x%2Fy?q=%20&r").field("Authorization", "Bearer client");
            let request = request.field("X-Dup", "1").field("X-Dup", "2");
            let request = if method == "POST" { request.body(&body) } else { request };
            let response = forebay.ask(&request);
            assert_eq!((response.status, response.text().as_str()), (200, "second"), "{what}: {response:?}");
            assert_eq!(attempts(&response), Some(2), "{what}");
            let seen = upstream.seen();
            assert_replayed(what, &seen);
            assert_eq!((seen[1].method.as_str(), seen[1].path().as_str()), (method, "/x%2Fy?q=%20&r"), "{what}");
            assert_eq!(seen[1].body, if method == "POST" { body.as_bytes() } else { b"" }, "{what}");
        }
    }
    upstream.assert_unambiguous();
}

#[test]
fn a_missed_header_deadline_is_repeated_with_the_same_bytes() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    let body = "0123456789".repeat(10_000);
    for (what, failure) in slow_failures() {
        upstream.forget();
        upstream.script([failure, good("second")]);
        let response = forebay.ask(&post("/slow", &body).field("X-Dup", "1").field("X-Dup", "2"));
        assert_eq!((response.status, response.text().as_str()), (200, "second"), "{what}: {response:?}");
        assert_eq!(attempts(&response), Some(2), "{what}");
        let seen = upstream.wait("the lost attempt to be closed", |seen| seen[0].aborted.is_some());
        assert_replayed(what, &seen);
    }
}

#[test]
fn a_chunked_body_is_replayed_with_its_length() {
    let upstream = FakeUpstream::start();
    upstream.script([close(), echo()]);
    let response =
        Forebay::in_front_of(&upstream).ask(&crate::client::request("POST", "/").chunks([b"he".as_slice(), b"llo"]));
    assert_relayed(&response, 200, "hello");
    let seen = upstream.seen();
    assert_replayed("chunked", &seen);
    assert_eq!(seen[0].get("content-length").as_deref(), Some("5"));
}

#[test]
fn a_first_attempt_that_succeeds_is_the_only_one() {
    let upstream = FakeUpstream::start();
    let response = Forebay::in_front_of(&upstream).ask(&post("/", "x"));
    assert_relayed(&response, 200, "ok");
    assert_eq!((attempts(&response), upstream.seen().len()), (Some(1), 1));
}

#[test]
fn when_the_attempts_are_used_up_the_failure_is_the_answer() {
    let upstream = FakeUpstream::start();
    for allowed in [1, 3] {
        let forebay = Settings::in_front_of(&upstream)
            .set("UPSTREAM_MAX_ATTEMPTS", allowed)
            .set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.3")
            .start();
        for (failure, status, code, deadlines) in [
            (stall(), 504, "upstream_header_timeout", allowed),
            (raw("HTTP/1.1 200 OK\r\nX: y").then_stall(), 504, "upstream_header_timeout", allowed),
            (close(), 502, "upstream_request_error", 0),
            (raw("HTTP/1.1 200 OK\r\nX: y").then_close(), 502, "upstream_request_error", 0),
            (raw("no HTTP at all\r\n\r\n"), 502, "upstream_request_error", 0),
        ] {
            upstream.forget();
            upstream.script([failure]);
            let begin = Instant::now();
            let response = forebay.ask(&post("/used-up", "body"));
            let took = begin.elapsed();
            assert_error(&response, status, code);
            assert_eq!(attempts(&response), Some(allowed));
            assert_eq!(upstream.seen().len(), usize::try_from(allowed).unwrap());
            let deadlines = Duration::from_millis(300) * deadlines;
            assert!(took >= deadlines && took < deadlines + NOISE, "{code} after {took:?}");
            let secret = upstream.authority();
            let port = secret.rsplit_once(':').unwrap().1;
            assert!(!response.text().contains(port), "the upstream's address is nobody's business: {response:?}");
        }
        upstream.assert_no_more_than(usize::try_from(allowed).unwrap(), A_WHILE);
    }
}

#[test]
fn the_latest_failure_decides_the_answer() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 2).start();
    upstream.script([stall(), close()]);
    assert_error(&forebay.get("/"), 502, "upstream_request_error");
    upstream.script([close(), stall()]);
    assert_error(&forebay.get("/"), 504, "upstream_header_timeout");
}

#[test]
fn the_pause_before_a_further_attempt_doubles() {
    let upstream = FakeUpstream::start();
    upstream.script([reset()]);
    let forebay = Settings::in_front_of(&upstream).set("RETRY_BACKOFF_SECONDS", "0.4").start();
    assert_error(&forebay.get("/"), 502, "upstream_request_error");
    let seen = upstream.seen();
    // Jitter is 20 %; the reset comes after the head was seen, so a gap is never shorter than its pause.
    for (gap, pause) in [(seen[1].at - seen[0].at, 0.4), (seen[2].at - seen[1].at, 0.8)] {
        assert!(gap.as_secs_f64() >= pause * 0.79, "{gap:?} for a pause of {pause} s");
        assert!(gap.as_secs_f64() <= pause * 1.2 + NOISE.as_secs_f64(), "{gap:?} for a pause of {pause} s");
    }
}

#[test]
fn without_a_backoff_there_is_no_pause() {
    let upstream = FakeUpstream::start();
    upstream.script([reset()]);
    let forebay =
        Settings::in_front_of(&upstream).set("RETRY_BACKOFF_SECONDS", "0").set("UPSTREAM_MAX_ATTEMPTS", 30).start();
    let begin = Instant::now();
    let response = forebay.get("/");
    assert_eq!(attempts(&response), Some(30));
    assert!(begin.elapsed() < NOISE, "{:?}", begin.elapsed());
}

#[test]
fn an_answer_within_the_deadline_is_waited_for() {
    let upstream = FakeUpstream::start();
    upstream.script([raw("").then_pause(Duration::from_millis(700)).then_do(answer(200).body("slow"))]);
    let forebay = Settings::in_front_of(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "5s").start();
    assert_relayed(&forebay.get("/"), 200, "slow");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn interim_answers_do_not_extend_the_deadline() {
    let upstream = FakeUpstream::start();
    let mut interim = raw("");
    for _ in 0..60 {
        interim = interim.then_send("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n").then_pause(Duration::from_millis(100));
    }
    // Whoever starts the clock anew with each of them gets the answer after six seconds.
    upstream.script([interim.then_do(answer(200))]);
    let forebay = Settings::in_front_of(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 1).start();
    assert_error(&forebay.get("/"), 504, "upstream_header_timeout");
}

#[test]
fn single_bytes_of_a_head_do_not_extend_the_deadline() {
    let upstream = FakeUpstream::start();
    let mut drip = raw("HTTP/1.1 200 OK\r\nX: ");
    for _ in 0..60 {
        drip = drip.then_send("y").then_pause(Duration::from_millis(100));
    }
    upstream.script([drip.then_send("\r\nContent-Length: 0\r\n\r\n")]);
    let forebay = Settings::in_front_of(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 1).start();
    assert_error(&forebay.get("/"), 504, "upstream_header_timeout");
}

#[test]
fn interim_answers_are_no_answers() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).after_interim(100).after_interim(103).after_interim(102).body("final").into()]);
    let response = Forebay::in_front_of(&upstream).get("/");
    assert_relayed(&response, 200, "final");
    assert_eq!((response.interim.as_slice(), response.get("link")), ([].as_slice(), None));
    assert_eq!((attempts(&response), upstream.seen().len()), (Some(1), 1));
}

#[test]
fn a_slow_upload_neither_starts_an_attempt_nor_the_deadline() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = Forebay::in_front_of(&upstream);
    let mut client = forebay.connect();
    client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    for digit in 0..10 {
        assert_eq!(upstream.accepted(), 0, "no byte goes upstream before the body is complete");
        thread::sleep(Duration::from_millis(100));
        client.send(format!("{digit}"));
    }
    let response = client.read("POST");
    assert_relayed(&response, 200, "0123456789");
    assert_eq!(attempts(&response), Some(1));
}

#[test]
fn a_connection_that_is_closed_at_once_is_a_failed_attempt() {
    let upstream = FakeUpstream::start();
    upstream.on_accept([OnAccept::Close, OnAccept::Close]);
    let response = Forebay::in_front_of(&upstream).ask(&post("/", "x"));
    assert_relayed(&response, 200, "ok");
    assert_eq!((attempts(&response), upstream.accepted()), (Some(3), 3));
}

#[test]
fn exchanges_that_stall_together_get_their_own_answers() {
    let upstream = FakeUpstream::start();
    let first_of = std::sync::Mutex::new(std::collections::HashSet::new());
    upstream.answer_with(move |seen, _| if first_of.lock().unwrap().insert(seen.path()) { stall() } else { echo() });
    let forebay = Settings::in_front_of(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "1.5").start();
    thread::scope(|scope| {
        for number in 0..40 {
            let forebay = &forebay;
            scope.spawn(move || {
                let response = forebay.ask(&post(format!("/{number}"), format!("body {number}")));
                assert_relayed(&response, 200, format!("body {number}"));
                assert_eq!(attempts(&response), Some(2));
            });
        }
    });
    assert_eq!(upstream.seen().len(), 80);
}

#[test]
fn a_client_that_leaves_ends_the_attempt_and_gets_no_other() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = Settings::in_front_of(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20).start();
    let ways: [fn(Client); 3] = [drop, Client::finish_sending, Client::reset];
    for leave in ways {
        upstream.forget();
        let mut client = forebay.connect();
        client.send(post("/", "x").bytes());
        upstream.wait("the whole request", |seen| seen.first().is_some_and(|s| s.complete));
        leave(client);
        let begin = Instant::now();
        upstream.wait("the attempt to be cancelled", |seen| seen[0].aborted.is_some());
        assert!(begin.elapsed() < PATIENCE);
        upstream.assert_no_more_than(1, A_WHILE);
    }
}

#[test]
fn a_client_that_leaves_during_its_upload_costs_the_upstream_nothing() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc");
    thread::sleep(Duration::from_millis(100));
    drop(client);
    upstream.assert_no_more_than(0, A_WHILE);
    assert_relayed(&forebay.ask(&get("/next")), 200, "ok");
}
