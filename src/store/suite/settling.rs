//! An execution ends: in one of four ways, each once.

use std::sync::Arc;

use super::fixture::*;
use crate::ids::{ExecutionNo, JobId};
use crate::job::{Record, Status};
use crate::store::{Batch, MOST_CRASHES, NewBody, NewJob, Settle, Store};

async fn known(store: &Arc<dyn Store>, job: JobId) -> Record {
    store.status(job).await.unwrap().unwrap()
}

pub(crate) async fn a_completed_job_is_final_and_its_request_is_erased<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let new = NewJob { body: NewBody::Pieces { count: 1, length: 5 }, ..job("large") };
    store.put_body(new.id, 0, "piece".into()).await.unwrap();
    let id = submit(&store, new).await;
    let lease = claim(&store).await.lease;
    assert_eq!(store.body(id, 0).await, Ok(Some("piece".into())));
    record(&store, lease, head("head")).await;
    record(&store, lease, settle(completed(HOUR))).await;
    let record_of = known(&store, id).await;
    assert_eq!((record_of.status, record_of.error), (Status::Completed, None));
    assert!(record_of.started.is_some() && record_of.completed >= record_of.started);
    assert_eq!(store.body(id, 0).await, Ok(None));
    assert_eq!(store.claim(9).await.unwrap().jobs.len(), 0);
}

pub(crate) async fn a_failed_job_says_why_and_has_no_recording<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let lease = leased(&store, "fails").await;
    record(&store, lease, Batch { data: vec!["half".into()], ..head("head") }).await;
    record(&store, lease, settle(failed(HOUR))).await;
    let page = page(&store, lease.job, 0).await;
    assert_eq!((page.head, page.length, page.end), (None, 0, None));
    assert_eq!((page.record.status, page.record.error.as_deref()), (Status::Failed, Some("lost: it was a test")));
    assert!(page.record.completed.is_some());
    assert_eq!(store.claim(9).await.unwrap().jobs.len(), 0);
}

pub(crate) async fn a_repeat_waits_for_its_pause_and_is_counted<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let lease = leased(&store, "repeated").await;
    record(&store, lease, Batch { data: vec!["half".into()], ..head("head") }).await;
    record(&store, lease, settle(again(SHORT))).await;
    for repeat in 1..=2 {
        let page = page(&store, lease.job, 0).await;
        assert_eq!((page.record.status, page.record.completed), (Status::Running, None));
        assert_eq!(page.record.error.as_deref(), Some("response_broken: it was a test"));
        assert_eq!((page.head, page.length), (None, 0));
        let claimed = claim(&store).await;
        assert_eq!((claimed.lease.job, claimed.retries), (lease.job, repeat));
        assert_eq!(claimed.lease.execution, ExecutionNo::new(repeat + 1));
        assert_eq!(claimed.request, request_of("repeated"));
        record(&store, claimed.lease, settle(again(SHORT))).await;
    }
    let paused = leased(&store, "paused").await;
    record(&store, paused, settle(again(HOUR))).await;
    claim(&store).await;
    assert_eq!(store.claim(9).await.unwrap().jobs.len(), 0, "the pause of the other is not over");
}

pub(crate) async fn a_job_that_is_handed_back_counts_as_nothing_and_keeps_its_place<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let first = submit(&store, job("first")).await;
    submit(&store, job("second")).await;
    let mut before = None;
    for _ in 0..2 * MOST_CRASHES {
        let claimed = claim(&store).await;
        assert_eq!((claimed.lease.job, claimed.retries), (first, 0));
        assert!(Some(claimed.lease.execution) > before, "a recording belongs to one execution");
        before = Some(claimed.lease.execution);
        record(&store, claimed.lease, Batch { data: vec!["half".into()], ..head("head") }).await;
        record(&store, claimed.lease, settle(Settle::HandedBack)).await;
        let page = page(&store, first, 0).await;
        assert_eq!((page.record.status, page.head, page.length), (Status::Queued, None, 0));
        assert_eq!((page.record.error, page.record.completed), (None, None));
    }
}

pub(crate) async fn a_job_that_was_repeated_and_then_completed_has_no_error<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let lease = leased(&store, "repeated").await;
    record(&store, lease, settle(again(SHORT))).await;
    let lease = claim(&store).await.lease;
    record(&store, lease, Batch { settle: Some(completed(HOUR)), ..head("head") }).await;
    let record_of = known(&store, lease.job).await;
    assert_eq!((record_of.status, record_of.error), (Status::Completed, None));
}

/// Settles a job twice with the same batch: what is known of it is the same after both.
async fn settled_twice<P: Place>(end: Settle) -> (P, Arc<dyn Store>, JobId) {
    let (place, store) = opened::<P>(&Limits::default()).await;
    let lease = leased(&store, "settled").await;
    record(&store, lease, head("head")).await;
    let batch = Batch { settle: Some(end), ..data(0, "data") };
    record(&store, lease, batch.clone()).await;
    let before = (known(&store, lease.job).await, counts(&store).await);
    record(&store, lease, batch).await;
    assert_eq!((known(&store, lease.job).await, counts(&store).await), before);
    (place, store, lease.job)
}

pub(crate) async fn a_completion_that_is_sent_again_is_answered_as_it_was<P: Place>() {
    let (_place, store, id) = settled_twice::<P>(completed(HOUR)).await;
    assert_eq!(content(&store, id, 0).await, b"data");
}

pub(crate) async fn a_failure_that_is_sent_again_is_answered_as_it_was<P: Place>() {
    let (_place, store, id) = settled_twice::<P>(failed(HOUR)).await;
    assert_eq!(known(&store, id).await.status, Status::Failed);
}

pub(crate) async fn a_repeat_that_is_sent_again_is_counted_once<P: Place>() {
    let (_place, store, _id) = settled_twice::<P>(again(SHORT)).await;
    assert_eq!(claim(&store).await.retries, 1);
}

pub(crate) async fn a_hand_back_that_is_sent_again_is_answered_as_it_was<P: Place>() {
    let (_place, store, id) = settled_twice::<P>(Settle::HandedBack).await;
    assert_eq!(claim(&store).await.lease.job, id);
    assert_eq!(store.claim(9).await.unwrap().jobs.len(), 0);
}
