//! A job is stored: whole, durably, and once.

use bytes::Bytes;

use super::fixture::*;
use crate::ids::ExecutionNo;
use crate::job::{Owner, Status, Title};
use crate::store::{INLINE, NewBody, NewJob, PIECE, Start, Submitted};

pub(crate) async fn what_was_accepted_is_there_after_the_store_was_closed<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let mut names = Vec::new();
    for number in 0..20 {
        let name = format!("job {number}");
        submit(&store, job(&name)).await;
        names.push(name);
    }
    let store = reopened(&place, store, &limits).await;
    assert_eq!(counts(&store).await.queued, 20);
    for name in names {
        let claimed = claim(&store).await;
        assert_eq!(claimed.request, request_of(&name));
        assert!(matches!(claimed.body, NewBody::Inline(body) if body == body_of(&name)));
    }
}

pub(crate) async fn a_new_job_is_queued_and_known_by_its_title_and_owner<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let mut new = job("known");
    new.title = Title::new("reports", "PÖST", "/a%2F\"ä\"");
    new.owner = Some(Owner::new([0xfe; 32]));
    let id = submit(&store, new.clone()).await;
    let record = store.status(id).await.unwrap().unwrap();
    assert_eq!((record.id, record.title, record.owner), (id, new.title, new.owner));
    assert_eq!((record.status, record.executions), (Status::Queued, ExecutionNo::new(0)));
    assert_eq!((record.started, record.completed, record.error), (None, None, None));
    assert_eq!(store.status(job("unknown").id).await, Ok(None));
    let nobody = submit(&store, job("nobody's")).await;
    assert_eq!(store.status(nobody).await.unwrap().unwrap().owner, None);
}

pub(crate) async fn a_request_comes_back_byte_for_byte<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let bytes: Bytes = (0..=u8::MAX).cycle().take(INLINE).collect();
    for body in [Bytes::new(), Bytes::from_static(b"\0"), bytes.clone()] {
        submit(&store, NewJob { request: bytes.clone(), body: NewBody::Inline(body.clone()), ..job("binary") }).await;
        let claimed = claim(&store).await;
        assert_eq!(claimed.request, bytes);
        assert!(matches!(claimed.body, NewBody::Inline(back) if back == body));
    }
}

/// A body of two whole pieces and a bit.
async fn in_pieces(store: &std::sync::Arc<dyn crate::store::Store>, new: &NewJob) -> [Bytes; 3] {
    let pieces = [pattern(0, PIECE), pattern(PIECE, PIECE), pattern(2 * PIECE, 17)];
    for (index, piece) in (0..).zip(&pieces) {
        store.put_body(new.id, index, piece.clone()).await.unwrap();
    }
    pieces
}

fn three_pieces() -> NewBody {
    NewBody::Pieces { count: 3, length: 2 * PIECE as u64 + 17 }
}

pub(crate) async fn a_large_body_comes_back_piece_by_piece<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let new = NewJob { body: three_pieces(), ..job("large") };
    let pieces = in_pieces(&store, &new).await;
    submit(&store, new).await;
    let store = reopened(&place, store, &limits).await;
    let claimed = claim(&store).await;
    assert!(matches!(claimed.body, NewBody::Pieces { count: 3, length } if length == 2 * PIECE as u64 + 17));
    for (index, piece) in (0..).zip(pieces) {
        assert_eq!(store.body(claimed.lease.job, index).await, Ok(Some(piece)));
    }
    assert_eq!(store.body(claimed.lease.job, 3).await, Ok(None));
}

pub(crate) async fn a_piece_that_is_put_again_changes_nothing<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let new = NewJob { body: three_pieces(), ..job("large") };
    in_pieces(&store, &new).await;
    let before = counts(&store).await.bytes;
    let pieces = in_pieces(&store, &new).await;
    assert_eq!(counts(&store).await.bytes, before);
    let id = submit(&store, new).await;
    claim(&store).await;
    for (index, piece) in (0..).zip(pieces) {
        assert_eq!(store.body(id, index).await, Ok(Some(piece)));
    }
}

pub(crate) async fn a_job_that_is_submitted_again_is_the_same_job<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let (first, second) = (job("first"), job("second"));
    submit(&store, first.clone()).await;
    submit(&store, second.clone()).await;
    let before = counts(&store).await;
    submit(&store, first.clone()).await;
    assert_eq!(counts(&store).await, before);
    assert_eq!(claim(&store).await.lease.job, first.id);
    submit(&store, first.clone()).await;
    assert_eq!(status(&store, first.id).await, Some(Status::Running));
    assert_eq!(claim(&store).await.lease.job, second.id);
    assert_eq!(store.claim(1).await.unwrap().jobs.len(), 0);
}

pub(crate) async fn an_adopted_job_runs_under_the_lease_of_its_submitter<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let lease = adopt(&store, job("adopted")).await;
    assert_eq!(lease.execution, ExecutionNo::new(1));
    let other = beside(&place, &store, &limits).await;
    assert_eq!(other.claim(1).await.unwrap().jobs.len(), 0);
    let record_of = store.status(lease.job).await.unwrap().unwrap();
    assert_eq!((record_of.status, record_of.executions), (Status::Running, ExecutionNo::new(1)));
    assert!(record_of.started.is_some());
    assert_eq!(store.renew(vec![lease]).await, Ok(vec![lease]));
    record(&store, lease, head("head")).await;
    record(&store, lease, settle(completed(HOUR))).await;
    assert_eq!(status(&other, lease.job).await, Some(Status::Completed));
}

pub(crate) async fn an_adopted_job_that_is_submitted_again_has_the_same_lease<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let new = NewJob { start: Start::Adopted, ..job("adopted") };
    let first = store.submit(new.clone()).await;
    assert!(matches!(first, Ok(Submitted::Accepted(Some(lease))) if lease.job == new.id));
    assert_eq!(store.submit(new).await, first);
    assert_eq!(counts(&store).await.running, 1);
}

pub(crate) async fn a_store_that_answers_says_so<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    assert_eq!(store.ping().await, Ok(()));
}
