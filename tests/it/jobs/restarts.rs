//! 3.4, 6.4: the end of the process, orderly or not.

use super::{ScratchFolder, content_of, queueing, status, submit, wait_for};
use crate::client::{get, post};
use crate::expect::assert_relayed;
use crate::forebay::{EX_CONFIG, Settings};
use crate::upstream::{FakeUpstream, Gate, Seen, answer, raw, stall};

fn kept(upstream: &FakeUpstream, folder: &ScratchFolder) -> Settings {
    queueing(upstream).set("DATA_DIR", folder).set("JOB_LEASE_SECONDS", 1).set("QUEUE_CONCURRENCY", 2)
}

#[test]
fn what_was_accepted_is_executed_after_a_kill() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let folder = ScratchFolder::new();
    let mut forebay = kept(&upstream, &folder).start();
    let jobs: Vec<_> = (0..6).map(|n| submit(&forebay, &post(format!("/{n}"), format!("body {n}")))).collect();
    upstream.wait_seen(2);
    forebay.kill();
    upstream.forget();
    upstream.script([answer(200).body("done").into()]);
    let forebay = kept(&upstream, &folder).start();
    for job in &jobs {
        wait_for(&forebay, job, "completed");
        assert_relayed(&forebay.ask(&content_of(job)), 200, "done");
    }
    let mut paths: Vec<_> = upstream.seen().iter().map(Seen::path).collect();
    paths.sort();
    assert_eq!(paths, ["/0", "/1", "/2", "/3", "/4", "/5"]);
    assert_eq!(status(&forebay, &jobs[0])["attempts"], 2);
    assert_eq!(status(&forebay, &jobs[5])["attempts"], 1);
}

#[test]
fn an_orderly_end_finishes_what_runs() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("done"))]);
    let folder = ScratchFolder::new();
    let mut forebay = kept(&upstream, &folder).start();
    let jobs = [submit(&forebay, &get("/1")), submit(&forebay, &get("/2")), submit(&forebay, &get("/3"))];
    upstream.wait_seen(2);
    forebay.terminate();
    forebay.wait_log("the drain", |log| log.contains("draining"));
    gate.open();
    assert!(forebay.wait_for_end().success());
    assert_eq!(upstream.seen().len(), 2, "nothing new is begun");
    let forebay = kept(&upstream, &folder).start();
    for (job, executions) in jobs.iter().zip([1, 1, 1]) {
        let done = wait_for(&forebay, job, "completed");
        assert_eq!(done["attempts"], executions, "{done}");
    }
}

#[test]
fn what_cannot_be_finished_is_handed_back_and_counts_as_nothing() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let folder = ScratchFolder::new();
    let mut forebay = kept(&upstream, &folder).set("SHUTDOWN_TIMEOUT_SECONDS", 0.2).start();
    let job = submit(&forebay, &get("/"));
    upstream.wait_seen(1);
    forebay.terminate();
    assert!(forebay.wait_for_end().success());
    upstream.script([answer(200).body("done").into()]);
    // A lease of an hour: were it not handed back, nobody would have it so soon.
    let forebay = kept(&upstream, &folder).set("JOB_LEASE_SECONDS", 3600).start();
    wait_for(&forebay, &job, "completed");
    assert_relayed(&forebay.ask(&content_of(&job)), 200, "done");
}

#[test]
fn a_folder_belongs_to_one_process() {
    let upstream = FakeUpstream::start();
    let folder = ScratchFolder::new();
    let _first = kept(&upstream, &folder).start();
    let (log, code) = kept(&upstream, &folder).run();
    assert_eq!(code, Some(EX_CONFIG), "{log}");
    assert!(log.contains("DATA_DIR"), "{log}");
    // Where nothing asks for a store, it goes on without one, and says so.
    let second = Settings::in_front_of(&upstream).unset("STORE").set("DATA_DIR", &folder).start();
    second.wait_log("the warning", |log| log.contains("goes on without one"));
    assert_relayed(&second.get("/"), 200, "ok");
    assert_relayed(&second.ask(&get("/").field("Prefer", "respond-async")), 200, "ok");
}

#[test]
fn a_job_that_takes_its_worker_along_three_times_is_parked() {
    let upstream = FakeUpstream::start();
    let folder = ScratchFolder::new();
    let settings = kept(&upstream, &folder).set("QUEUE_CONCURRENCY", 1);
    upstream.answer_with(|seen, _| if seen.path() == "/bad" { stall() } else { answer(200).body("done").into() });
    let mut forebay = settings.clone().start();
    let (bad, good) = (submit(&forebay, &get("/bad")), submit(&forebay, &get("/good")));
    for crashes in 1..=3 {
        upstream.wait("the next execution", |seen| seen.iter().filter(|seen| seen.path() == "/bad").count() == crashes);
        forebay.kill();
        forebay = settings.clone().start();
    }
    wait_for(&forebay, &good, "completed");
    let parked = wait_for(&forebay, &bad, "failed");
    assert!(parked["error"].as_str().unwrap().starts_with("poisoned: "), "{parked}");
    assert_eq!(parked["attempts"], 3, "{parked}");
    assert_eq!(upstream.seen().len(), 4);
}
