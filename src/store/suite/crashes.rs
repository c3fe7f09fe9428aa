//! A worker falls silent: its jobs are taken over, and it can change nothing any more.

use std::time::Duration;

use tokio::time::sleep;

use super::fixture::*;
use crate::ids::ExecutionNo;
use crate::job::{Fault, Status};
use crate::store::{Batch, MOST_CRASHES, Retried, Settle};

pub(crate) async fn a_job_whose_lease_ran_out_is_taken_over_at_its_old_place<P: Place>() {
    let limits = Limits::short_leases();
    let (place, store) = opened::<P>(&limits).await;
    let first = leased(&store, "first").await;
    let second = submit(&store, job("second")).await;
    let third = submit(&store, job("third")).await;
    let other = beside(&place, &store, &limits).await;
    taken_over(&other, 1).await;
    assert_eq!(status(&store, first.job).await, Some(Status::Queued));
    let claims = other.claim(9).await.unwrap();
    assert_eq!(claims.jobs.iter().map(|job| job.lease.job).collect::<Vec<_>>(), [first.job, second, third]);
    let again = &claims.jobs[0];
    assert_eq!((again.lease.execution, again.retries), (ExecutionNo::new(2), 0), "a crash is no retry");
    assert!(again.lease.fence > first.fence);
    assert_eq!(again.request, request_of("first"));
}

pub(crate) async fn a_job_that_is_taken_over_is_queued_without_what_it_had_recorded<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::short_leases()).await;
    let before = counts(&store).await.bytes;
    let id = submit(&store, job("crashes")).await;
    let queued = counts(&store).await.bytes;
    let lease = claim(&store).await.lease;
    record(&store, lease, Batch { data: vec![pattern(0, 10_000)], ..head("head") }).await;
    taken_over(&store, 1).await;
    let page = page(&store, id, 0).await;
    assert_eq!((page.head, page.length, page.end), (None, 0, None));
    assert!(page.data.is_empty());
    assert_eq!(counts(&store).await.bytes, queued);
    assert!(before < queued);
}

pub(crate) async fn a_lease_that_ran_out_stands_until_the_job_is_taken_back<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::short_leases()).await;
    let lease = leased(&store, "late").await;
    sleep(3 * SHORT).await;
    record(&store, lease, head("head")).await;
    assert_eq!(store.renew(vec![lease]).await, Ok(vec![lease]));
    record(&store, lease, settle(completed(HOUR))).await;
    assert_eq!(status(&store, lease.job).await, Some(Status::Completed));
}

pub(crate) async fn a_lease_that_is_renewed_is_not_taken_over<P: Place>() {
    // Long enough for a slow machine to renew in time, and over twice before the end.
    let limits = Limits { lease: Duration::from_secs(3), ..Limits::default() };
    let (place, store) = opened::<P>(&limits).await;
    let kept = leased(&store, "kept").await;
    let left = leased(&store, "left").await;
    let other = beside(&place, &store, &limits).await;
    let mut seen = 0;
    for _ in 0..60 {
        assert_eq!(store.renew(vec![kept]).await, Ok(vec![kept]));
        let claims = other.claim(9).await.unwrap();
        seen += claims.taken_over;
        assert!(claims.jobs.iter().all(|job| job.lease.job == left.job));
        sleep(Duration::from_millis(100)).await;
    }
    assert!(seen > 0, "the lease that was not renewed ran out");
}

pub(crate) async fn a_stale_fence_writes_nothing<P: Place>() {
    let limits = Limits::short_leases();
    let (place, store) = opened::<P>(&limits).await;
    let other = beside(&place, &store, &limits).await;
    let stale = leased(&store, "contended").await;
    record(&store, stale, head("old")).await;
    taken_over(&other, 1).await;
    // Taken back, but nobody's: the old lease is no more worth than under a new one.
    for _ in 0..2 {
        refused(&store, stale, data(0, "old")).await;
        refused(&store, stale, head("old")).await;
        for end in [completed(HOUR), failed(HOUR), again(HOUR), Settle::HandedBack] {
            refused(&store, stale, settle(end)).await;
        }
        assert_eq!(store.renew(vec![stale]).await, Ok(vec![]));
        if status(&store, stale.job).await == Some(Status::Queued) {
            claim(&other).await;
        }
    }
    assert_eq!(status(&store, stale.job).await, Some(Status::Running));
    assert_eq!(page(&store, stale.job, 0).await.head, None);
}

pub(crate) async fn an_adopted_job_whose_owner_fell_silent_is_executed_again<P: Place>() {
    let limits = Limits::short_leases();
    let (place, store) = opened::<P>(&limits).await;
    let adopted = adopt(&store, job("adopted")).await;
    let other = beside(&place, &store, &limits).await;
    let claimed = claim(&other).await;
    assert_eq!((claimed.lease.job, claimed.lease.execution), (adopted.job, ExecutionNo::new(2)));
    assert_eq!(claimed.request, request_of("adopted"));
    refused(&store, adopted, settle(completed(HOUR))).await;
}

pub(crate) async fn a_lease_of_a_process_that_is_gone_runs_out<P: Place>() {
    let limits = Limits::short_leases();
    let (place, store) = opened::<P>(&limits).await;
    let gone = leased(&store, "orphan").await;
    record(&store, gone, head("old")).await;
    let store = reopened(&place, store, &limits).await;
    let claimed = claim(&store).await;
    assert_eq!((claimed.lease.job, claimed.lease.execution), (gone.job, ExecutionNo::new(2)));
    refused(&store, gone, data(0, "old")).await;
    record(&store, claimed.lease, head("new")).await;
    assert_eq!(page(&store, gone.job, 0).await.head, Some("new".into()));
}

pub(crate) async fn a_job_whose_lease_ran_out_too_often_is_parked<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::short_leases()).await;
    let id = submit(&store, job("poison")).await;
    let mut last = None;
    for _ in 0..MOST_CRASHES {
        last = Some(claim(&store).await.lease);
    }
    let mut parked = 0;
    eventually(async || {
        let claims = store.claim(9).await.unwrap();
        assert_eq!(claims.jobs.len(), 0);
        parked += claims.parked;
        (parked > 0).then_some(())
    })
    .await;
    assert_eq!(parked, 1);
    let record_of = store.status(id).await.unwrap().unwrap();
    assert_eq!((record_of.status, record_of.executions), (Status::Failed, ExecutionNo::new(MOST_CRASHES)));
    assert_eq!(record_of.error, Some(Fault::poisoned().to_string()));
    assert!(record_of.completed.is_some());
    refused(&store, last.unwrap(), settle(completed(HOUR))).await;
    assert_eq!(status(&store, id).await, Some(Status::Failed));
}

pub(crate) async fn a_parked_job_that_is_queued_again_may_crash_as_often_again<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::short_leases()).await;
    let id = submit(&store, job("poison")).await;
    for round in 0..2 {
        for crash in 1..=MOST_CRASHES {
            let claimed = claim(&store).await;
            assert_eq!(claimed.lease.execution, ExecutionNo::new(round * MOST_CRASHES + crash));
            assert_eq!((claimed.retries, claimed.request), (0, request_of("poison")));
        }
        eventually(async || (store.claim(9).await.unwrap().parked == 1).then_some(())).await;
        assert_eq!(store.retry(id).await, Ok(Retried::Queued));
    }
    assert_eq!(status(&store, id).await, Some(Status::Queued));
}
