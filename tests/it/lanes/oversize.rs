//! Bodies above the cap, and of unknown length (3.3: `OVERSIZE`, `CHUNKED`).

use std::thread;
use std::time::Duration;

use crate::client::{get, post, request};
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts, is_own};
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, Framing, Gate, answer, close, echo, raw};

const CAP: usize = 1000;

fn capped(upstream: &FakeUpstream) -> Settings {
    let settings = Settings::in_front_of(upstream).set("MAX_REQUEST_BODY_BYTES", CAP);
    settings.set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20).set("UPSTREAM_MAX_ATTEMPTS", 3)
}

#[test]
fn a_body_above_the_cap_is_streamed_where_that_is_wanted() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = capped(&upstream).set("OVERSIZE", "stream").start();
    for length in [0, 1, CAP - 1, CAP, CAP + 1, 2 * CAP, 1_000_000] {
        let body: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[n % 3] ^ 0x5a).collect();
        for asked in [post("/", &body), request("POST", "/").chunks(body.chunks(300))] {
            upstream.forget();
            let response = forebay.ask(&asked);
            assert!(response.status == 200 && response.body == body, "{length} bytes: {response:?}");
            assert_eq!(attempts(&response), Some(1));
            let with_length = asked.bytes().windows(14).any(|w| w == b"Content-Length");
            let expected = if length <= CAP || with_length { Framing::Length } else { Framing::Chunked };
            assert_eq!(upstream.seen()[0].framing, expected, "{length} bytes: {:?}", upstream.seen());
        }
    }
    upstream.assert_unambiguous();
}

#[test]
fn what_is_streamed_is_sent_once_and_what_fits_is_raced() {
    let upstream = FakeUpstream::start();
    let forebay = capped(&upstream).set("OVERSIZE", "stream").start();
    for (length, sent) in [(CAP, 3), (CAP + 1, 1)] {
        let body = vec![b'b'; length];
        for asked in [post("/", &body), request("POST", "/").chunks(body.chunks(300))] {
            upstream.forget();
            upstream.script([close()]);
            let response = forebay.ask(&asked);
            assert_error(&response, 502, "upstream_request_error");
            assert_eq!(attempts(&response), Some(sent), "{length} bytes");
            upstream.assert_no_more_than(usize::try_from(sent).unwrap(), A_WHILE);
        }
    }
}

#[test]
fn a_body_that_outgrows_the_cap_goes_on_as_it_comes() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = capped(&upstream).set("OVERSIZE", "stream").start();
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let part = [b"190\r\n".as_slice(), &[b'b'; 400], b"\r\n"].concat();
    client.send(&part);
    client.send(&part);
    upstream.assert_no_more_than(0, Duration::from_millis(150));
    client.send(&part);
    upstream.wait("all that was sent", |seen| seen.first().is_some_and(|s| s.body.len() == 1200));
    client.send("0\r\n\r\n");
    assert_relayed(&client.read("POST"), 200, vec![b'b'; 1200]);
}

#[test]
fn what_is_streamed_costs_no_memory() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").early().then_await_deaf(&gate).then_do(answer(200).body("read"))]);
    let forebay = capped(&upstream).set("OVERSIZE", "stream").set("MAX_BUFFERED_BYTES", "1MiB").start();
    let before = forebay.memory();
    let body = vec![b'b'; 64 << 20];
    thread::scope(|scope| {
        let asked = [post("/", &body), request("POST", "/").chunks(body.chunks(1 << 20))].map(|asked| {
            scope.spawn({
                let forebay = &forebay;
                move || forebay.ask(&asked)
            })
        });
        thread::sleep(Duration::from_millis(900));
        assert!(forebay.memory() < before + (32 << 20), "{} bytes more", forebay.memory() - before);
        gate.open();
        for one in asked {
            assert_relayed(&one.join().unwrap(), 200, "read");
        }
    });
}

