//! What tells requests apart, so that nobody is given what another one asked for.

use super::{KINDS, assert_apart, assert_hit, assert_miss, cached, caching, count, counting, get, post, request};
use crate::forebay::EX_CONFIG;
use crate::upstream::{FakeUpstream, answer};

#[test]
fn method_target_fields_and_body_are_in_the_key() {
    for kind in KINDS {
        let upstream = counting();
        let forebay = caching(&upstream, kind).start();
        for (one, other) in [
            (get("/1"), get("/1?")),
            (get("/2?a=b"), get("/2?a=c")),
            (get("/%33"), get("/3")),
            (get("/4//"), get("/4/")),
            (request("PUT", "/5").body("x"), post("/5", "x")),
            (get("/6").field("Accept", "a"), get("/6").field("Accept", "b")),
            (get("/7").field("X-A", "1"), get("/7")),
            (get("/8").field("X-A", "1").field("X-B", "2"), get("/8").field("X-A", "1X-B: 2")),
            (get("/9").field("X-A", "1").field("X-A", "2"), get("/9").field("X-A", "1, 2")),
            (post("/10", "one"), post("/10", "two")),
            (post("/11", ""), post("/11", "x")),
            (get("/12").field("Range", "bytes=0-1"), get("/12").field("Range", "bytes=2-3")),
            (get("/13").field("If-None-Match", "\"e\""), get("/13")),
        ] {
            assert_apart(&forebay, &upstream, &one, &other);
        }
    }
}

#[test]
fn every_credential_is_in_the_key() {
    for kind in KINDS {
        let upstream = counting();
        let forebay = caching(&upstream, kind).set("UPSTREAM_API_KEY_HEADER", "X-Own-Key").start();
        for (n, name) in [
            "Authorization",
            "Cookie",
            "X-API-Key",
            "Api-Key",
            "X-Own-Key",
            "OpenAI-Organization",
            "OpenAI-Project",
            "ChatGPT-Account-ID",
        ]
        .into_iter()
        .enumerate()
        {
            let asked = || get(format!("/{n}"));
            assert_apart(&forebay, &upstream, &asked().field(name, "alice"), &asked().field(name, "bob"));
            count(&upstream);
            assert_miss(&forebay.ask(&asked()), "answer 0");
        }
    }
}

#[test]
fn with_a_key_of_forebays_own_its_clients_are_still_told_apart() {
    for kind in KINDS {
        let upstream = counting();
        let forebay =
            caching(&upstream, kind).set("UPSTREAM_API_KEY", "ours").set("ALLOWED_HOSTS", "forebay.test").start();
        let of = |name: &str| get("/").field("Authorization", format!("Bearer {name}"));
        assert_apart(&forebay, &upstream, &of("alice"), &of("bob"));
    }
}

#[test]
fn fields_that_are_left_out_do_not_count() {
    for kind in KINDS {
        let upstream = counting();
        let forebay = caching(&upstream, kind).start();
        let numbered = |n: u32| get("/").field("X-Request-ID", n.to_string());
        assert_miss(&forebay.ask(&numbered(1)), "answer 0");
        assert_hit(&forebay.ask(&numbered(2)), "answer 0");
        // Whoever wants others names them all.
        let other = caching(&upstream, kind).set("CACHE_KEY_EXCLUDE_HEADERS", "X-A").start();
        count(&upstream);
        assert_miss(&other.ask(&get("/").field("X-A", "1")), "answer 0");
        assert_hit(&other.ask(&get("/").field("X-A", "2")), "answer 0");
        assert_miss(&other.ask(&numbered(1)), "answer 1");
        assert_miss(&other.ask(&numbered(2)), "answer 2");
    }
}

#[test]
fn what_any_client_may_claim_of_itself_stays_in_the_key() {
    for kind in KINDS {
        let upstream = counting();
        let from = |address: &str| get("/").field("X-Forwarded-For", address).field("X-Real-IP", address);
        let forebay = caching(&upstream, kind).start();
        assert_apart(&forebay, &upstream, &from("1.1.1.1"), &from("2.2.2.2"));
        for (name, value) in
            [("TRUSTED_PROXIES", "127.0.0.1"), ("FORWARDED_HEADERS", "strip"), ("FORWARDED_HEADERS", "add")]
        {
            let forebay = caching(&upstream, kind).set(name, value).start();
            count(&upstream);
            assert_miss(&forebay.ask(&from("1.1.1.1")), "answer 0");
            assert_hit(&forebay.ask(&from("2.2.2.2")), "answer 0");
        }
    }
}

#[test]
fn credentials_leave_the_key_only_where_the_cache_is_shared_on_purpose() {
    let upstream = counting();
    for name in ["authorization", "Cookie", "X-API-Key", "ChatGPT-Account-ID"] {
        let settings = caching(&upstream, "memory").set("CACHE_KEY_EXCLUDE_HEADERS", format!("X-A, {name}"));
        let (log, code) = settings.clone().run();
        assert_eq!(code, Some(EX_CONFIG), "{log}");
        assert!(log.contains("CACHE_KEY_EXCLUDE_HEADERS") && log.contains("CACHE_SHARED"), "{log}");
        let forebay = settings.set("CACHE_SHARED", "true").start();
        count(&upstream);
        assert_miss(&forebay.ask(&get("/").field(name, "alice")), "answer 0");
        assert_hit(&forebay.ask(&get("/").field(name, "bob")), "answer 0");
    }
    // Then nobody is known by it, and what has cookies is for one alone.
    upstream.script([answer(200).field("Set-Cookie", "a=1").body("x").into()]);
    let settings = caching(&upstream, "memory").set("CACHE_KEY_EXCLUDE_HEADERS", "Authorization");
    let forebay = settings.set("CACHE_SHARED", "true").start();
    super::assert_never_kept(&forebay, &get("/").field("Authorization", "Bearer alice"));
}

#[test]
fn routes_do_not_share_even_what_looks_the_same() {
    for kind in KINDS {
        let upstream = counting();
        let other = FakeUpstream::start();
        other.script([answer(200).body("other").into()]);
        let forebay = caching(&upstream, kind)
            .set("ROUTE_A_PREFIX", "/a")
            .set("ROUTE_A_UPSTREAM_BASE_URL", upstream.url())
            .set("ROUTE_B_PREFIX", "/b")
            .set("ROUTE_B_UPSTREAM_BASE_URL", upstream.url())
            .set("ROUTE_C_PREFIX", "/c")
            .set("ROUTE_C_UPSTREAM_BASE_URL", other.url())
            .set("ROUTE_D_PREFIX", "/d")
            .set("ROUTE_D_UPSTREAM_BASE_URL", upstream.url())
            .set("ROUTE_D_CACHE", "none")
            .start();
        assert_miss(&forebay.get("/a/x"), "answer 0");
        assert_miss(&forebay.get("/b/x"), "answer 1");
        assert_miss(&forebay.get("/x"), "answer 2");
        assert_miss(&forebay.get("/c/x"), "other");
        assert_hit(&forebay.get("/a/x"), "answer 0");
        assert_eq!(cached(&forebay.get("/d/x")), None);
        assert_eq!(cached(&forebay.get("/d/x")), None);
        assert_eq!(upstream.seen().len(), 5);
    }
}
