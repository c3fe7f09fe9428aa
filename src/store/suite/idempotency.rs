//! The same request twice is one job.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::fixture::*;
use crate::store::{NewJob, Settle, Submitted};

pub(crate) async fn the_same_request_under_the_same_key_is_one_job_as_long_as_it_exists<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let other = beside(&place, &store, &limits).await;
    for (scope, end) in (0..).zip([completed(HOUR), failed(HOUR), again(HOUR), Settle::HandedBack]) {
        let first = submit(&store, keyed(scope, 0)).await;
        let same = async || assert_eq!(other.submit(keyed(scope, 0)).await, Ok(Submitted::Existing(first)));
        same().await;
        let lease = claim(&store).await.lease;
        assert_eq!(lease.job, first);
        same().await;
        record(&store, lease, settle(end)).await;
        same().await;
    }
    let counts = counts(&store).await;
    assert_eq!((counts.completed, counts.failed, counts.waiting, counts.queued), (1, 1, 1, 1));
}

pub(crate) async fn another_request_under_the_same_key_is_refused<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    submit(&store, keyed(1, 1)).await;
    let before = counts(&store).await;
    let other = keyed(1, 2);
    assert_eq!(store.submit(other.clone()).await, Ok(Submitted::Mismatch));
    assert_eq!(store.status(other.id).await, Ok(None));
    assert_eq!(counts(&store).await, before);
}

pub(crate) async fn the_same_request_under_another_key_is_another_job<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    for scope in 0..3 {
        submit(&store, keyed(scope, 0)).await;
        submit(&store, job("without a key")).await;
    }
    assert_eq!(counts(&store).await.queued, 6);
}

pub(crate) async fn of_many_who_submit_the_same_at_once_exactly_one_is_accepted<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let other = beside(&place, &store, &limits).await;
    let mut tasks = JoinSet::new();
    for number in 0..48 {
        let store = Arc::clone(if number % 2 == 0 { &store } else { &other });
        tasks.spawn(async move {
            let job = keyed(number % 3, 0);
            (number % 3, job.id, store.submit(job).await.unwrap())
        });
    }
    let answers = tasks.join_all().await;
    for scope in 0..3 {
        let of_scope = || answers.iter().filter(|(of, ..)| *of == scope);
        let accepted: Vec<_> =
            of_scope().filter(|(.., answer)| *answer == Submitted::Accepted(None)).map(|(_, id, _)| *id).collect();
        assert_eq!(accepted.len(), 1);
        let existing = of_scope().filter(|(.., answer)| *answer == Submitted::Existing(accepted[0]));
        assert_eq!(existing.count(), 15);
    }
    assert_eq!(counts(&store).await.queued, 3);
}

pub(crate) async fn a_keyed_job_that_is_submitted_again_is_accepted_again<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let new = keyed(1, 1);
    submit(&store, new.clone()).await;
    submit(&store, new).await;
    assert_eq!(counts(&store).await.queued, 1);
    let adopted = keyed(2, 1);
    let lease = adopt(&store, adopted.clone()).await;
    assert_eq!(adopt(&store, adopted).await, lease);
}

pub(crate) async fn a_key_is_free_once_its_job_is_deleted<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let first = submit(&store, keyed(1, 1)).await;
    assert_eq!(store.delete(first).await, Ok(true));
    let second = submit(&store, keyed(1, 2)).await;
    assert_eq!(store.submit(keyed(1, 2)).await, Ok(Submitted::Existing(second)));
}

pub(crate) async fn a_key_is_free_once_the_time_of_its_job_is_over<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let first = submit(&store, keyed(1, 1)).await;
    let lease = claim(&store).await.lease;
    record(&store, lease, settle(completed(SHORT))).await;
    eventually(async || {
        swept(&store).await;
        let answer = store.submit(NewJob { idempotency: keyed(1, 2).idempotency, ..job("later") }).await.unwrap();
        matches!(answer, Submitted::Accepted(None)).then_some(())
    })
    .await;
    assert_eq!(store.status(first).await, Ok(None));
}

pub(crate) async fn a_key_is_known_after_the_store_was_closed<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let first = submit(&store, keyed(1, 1)).await;
    let store = reopened(&place, store, &limits).await;
    assert_eq!(store.submit(keyed(1, 1)).await, Ok(Submitted::Existing(first)));
    assert_eq!(store.submit(keyed(1, 2)).await, Ok(Submitted::Mismatch));
}
