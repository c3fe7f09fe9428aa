//! What there is, for those who operate it.

use super::fixture::*;
use crate::ids::JobId;
use crate::job::{Record, Status};

fn ids(records: &[Record]) -> Vec<JobId> {
    records.iter().map(|record| record.id).collect()
}

pub(crate) async fn jobs_are_listed_by_pages_the_newest_first<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    assert_eq!(store.list(None, None, 9).await, Ok(vec![]));
    let mut submitted = Vec::new();
    for number in 0..7 {
        let name = format!("job {number}");
        submitted.push(submit(&store, job(&name)).await);
    }
    submitted.reverse();
    let (mut listed, mut behind) = (Vec::new(), None);
    loop {
        let page = store.list(None, behind, 3).await.unwrap();
        assert!(page.len() <= 3);
        listed.extend(ids(&page));
        match page.last() {
            Some(last) => behind = Some(last.id),
            None => break,
        }
    }
    assert_eq!(listed, submitted);
    let first = store.list(None, None, 1).await.unwrap();
    assert_eq!(first[0], store.status(submitted[0]).await.unwrap().unwrap());
}

pub(crate) async fn jobs_are_listed_by_status<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let every = EveryState::make(&store).await;
    let listed = async |status| ids(&store.list(status, None, 9).await.unwrap());
    assert_eq!(listed(Some(Status::Queued)).await, [every.queued]);
    // A job that waits for a repeat is running.
    assert_eq!(listed(Some(Status::Running)).await, [every.running.job, every.waiting]);
    assert_eq!(listed(Some(Status::Completed)).await, [every.completed]);
    assert_eq!(listed(Some(Status::Failed)).await, [every.failed]);
    let all = [every.queued, every.running.job, every.waiting, every.failed, every.completed];
    assert_eq!(listed(None).await, all);
    let page = store.list(Some(Status::Running), Some(every.running.job), 9).await.unwrap();
    assert_eq!(ids(&page), [every.waiting]);
}

pub(crate) async fn jobs_are_counted_by_state<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let empty = counts(&store).await;
    assert_eq!((empty.queued, empty.running, empty.waiting, empty.completed, empty.failed), (0, 0, 0, 0, 0));
    EveryState::make(&store).await;
    adopt(&store, job("adopted")).await;
    let full = counts(&store).await;
    assert_eq!((full.queued, full.running, full.waiting, full.completed, full.failed), (1, 2, 1, 1, 1));
    let store = reopened(&place, store, &limits).await;
    assert_eq!(counts(&store).await.bytes, full.bytes);
}

pub(crate) async fn the_oldest_job_that_waits_is_known<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    assert_eq!(counts(&store).await.oldest, None);
    let first = submit(&store, job("first")).await;
    let created = store.status(first).await.unwrap().unwrap().created;
    tokio::time::sleep(SHORT).await;
    let second = submit(&store, job("second")).await;
    assert_eq!(counts(&store).await.oldest, Some(created));
    claim(&store).await;
    let created = store.status(second).await.unwrap().unwrap().created;
    assert_eq!(counts(&store).await.oldest, Some(created));
    claim(&store).await;
    assert_eq!(counts(&store).await.oldest, None);
}
