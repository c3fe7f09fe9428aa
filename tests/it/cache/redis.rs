//! A cache that several processes share, in Redis.

use std::thread;
use std::time::{Duration, Instant};

use super::{assert_hit, assert_miss, cached, caching};
use crate::client::Response;
use crate::forebay::Forebay;
use crate::redis::Redis;
use crate::upstream::{FakeUpstream, answer};

/// Two processes on this Redis.
#[track_caller]
fn both(redis: &Redis, upstream: &FakeUpstream) -> [Forebay; 2] {
    [(); 2].map(|()| redis.serves(caching(upstream, "redis")).start())
}

/// What this process has once it has anything: an answer is put away behind its client's back.
#[track_caller]
fn hit(forebay: &Forebay, target: &str) -> Response {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        let response = forebay.get(target);
        if cached(&response).as_deref() == Some("HIT") {
            return response;
        }
        assert!(Instant::now() < end, "nothing is kept: {response:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_one_process_has_asked_for_the_other_has_too() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    let body: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    upstream.script([answer(200).field("X-A", "1").field("X-A", "2").body(&body).into(), answer(500).into()]);
    let [one, other] = both(&redis, &upstream);
    assert_miss(&one.get("/"), &body);
    assert_hit(&one.get("/"), &body);
    let response = hit(&other, "/");
    assert_hit(&response, &body);
    assert_eq!(response.all("x-a"), [b"1", b"2"]);
}

#[test]
fn what_was_flushed_is_asked_for_again() {
    let (upstream, redis) = (FakeUpstream::start(), Redis::start());
    upstream.script([answer(200).body("before").into(), answer(500).into()]);
    let [one, other] = both(&redis, &upstream);
    assert_miss(&one.get("/"), "before");
    assert_hit(&hit(&other, "/"), "before");
    redis.flush();
    upstream.script([answer(200).body("after").into()]);
    assert_miss(&other.get("/"), "after");
    assert_hit(&other.get("/"), "after");
}

#[test]
fn without_redis_the_upstream_is_asked_and_nobody_waits_for_ever() {
    let (upstream, mut redis) = (FakeUpstream::start(), Redis::start());
    let processes = both(&redis, &upstream);
    redis.hang();
    for (n, forebay) in processes.iter().enumerate() {
        assert_miss(&forebay.get(&format!("/hung/{n}")), "ok");
    }
    redis.kill();
    for (n, forebay) in processes.iter().enumerate() {
        assert_miss(&forebay.get(&format!("/down/{n}")), "ok");
    }
    redis.run();
    for forebay in &processes {
        forebay.get("/back");
        assert_hit(&hit(forebay, "/back"), "ok");
    }
}
