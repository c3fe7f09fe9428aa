//! 6.2: what clients may ask of their jobs.

use std::thread;
use std::time::Duration;

use super::{Follower, content_of, queueing, run, status, status_of, submit, wait_for};
use crate::client::{Request, get, post, request};
use crate::expect::{assert_error, assert_relayed, is_own};
use crate::upstream::{FakeUpstream, Gate, answer, raw, stall};

#[test]
fn a_status_says_what_is_known_and_nothing_else() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200))]);
    let forebay = queueing(&upstream).set("QUEUE_CONCURRENCY", 1).start();
    let (first, second) = (submit(&forebay, &get("/1?secret")), submit(&forebay, &get("/2")));
    let running = wait_for(&forebay, &first, "running");
    assert!(running["startedAt"].is_string() && running.get("completedAt").is_none(), "{running}");
    let queued = status(&forebay, &second);
    let mut names: Vec<_> = queued.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["attempts", "createdAt", "id", "status"]);
    assert_eq!((queued["status"].as_str(), queued["attempts"].as_u64()), (Some("queued"), Some(0)));
    gate.open();
    let done = wait_for(&forebay, &first, "completed");
    let created = done["createdAt"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.len() == "2026-12-01T00:00:00.000Z".len(), "{done}");
    let response = forebay.ask(&status_of(&first));
    assert!(is_own(&response));
    assert_eq!(response.get("cache-control").as_deref(), Some("no-store"));
}

#[test]
fn a_response_is_replayed_as_it_came() {
    let upstream = FakeUpstream::start();
    let body: Vec<u8> = (0..700_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let response = answer(206)
        .field("Content-Type", "x/y; z=1")
        .field("Set-Cookie", "a=1")
        .field("Set-Cookie", "b=2")
        .field("X-Empty", "")
        .field("X-Cache-Status", "HIT")
        .field("X-Forebay-Attempts", "77")
        .field("Connection", "X-Nom")
        .field("X-Nom", "1")
        .body(&body);
    upstream.script([response.into()]);
    let forebay = queueing(&upstream).start();
    let replayed = run(&forebay, &get("/"));
    assert_relayed(&replayed, 206, &body);
    assert_eq!(replayed.all("set-cookie"), [b"a=1", b"b=2"]);
    assert_eq!(replayed.all("x-empty"), [b""]);
    for gone in ["x-cache-status", "x-nom"] {
        assert_eq!(replayed.get(gone), None, "{gone}");
    }
    assert_eq!(replayed.get("x-forebay-attempts").as_deref(), Some("0"));
    assert_eq!(replayed.get("x-forebay-execution").as_deref(), Some("1"));
}

#[test]
fn results_without_a_body_are_replayed_without_a_length() {
    let upstream = FakeUpstream::start();
    let forebay = queueing(&upstream).start();
    upstream.script([raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")]);
    // The 202 to a HEAD has no body either: where the job is stands in its Location.
    let accepted = forebay.ask(&request("HEAD", "/"));
    let location = accepted.get("location").unwrap();
    let job = location.strip_prefix("/__jobs/").unwrap();
    wait_for(&forebay, job, "completed");
    let replayed = forebay.ask(&content_of(job));
    assert_relayed(&replayed, 200, "");
    assert_eq!(replayed.get("content-length").as_deref(), Some("0"), "that of the replay");
    for status in [204, 304] {
        upstream.script([raw(format!("HTTP/1.1 {status} X\r\nX-A: 1\r\n\r\n"))]);
        let replayed = run(&forebay, &get("/"));
        assert_relayed(&replayed, status, "");
        assert_eq!((replayed.get("content-length"), replayed.get("x-a").as_deref()), (None, Some("1")));
    }
}

#[test]
fn a_job_without_a_response_is_not_ready() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = queueing(&upstream).start();
    let job = submit(&forebay, &get("/"));
    for query in ["", "?follow=true", "?wait=0", "?from=5"] {
        let response = forebay.get(&format!("/__jobs/{job}/content{query}"));
        assert_error(&response, 404, "job_not_ready");
        assert!(response.get("retry-after").is_some(), "{response:?}");
        assert_eq!(response.get("cache-control").as_deref(), Some("no-store"));
    }
}

#[test]
fn who_waits_is_answered_when_there_is_something() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("done"))]);
    let forebay = queueing(&upstream).start();
    let job = submit(&forebay, &get("/"));
    upstream.wait_seen(1);
    let ask = |target: String| {
        let mut client = forebay.connect();
        client.send(get(target).bytes());
        client
    };
    let (mut status, mut content) =
        (ask(format!("/__jobs/{job}?wait=30")), ask(format!("/__jobs/{job}/content?wait=30")));
    // A wait that is over says how it is then.
    let early = forebay.get(&format!("/__jobs/{job}?wait=1"));
    assert!(early.text().contains("\"running\""), "{early:?}");
    gate.open();
    assert!(status.read("GET").text().contains("\"completed\""));
    assert_relayed(&content.read("GET"), 200, "done");
}

