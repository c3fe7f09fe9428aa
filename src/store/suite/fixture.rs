//! What the properties are made of: places, jobs, batches, and patience.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use crate::ids::JobId;
use crate::job::{Idempotency, Lease, Status, Title};
use crate::size::ByteSize;
use crate::store::{Batch, Claimed, Counts, NewBody, NewJob, Page, Settle, Standing, Start, Store, Submitted};

/// How long something that must happen may take, on the slowest of machines.
const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// Over before the test is.
pub(super) const SHORT: Duration = Duration::from_millis(100);

/// Where stores of one implementation are opened for one test. Dropped, it takes everything with it.
pub(crate) trait Place: Sized {
    /// Whether several handles can be open at once, as those of several processes are.
    const IS_SHARED: bool;

    /// A new place, where nothing is stored.
    async fn new() -> Self;

    /// Opens the store that is there, as a process does that starts.
    async fn open(&self, limits: &Limits) -> Arc<dyn Store>;
}

/// What a store is told about itself besides where it is.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) max_bytes: ByteSize,
    pub(crate) max_depth: u64,
    pub(crate) lease: Duration,
    pub(crate) queue: &'static str,
}

impl Default for Limits {
    /// So much that no test comes near it.
    fn default() -> Self {
        Self { max_bytes: ByteSize::new(1 << 30), max_depth: 100_000, lease: HOUR, queue: "default" }
    }
}

impl Limits {
    /// Leases run out at once, nearly.
    pub(super) fn short_leases() -> Self {
        Self { lease: SHORT, ..Self::default() }
    }
}

/// A store in a new place.
pub(super) async fn opened<P: Place>(limits: &Limits) -> (P, Arc<dyn Store>) {
    let place = P::new().await;
    let store = place.open(limits).await;
    (place, store)
}

/// The same store after its process ended and another began.
pub(super) async fn reopened<P: Place>(place: &P, store: Arc<dyn Store>, limits: &Limits) -> Arc<dyn Store> {
    store.close().await.unwrap();
    drop(store);
    place.open(limits).await
}

/// The same store as another process has it, where there can be one.
pub(super) async fn beside<P: Place>(place: &P, store: &Arc<dyn Store>, limits: &Limits) -> Arc<dyn Store> {
    if P::IS_SHARED { place.open(limits).await } else { Arc::clone(store) }
}

/// Asks until there is an answer.
pub(super) async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "it never came to pass");
        sleep(Duration::from_millis(5)).await;
    }
}

/// A job with a small body, whose name is in all of it.
pub(super) fn job(name: &str) -> NewJob {
    NewJob {
        id: JobId::random(),
        title: Title::new("default", "POST", &format!("/{name}")),
        owner: None,
        request: request_of(name),
        body: NewBody::Inline(body_of(name)),
        idempotency: None,
        start: Start::Queued,
        retention: HOUR,
    }
}

pub(super) fn request_of(name: &str) -> Bytes {
    format!("request of {name}").into()
}

pub(super) fn body_of(name: &str) -> Bytes {
    format!("body of {name}").into()
}

/// A job with a body of so many bytes.
pub(super) fn job_of(length: usize) -> NewJob {
    NewJob { body: NewBody::Inline(pattern(0, length)), ..job("sized") }
}

/// A job under a key: `scope` is whose and which, `fingerprint` what is asked for.
pub(super) fn keyed(scope: u8, fingerprint: u8) -> NewJob {
    NewJob { idempotency: Some(Idempotency { scope: [scope; 32], fingerprint: [fingerprint; 32] }), ..job("keyed") }
}

/// Bytes that tell where they belong.
pub(super) fn pattern(from: usize, length: usize) -> Bytes {
    (from..from + length).map(|place| u8::try_from(place * 31 % 251).unwrap()).collect()
}

/// Stores a job for whoever claims it.
pub(super) async fn submit(store: &Arc<dyn Store>, job: NewJob) -> JobId {
    let id = job.id;
    assert_eq!(store.submit(job).await, Ok(Submitted::Accepted(None)));
    id
}

/// Stores a job and executes it.
pub(super) async fn adopt(store: &Arc<dyn Store>, job: NewJob) -> Lease {
    match store.submit(NewJob { start: Start::Adopted, ..job }).await {
        Ok(Submitted::Accepted(Some(lease))) => lease,
        other => panic!("not adopted: {other:?}"),
    }
}

