//! Jobs and their store.

use super::{Observed, Page};
use crate::client::{get, post};
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, answer, reset, stall};

fn queueing(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream).set("STORE", "embedded").set("LANE", "queue")
}

#[test]
fn jobs_are_counted_by_what_becomes_of_them() {
    let upstream = FakeUpstream::start();
    upstream.script([reset(), reset(), reset(), answer(200).into(), stall()]);
    let settings = queueing(&upstream)
        .set("QUEUE_NAME", "night")
        .set("QUEUE_CONCURRENCY", 1)
        .set("QUEUE_MAX_DEPTH", 7)
        .set("JOB_MAX_RETRIES", 1)
        .set("JOB_RETRY_DELAY_SECONDS", 0.01);
    let observed = Observed::start(settings);
    let submit = |path: &str| assert_eq!(observed.forebay.ask(&post(path, "x")).status, 202);
    // Repeated and failed; repeated and completed; executed; and waiting for a worker.
    submit("/a");
    observed.wait(&[("forebay_jobs{queue=night,state=failed}", 1)]);
    submit("/b");
    observed.wait(&[("forebay_jobs{queue=night,state=completed}", 1)]);
    submit("/c");
    upstream.wait_seen(5);
    submit("/d");
    let page = observed.wait(&[
        ("forebay_jobs{queue=night,state=queued}", 1),
        ("forebay_jobs{queue=night,state=running}", 1),
        ("forebay_jobs{queue=night,state=waiting}", 0),
        ("forebay_jobs_queued_limit{queue=night}", 7),
        ("forebay_jobs_submitted_total{queue=night}", 4),
        ("forebay_jobs_repeated_total{queue=night}", 2),
        ("forebay_job_executions_total{queue=night,outcome=repeated}", 2),
        ("forebay_job_executions_total{queue=night,outcome=completed}", 1),
        ("forebay_job_executions_total{queue=night,outcome=failed}", 1),
        ("forebay_job_executions_in_flight{queue=night}", 1),
        ("forebay_jobs_parked_total{queue=night}", 0),
        ("forebay_store_up", 1),
        ("forebay_store_errors_total", 0),
    ]);
    assert!(page.sum("forebay_store_bytes") > 0.0 && page.sum("forebay_store_limit_bytes") >= 1e9, "{}", page.text);
    for operation in ["submit", "claim", "record"] {
        let count = page.sum(&format!("forebay_store_operation_seconds_count{{operation={operation}}}"));
        assert!(count >= 4.0, "{operation} was asked for {count} times");
    }
    Page::wait(observed.admin, "age", |page| page.sum("forebay_jobs_oldest_queued_seconds{queue=night}") > 0.0);
}

#[test]
fn what_a_full_queue_refuses_is_counted() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let observed = Observed::start(queueing(&upstream).set("QUEUE_CONCURRENCY", 1).set("QUEUE_MAX_DEPTH", 1));
    assert_eq!(observed.forebay.get("/").status, 202);
    upstream.wait_seen(1);
    assert_eq!(observed.forebay.get("/").status, 202);
    assert_eq!(observed.forebay.get("/").status, 503);
    observed
        .wait(&[("forebay_store_refusals_total{limit=depth}", 1), ("forebay_store_refusals_total{limit=bytes}", 0)]);
}

#[test]
fn a_race_that_is_adopted_is_a_job_that_was_submitted() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let patient = Settings::in_front_of(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 60);
    let observed = Observed::start(patient.set("STORE", "embedded"));
    assert_eq!(observed.forebay.ask(&get("/").field("Prefer", "respond-async, wait=1")).status, 202);
    observed.wait(&[
        ("forebay_attempts_adopted_total", 1),
        ("forebay_jobs_submitted_total{queue=default}", 1),
        ("forebay_jobs{queue=default,state=running}", 1),
        ("forebay_job_executions_in_flight{queue=default}", 1),
    ]);
}

#[test]
fn hits_misses_and_what_is_kept_are_counted_where_there_is_a_cache() {
    let upstream = FakeUpstream::start();
    let observed = Observed::start(Settings::in_front_of(&upstream).set("CACHE", "memory"));
    for expected in ["MISS", "HIT", "HIT"] {
        assert_eq!(observed.forebay.get("/").get("x-cache-status").as_deref(), Some(expected));
    }
    observed.wait(&[
        ("forebay_cache_misses_total{route=default}", 1),
        ("forebay_cache_hits_total{route=default}", 2),
        ("forebay_cache_stored_total{route=default}", 1),
        ("forebay_cache_bypassed_total{route=default}", 0),
    ]);
    let without = Observed::in_front_of(&upstream).page();
    for absent in ["forebay_cache_", "forebay_jobs", "forebay_job_", "forebay_store_"] {
        assert!(!without.text.contains(absent), "{absent} in {}", without.text);
    }
}
