//! What is kept, for how long, and what is given of it.

use std::thread;
use std::time::{Duration, Instant};

use super::{
    KINDS, assert_hit, assert_miss, assert_never_kept, cached, caching, count, counting, get, is_own, request,
};
use crate::client::post;
use crate::expect::{assert_relayed, attempts};
use crate::forebay::Settings;
use crate::jobs::ScratchFolder;
use crate::upstream::{Behaviour, FakeUpstream, answer, raw};

#[test]
fn an_answer_is_given_again_as_it_came() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        let body: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let whole = answer(203)
            .field("Content-Type", "x/y; z=1")
            .field("X-Twice", "1")
            .field("X-Twice", "2")
            .field("X-Cache-Status", "theirs")
            .field("X-Forebay-Attempts", "77")
            .field("ETag", "\"e\"")
            .body(&body);
        upstream.script([whole.into()]);
        let forebay = caching(&upstream, kind).start();
        for (status, asked) in [("MISS", 1), ("HIT", 0), ("HIT", 0)] {
            let response = forebay.ask(&post("/x?y", "question"));
            assert_relayed(&response, 203, &body);
            assert!(!is_own(&response), "{response:?}");
            assert_eq!((response.all("x-cache-status"), attempts(&response)), (vec![status.as_bytes()], Some(asked)));
            assert_eq!(response.all("x-twice"), [b"1", b"2"]);
            assert_eq!(response.get("etag").as_deref(), Some("\"e\""));
            assert_eq!(response.get("content-length"), Some(body.len().to_string()));
        }
        assert_eq!(upstream.seen().len(), 1, "{kind}");
    }
}

#[test]
fn without_a_cache_nothing_is_kept_and_nothing_is_said() {
    let upstream = counting();
    let forebay = Settings::in_front_of(&upstream).start();
    for nth in 0..2 {
        let response = forebay.get("/");
        assert_relayed(&response, 200, format!("answer {nth}"));
        assert_eq!(cached(&response), None);
    }
}

#[test]
fn only_what_may_be_kept_is() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        let forebay = caching(&upstream, kind).start();
        let good = || answer(200).body("x");
        for (n, (reply, kept)) in [
            (good(), true),
            (answer(299).body("x"), true),
            (answer(206).body("x"), true),
            (answer(301).body("x"), false),
            (answer(404).body("x"), false),
            (answer(429).body("x"), false),
            (answer(500).body("x"), false),
            (good().field("Cache-Control", "no-store"), false),
            (good().field("Cache-Control", "max-age=60, Private"), false),
            (good().field("Cache-Control", "public, max-age=60"), true),
            (good().field("Set-Cookie", "a=1"), false),
            (good().field("Vary", "*"), false),
            (good().field("Vary", "Accept, X-Request-ID"), false),
            (good().field("Vary", "Accept, Origin"), true),
            (good().body_until_close("x"), false),
            (answer(200).chunks(["x", "y"]), true),
        ]
        .into_iter()
        .enumerate()
        {
            upstream.forget();
            upstream.script([reply.clone().into()]);
            let asked = get(format!("/{n}"));
            let first = forebay.ask(&asked);
            let second = forebay.ask(&asked);
            assert_eq!(cached(&first).as_deref(), Some("MISS"), "{reply:?}");
            assert_eq!(cached(&second).as_deref(), Some(if kept { "HIT" } else { "MISS" }), "{kind}: {reply:?}");
            assert_eq!((second.status, &second.body), (first.status, &first.body), "{reply:?}");
            assert_eq!(upstream.seen().len(), if kept { 1 } else { 2 }, "{reply:?}");
        }
    }
}

#[test]
fn an_answer_that_is_cut_short_is_not_kept() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        let half = || raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").then_close();
        let chunks = || answer(200).chunked_head().then_chunk("half").then_reset();
        upstream.script([half(), chunks(), answer(200).body("whole").into()]);
        let forebay = caching(&upstream, kind).start();
        for _ in 0..2 {
            assert!(!forebay.get("/").is_complete());
        }
        assert_miss(&forebay.get("/"), "whole");
        assert_hit(&forebay.get("/"), "whole");
    }
}

#[test]
fn cookies_are_given_to_the_one_who_asked_and_to_nobody_else() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        upstream.answer_with(|_, nth| {
            answer(200).field("Set-Cookie", format!("session={nth}")).body(format!("{nth}")).into()
        });
        let forebay = caching(&upstream, kind).start();
        assert_never_kept(&forebay, &get("/"));
        let known = get("/").field("Authorization", "Bearer alice");
        let first = forebay.ask(&known);
        assert_miss(&first, "2");
        assert_eq!(first.get("set-cookie").as_deref(), Some("session=2"));
        let second = forebay.ask(&known);
        assert_hit(&second, "2");
        assert_eq!(second.get("set-cookie"), None);
    }
}

