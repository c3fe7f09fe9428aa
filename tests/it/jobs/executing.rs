//! 6.4: how a job is executed, repeated, given up and cancelled.

use std::time::{Duration, Instant};

use super::{content_of, delete, queueing, run, status, status_of, submit, wait_for};
use crate::client::{get, post};
use crate::expect::{A_WHILE, assert_error, assert_relayed};
use crate::upstream::{Behaviour, FakeUpstream, Gate, Seen, answer, close, raw, reset, stall};

#[test]
fn any_response_is_a_result() {
    let upstream = FakeUpstream::start();
    let forebay = queueing(&upstream).set("JOB_MAX_RETRIES", 3).start();
    for status in [201, 302, 404, 429, 500, 503] {
        upstream.forget();
        upstream.script([answer(status).field("Location", "/elsewhere").body("as it is").into()]);
        assert_relayed(&run(&forebay, &post("/", "x")), status, "as it is");
        assert_eq!(upstream.seen().len(), 1, "{status}");
    }
}

#[test]
fn a_failure_of_transport_fails_the_job_where_it_is_not_repeated() {
    let upstream = FakeUpstream::start();
    let forebay = queueing(&upstream).start();
    let half = || raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").then_close();
    for (behaviour, code) in [
        (reset(), "upstream_request_error: "),
        (close(), "upstream_request_error: "),
        (raw("nonsense\r\n\r\n").then_close(), "upstream_request_error: "),
        (half(), "response_broken: "),
    ] {
        upstream.script([behaviour]);
        let job = submit(&forebay, &post("/", "x"));
        let failed = wait_for(&forebay, &job, "failed");
        assert!(failed["error"].as_str().unwrap().starts_with(code), "{failed}");
        assert!(failed["completedAt"].is_string() && failed["attempts"] == 1, "{failed}");
        assert_error(&forebay.ask(&content_of(&job)), 404, "job_failed");
    }
}

#[test]
fn a_failure_of_transport_is_repeated_and_the_job_runs_meanwhile() {
    let upstream = FakeUpstream::start();
    upstream.script([reset(), close(), answer(200).body("third").into()]);
    let forebay = queueing(&upstream).set("JOB_MAX_RETRIES", 3).set("JOB_RETRY_DELAY_SECONDS", 0.3).start();
    let job = submit(&forebay, &post("/", "payload"));
    upstream.wait_seen(1);
    assert_ne!(status(&forebay, &job)["status"], "queued");
    let done = wait_for(&forebay, &job, "completed");
    assert_eq!(done["attempts"], 3, "{done}");
    assert_eq!(forebay.ask(&content_of(&job)).text(), "third");
    assert_eq!(forebay.ask(&content_of(&job)).get("x-forebay-execution").as_deref(), Some("3"));
    let bodies: Vec<_> = upstream.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [b"payload"; 3]);
}

#[test]
fn statuses_that_are_listed_are_repeated_and_the_last_one_is_the_result() {
    let upstream = FakeUpstream::start();
    let forebay = queueing(&upstream)
        .set("JOB_RETRY_STATUSES", "429,503")
        .set("JOB_MAX_RETRIES", 2)
        .set("JOB_RETRY_DELAY_SECONDS", 0.05)
        .start();
    upstream.script([answer(503).into(), answer(200).body("better").into()]);
    assert_relayed(&run(&forebay, &get("/")), 200, "better");
    upstream.forget();
    upstream.script([answer(429).body("no").into()]);
    assert_relayed(&run(&forebay, &get("/")), 429, "no");
    assert_eq!(upstream.seen().len(), 3);
}

#[test]
fn a_job_that_takes_too_long_fails_and_its_attempt_is_ended() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = queueing(&upstream).set("JOB_TIMEOUT_SECONDS", 60).start();
    let job = submit(&forebay, &get("/").field("X-Forebay-Timeout", "500ms"));
    let failed = wait_for(&forebay, &job, "failed");
    assert!(failed["error"].as_str().unwrap().starts_with("job_timeout: "), "{failed}");
    upstream.wait_all_closed();
}

