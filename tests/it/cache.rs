//! The cache (contract 7), of the process and in the store.

mod keeping;
mod keys;
mod redis;
mod sharing;

use super::client::{Client, Request, Response, get, post, request};
use super::expect::{assert_relayed, attempts, is_own};
use super::forebay::{Forebay, Settings};
use super::upstream::FakeUpstream;

/// Where answers are kept.
const KINDS: [&str; 2] = ["memory", "store"];

fn caching(upstream: &FakeUpstream, kind: &str) -> Settings {
    Settings::in_front_of(upstream).set("STORE", "embedded").set("CACHE", kind)
}

/// An upstream that tells its requests apart: each answer says how many came before it.
fn counting() -> FakeUpstream {
    let upstream = FakeUpstream::start();
    count(&upstream);
    upstream
}

fn count(upstream: &FakeUpstream) {
    upstream.answer_with(|_, nth| super::upstream::answer(200).body(format!("answer {nth}")).into());
}

/// `X-Cache-Status`.
fn cached(response: &Response) -> Option<String> {
    response.get("x-cache-status")
}

#[track_caller]
fn assert_miss(response: &Response, body: impl AsRef<[u8]>) {
    assert_eq!(cached(response).as_deref(), Some("MISS"), "{response:?}");
    assert_relayed(response, 200, body);
    assert!(attempts(response) >= Some(1), "{response:?}");
}

/// From the cache: nothing was asked for it.
#[track_caller]
fn assert_hit(response: &Response, body: impl AsRef<[u8]>) {
    assert_eq!((cached(response).as_deref(), attempts(response)), (Some("HIT"), Some(0)), "{response:?}");
    assert_relayed(response, 200, body);
}

/// These two are told apart, and each is found again: the upstream is asked twice.
#[track_caller]
fn assert_apart(forebay: &Forebay, upstream: &FakeUpstream, one: &Request, other: &Request) {
    count(upstream);
    assert_miss(&forebay.ask(one), "answer 0");
    assert_miss(&forebay.ask(other), "answer 1");
    assert_hit(&forebay.ask(one), "answer 0");
    assert_hit(&forebay.ask(other), "answer 1");
}

/// An answer to this is never kept.
#[track_caller]
fn assert_never_kept(forebay: &Forebay, request: &Request) {
    for _ in 0..2 {
        let response = forebay.ask(request);
        assert_eq!((cached(&response).as_deref(), attempts(&response)), (Some("MISS"), Some(1)), "{response:?}");
    }
}