/// Claims the next job, as soon as there is one.
pub(super) async fn claim(store: &Arc<dyn Store>) -> Claimed {
    eventually(async || store.claim(1).await.unwrap().jobs.pop()).await
}

/// Submits a job and claims it; there must be no other.
pub(super) async fn leased(store: &Arc<dyn Store>, name: &str) -> Lease {
    let id = submit(store, job(name)).await;
    let lease = claim(store).await.lease;
    assert_eq!(lease.job, id);
    lease
}

/// Waits until so many jobs were taken back from those who fell silent.
pub(super) async fn taken_over(store: &Arc<dyn Store>, jobs: u64) {
    let mut seen = 0;
    eventually(async || {
        seen += store.claim(0).await.unwrap().taken_over;
        (seen >= jobs).then_some(())
    })
    .await;
    assert_eq!(seen, jobs);
}

/// The beginning of a recording.
pub(super) fn head(text: &str) -> Batch {
    Batch { head: Some(text.to_owned().into()), ..Batch::default() }
}

/// More of its body.
pub(super) fn data(at: u64, text: &str) -> Batch {
    Batch { at, data: vec![text.to_owned().into()], ..Batch::default() }
}

/// Its end.
pub(super) fn settle(settle: Settle) -> Batch {
    Batch { settle: Some(settle), ..Batch::default() }
}

pub(super) fn completed(retention: Duration) -> Settle {
    Settle::Completed { end: "end".into(), retention }
}

pub(super) fn failed(retention: Duration) -> Settle {
    Settle::Failed { error: "lost: it was a test".into(), retention }
}

pub(super) fn again(after: Duration) -> Settle {
    Settle::Again { error: "response_broken: it was a test".into(), after }
}

/// Writes what must be written.
pub(super) async fn record(store: &Arc<dyn Store>, lease: Lease, batch: Batch) {
    assert_eq!(store.record(lease, batch).await, Ok(Standing::Held));
}

/// Writes what must not be written.
pub(super) async fn refused(store: &Arc<dyn Store>, lease: Lease, batch: Batch) {
    assert_eq!(store.record(lease, batch).await, Ok(Standing::Lost));
}

pub(super) async fn status(store: &Arc<dyn Store>, job: JobId) -> Option<Status> {
    store.status(job).await.unwrap().map(|record| record.status)
}

/// The page of a recording that begins at this byte.
pub(super) async fn page(store: &Arc<dyn Store>, job: JobId, from: u64) -> Page {
    store.read(job, from, usize::MAX).await.unwrap().unwrap()
}

/// All that is recorded of a body from this byte on, as a reader collects it.
pub(super) async fn content(store: &Arc<dyn Store>, job: JobId, mut from: u64) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let page = page(store, job, from).await;
        let piece = page.data.concat();
        if piece.is_empty() {
            assert!(from >= page.length, "a page before the end is empty");
            return content;
        }
        from += piece.len() as u64;
        content.extend(piece);
    }
}

pub(super) async fn counts(store: &Arc<dyn Store>) -> Counts {
    store.counts().await.unwrap()
}

/// Removes all that is past its time by now.
pub(super) async fn swept(store: &Arc<dyn Store>) {
    while store.sweep().await.unwrap() {}
}

/// A job in each state, and what is left to do with some of them.
pub(super) struct EveryState {
    pub(super) queued: JobId,
    pub(super) running: Lease,
    pub(super) waiting: JobId,
    pub(super) completed: JobId,
    pub(super) failed: JobId,
}

impl EveryState {
    pub(super) async fn make(store: &Arc<dyn Store>) -> Self {
        let mut leases = Vec::new();
        for name in ["completed", "failed", "waiting", "running"] {
            leases.push(leased(store, name).await);
        }
        let [finishes, fails, pauses, running] = leases[..] else { unreachable!() };
        record(store, finishes, head("head")).await;
        record(store, finishes, Batch { settle: Some(completed(HOUR)), ..data(0, "data") }).await;
        record(store, fails, settle(failed(HOUR))).await;
        record(store, pauses, settle(again(HOUR))).await;
        record(store, running, head("head")).await;
        let queued = submit(store, job("queued")).await;
        Self { queued, running, waiting: pauses.job, completed: finishes.job, failed: fails.job }
    }

    pub(super) fn jobs(&self) -> [JobId; 5] {
        [self.queued, self.running.job, self.waiting, self.completed, self.failed]
    }
}
