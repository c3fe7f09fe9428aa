//! `FORWARDED_HEADERS`, `TRUSTED_PROXIES` (3.4): who the upstream is told asked.

use crate::client::{Client, Request, get, post};
use crate::expect::assert_relayed;
use crate::forebay::{EX_CONFIG, ScratchFile, Settings};
use crate::upstream::{Authority, FakeUpstream, Seen, answer, close};

/// With what a proxy in front of us would say, or anybody.
fn claiming(request: Request) -> Request {
    request
        .field("X-Forwarded-For", "1.1.1.1")
        .field("X-Forwarded-For", "2.2.2.2, 3.3.3.3")
        .field("X-Real-IP", "1.1.1.1")
        .field("X-Forwarded-Proto", "https")
}

/// `X-Forwarded-For` as one list, `X-Real-IP`, `X-Forwarded-Proto`.
fn forwarded(seen: &Seen) -> [String; 3] {
    ["x-forwarded-for", "x-real-ip", "x-forwarded-proto"]
        .map(|name| String::from_utf8(seen.all(name).join(b", ".as_slice())).unwrap().replace(", ", ","))
}

#[track_caller]
fn assert_forwarded(settings: &Settings, upstream: &FakeUpstream, asked: &Request, expected: [&str; 3]) {
    let forebay = settings.clone().start();
    for response in [forebay.ask(asked), forebay.connect_h2().ask(asked)] {
        assert_relayed(&response, 200, "ok");
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(forwarded(&seen), expected, "{seen:?}");
    }
    upstream.assert_unambiguous();
}

#[test]
fn by_default_they_stay_as_the_client_sent_them() {
    let upstream = FakeUpstream::start();
    let settings = Settings::in_front_of(&upstream);
    for settings in
        [settings.clone(), settings.clone().set("FORWARDED_HEADERS", "keep"), settings.set("LANE", "stream")]
    {
        assert_forwarded(&settings, &upstream, &get("/"), ["", "", ""]);
        assert_forwarded(&settings, &upstream, &claiming(get("/")), ["1.1.1.1,2.2.2.2,3.3.3.3", "1.1.1.1", "https"]);
    }
    assert_eq!(upstream.seen().pop().unwrap().all("x-forwarded-for").len(), 2, "lines stay lines");
}

#[test]
fn what_is_added_is_the_connection_and_what_a_stranger_says_is_replaced() {
    let upstream = FakeUpstream::start();
    let settings = Settings::in_front_of(&upstream).set("FORWARDED_HEADERS", "add");
    for settings in [
        settings.clone(),
        settings.clone().set("TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1,::1"),
        settings.set("LANE", "stream"),
    ] {
        for asked in [get("/"), claiming(get("/")), claiming(post("/", "x"))] {
            assert_forwarded(&settings, &upstream, &asked, ["127.0.0.1", "127.0.0.1", "http"]);
        }
    }
}

#[test]
fn what_a_trusted_proxy_says_is_believed_and_appended_to() {
    let upstream = FakeUpstream::start();
    for trusted in ["127.0.0.1", "127.0.0.0/8", "10.0.0.0/8, 127.0.0.1/32"] {
        let settings = Settings::in_front_of(&upstream).set("FORWARDED_HEADERS", "add").set("TRUSTED_PROXIES", trusted);
        let list = "1.1.1.1,2.2.2.2,3.3.3.3,127.0.0.1";
        assert_forwarded(&settings, &upstream, &claiming(get("/")), [list, "1.1.1.1", "https"]);
        assert_forwarded(&settings, &upstream, &get("/"), ["127.0.0.1", "127.0.0.1", "http"]);
    }
}

#[test]
fn what_is_stripped_is_gone_whoever_said_it() {
    let upstream = FakeUpstream::start();
    let settings = Settings::in_front_of(&upstream).set("FORWARDED_HEADERS", "strip");
    for settings in
        [settings.clone(), settings.clone().set("TRUSTED_PROXIES", "127.0.0.1"), settings.set("LANE", "stream")]
    {
        assert_forwarded(&settings, &upstream, &claiming(get("/")), ["", "", ""]);
    }
}

#[test]
fn every_attempt_says_the_same() {
    let upstream = FakeUpstream::start();
    upstream.script([close(), close(), answer(200).body("ok").into()]);
    let forebay = Settings::in_front_of(&upstream).set("FORWARDED_HEADERS", "add").start();
    assert_relayed(&forebay.ask(&claiming(post("/", "x"))), 200, "ok");
    let seen = upstream.seen();
    assert_eq!(seen.len(), 3);
    for one in seen {
        assert_eq!(forwarded(&one), ["127.0.0.1", "127.0.0.1", "http"], "{one:?}");
        assert_eq!(one.all("x-forwarded-for").len(), 1, "{one:?}");
    }
}

#[test]
fn over_tls_the_protocol_is_https() {
    let (upstream, authority) = (FakeUpstream::start(), Authority::new());
    let certificate = authority.issue();
    let (pem, key) = (ScratchFile::with(&certificate.pem), ScratchFile::with(&certificate.key_pem));
    let forebay = Settings::in_front_of(&upstream)
        .set("FORWARDED_HEADERS", "add")
        .set("TLS_CERT_FILE", &pem)
        .set("TLS_KEY_FILE", &key)
        .start();
    let mut client = Client::connect_tls(forebay.port, authority.client_config(&[])).unwrap();
    assert_relayed(&client.ask(&get("/").field("X-Forwarded-Proto", "http")), 200, "ok");
    assert_eq!(forwarded(&upstream.seen()[0]), ["127.0.0.1", "127.0.0.1", "https"]);
}

#[test]
fn networks_and_choices_are_checked_at_start() {
    for (name, value) in [
        ("TRUSTED_PROXIES", "everybody"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("TRUSTED_PROXIES", "10.0.0.1, 300.0.0.1"),
        ("FORWARDED_HEADERS", "maybe"),
    ] {
        let (log, status) = Settings::new().set("UPSTREAM_BASE_URL", "http://127.0.0.1:9").set(name, value).run();
        assert_eq!(status, Some(EX_CONFIG), "{name}={value}:\n{log}");
        assert!(log.contains(name), "{name}={value}:\n{log}");
    }
}
