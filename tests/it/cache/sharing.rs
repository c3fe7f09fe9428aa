//! Those who ask the same at the same time share one request to the upstream, and jobs share too.

use std::thread;

use super::{Client, KINDS, assert_hit, assert_miss, cached, caching, get};
use crate::client::Response;
use crate::expect::{A_WHILE, assert_error, assert_relayed};
use crate::forebay::Forebay;
use crate::jobs;
use crate::upstream::{FakeUpstream, Gate, answer, raw, reset};

/// Somebody who has asked and has no answer yet.
fn ask(forebay: &Forebay) -> Client {
    let mut client = forebay.connect();
    client.send(get("/").bytes());
    client
}

/// The first who asks; then these others. The while can only be too short to test what is meant, never turn a good run red.
fn ask_together<const N: usize>(forebay: &Forebay, upstream: &FakeUpstream) -> (Client, [Client; N]) {
    let first = ask(forebay);
    upstream.wait_seen(1);
    let others = [(); N].map(|()| ask(forebay));
    thread::sleep(A_WHILE);
    (first, others)
}

/// Reads the head and all of this.
#[track_caller]
fn reads(client: &mut Client, status: &str, body: &str) -> Response {
    let mut response = client.read_head("GET");
    assert_eq!((response.status, cached(&response).as_deref()), (200, Some(status)), "{response:?}");
    client.read_body(&mut response, body.len());
    assert_eq!(response.text(), body);
    response
}

#[test]
fn those_who_ask_the_same_share_one_request_and_read_its_answer_while_it_comes() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        let (head, second, third) = (Gate::new(), Gate::new(), Gate::new());
        upstream.script([raw("")
            .then_await(&head)
            .then_do(answer(200).chunked_head())
            .then_chunk("one ")
            .then_await(&second)
            .then_chunk("two ")
            .then_await(&third)
            .then_chunk("three")
            .then_last_chunk()]);
        let forebay = caching(&upstream, kind).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30).start();
        let (mut leader, mut followers) = ask_together::<5>(&forebay, &upstream);
        head.open();
        let mut responses = vec![reads(&mut leader, "MISS", "one ")];
        responses.extend(followers.iter_mut().map(|follower| reads(follower, "HIT", "one ")));
        second.open();
        // One that comes in the middle is told everything from the beginning.
        let mut late = ask(&forebay);
        responses.push(reads(&mut late, "HIT", "one two "));
        third.open();
        for (mut client, mut response) in [leader].into_iter().chain(followers).chain([late]).zip(responses) {
            client.read_rest(&mut response);
            assert_relayed(&response, 200, "one two three");
        }
        assert_hit(&forebay.get("/"), "one two three");
        assert_eq!(upstream.seen().len(), 1, "{kind}");
    }
}

#[test]
fn a_request_that_is_followed_survives_its_client() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        let gate = Gate::new();
        upstream.script([answer(200)
            .chunked_head()
            .then_chunk("one ")
            .then_await(&gate)
            .then_chunk("two")
            .then_last_chunk()]);
        let forebay = caching(&upstream, kind).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30).start();
        let (mut leader, [mut follower]) = ask_together(&forebay, &upstream);
        reads(&mut leader, "MISS", "one ");
        let mut response = reads(&mut follower, "HIT", "one ");
        leader.reset();
        thread::sleep(A_WHILE);
        gate.open();
        follower.read_rest(&mut response);
        assert_relayed(&response, 200, "one two");
        assert_hit(&forebay.get("/"), "one two");
        assert_eq!(upstream.seen().len(), 1);
    }
}

#[test]
fn one_whose_client_leaves_before_there_is_a_head_is_finished_for_those_who_follow() {
    for kind in KINDS {
        let requests = || {
            let upstream = FakeUpstream::start();
            let gate = Gate::new();
            upstream.script([raw("").then_await(&gate).then_do(answer(200).body("late"))]);
            let forebay = caching(&upstream, kind).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30).start();
            let (leader, followers) = ask_together::<2>(&forebay, &upstream);
            leader.reset();
            thread::sleep(A_WHILE);
            gate.open();
            for mut follower in followers {
                assert_relayed(&follower.read("GET"), 200, "late");
            }
            upstream.seen().len()
        };
        // Those who came only after the leader had left would ask for themselves, on a slow machine.
        assert!((0..5).any(|_| requests() == 1), "{kind}: nobody is ever followed");
    }
}