#[test]
fn a_request_says_whether_it_wants_what_is_kept() {
    for kind in KINDS {
        let upstream = counting();
        let forebay = caching(&upstream, kind).start();
        let with = |control: &str| get("/").field("Cache-Control", control);
        assert_miss(&forebay.get("/"), "answer 0");
        // Neither read nor written.
        assert_miss(&forebay.ask(&with("no-store")), "answer 1");
        assert_hit(&forebay.get("/"), "answer 0");
        // Not read, but written.
        assert_miss(&forebay.ask(&with("no-cache")), "answer 2");
        assert_hit(&forebay.get("/"), "answer 2");
        assert_eq!(upstream.seen()[2].get("cache-control").as_deref(), Some("no-cache"));
    }
}

#[test]
fn what_is_too_old_is_asked_for_again() {
    for kind in KINDS {
        let upstream = counting();
        let forebay = caching(&upstream, kind).set("CACHE_TTL_SECONDS", 1).start();
        assert_miss(&forebay.get("/"), "answer 0");
        let end = Instant::now() + Duration::from_secs(15);
        let mut later = forebay.get("/");
        while cached(&later).as_deref() == Some("HIT") {
            assert!(Instant::now() < end, "{kind}: it is kept for ever");
            thread::sleep(Duration::from_millis(50));
            later = forebay.get("/");
        }
        assert_miss(&later, "answer 1");
    }
}

#[test]
fn what_is_too_large_is_passed_on_and_not_kept() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        let forebay = caching(&upstream, kind).set("CACHE_MAX_ENTRY_BYTES", 100_000).start();
        let chunked = |length: usize| {
            let chunk = "c".repeat(length / 2);
            answer(200).chunked_head().then_chunk(&chunk).then_chunk(&chunk).then_last_chunk()
        };
        let whole = |length: usize| Behaviour::from(answer(200).body("w".repeat(length)));
        for (n, (reply, length, kept)) in [
            (whole(100_000), 100_000, true),
            (whole(100_001), 100_001, false),
            (chunked(100_000), 100_000, true),
            (chunked(100_002), 100_002, false),
            (chunked(4_000_000), 4_000_000, false),
        ]
        .into_iter()
        .enumerate()
        {
            upstream.script([reply]);
            let asked = get(format!("/{n}"));
            for status in ["MISS", if kept { "HIT" } else { "MISS" }] {
                let response = forebay.ask(&asked);
                assert_eq!(cached(&response).as_deref(), Some(status), "{kind} {n}");
                assert_eq!((response.body.len(), response.is_complete()), (length, true), "{kind} {n}");
            }
        }
    }
}

#[test]
fn a_head_request_is_kept_as_what_it_is() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        upstream.answer_with(|seen, _| match seen.method.as_str() {
            "HEAD" => raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            _ => answer(200).body("whole").into(),
        });
        let forebay = caching(&upstream, kind).start();
        let mut client = forebay.connect();
        for status in ["MISS", "HIT"] {
            let response = client.ask(&request("HEAD", "/"));
            assert_eq!((response.status, cached(&response).as_deref()), (200, Some(status)));
        }
        assert_miss(&client.ask(&get("/")), "whole");
        assert_hit(&client.ask(&get("/")), "whole");
        assert_eq!(upstream.seen().len(), 2);
    }
}

#[test]
fn trailers_are_kept_with_their_answer() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        upstream.script([answer(200).field("Trailer", "X-T").trailers("body", &[("X-T", "v")]).into()]);
        let forebay = caching(&upstream, kind).start();
        for status in ["MISS", "HIT"] {
            let response = forebay.ask(&get("/").field("TE", "trailers").field("Connection", "TE"));
            assert_relayed(&response, 200, "body");
            assert_eq!((cached(&response).as_deref(), response.trailer("x-t").as_deref()), (Some(status), Some("v")));
        }
    }
}

#[test]
fn what_is_in_the_store_outlives_the_process_and_what_is_in_memory_does_not() {
    for (kind, status) in [("memory", "MISS"), ("store", "HIT")] {
        let (upstream, folder) = (counting(), ScratchFolder::new());
        let settings = caching(&upstream, kind).set("DATA_DIR", &folder);
        let mut forebay = settings.clone().start();
        assert_miss(&forebay.get("/"), "answer 0");
        assert_hit(&forebay.get("/"), "answer 0");
        forebay.terminate();
        forebay.wait_for_end();
        count(&upstream);
        assert_eq!(cached(&settings.start().get("/")).as_deref(), Some(status), "{kind}");
    }
}

#[test]
fn a_small_cache_forgets_and_goes_on() {
    let upstream = FakeUpstream::start();
    let forebay = caching(&upstream, "memory").set("CACHE_MAX_ENTRIES", 4).start();
    for n in 0..40 {
        forebay.get(&format!("/{n}"));
    }
    let hits = (0..40).filter(|n| cached(&forebay.get(&format!("/{n}"))).as_deref() == Some("HIT")).count();
    assert!(hits <= 8, "{hits} of 4 are kept");
    upstream.assert_unambiguous();
}
