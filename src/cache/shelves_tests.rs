//! Entries in a store: those that are there, those that are damaged, and a store that does not answer.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::fixture::{Stage, answer, lead_of, read, run};
use super::{CacheKind, Look};
use crate::ids::JobId;
use crate::job::{Lease, Record, Status};
use crate::store::{
    Batch, Changes, Claims, Counts, NewJob, Page, Pending, Retried, Standing, Store, StoreError, Submitted,
};

/// How the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mood {
    #[default]
    Well,
    Away,
    Hung,
}

/// A store that knows cache entries only.
#[derive(Debug, Default)]
struct Entries {
    kept: Mutex<HashMap<[u8; 32], (Bytes, Duration)>>,
    mood: Mutex<Mood>,
    changes: Changes,
}

impl Entries {
    fn answer<T: Send + 'static>(&self, value: T) -> Pending<'_, T> {
        let mood = *self.mood.lock().unwrap();
        Box::pin(async move {
            match mood {
                Mood::Well => Ok(value),
                Mood::Away => Err(StoreError::Unavailable("refused".into())),
                Mood::Hung => pending().await,
            }
        })
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }
}

fn no_job<T>() -> Pending<'static, T> {
    panic!("the cache has nothing to do with jobs")
}

impl Store for Entries {
    fn cached(&self, key: [u8; 32]) -> Pending<'_, Option<Bytes>> {
        self.answer(self.kept.lock().unwrap().get(&key).map(|(bytes, _)| bytes.clone()))
    }

    fn cache(&self, key: [u8; 32], entry: Bytes, ttl: Duration) -> Pending<'_, ()> {
        if *self.mood.lock().unwrap() == Mood::Well {
            self.kept.lock().unwrap().insert(key, (entry, ttl));
        }
        self.answer(())
    }

    fn changes(&self) -> &Changes {
        &self.changes
    }

    fn ping(&self) -> Pending<'_, ()> {
        no_job()
    }

    fn put_body(&self, _: JobId, _: u32, _: Bytes) -> Pending<'_, ()> {
        no_job()
    }

    fn submit(&self, _: NewJob) -> Pending<'_, Submitted> {
        no_job()
    }

    fn claim(&self, _: usize) -> Pending<'_, Claims> {
        no_job()
    }

    fn body(&self, _: JobId, _: u32) -> Pending<'_, Option<Bytes>> {
        no_job()
    }

    fn renew(&self, _: Vec<Lease>) -> Pending<'_, Vec<Lease>> {
        no_job()
    }

    fn record(&self, _: Lease, _: Batch) -> Pending<'_, Standing> {
        no_job()
    }

    fn status(&self, _: JobId) -> Pending<'_, Option<Record>> {
        no_job()
    }

    fn read(&self, _: JobId, _: u64, _: usize) -> Pending<'_, Option<Page>> {
        no_job()
    }

    fn delete(&self, _: JobId) -> Pending<'_, bool> {
        no_job()
    }

    fn retry(&self, _: JobId) -> Pending<'_, Retried> {
        no_job()
    }

    fn list(&self, _: Option<Status>, _: Option<JobId>, _: usize) -> Pending<'_, Vec<Record>> {
        no_job()
    }

    fn counts(&self) -> Pending<'_, Counts> {
        no_job()
    }

    fn sweep(&self) -> Pending<'_, bool> {
        no_job()
    }

    fn close(&self) -> Pending<'_, ()> {
        no_job()
    }
}

fn stage() -> (Stage, Arc<Entries>) {
    let store = Arc::new(Entries::default());
    let stage = Stage::of(CacheKind::Store, Some(Arc::clone(&store) as Arc<dyn Store>));
    (stage, store)
}

#[tokio::test(start_paused = true)]
async fn what_one_process_has_kept_another_finds() {
    let (stage, store) = stage();
    stage.fill(b"shared").await;
    assert_eq!(store.kept.lock().unwrap().values().next().unwrap().1, stage.settings.ttl);
    let other = Stage::of(CacheKind::Store, Some(store));
    let (one, two) = tokio::join!(other.hit(), other.hit());
    assert_eq!(read(one).await, Ok("shared".into()));
    assert_eq!(read(two).await, Ok("shared".into()));
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_is_a_miss_and_is_replaced() {
    let (stage, store) = stage();
    stage.fill(b"good").await;
    for (entry, _) in store.kept.lock().unwrap().values_mut() {
        let mut bytes = entry.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        *entry = bytes.into();
    }
    stage.fill(b"new").await;
    assert_eq!(read(stage.hit().await).await, Ok("new".into()));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_or_hangs_makes_misses_and_no_failures() {
    for (mood, waited) in [(Mood::Away, 0), (Mood::Hung, 1)] {
        let (stage, store) = stage();
        stage.fill(b"before").await;
        store.is(mood);
        let start = Instant::now();
        drop(stage.lead().await);
        assert_eq!(start.elapsed().as_secs(), waited);
        // For a while it is not even asked.
        let start = Instant::now();
        let lead = stage.lead().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        let (mut upstream, answer) = answer(&[]);
        let response = run(lead, answer).await;
        upstream.send_data("from the upstream".into()).await.unwrap();
        drop(upstream);
        assert_eq!(read(response).await, Ok("from the upstream".into()));
        stage.tasks.finished().await;
        store.is(Mood::Well);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(read(stage.hit().await).await, Ok("before".into()), "it is asked again");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_given_all_the_same() {
    let (stage, store) = stage();
    let lead = stage.lead().await;
    store.is(Mood::Away);
    let (mut upstream, answer) = answer(&[]);
    let response = run(lead, answer).await;
    upstream.send_data("once".into()).await.unwrap();
    drop(upstream);
    assert_eq!(read(response).await, Ok("once".into()));
    stage.tasks.finished().await;
    assert_eq!(stage.stats.cache.stored.get(), 0);
}

#[tokio::test]
async fn without_a_store_there_is_nothing_in_it() {
    let stage = Stage::of(CacheKind::Store, None);
    stage.fill(b"lost").await;
    assert!(matches!(stage.look(&[]).await, Look::Lead(_)));
    drop(lead_of(stage.look(&[]).await));
}
