//! 6.3: a race that becomes a job with the attempt that is in flight.

use std::time::Duration;

use super::{Follower, content_of, storing, wait_for};
use crate::client::{get, post};
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts};
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, Gate, answer, raw, reset, stall};

/// Races whose attempts have all the time of the test.
fn patient(upstream: &FakeUpstream) -> Settings {
    storing(upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30)
}

#[test]
fn an_attempt_that_takes_longer_than_its_client_waits_goes_on_as_a_job() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).field("X-A", "1").body("late"))]);
    let forebay = patient(&upstream).start();
    let response = forebay.ask(&post("/x", "body").field("Prefer", "respond-async, wait=1"));
    assert_eq!((response.status, attempts(&response)), (202, Some(1)), "{response:?}");
    assert_eq!(response.get("preference-applied").as_deref(), Some("respond-async, wait=1"));
    let job = super::id(&response);
    wait_for(&forebay, &job, "running");
    gate.open();
    let done = wait_for(&forebay, &job, "completed");
    assert_eq!(done["attempts"], 1, "{done}");
    let content = forebay.ask(&content_of(&job));
    assert_relayed(&content, 200, "late");
    assert_eq!(content.get("x-a").as_deref(), Some("1"));
    upstream.assert_no_more_than(1, A_WHILE);
    assert_eq!(upstream.seen()[0].get("prefer"), None);
}

#[test]
fn a_race_that_is_decided_in_time_is_answered_directly() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).start();
    let response = forebay.ask(&get("/").field("Prefer", "respond-async, wait=30"));
    assert_relayed(&response, 200, "ok");
    assert_eq!(response.get("preference-applied").as_deref(), Some("wait=30"));
    assert_eq!(attempts(&response), Some(1));
}

#[test]
fn a_race_that_fails_in_time_is_answered_with_its_failure() {
    let upstream = FakeUpstream::start();
    upstream.script([reset()]);
    let forebay = patient(&upstream).set("OVERFLOW", "always").start();
    let response = forebay.ask(&get("/"));
    assert_error(&response, 502, "upstream_request_error");
    assert_eq!(attempts(&response), Some(3));
}

#[test]
fn with_overflow_always_the_last_missed_deadline_makes_a_job() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let late = raw("").then_await(&gate).then_do(answer(200).body("late"));
    upstream.script([stall(), late]);
    let forebay = storing(&upstream)
        .set("OVERFLOW", "always")
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 0.4)
        .set("UPSTREAM_MAX_ATTEMPTS", 2)
        .start();
    let response = forebay.ask(&post("/", "body"));
    assert_eq!((response.status, attempts(&response)), (202, Some(2)), "{response:?}");
    assert_eq!(response.get("preference-applied"), None);
    let job = super::id(&response);
    gate.open();
    wait_for(&forebay, &job, "completed");
    assert_relayed(&forebay.ask(&content_of(&job)), 200, "late");
    upstream.assert_no_more_than(2, A_WHILE);
}

#[test]
fn with_none_in_flight_the_request_becomes_an_ordinary_job() {
    let upstream = FakeUpstream::start();
    upstream.script([reset(), answer(200).body("second").into()]);
    let forebay = patient(&upstream)
        .set("OVERFLOW", "always")
        .set("OVERFLOW_AFTER_SECONDS", 0.5)
        .set("RETRY_BACKOFF_SECONDS", 4)
        .set("RETRY_BACKOFF_MAX_SECONDS", 4)
        .start();
    let response = forebay.ask(&get("/"));
    assert_eq!(response.status, 202, "{response:?}");
    let job = super::id(&response);
    wait_for(&forebay, &job, "completed");
    assert_relayed(&forebay.ask(&content_of(&job)), 200, "second");
}

#[test]
fn an_adopted_answer_can_be_followed_while_it_comes() {
    let upstream = FakeUpstream::start();
    let (head, more) = (Gate::new(), Gate::new());
    upstream.script([raw("")
        .then_await(&head)
        .then_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .then_chunk("one")
        .then_await(&more)
        .then_chunk("two")
        .then_last_chunk()]);
    let forebay = patient(&upstream).start();
    let job = super::id(&forebay.ask(&get("/").field("Prefer", "respond-async, wait=1")));
    head.open();
    let mut follower = Follower::of(&forebay, &job, 0);
    follower.reads("one");
    more.open();
    assert_relayed(&follower.read_to_the_end(), 200, "onetwo");
}

#[test]
fn an_adopted_attempt_that_fails_is_an_execution_that_failed() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_reset(), answer(200).body("again").into()]);
    let forebay = patient(&upstream).set("JOB_RETRY_DELAY_SECONDS", 0.05).start();
    let job = super::id(&forebay.ask(&get("/").field("Prefer", "respond-async, wait=1")));
    gate.open();
    let failed = wait_for(&forebay, &job, "failed");
    assert!(failed["error"].as_str().unwrap().starts_with("upstream_request_error: "), "{failed}");
    upstream.forget();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_reset(), answer(200).body("again").into()]);
    let repeating = patient(&upstream).set("JOB_MAX_RETRIES", 1).set("JOB_RETRY_DELAY_SECONDS", 0.05).start();
    let job = super::id(&repeating.ask(&get("/").field("Prefer", "respond-async, wait=1")));
    gate.open();
    let done = wait_for(&repeating, &job, "completed");
    assert_eq!(done["attempts"], 2, "{done}");
}

#[test]
fn a_client_that_leaves_before_the_overflow_ends_the_race_and_one_that_leaves_after_it_does_not() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = patient(&upstream).set("OVERFLOW", "always").set("OVERFLOW_AFTER_SECONDS", 20).start();
    let mut client = forebay.connect();
    client.send(get("/").bytes());
    upstream.wait_seen(1);
    drop(client);
    upstream.wait_all_closed();
    let gate = Gate::new();
    upstream.forget();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("late"))]);
    let mut client = forebay.connect();
    client.send(get("/").field("Prefer", "respond-async, wait=1").bytes());
    let response = client.read("GET");
    drop(client);
    std::thread::sleep(Duration::from_millis(100));
    gate.open();
    let job = super::id(&response);
    wait_for(&forebay, &job, "completed");
    assert_relayed(&forebay.ask(&content_of(&job)), 200, "late");
}

#[test]
fn a_deleted_job_ends_its_adopted_attempt() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = patient(&upstream).start();
    let job = super::id(&forebay.ask(&get("/").field("Prefer", "respond-async, wait=1")));
    assert_eq!(forebay.ask(&super::delete(&job)).status, 200);
    upstream.wait_all_closed();
}