#[test]
fn who_follows_reads_what_comes_when_it_comes() {
    let upstream = FakeUpstream::start();
    let (first, second) = (Gate::new(), Gate::new());
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    upstream.script([raw(head)
        .then_chunk("data: 1\n\n")
        .then_await(&first)
        .then_chunk("data: 2\n\n")
        .then_await(&second)
        .then_chunk("data: 3\n\n")
        .then_last_chunk()]);
    let forebay = queueing(&upstream).start();
    let job = submit(&forebay, &get("/"));
    let mut followers = [Follower::of(&forebay, &job, 0), Follower::of(&forebay, &job, 0)];
    for follower in &mut followers {
        follower.reads("data: 1\n\n");
    }
    first.open();
    for follower in &mut followers {
        follower.reads("data: 1\n\ndata: 2\n\n");
    }
    // One that comes later, and one that comes back.
    let (mut late, mut resumed) = (Follower::of(&forebay, &job, 0), Follower::of(&forebay, &job, 9));
    late.reads("data: 1\n\ndata: 2\n\n");
    resumed.reads("data: 2\n\n");
    second.open();
    for follower in followers.into_iter().chain([late]) {
        assert_relayed(&follower.read_to_the_end(), 200, "data: 1\n\ndata: 2\n\ndata: 3\n\n");
    }
    assert_relayed(&resumed.read_to_the_end(), 200, "data: 2\n\ndata: 3\n\n");
    wait_for(&forebay, &job, "completed");
    assert_relayed(&forebay.ask(&content_of(&job)), 200, "data: 1\n\ndata: 2\n\ndata: 3\n\n");
}

#[test]
fn a_recording_is_read_from_any_byte_of_the_execution_that_is_meant() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).body("0123456789").into()]);
    let forebay = queueing(&upstream).start();
    let job = submit(&forebay, &get("/"));
    wait_for(&forebay, &job, "completed");
    let from = |query: &str| forebay.get(&format!("/__jobs/{job}/content?{query}"));
    assert_relayed(&from("from=0"), 200, "0123456789");
    assert_relayed(&from("from=7"), 200, "789");
    assert_relayed(&from("from=10"), 200, "");
    assert_error(&from("from=11"), 416, "range_not_satisfiable");
    assert_relayed(&from("from=3&execution=1"), 200, "3456789");
    assert_error(&from("from=3&execution=2"), 409, "recording_restarted");
    assert_error(&from("from=x"), 400, "bad_request");
    let ranged = forebay.ask(&content_of(&job).field("Range", "bytes=2-3"));
    assert_relayed(&ranged, 200, "0123456789");
}

#[test]
fn followers_are_cut_when_the_job_runs_again() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    upstream.script([raw(head).then_chunk("first").then_await(&gate).then_reset(), answer(200).body("second").into()]);
    let forebay = queueing(&upstream).set("JOB_MAX_RETRIES", 1).set("JOB_RETRY_DELAY_SECONDS", 0.05).start();
    let job = submit(&forebay, &get("/"));
    let mut follower = Follower::of(&forebay, &job, 0);
    follower.reads("first");
    gate.open();
    let cut = follower.read_to_the_end();
    assert!(!cut.is_complete() && cut.text() == "first", "{cut:?}");
    wait_for(&forebay, &job, "completed");
    assert_relayed(&forebay.ask(&content_of(&job)), 200, "second");
}

#[test]
fn a_job_is_shown_to_its_owner_alone() {
    let upstream = FakeUpstream::start();
    let forebay = queueing(&upstream).start();
    let with = |request: Request, key: &str| request.field("Authorization", format!("Bearer {key}"));
    let job = submit(&forebay, &with(post("/", "x"), "alice"));
    let stranger = [with(status_of(&job), "bob"), status_of(&job), with(content_of(&job), "bob"), super::delete(&job)];
    for asked in stranger {
        assert_error(&forebay.ask(&asked), 404, "job_not_found");
    }
    for _ in 0..200 {
        let response = forebay.ask(&with(status_of(&job), "alice"));
        assert_eq!(response.status, 200);
        if response.text().contains("completed") {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert_relayed(&forebay.ask(&with(content_of(&job), "alice")), 200, "ok");
    assert_eq!(forebay.ask(&with(super::delete(&job), "alice")).status, 200);
    let anyone = queueing(&upstream).set("JOB_OWNER", "anyone").start();
    let job = submit(&anyone, &with(post("/", "x"), "alice"));
    wait_for(&anyone, &job, "completed");
}

#[test]
fn everything_below_the_path_of_jobs_is_forebays_own() {
    let upstream = FakeUpstream::start();
    let forebay = queueing(&upstream).start();
    for path in ["", "/", "/x", "/%2a", "/..%2f..", "/550e8400-e29b-41d4-a716-446655440000%20", "/x/content"] {
        let response = forebay.get(&format!("/__jobs{path}"));
        assert!(matches!(response.status, 400 | 404) && is_own(&response), "{path}: {response:?}");
    }
    assert_error(&forebay.ask(&post("/__jobs/550e8400-e29b-41d4-a716-446655440000", "x")), 405, "method_not_allowed");
    assert!(upstream.seen().is_empty());
    let elsewhere = queueing(&upstream).set("JOBS_PATH", "/status").start();
    assert_eq!(elsewhere.get("/__jobs/x").status, 202);
    assert_eq!(elsewhere.get("/status/x").status, 404);
}

#[test]
fn a_head_request_for_a_content_has_no_body() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).body("0123456789").into()]);
    let forebay = queueing(&upstream).start();
    let job = submit(&forebay, &get("/"));
    wait_for(&forebay, &job, "completed");
    let mut client = forebay.connect();
    let asked = request("HEAD", format!("/__jobs/{job}/content"));
    let response = client.ask(&asked);
    assert_eq!((response.status, response.get("content-length").as_deref()), (200, Some("10")));
    // The connection goes on.
    assert_eq!(client.ask(&status_of(&job)).status, 200);
}
