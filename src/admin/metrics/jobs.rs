//! Jobs, and the store that they are in.
//!
//! What a store holds is asked for at the time of the scrape. Processes that share a store tell the same of it; what is
//! counted is each one's own.

use super::super::jobs::{Jobs, oldest};
use super::page::{Page, Sample};
use super::table;
use crate::queue::QueueStats;
use crate::stats::Counter;
use crate::store::Counts;
use crate::time::UnixMillis;

/// Adds what is known. Without counts, because the store does not answer, what it holds is left out.
pub(super) fn add_to(page: &mut Page, jobs: &Jobs, counts: Option<&Counts>) {
    add_held(page, jobs, counts);
    add_done(page, jobs);
    add_store(page, jobs, counts);
}

fn add_held(page: &mut Page, jobs: &Jobs, counts: Option<&Counts>) {
    let queue = jobs.settings.queue.as_str();
    let states = counts.into_iter().flat_map(|counts| {
        [
            ("queued", counts.queued),
            ("running", counts.running),
            ("waiting", counts.waiting),
            ("completed", counts.completed),
            ("failed", counts.failed),
        ]
    });
    page.add(&table::JOBS, states.map(|(state, count)| Sample::count([queue, state], count)));
    page.add(&table::JOBS_QUEUED_LIMIT, [Sample::count([queue], jobs.settings.max_depth)]);
    let oldest = counts.map(|counts| oldest(counts, UnixMillis::now()).as_secs_f64());
    page.add(&table::JOBS_OLDEST, oldest.map(|seconds| Sample::new([queue], seconds)));
}

fn add_done(page: &mut Page, jobs: &Jobs) {
    let (queue, stats) = (jobs.settings.queue.as_str(), jobs.queue.stats());
    page.add(&table::JOB_EXECUTIONS_IN_FLIGHT, [Sample::count([queue], jobs.queue.executing())]);
    let outcomes = stats.executions.all();
    page.add(&table::JOB_EXECUTIONS, outcomes.iter().map(|(outcome, count)| Sample::count([queue, *outcome], *count)));
    let mut add = |metric, counter: fn(&QueueStats) -> &Counter| {
        page.add(metric, [Sample::count([queue], counter(stats).get())]);
    };
    add(&table::JOBS_SUBMITTED, |stats| &stats.submitted);
    add(&table::JOBS_REPEATED, |stats| &stats.repeated);
    add(&table::JOBS_TAKEN_OVER, |stats| &stats.taken_over);
    add(&table::JOBS_PARKED, |stats| &stats.parked);
}

fn add_store(page: &mut Page, jobs: &Jobs, counts: Option<&Counts>) {
    page.add(&table::STORE_UP, [Sample::count([], u64::from(counts.is_some()))]);
    page.add(&table::STORE_BYTES, counts.map(|counts| Sample::count([], counts.bytes)));
    page.add(&table::STORE_LIMIT_BYTES, [Sample::count([], jobs.settings.max_bytes.get())]);
    let stats = jobs.store.stats();
    let operations = stats.operations();
    page.add(
        &table::STORE_OPERATIONS,
        operations.iter().map(|(operation, calls)| Sample::buckets([*operation], calls.time.buckets())),
    );
    page.add(
        &table::STORE_ERRORS,
        operations.iter().map(|(operation, calls)| Sample::count([*operation], calls.errors.get())),
    );
    let refusals = [("depth", &stats.too_deep), ("bytes", &stats.full)];
    page.add(&table::STORE_REFUSALS, refusals.map(|(limit, refused)| Sample::count([limit], refused.get())));
}
