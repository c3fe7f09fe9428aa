//! Who waits hears of what happens.
//!
//! News can be lost, and whoever begins to wait may miss what happens at that moment: so each of these tests makes something
//! happen until it is heard.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::fixture::*;
use crate::store::{Store, Topic, Watch};

/// Whether there is news within a moment.
async fn is_heard(watch: &mut Watch) -> Option<()> {
    timeout(Duration::from_millis(500), watch.changed()).await.ok()
}

/// A moment for a store that has to subscribe.
async fn settle_down() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// The store of the one who waits, and that of the one who acts.
async fn two<P: Place>() -> (P, Arc<dyn Store>, Arc<dyn Store>) {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let other = beside(&place, &store, &limits).await;
    (place, store, other)
}

pub(crate) async fn whoever_waits_for_jobs_hears_of_a_new_one<P: Place>() {
    let (_place, store, other) = two::<P>().await;
    let mut watch = store.changes().watch(Topic::Queue);
    eventually(async || {
        submit(&other, job("new")).await;
        is_heard(&mut watch).await
    })
    .await;
}

pub(crate) async fn whoever_follows_a_job_hears_of_what_is_recorded<P: Place>() {
    let (_place, store, other) = two::<P>().await;
    let lease = leased(&other, "followed").await;
    record(&other, lease, head("head")).await;
    let mut watch = store.changes().watch(Topic::Job(lease.job));
    let mut at = 0;
    eventually(async || {
        record(&other, lease, data(at, "x")).await;
        at += 1;
        is_heard(&mut watch).await
    })
    .await;
}

pub(crate) async fn whoever_waits_for_a_job_hears_that_it_is_settled<P: Place>() {
    let (_place, store, other) = two::<P>().await;
    eventually(async || {
        let lease = leased(&other, "settled").await;
        let mut watch = store.changes().watch(Topic::Job(lease.job));
        settle_down().await;
        record(&other, lease, settle(completed(HOUR))).await;
        is_heard(&mut watch).await
    })
    .await;
}

pub(crate) async fn whoever_waits_for_a_job_hears_that_it_is_gone<P: Place>() {
    let (_place, store, other) = two::<P>().await;
    eventually(async || {
        let id = submit(&other, job("deleted")).await;
        let mut watch = store.changes().watch(Topic::Job(id));
        settle_down().await;
        assert_eq!(other.delete(id).await, Ok(true));
        is_heard(&mut watch).await
    })
    .await;
}

pub(crate) async fn whoever_executes_a_job_hears_that_it_is_deleted<P: Place>() {
    let (_place, store, other) = two::<P>().await;
    eventually(async || {
        let lease = leased(&store, "deleted").await;
        let mut watch = store.changes().watch(Topic::Cancelled(lease.job));
        settle_down().await;
        assert_eq!(other.delete(lease.job).await, Ok(true));
        is_heard(&mut watch).await
    })
    .await;
}