#[test]
fn a_job_has_no_header_deadline_unless_it_is_given_one() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let late = || raw("").then_await(&gate).then_do(answer(200).body("late"));
    upstream.script([late(), answer(200).body("second").into()]);
    // The front's deadline is 0.6 s: a job waits.
    let forebay = queueing(&upstream).start();
    let job = submit(&forebay, &get("/"));
    upstream.assert_no_more_than(1, Duration::from_millis(1200));
    gate.open();
    wait_for(&forebay, &job, "completed");
    assert_relayed(&forebay.ask(&content_of(&job)), 200, "late");
    upstream.forget();
    upstream.script([stall(), answer(200).body("second").into()]);
    let racing = queueing(&upstream).set("JOB_RESPONSE_HEADER_TIMEOUT_SECONDS", 0.3).start();
    let done = {
        let job = submit(&racing, &get("/"));
        wait_for(&racing, &job, "completed")
    };
    assert_eq!(done["attempts"], 1, "one execution, whatever its attempts: {done}");
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn a_response_above_the_cap_fails_the_job() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).body("x".repeat(5000)).into()]);
    let forebay = queueing(&upstream).set("JOB_MAX_RESPONSE_BYTES", 4999).start();
    let job = submit(&forebay, &get("/"));
    let failed = wait_for(&forebay, &job, "failed");
    assert!(failed["error"].as_str().unwrap().starts_with("response_too_large: "), "{failed}");
}

#[test]
fn a_job_of_a_route_that_is_gone_fails_in_words() {
    let upstream = FakeUpstream::start();
    let folder = super::ScratchFolder::new();
    let of = |name: &str| {
        queueing(&upstream)
            .unset("UPSTREAM_BASE_URL")
            .set("DATA_DIR", &folder)
            .set(&format!("ROUTE_{name}_PREFIX"), "/a")
            .set(&format!("ROUTE_{name}_UPSTREAM_BASE_URL"), upstream.url())
    };
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200))]);
    let mut first = of("OLD").set("QUEUE_CONCURRENCY", 1).set("SHUTDOWN_TIMEOUT_SECONDS", "0.1").start();
    let running = submit(&first, &get("/a/1"));
    let waiting = submit(&first, &get("/a/2"));
    wait_for(&first, &running, "running");
    first.terminate();
    first.wait_for_end();
    gate.open();
    let second = of("NEW").start();
    for job in [running, waiting] {
        let failed = wait_for(&second, &job, "failed");
        assert!(failed["error"].as_str().unwrap().starts_with("no_route: "), "{failed}");
    }
}

#[test]
fn jobs_start_in_the_order_of_their_submission() {
    let upstream = FakeUpstream::start();
    let forebay = queueing(&upstream).set("QUEUE_CONCURRENCY", 1).start();
    let jobs: Vec<_> = (0..20).map(|n| submit(&forebay, &get(format!("/{n}")))).collect();
    for job in &jobs {
        wait_for(&forebay, job, "completed");
    }
    let order: Vec<_> = upstream.seen().iter().map(Seen::path).collect();
    assert_eq!(order, (0..20).map(|n| format!("/{n}")).collect::<Vec<_>>());
}

#[test]
fn a_job_can_be_deleted_in_every_state_and_is_gone_then() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let forebay = queueing(&upstream).set("QUEUE_CONCURRENCY", 1).start();
    let running = submit(&forebay, &get("/running"));
    wait_for(&forebay, &running, "running");
    upstream.wait_seen(1);
    let waiting = submit(&forebay, &get("/waiting"));
    for job in [&waiting, &running] {
        let response = forebay.ask(&delete(job));
        assert_eq!((response.status, response.text().as_str()), (200, "{\"status\":\"cancelled\"}"));
        for asked in [status_of(job), content_of(job), delete(job)] {
            assert_error(&forebay.ask(&asked), 404, "job_not_found");
        }
    }
    upstream.wait_all_closed();
    upstream.script([Behaviour::from(answer(200).body("ok"))]);
    let done = submit(&forebay, &get("/done"));
    wait_for(&forebay, &done, "completed");
    assert_eq!(forebay.ask(&delete(&done)).status, 200);
    assert_error(&forebay.ask(&status_of(&done)), 404, "job_not_found");
    upstream.assert_no_more_than(2, A_WHILE);
}

#[test]
fn a_finished_job_is_gone_when_its_retention_is_over() {
    let upstream = FakeUpstream::start();
    let forebay = queueing(&upstream).set("JOB_RETENTION_SECONDS", 1).start();
    let job = submit(&forebay, &get("/"));
    wait_for(&forebay, &job, "completed");
    let end = Instant::now() + super::PATIENCE;
    while forebay.ask(&status_of(&job)).status == 200 {
        assert!(Instant::now() < end, "the job stays");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_error(&forebay.ask(&content_of(&job)), 404, "job_not_found");
}
