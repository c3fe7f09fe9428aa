//! `UPSTREAM_API_KEY`, and who may spend it (3.2).

use crate::client::{Request, get, post};
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::{Forebay, ScratchFile, Settings};
use crate::upstream::{FakeUpstream, answer, close};

#[test]
fn the_key_replaces_the_clients_on_every_attempt() {
    let upstream = FakeUpstream::start();
    let file = ScratchFile::with("sk-file\n");
    let with_key = || Settings::in_front_of(&upstream).set("UPSTREAM_API_KEY", "sk-proxy");
    let custom = || with_key().set("UPSTREAM_API_KEY_HEADER", "Api-Key");
    for (settings, name, value) in [
        (with_key(), "Authorization", "Bearer sk-proxy"),
        (with_key().set("UPSTREAM_API_KEY_PREFIX", ""), "Authorization", "sk-proxy"),
        (custom().set("UPSTREAM_API_KEY_PREFIX", "Key "), "Api-Key", "Key sk-proxy"),
        (custom().set("UPSTREAM_API_KEY_PREFIX", ""), "Api-Key", "sk-proxy"),
        (Settings::in_front_of(&upstream).set("UPSTREAM_API_KEY_FILE", &file), "Authorization", "Bearer sk-file"),
    ] {
        upstream.forget();
        upstream.script([close(), answer(200).body("ok").into()]);
        let asked = post("/", "{}").host("localhost").field(name, "client-1").field(&name.to_uppercase(), "client-2");
        assert_relayed(&settings.start().ask(&asked.field("X-Other", "o")), 200, "ok");
        let seen = upstream.seen();
        assert_eq!(seen.len(), 2);
        for seen in seen {
            assert_eq!(seen.all(name), [value.as_bytes()], "{seen:?}");
            assert_eq!(seen.all("x-other"), [b"o"]);
        }
    }
}

#[test]
fn without_a_key_the_clients_passes_unchanged() {
    let upstream = FakeUpstream::start();
    let asked =
        post("/", "{}").field("Authorization", "Bearer client").field("x-api-key", "k").field("Origin", "https://a");
    assert_relayed(&Forebay::in_front_of(&upstream).ask(&asked), 200, "ok");
    let seen = &upstream.seen()[0];
    assert_eq!(seen.all("authorization"), [b"Bearer client"]);
    assert_eq!(seen.all("x-api-key"), [b"k"]);
    assert_eq!(seen.all("origin"), [b"https://a"]);
}

#[test]
fn a_web_page_must_not_spend_the_key() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream)
        .set("UPSTREAM_API_KEY", "sk-proxy")
        .set("ALLOWED_HOSTS", "gate.example,other.example")
        .set("ALLOWED_ORIGINS", "https://app.example")
        .start();
    let from = |host: &str| get("/").host(host);
    let allowed: [Request; 8] = [
        from("localhost"),
        from("LOCALHOST:8788"),
        from("127.0.0.1:1"),
        from("[::1]"),
        from("gate.example"),
        from("gate.example:8788"),
        from("localhost").field("Origin", "https://app.example"),
        from("localhost").field("Sec-Fetch-Site", "same-origin"),
    ];
    let refused: [Request; 8] = [
        from("evil.example"),
        from("localhost.evil.example"),
        from("127.0.0.1.evil.example"),
        from("10.0.0.1"),
        from("localhost").field("Origin", "https://evil.example"),
        from("localhost").field("Origin", "null"),
        from("gate.example").field("Origin", "https://gate.example"),
        from("localhost").field("Sec-Fetch-Site", "cross-site"),
    ];
    for asked in allowed {
        assert_eq!(forebay.ask(&asked).status, 200, "{asked:?}");
    }
    let passed = upstream.seen().len();
    for asked in refused {
        assert_error(&forebay.ask(&asked), 403, "host_not_allowed");
    }
    assert_eq!((passed, upstream.seen().len()), (8, 8));
}

#[test]
fn without_a_key_there_is_nothing_to_spend() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    let asked =
        get("/").host("evil.example").field("Origin", "https://evil.example").field("Sec-Fetch-Site", "cross-site");
    assert_relayed(&forebay.ask(&asked), 200, "ok");
}
