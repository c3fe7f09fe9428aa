//! Handshakes: what the upstream sees of them, what is repeated, and what was no handshake.

use std::thread;
use std::time::Duration;

use super::{ACCEPT, KEY, handshake, switch, tunnel};
use crate::client::{get, request};
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts};
use crate::forebay::{ScratchFile, Settings};
use crate::upstream::{Authority, FakeUpstream, answer, close, raw, reset, stall};

#[test]
fn a_handshake_arrives_as_it_was_sent_and_so_does_its_answer() {
    let upstream = FakeUpstream::start();
    let answered = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nX-Up: v\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: b\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n";
    upstream.script([raw(answered).then_echo_bytes()]);
    let forebay = Settings::in_front_of(&upstream).start();
    let mut client = forebay.connect();
    let asked = handshake("/chat?room=%20&x")
        .field("Sec-WebSocket-Protocol", "a, b")
        .field("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
        .field("Origin", "https://page.test")
        .field("Cookie", "a=1");
    let response = client.upgrade(&asked);
    assert_eq!(response.status, 101, "{response:?}");
    for (name, value) in [
        ("upgrade", "websocket"),
        ("sec-websocket-accept", ACCEPT),
        ("sec-websocket-protocol", "b"),
        ("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover"),
        ("x-up", "v"),
    ] {
        assert_eq!(response.get(name).as_deref(), Some(value), "{response:?}");
    }
    assert!(response.get("connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade")), "{response:?}");
    let seen = &upstream.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path().as_str()), ("GET", "/chat?room=%20&x"));
    for (name, value) in [
        ("upgrade", "websocket"),
        ("sec-websocket-key", KEY),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "a, b"),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ("origin", "https://page.test"),
        ("cookie", "a=1"),
    ] {
        assert_eq!(seen.all(name), [value.as_bytes()], "{seen:?}");
    }
    assert!(seen.get("connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade")), "{seen:?}");
    assert_eq!(seen.all("host"), [upstream.authority().as_bytes()]);
    upstream.assert_unambiguous();
    client.send(b"\x81\x85masked bytes of whatever kind \0\r\n");
    assert_eq!(client.take(35), b"\x81\x85masked bytes of whatever kind \0\r\n");
}

#[test]
fn other_fields_that_connection_names_are_removed() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_echo_bytes()]);
    let forebay = Settings::in_front_of(&upstream).start();
    let asked = get("/")
        .field("Connection", "keep-alive, Upgrade, X-Hop")
        .field("X-Hop", "1")
        .field("Upgrade", "WebSocket")
        .field("Sec-WebSocket-Key", KEY);
    assert_eq!(forebay.connect().upgrade(&asked).status, 101);
    let seen = &upstream.seen()[0];
    assert!(seen.all("x-hop").is_empty(), "{seen:?}");
    assert!(seen.get("upgrade").is_some_and(|u| u.eq_ignore_ascii_case("websocket")), "{seen:?}");
}

#[test]
fn a_handshake_is_repeated_as_in_a_race() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).start();
    for failure in [raw("").then_take_bytes(), reset(), close()] {
        upstream.forget();
        upstream.script([failure, switch().then_echo_bytes()]);
        let mut client = forebay.connect();
        // What a client sends right behind its handshake belongs to the attempt that wins.
        client.send([handshake("/chat").bytes().as_slice(), b"early"].concat());
        let response = client.read_switch();
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(client.take(5), b"early");
        client.send("later");
        assert_eq!(client.take(5), b"later");
        let seen = upstream.wait("the lost attempt to be closed", |seen| seen[0].aborted.is_some() || seen.len() == 2);
        assert_eq!(seen.len(), 2);
        // An upstream that refuses would read it as the next request.
        assert!(seen[0].tunnelled.is_empty(), "{seen:#?}");
        assert_eq!(seen[1].get("sec-websocket-key").as_deref(), Some(KEY));
    }
}

#[test]
fn a_refused_connect_is_repeated() {
    let mut upstream = FakeUpstream::refusing();
    upstream.script([switch().then_echo_bytes()]);
    let forebay = Settings::in_front_of(&upstream)
        .set("UPSTREAM_MAX_ATTEMPTS", 50)
        .set("RETRY_BACKOFF_SECONDS", "0.1")
        .set("RETRY_BACKOFF_MAX_SECONDS", "0.1")
        .start();
    let mut client = forebay.connect();
    client.send(handshake("/chat").bytes());
    thread::sleep(Duration::from_millis(300));
    upstream.listen();
    assert_eq!(client.read_switch().status, 101);
}

#[test]
fn when_the_attempts_are_used_up_the_failure_is_the_answer() {
    let upstream = FakeUpstream::start();
    let settings = Settings::in_front_of(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "0.3");
    let forebay = settings.set("UPSTREAM_MAX_ATTEMPTS", 2).start();
    for (failure, status, code) in [(stall(), 504, "upstream_header_timeout"), (reset(), 502, "upstream_request_error")]
    {
        upstream.forget();
        upstream.script([failure]);
        let response = forebay.connect().upgrade(&handshake("/chat"));
        assert_error(&response, status, code);
        assert_eq!(attempts(&response), Some(2));
        upstream.assert_no_more_than(2, A_WHILE);
    }
}