#[test]
fn a_body_above_the_cap_is_sent_elsewhere_where_that_is_wanted() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = capped(&upstream).set("OVERSIZE", "redirect").start();
    let body = vec![b'b'; 50_000];
    for asked in [post("/x?y", &body), request("POST", "/x?y").chunks(body.chunks(300))] {
        let response = forebay.ask(&asked);
        assert_eq!((response.status, response.get("location")), (307, Some(format!("{}/x?y", upstream.url()))));
        assert!(is_own(&response), "{response:?}");
    }
    let mut client = forebay.connect();
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n");
    let response = client.read("POST");
    assert_eq!((response.status, response.interim.as_slice()), (307, [].as_slice()), "{response:?}");
    assert_eq!(upstream.accepted(), 0);
    assert_relayed(&forebay.ask(&post("/", "fits")), 200, "fits");
}

#[test]
fn it_is_refused_otherwise() {
    let upstream = FakeUpstream::start();
    for settings in [capped(&upstream), capped(&upstream).set("OVERSIZE", "reject")] {
        let forebay = settings.start();
        assert_error(&forebay.ask(&post("/", vec![b'b'; CAP + 1])), 413, "payload_too_large");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn a_100_for_what_is_streamed_waits_for_the_upstream() {
    let mut upstream = FakeUpstream::refusing();
    upstream.script([echo()]);
    let settings = capped(&upstream).set("OVERSIZE", "stream").set("UPSTREAM_MAX_ATTEMPTS", 100);
    let forebay = settings.set("RETRY_BACKOFF_SECONDS", "0.1").set("RETRY_BACKOFF_MAX_SECONDS", "0.1").start();
    let mut client = forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n");
    let nothing = client.read_within("POST", Duration::from_millis(300));
    assert_eq!((nothing.interim.as_slice(), nothing.status), ([].as_slice(), 0), "{nothing:?}");
    upstream.listen();
    assert_eq!(client.read_interim(), 100);
    client.send(vec![b'x'; 2000]);
    assert_relayed(&client.read("POST"), 200, vec![b'x'; 2000]);
}

#[test]
fn a_body_of_unknown_length_may_pass_the_buffer_by() {
    let upstream = FakeUpstream::start();
    for oversize in ["reject", "stream"] {
        upstream.forget();
        upstream.script([echo()]);
        let forebay = capped(&upstream).set("CHUNKED", "bypass").set("OVERSIZE", oversize).start();
        let mut client = forebay.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        upstream.wait("the first bytes", |seen| seen.first().is_some_and(|s| s.body == b"abc"));
        client.send(format!("{:x}\r\n{}\r\n0\r\n\r\n", 5000, "d".repeat(5000)));
        let response = client.read("POST");
        assert_relayed(&response, 200, format!("abc{}", "d".repeat(5000)));
        // On HTTP/2 a body without a length is one as well.
        let mut client = forebay.connect_h2();
        let stream = client.open(&request("POST", "/"));
        client.data(stream, b"abc", false);
        upstream.wait("the first bytes", |seen| seen.get(1).is_some_and(|s| s.body == b"abc"));
        client.data(stream, b"", true);
        assert_relayed(&client.read(stream), 200, "abc");
        // One whose length is known is raced as ever, and so is one that has none.
        for asked in [post("/", "hello"), get("/")] {
            // Half a head: a connection of the pool that dies without a byte would be replaced free of charge.
            upstream.script([raw("HTTP/1.1 200 OK\r\nX-").then_close(), answer(200).body("second").into()]);
            let response = forebay.ask(&asked);
            assert_relayed(&response, 200, "second");
            assert_eq!(attempts(&response), Some(2));
        }
        assert_eq!(forebay.ask(&post("/", vec![b'b'; CAP + 1])).status, if oversize == "reject" { 413 } else { 200 });
    }
}

#[test]
fn a_body_of_unknown_length_may_be_sent_elsewhere() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let forebay = capped(&upstream).set("CHUNKED", "bypass").set("OVERSIZE", "redirect").start();
    let mut client = forebay.connect();
    client.send("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let response = client.read("POST");
    assert_eq!(
        (response.status, response.get("location")),
        (307, Some(format!("{}/x", upstream.url()))),
        "{response:?}"
    );
    assert_eq!(upstream.accepted(), 0);
    assert_relayed(&forebay.ask(&post("/", "fits")), 200, "fits");
}
