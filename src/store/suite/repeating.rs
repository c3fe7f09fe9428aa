//! A failed job is queued again by hand.

use super::fixture::*;
use crate::ids::ExecutionNo;
use crate::job::Status;
use crate::store::{NewBody, NewJob, PIECE, Retried};

pub(crate) async fn only_a_failed_job_is_queued_again<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let every = EveryState::make(&store).await;
    for id in [every.queued, every.running.job, every.waiting, every.completed] {
        assert_eq!(store.retry(id).await, Ok(Retried::NotFailed));
    }
    assert_eq!(store.retry(job("unknown").id).await, Ok(Retried::Unknown));
    assert_eq!(store.retry(every.failed).await, Ok(Retried::Queued));
    assert_eq!(store.retry(every.failed).await, Ok(Retried::NotFailed));
    let counts = counts(&store).await;
    assert_eq!((counts.queued, counts.failed), (2, 0));
}

pub(crate) async fn a_job_that_is_queued_again_starts_like_a_new_one<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let lease = leased(&store, "failed").await;
    record(&store, lease, settle(again(SHORT))).await;
    let lease = claim(&store).await.lease;
    record(&store, lease, settle(failed(SHORT))).await;
    let before = submit(&store, job("before")).await;
    assert_eq!(store.retry(lease.job).await, Ok(Retried::Queued));
    let record_of = store.status(lease.job).await.unwrap().unwrap();
    assert_eq!((record_of.status, record_of.completed), (Status::Queued, None));
    let behind = submit(&store, job("behind")).await;
    tokio::time::sleep(2 * SHORT).await;
    swept(&store).await;
    assert_eq!(claim(&store).await.lease.job, before);
    let claimed = claim(&store).await;
    assert_eq!((claimed.lease.job, claimed.retries), (lease.job, 0));
    assert_eq!(claimed.lease.execution, ExecutionNo::new(3));
    assert!(claimed.lease.fence > lease.fence);
    assert_eq!(claimed.request, request_of("failed"));
    assert!(matches!(claimed.body, NewBody::Inline(body) if body == body_of("failed")));
    assert_eq!(claim(&store).await.lease.job, behind);
}

pub(crate) async fn a_failed_job_keeps_a_body_of_several_pieces<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let new = NewJob { body: NewBody::Pieces { count: 2, length: PIECE as u64 + 1 }, ..job("large") };
    store.put_body(new.id, 0, pattern(0, PIECE)).await.unwrap();
    store.put_body(new.id, 1, "x".into()).await.unwrap();
    let id = submit(&store, new).await;
    let lease = claim(&store).await.lease;
    record(&store, lease, settle(failed(HOUR))).await;
    assert_eq!(store.retry(id).await, Ok(Retried::Queued));
    assert!(matches!(claim(&store).await.body, NewBody::Pieces { count: 2, .. }));
    assert_eq!(store.body(id, 0).await, Ok(Some(pattern(0, PIECE))));
    assert_eq!(store.body(id, 1).await, Ok(Some("x".into())));
}
