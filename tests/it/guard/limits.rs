//! How much a client may send before it is refused (3.4, 5).

use std::time::Duration;

use super::one_attempt;
use crate::client::{Request, get};
use crate::expect::{assert_error, assert_relayed};
use crate::upstream::FakeUpstream;

/// A request with that many fields, `Host` included.
fn with_fields(count: usize) -> Request {
    (1..count).fold(get("/"), |asked, n| asked.field(&format!("X-{n}"), "y"))
}

#[test]
fn a_head_has_at_most_128_fields() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).start();
    assert_relayed(&forebay.ask(&with_fields(128)), 200, "ok");
    assert_eq!(upstream.seen()[0].fields.iter().filter(|(n, _)| n.to_lowercase().starts_with("x-")).count(), 127);
    for count in [129, 200, 2000] {
        let mut client = forebay.connect();
        assert_error(&client.ask(&with_fields(count)), 431, "headers_too_large");
        assert!(client.is_closed());
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_head_has_at_most_its_bytes() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).start();
    assert_relayed(&forebay.ask(&get("/").field("X", "y".repeat(60_000))), 200, "ok");
    for asked in [
        get("/").field("X", "y".repeat(70_000)),
        get("/").field(&"N".repeat(70_000), "y"),
        get(format!("/{}", "a".repeat(70_000))),
        get("/").field("X", "y".repeat(4_000_000)),
    ] {
        let mut client = forebay.connect();
        assert_error(&client.ask(&asked), 431, "headers_too_large");
        assert!(client.is_closed());
    }
    let smaller = one_attempt(&upstream).set("MAX_HEADER_BYTES", "16KiB").start();
    assert_relayed(&smaller.ask(&get("/").field("X", "y".repeat(14_000))), 200, "ok");
    assert_error(&smaller.ask(&get("/").field("X", "y".repeat(20_000))), 431, "headers_too_large");
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn a_target_that_is_too_long_is_named_so_where_it_could_be_read() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).set("MAX_HEADER_BYTES", "256KiB").start();
    let target = |length: usize| format!("/{}", "a".repeat(length - 1));
    assert_relayed(&forebay.get(&target(65_534)), 200, "ok");
    assert_eq!(upstream.seen()[0].target.len(), 65_534);
    let mut client = forebay.connect();
    assert_error(&client.ask(&get(target(65_600))), 414, "uri_too_long");
    assert!(client.is_closed());
}

#[test]
fn a_length_that_is_announced_costs_no_memory() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).set("MAX_REQUEST_BODY_BYTES", "1GiB").start();
    let before = forebay.memory();
    let mut clients: Vec<_> = (0..50).map(|_| forebay.connect()).collect();
    for client in &mut clients {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nx");
    }
    assert_relayed(&forebay.get("/"), 200, "ok");
    assert!(forebay.memory() < before + (64 << 20), "{} bytes more", forebay.memory() - before);
}

#[test]
fn clients_that_say_nothing_are_in_nobodys_way() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).start();
    let idle: Vec<_> = (0..300).map(|_| forebay.connect()).collect();
    assert_relayed(&forebay.get("/"), 200, "ok");
    drop(idle);
}

#[test]
fn beyond_the_last_connection_clients_wait() {
    let upstream = FakeUpstream::start();
    let forebay = one_attempt(&upstream).set("MAX_CLIENT_CONNECTIONS", 2).start();
    let mut first: Vec<_> = (0..2).map(|_| forebay.connect()).collect();
    for client in &mut first {
        assert_relayed(&client.ask(&get("/")), 200, "ok");
    }
    let mut third = forebay.connect();
    third.send(get("/third").bytes());
    assert_eq!(third.read_within("GET", Duration::from_millis(300)).status, 0, "a third connection was served");
    drop(first);
    assert_relayed(&third.read("GET"), 200, "ok");
}