#[test]
fn a_refusal_passes_as_it_came() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).start();
    for status in [200, 302, 400, 401, 403, 404, 426, 429, 500, 503] {
        upstream.forget();
        upstream.script([answer(status).field("X-Up", "v").body("as it came").into()]);
        let response = forebay.connect().upgrade(&handshake("/chat"));
        assert_relayed(&response, status, "as it came");
        assert_eq!((response.get("x-up").as_deref(), attempts(&response)), (Some("v"), Some(1)));
    }
}

#[test]
fn whatever_the_lane_it_is_tunnelled() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_echo_bytes()]);
    let base = Settings::in_front_of(&upstream);
    for settings in [
        base.clone().set("LANE", "stream"),
        base.clone().set("LANE", "redirect"),
        base.clone().set("STREAM_PATHS", "^/chat"),
        base.clone().set("REDIRECT_PATHS", "^/chat"),
    ] {
        let forebay = settings.start();
        let mut client = tunnel(&forebay);
        client.send("hello");
        assert_eq!(client.take(5), b"hello");
    }
}

#[test]
fn the_prefix_of_a_route_is_stripped() {
    let (upstream, other) = (FakeUpstream::start(), FakeUpstream::start());
    upstream.script([switch().then_echo_bytes()]);
    let forebay = Settings::in_front_of(&other)
        .set("ROUTE_CHAT_PREFIX", "/chat")
        .set("ROUTE_CHAT_UPSTREAM_BASE_URL", format!("{}/ws", upstream.url()))
        .start();
    let mut client = forebay.connect();
    assert_eq!(client.upgrade(&handshake("/chat/room?x")).status, 101);
    client.send("hello");
    assert_eq!(client.take(5), b"hello");
    assert_eq!((upstream.seen()[0].path().as_str(), other.accepted()), ("/ws/room?x", 0));
}

#[test]
fn an_upstream_on_http2_is_asked_on_http1() {
    let authority = Authority::new();
    let roots = ScratchFile::with(authority.pem());
    let tls = FakeUpstream::start_tls_with(&authority, &["h2", "http/1.1"]);
    let plain = FakeUpstream::start();
    for (upstream, setting) in [(&tls, "auto"), (&tls, "off"), (&plain, "auto"), (&plain, "prior-knowledge")] {
        upstream.forget();
        upstream.script([switch().then_echo_bytes()]);
        let settings = Settings::in_front_of(upstream).set("UPSTREAM_CA_FILE", &roots).set("UPSTREAM_HTTP2", setting);
        let forebay = settings.set("RESPONSE_HEADER_TIMEOUT_SECONDS", 10).start();
        let mut client = tunnel(&forebay);
        client.send("hello");
        assert_eq!(client.take(5), b"hello", "{setting}");
        upstream.assert_unambiguous();
    }
}

#[test]
fn the_key_is_spent_here_too_and_not_for_another_page() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_echo_bytes()]);
    let forebay = Settings::in_front_of(&upstream).set("UPSTREAM_API_KEY", "sk-proxy").start();
    let response = forebay.connect().upgrade(&handshake("/").host("localhost").field("Authorization", "Bearer client"));
    assert_eq!(response.status, 101, "{response:?}");
    assert_eq!(upstream.seen()[0].all("authorization"), [b"Bearer sk-proxy"]);
    for asked in
        [handshake("/").host("evil.test"), handshake("/").host("localhost").field("Origin", "https://evil.test")]
    {
        assert_error(&forebay.connect().upgrade(&asked), 403, "host_not_allowed");
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn what_asks_for_something_else_is_served_normally() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).start();
    for asked in [
        get("/").field("Connection", "Upgrade").field("Upgrade", "foo"),
        get("/")
            .field("Connection", "Upgrade, HTTP2-Settings")
            .field("Upgrade", "h2c")
            .field("HTTP2-Settings", "AAMAAABk"),
        get("/").field("Connection", "Upgrade").field("Upgrade", "TLS/1.2"),
        // Nobody asked for it on this connection.
        get("/").field("Upgrade", "websocket"),
        get("/").http10().field("Connection", "Upgrade").field("Upgrade", "websocket"),
        request("POST", "/").field("Connection", "Upgrade").field("Upgrade", "h2c").body("hello"),
    ] {
        upstream.forget();
        assert_relayed(&forebay.ask(&asked), 200, "ok");
        let seen = &upstream.seen()[0];
        for gone in ["upgrade", "http2-settings"] {
            assert!(seen.all(gone).is_empty(), "{gone} of {asked:?}: {seen:?}");
        }
        upstream.assert_unambiguous();
    }
}

#[test]
fn a_switch_that_nobody_asked_for_is_a_bad_gateway() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_send("EVIL").then_echo_bytes()]);
    let forebay = Settings::in_front_of(&upstream).set("UPSTREAM_MAX_ATTEMPTS", 1).start();
    let unasked = get("/").field("Connection", "Upgrade").field("Upgrade", "foo");
    for asked in [get("/"), unasked] {
        assert_error(&forebay.ask(&asked), 502, "upstream_request_error");
    }
}
