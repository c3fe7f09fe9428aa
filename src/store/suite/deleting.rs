//! A job is forgotten: because somebody says so, or because its time is over.

use super::fixture::*;
use crate::job::Status;
use crate::store::{MOST_CRASHES, NewBody, NewJob, PIECE};

pub(crate) async fn a_job_can_be_deleted_in_every_state<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let other = beside(&place, &store, &limits).await;
    let empty = counts(&store).await;
    let every = EveryState::make(&store).await;
    assert_ne!(counts(&store).await, empty);
    for id in every.jobs() {
        assert_eq!(other.delete(id).await, Ok(true));
        assert_eq!(store.status(id).await, Ok(None));
        assert!(store.read(id, 0, PIECE).await.unwrap().is_none());
        assert_eq!(other.delete(id).await, Ok(false));
    }
    assert_eq!(counts(&store).await, empty);
    let claims = store.claim(9).await.unwrap();
    assert_eq!((claims.jobs.len(), claims.next, claims.taken_over), (0, None, 0));
    let store = reopened(&place, store, &limits).await;
    assert_eq!(counts(&store).await, empty);
}

pub(crate) async fn a_deleted_body_is_gone<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let empty = counts(&store).await;
    let new = NewJob { body: NewBody::Pieces { count: 1, length: 5 }, ..job("large") };
    store.put_body(new.id, 0, "piece".into()).await.unwrap();
    let id = submit(&store, new).await;
    claim(&store).await;
    assert_eq!(store.delete(id).await, Ok(true));
    assert_eq!(store.body(id, 0).await, Ok(None));
    assert_eq!(counts(&store).await, empty);
}

pub(crate) async fn a_finished_job_is_forgotten_when_its_time_is_over<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let empty = counts(&store).await;
    for end in [completed(SHORT), failed(SHORT)] {
        let lease = leased(&store, "brief").await;
        record(&store, lease, settle(end)).await;
        eventually(async || {
            swept(&store).await;
            store.status(lease.job).await.unwrap().is_none().then_some(())
        })
        .await;
        assert!(store.read(lease.job, 0, PIECE).await.unwrap().is_none());
    }
    eventually(async || {
        swept(&store).await;
        (counts(&store).await == empty).then_some(())
    })
    .await;
}

pub(crate) async fn a_finished_job_stays_until_its_time_is_over<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let every = EveryState::make(&store).await;
    let before = counts(&store).await;
    swept(&store).await;
    assert_eq!(counts(&store).await, before);
    let store = reopened(&place, store, &limits).await;
    swept(&store).await;
    assert_eq!(status(&store, every.completed).await, Some(Status::Completed));
    assert_eq!(status(&store, every.failed).await, Some(Status::Failed));
    assert_eq!(content(&store, every.completed, 0).await, b"data");
}

pub(crate) async fn a_parked_job_is_forgotten_when_its_time_is_over<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::short_leases()).await;
    let empty = counts(&store).await;
    let id = submit(&store, NewJob { retention: SHORT, ..job("poison") }).await;
    for _ in 0..MOST_CRASHES {
        claim(&store).await;
    }
    eventually(async || {
        assert_eq!(store.claim(9).await.unwrap().jobs.len(), 0);
        swept(&store).await;
        store.status(id).await.unwrap().is_none().then_some(())
    })
    .await;
    eventually(async || {
        swept(&store).await;
        (counts(&store).await == empty).then_some(())
    })
    .await;
}
