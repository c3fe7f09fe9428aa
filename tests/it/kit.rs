//! The kit tests itself: client and upstream talk to each other, without forebay between them.
//!
//! A kit that sees too little makes every other test green.

mod h2;
mod outbound;
mod tls;
mod tunnels;

use std::time::Duration;

use super::client::{Client, Cut, get, post, request};
use super::upstream::{FakeUpstream, Framing, Gate, OnAccept, answer, close, echo, raw, reset, stall};

fn connect(upstream: &FakeUpstream) -> Client {
    let port = upstream.authority().rsplit_once(':').unwrap().1.parse().unwrap();
    Client::connect(port)
}

#[test]
fn requests_and_answers_arrive_as_they_were_written() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(201).field("X-A", "1").field("X-A", "2").body("made").into()]);
    let mut client = connect(&upstream);
    let response = client.ask(&post("/a?b", "hello").field("X-B", "c"));
    assert_eq!((response.status, response.body.as_slice()), (201, b"made".as_slice()));
    assert_eq!(response.all("x-a"), [b"1", b"2"]);
    assert!(response.is_complete());
    client.ask(&request("PUT", "/c").chunks([b"he".as_slice(), b"llo"]));
    let seen = upstream.wait("both bodies", |seen| seen.len() == 2 && seen[1].complete);
    assert_eq!((seen[0].method.as_str(), seen[0].path()), ("POST", "/a?b".to_owned()));
    assert_eq!((seen[0].body.as_slice(), seen[0].framing), (b"hello".as_slice(), Framing::Length));
    assert_eq!((seen[1].body.as_slice(), seen[1].framing), (b"hello".as_slice(), Framing::Chunked));
    assert_eq!((seen[0].connection, seen[0].index, seen[1].connection, seen[1].index), (1, 1, 1, 2));
    assert_eq!(seen[0].get("x-b").as_deref(), Some("c"));
    assert!(seen[0].raw_head.starts_with(b"POST /a?b HTTP/1.1\r\nHost: forebay.test\r\n"));
    upstream.assert_unambiguous();
}

#[test]
fn a_script_is_played_in_order_and_its_last_behaviour_repeats() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(500).into(), echo()]);
    let mut client = connect(&upstream);
    assert_eq!(client.ask(&post("/1", "a")).status, 500);
    assert_eq!(client.ask(&post("/2", "b")).text(), "b");
    assert_eq!(client.ask(&post("/3", "c")).text(), "c");
    upstream.forget();
    upstream.answer_with(|seen, nth| answer(200).body(format!("{} {nth}", seen.path())).into());
    assert_eq!(client.ask(&get("/4")).text(), "/4 0");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn every_way_to_end_a_connection_is_seen_as_what_it_is() {
    let upstream = FakeUpstream::start();
    for (behaviour, cut) in [
        (close(), Cut::Fin),
        (reset(), Cut::Reset),
        (raw("HTTP/1.1 20").then_close(), Cut::Fin),
        (raw("HTTP/1.1 200 OK\r\nX-A: b\r\nX-").then_reset(), Cut::Reset),
    ] {
        upstream.script([behaviour]);
        let response = connect(&upstream).ask(&get("/"));
        assert_eq!((response.status, response.cut), (0, Some(cut)));
    }
    upstream.on_accept([OnAccept::Close]);
    let response = connect(&upstream).ask(&get("/never-read"));
    assert_eq!(response.status, 0);
    upstream.wait_all_closed();
}

#[test]
fn a_stalled_request_is_aborted_when_its_client_goes() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let mut client = connect(&upstream);
    client.send(get("/stall").bytes());
    upstream.wait_seen(1);
    assert_eq!(client.read_within("GET", Duration::from_millis(50)).cut, Some(Cut::Timeout));
    assert!(upstream.seen()[0].aborted.is_none());
    client.reset();
    upstream.wait("the abort", |seen| seen[0].aborted.is_some());
    upstream.wait_all_closed();
}

#[test]
fn a_stream_is_read_piece_by_piece_behind_gates() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([answer(200)
        .chunked_head()
        .then_chunk("one")
        .then_await(&gate)
        .then_chunk("two")
        .then_last_chunk()]);
    let mut client = connect(&upstream);
    client.send(get("/").bytes());
    let mut response = client.read_head("GET");
    client.read_body(&mut response, 3);
    assert_eq!((response.text().as_str(), response.is_complete()), ("one", false));
    gate.open();
    client.read_rest(&mut response);
    assert_eq!((response.text().as_str(), response.is_complete()), ("onetwo", true));
}

#[test]
fn bodies_end_as_their_framing_says() {
    let upstream = FakeUpstream::start();
    upstream.script([
        answer(200).chunks(["a", "b"]).into(),
        answer(304).field("ETag", "\"e\"").no_framing().into(),
        answer(200).after_interim(103).body("after").into(),
        answer(200).body_until_close("to the end").into(),
    ]);
    let mut client = connect(&upstream);
    assert_eq!(client.ask(&get("/")).text(), "ab");
    assert_eq!(client.ask(&get("/")).status, 304);
    let response = client.ask(&get("/"));
    assert_eq!((response.text().as_str(), response.interim.as_slice()), ("after", [103].as_slice()));
    assert_eq!(client.ask(&get("/")).text(), "to the end");
    assert!(client.is_closed());

    for cut_short in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ] {
        upstream.script([raw(cut_short).then_close()]);
        let response = connect(&upstream).ask(&get("/"));
        assert_eq!((response.text().as_str(), response.cut), ("abc", Some(Cut::Fin)));
        assert!(!response.is_complete());
    }
}

#[test]
fn an_early_answer_comes_before_the_body_is_read() {
    let upstream = FakeUpstream::start();
    upstream.script([super::upstream::Behaviour::from(answer(413).body("no")).early()]);
    let mut client = connect(&upstream);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    assert_eq!(client.read("POST").status, 413);
    assert!(!upstream.seen()[0].complete);
    upstream.wait("what came so far", |seen| seen[0].body == b"ab");
    client.send("cd");
    let seen = upstream.wait("the body", |seen| seen[0].complete);
    assert_eq!(seen[0].body, b"abcd");
}

#[test]
fn what_has_two_readings_is_recorded() {
    let upstream = FakeUpstream::start();
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\nY: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \u{1}\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent_Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ] {
        upstream.forget();
        let mut client = connect(&upstream);
        client.send(head);
        let seen = upstream.wait_seen(1);
        assert!(!seen[0].problems.is_empty(), "{head:?}");
        assert!(client.is_closed(), "after an ambiguous request nothing is read: {head:?}");
    }
    for chunks in
        ["5;a=b\r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "4\r\nhello\r\n0\r\n\r\n"]
    {
        upstream.forget();
        let mut client = connect(&upstream);
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
        upstream.wait("the problem", |seen| seen.iter().any(|s| !s.problems.is_empty()));
    }
}

#[test]
fn an_answer_that_is_no_http_fails_the_test_that_reads_it() {
    for bytes in [
        "HTTP/1.1 200\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
    ] {
        let upstream = FakeUpstream::start();
        upstream.script([raw(bytes).then_close()]);
        let mut client = connect(&upstream);
        client.send(get("/").bytes());
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.read("GET")));
        assert!(read.is_err(), "{bytes:?} was read as {read:?}");
    }
}

#[test]
fn a_refusing_upstream_refuses_until_it_listens() {
    let mut upstream = FakeUpstream::refusing();
    let port: u16 = upstream.authority().rsplit_once(':').unwrap().1.parse().unwrap();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    upstream.listen();
    assert_eq!(connect(&upstream).ask(&get("/")).status, 200);
}
