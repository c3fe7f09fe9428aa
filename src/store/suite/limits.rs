//! No more is stored than is allowed, and what is no longer needed is given back.

use super::fixture::*;
use crate::job::Status;
use crate::size::ByteSize;
use crate::store::{Batch, INLINE, NewBody, NewJob, Settle, StoreError, Submitted};

/// Room for a few large bodies.
fn small() -> Limits {
    Limits { max_bytes: ByteSize::new(4 * INLINE as u64), ..Limits::default() }
}

pub(crate) async fn no_more_jobs_wait_than_allowed<P: Place>() {
    let (_place, store) = opened::<P>(&Limits { max_depth: 3, ..Limits::default() }).await;
    for name in ["a", "b", "c"] {
        submit(&store, job(name)).await;
    }
    let fourth = job("d");
    assert_eq!(store.submit(fourth.clone()).await, Err(StoreError::TooDeep));
    assert_eq!(store.status(fourth.id).await, Ok(None));
    claim(&store).await;
    submit(&store, fourth).await;
    assert_eq!(store.submit(job("e")).await, Err(StoreError::TooDeep));
    let queued = store.list(Some(Status::Queued), None, 9).await.unwrap();
    assert_eq!(store.delete(queued[0].id).await, Ok(true));
    submit(&store, job("e")).await;
}

pub(crate) async fn an_adopted_job_counts_for_no_depth<P: Place>() {
    let (_place, store) = opened::<P>(&Limits { max_depth: 1, ..Limits::default() }).await;
    adopt(&store, job("adopted")).await;
    submit(&store, job("queued")).await;
    adopt(&store, job("adopted")).await;
    assert_eq!(store.submit(job("queued")).await, Err(StoreError::TooDeep));
}

pub(crate) async fn a_known_key_is_answered_however_many_jobs_wait<P: Place>() {
    let (_place, store) = opened::<P>(&Limits { max_depth: 1, ..Limits::default() }).await;
    let first = keyed(1, 1);
    submit(&store, first.clone()).await;
    submit(&store, first.clone()).await;
    assert_eq!(store.submit(keyed(1, 1)).await, Ok(Submitted::Existing(first.id)));
    assert_eq!(store.submit(keyed(1, 2)).await, Ok(Submitted::Mismatch));
    assert_eq!(store.submit(keyed(2, 1)).await, Err(StoreError::TooDeep));
}

pub(crate) async fn no_more_bytes_are_stored_than_allowed<P: Place>() {
    let limits = small();
    let (place, store) = opened::<P>(&limits).await;
    let mut accepted = Vec::new();
    loop {
        let new = job_of(INLINE);
        match store.submit(new.clone()).await {
            Ok(Submitted::Accepted(None)) => accepted.push(new.id),
            Err(StoreError::Full) => break assert_eq!(store.status(new.id).await, Ok(None)),
            other => panic!("{other:?}"),
        }
        assert!(accepted.len() < 5, "more than there is room for");
    }
    assert!(!accepted.is_empty());
    let bytes = counts(&store).await.bytes;
    assert!(bytes <= limits.max_bytes.get() && bytes >= (accepted.len() * INLINE) as u64, "{bytes}");
    let store = reopened(&place, store, &limits).await;
    assert_eq!(store.submit(job_of(INLINE)).await, Err(StoreError::Full));
    assert_eq!(store.delete(accepted[0]).await, Ok(true));
    submit(&store, job_of(INLINE)).await;
}

pub(crate) async fn a_piece_that_has_no_room_is_refused<P: Place>() {
    let (_place, store) = opened::<P>(&small()).await;
    let new = job("large");
    let mut put = 0;
    while store.put_body(new.id, put, pattern(0, INLINE)).await.is_ok() {
        put += 1;
        assert!(put < 5, "more than there is room for");
    }
    assert!(put > 0);
    assert_eq!(store.put_body(new.id, put, pattern(0, INLINE)).await, Err(StoreError::Full));
    // Put before, and put again: that needs no room.
    assert_eq!(store.put_body(new.id, put - 1, pattern(0, INLINE)).await, Ok(()));
}

pub(crate) async fn a_recording_that_has_no_room_is_refused_and_its_job_can_still_be_settled<P: Place>() {
    let (_place, store) = opened::<P>(&small()).await;
    for end in [failed(HOUR), again(HOUR), Settle::HandedBack, completed(HOUR)] {
        let lease = adopt(&store, job("verbose")).await;
        record(&store, lease, head("head")).await;
        let piece = |at| Batch { at, data: vec![pattern(0, INLINE)], ..Batch::default() };
        let mut at = 0;
        while store.record(lease, piece(at)).await.is_ok() {
            at += INLINE as u64;
            assert!(at < 5 * INLINE as u64, "more than there is room for");
        }
        assert_eq!(store.record(lease, piece(at)).await, Err(StoreError::Full));
        let full = Batch { settle: Some(completed(HOUR)), ..piece(at) };
        assert_eq!(store.record(lease, full).await, Err(StoreError::Full));
        assert_eq!((at > 0, page(&store, lease.job, 0).await.length), (true, at));
        assert_eq!(status(&store, lease.job).await, Some(Status::Running));
        record(&store, lease, settle(end)).await;
    }
}

pub(crate) async fn what_a_completed_job_no_longer_needs_is_given_back<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let new = NewJob { body: NewBody::Pieces { count: 1, length: INLINE as u64 }, ..job("large") };
    store.put_body(new.id, 0, pattern(0, INLINE)).await.unwrap();
    submit(&store, new).await;
    submit(&store, job_of(INLINE)).await;
    for _ in 0..2 {
        let before = counts(&store).await.bytes;
        let lease = claim(&store).await.lease;
        record(&store, lease, Batch { settle: Some(completed(HOUR)), ..head("head") }).await;
        let after = counts(&store).await.bytes;
        assert!(after + INLINE as u64 <= before + 1000, "from {before} to {after}");
    }
}

pub(crate) async fn what_an_execution_had_recorded_is_given_back<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    for end in [failed(HOUR), again(HOUR), Settle::HandedBack] {
        let lease = leased(&store, "verbose").await;
        let before = counts(&store).await.bytes;
        record(&store, lease, Batch { data: vec![pattern(0, 100_000)], ..head("head") }).await;
        assert!(counts(&store).await.bytes >= before + 100_000);
        record(&store, lease, settle(end)).await;
        let after = counts(&store).await.bytes;
        // The error is kept.
        assert!(after <= before + 1000, "from {before} to {after}");
    }
}

pub(crate) async fn what_is_forgotten_is_given_back<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let empty = counts(&store).await.bytes;
    let new = NewJob { body: NewBody::Pieces { count: 1, length: INLINE as u64 }, ..job("large") };
    store.put_body(new.id, 0, pattern(0, INLINE)).await.unwrap();
    submit(&store, new).await;
    let lease = claim(&store).await.lease;
    record(&store, lease, Batch { data: vec![pattern(0, 100_000)], ..head("head") }).await;
    record(&store, lease, settle(completed(SHORT))).await;
    store.cache([1; 32], pattern(0, 1000), SHORT).await.unwrap();
    assert!(counts(&store).await.bytes >= empty + 100_000);
    eventually(async || {
        swept(&store).await;
        (counts(&store).await.bytes == empty).then_some(())
    })
    .await;
}