#[test]
fn one_that_nobody_follows_ends_with_its_client() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        let gate = Gate::new();
        upstream.script([raw("").then_await(&gate).then_do(answer(200))]);
        let forebay = caching(&upstream, kind).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30).start();
        let (leader, []) = ask_together(&forebay, &upstream);
        drop(leader);
        upstream.wait_all_closed();
        upstream.script([answer(200).body("next").into()]);
        assert_miss(&forebay.get("/"), "next");
    }
}

#[test]
fn when_the_leader_fails_one_of_those_who_follow_takes_over() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        let (first, second) = (Gate::new(), Gate::new());
        let answered = raw("").then_await(&second).then_do(answer(200).body("second"));
        upstream.script([raw("").then_await(&first).then_do(reset()), answered]);
        let settings = caching(&upstream, kind).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30);
        let forebay = settings.set("UPSTREAM_MAX_ATTEMPTS", 1).start();
        let (mut leader, followers) = ask_together::<3>(&forebay, &upstream);
        first.open();
        assert_error(&leader.read("GET"), 502, "upstream_request_error");
        upstream.wait_seen(2);
        second.open();
        let mut statuses = followers.map(|mut follower| {
            let response = follower.read("GET");
            assert_relayed(&response, 200, "second");
            cached(&response).unwrap()
        });
        statuses.sort();
        assert_eq!(statuses, ["HIT", "HIT", "MISS"]);
        assert_eq!(upstream.seen().len(), 2);
    }
}

#[test]
fn what_may_not_be_kept_is_for_the_one_who_asked_and_the_others_go_on_alone() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        let gate = Gate::new();
        let waiting = gate.clone();
        upstream.answer_with(move |_, nth| {
            let private = answer(200).field("Cache-Control", "private").body(format!("for {nth}"));
            if nth == 0 { raw("").then_await(&waiting).then_do(private) } else { private.into() }
        });
        let forebay = caching(&upstream, kind).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30).start();
        let (mut leader, followers) = ask_together::<4>(&forebay, &upstream);
        gate.open();
        assert_miss(&leader.read("GET"), "for 0");
        let mut bodies = followers.map(|mut follower| {
            let response = follower.read("GET");
            assert_eq!(cached(&response).as_deref(), Some("MISS"));
            response.text()
        });
        bodies.sort();
        assert_eq!(bodies, ["for 1", "for 2", "for 3", "for 4"]);
    }
}

#[test]
fn an_answer_that_breaks_off_breaks_off_for_all_who_have_begun_it() {
    for kind in KINDS {
        let upstream = FakeUpstream::start();
        let gate = Gate::new();
        upstream.script([
            answer(200).chunked_head().then_chunk("half").then_await(&gate).then_reset(),
            answer(200).body("whole").into(),
        ]);
        let forebay = caching(&upstream, kind).start();
        let (mut leader, [mut follower]) = ask_together(&forebay, &upstream);
        let begun = [reads(&mut leader, "MISS", "half"), reads(&mut follower, "HIT", "half")];
        gate.open();
        for (mut client, mut response) in [leader, follower].into_iter().zip(begun) {
            client.read_rest(&mut response);
            assert!(!response.is_complete() && response.text() == "half", "{response:?}");
        }
        assert_miss(&forebay.get("/"), "whole");
    }
}

#[test]
fn a_slow_follower_of_what_is_kept_keeps_nobody_waiting() {
    let upstream = FakeUpstream::start();
    let body = "b".repeat(6 << 20);
    upstream.script([answer(200).body(&body).into()]);
    let forebay = caching(&upstream, "memory").start();
    // It reads nothing until the others are served.
    let mut sleeping = ask(&forebay).with_small_window();
    upstream.wait_seen(1);
    assert_relayed(&forebay.get("/"), 200, &body);
    assert_relayed(&sleeping.read("GET"), 200, &body);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn jobs_are_answered_from_the_cache_too_and_their_content_says_so() {
    for kind in KINDS {
        let upstream = super::counting();
        let forebay = caching(&upstream, kind).set("QUEUE_PATHS", "^/queued").start();
        for (nth, status) in ["MISS", "HIT"].into_iter().enumerate() {
            let content = jobs::run(&forebay, &get("/queued?x"));
            assert_relayed(&content, 200, "answer 0");
            assert_eq!(cached(&content).as_deref(), Some(status), "{nth}: {content:?}");
        }
        assert_eq!(upstream.seen().len(), 1, "{kind}");
        let other = jobs::run(&forebay, &get("/queued?y"));
        assert_eq!((other.text().as_str(), cached(&other).as_deref()), ("answer 1", Some("MISS")));
    }
}
