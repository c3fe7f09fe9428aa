//! What a store is asked for, and how it answers: counted on the way to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Batch, Changes, Claims, Counts, NewJob, Page, Pending, Retried, Standing, Store, StoreError, Submitted};
use crate::ids::JobId;
use crate::job::{Lease, Record, Status};
use crate::stats::{Counter, Histogram};

/// The upper bounds of the buckets, in seconds: from an answer of memory to one for which nobody waits any more.
const BOUNDS: &[f64] = &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// A store whose calls are counted. It answers as the one in it does.
#[derive(Debug)]
pub struct Metered {
    store: Arc<dyn Store>,
    stats: StoreStats,
}

/// What is counted of one operation of a store.
#[derive(Debug)]
pub struct Calls {
    /// How long the store took, of the calls that it answered; a refusal is an answer.
    pub time: Histogram,
    /// Calls that it did not answer.
    pub errors: Counter,
}

/// What is counted of a store, by this process.
#[derive(Debug)]
pub struct StoreStats {
    /// What was refused because too many jobs wait (`QUEUE_MAX_DEPTH`).
    pub too_deep: Counter,
    /// What was refused because the store is full (`STORE_MAX_BYTES`).
    pub full: Counter,
    silence: Silence,
    ping: Calls,
    put_body: Calls,
    submit: Calls,
    claim: Calls,
    body: Calls,
    renew: Calls,
    record: Calls,
    status: Calls,
    read: Calls,
    delete: Calls,
    retry: Calls,
    list: Calls,
    counts: Calls,
    cached: Calls,
    cache: Calls,
    sweep: Calls,
}

impl Metered {
    /// Counts what is asked of this store from now on.
    pub fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, stats: StoreStats::default() })
    }

    /// What was counted.
    pub fn stats(&self) -> &StoreStats {
        &self.stats
    }

    /// The call, counted once it is over. One that is dropped before is not counted.
    fn counted<'a, T: 'a>(&'a self, calls: &'a Calls, answer: Pending<'a, T>) -> Pending<'a, T> {
        Box::pin(async move {
            let start = Instant::now();
            let answer = answer.await;
            self.stats.count(calls, start, answer.as_ref().err());
            answer
        })
    }
}

impl StoreStats {
    /// Each operation by its name.
    pub fn operations(&self) -> [(&'static str, &Calls); 16] {
        [
            ("ping", &self.ping),
            ("put_body", &self.put_body),
            ("submit", &self.submit),
            ("claim", &self.claim),
            ("body", &self.body),
            ("renew", &self.renew),
            ("record", &self.record),
            ("status", &self.status),
            ("read", &self.read),
            ("delete", &self.delete),
            ("retry", &self.retry),
            ("list", &self.list),
            ("counts", &self.counts),
            ("cached", &self.cached),
            ("cache", &self.cache),
            ("sweep", &self.sweep),
        ]
    }

    /// How long the store has not answered, from the first call that it left without an answer. None = it has answered the
    /// latest one.
    pub fn silence(&self) -> Option<Duration> {
        self.silence.lasts()
    }

    fn count(&self, calls: &Calls, start: Instant, error: Option<&StoreError>) {
        match error {
            Some(StoreError::Unavailable(_)) => {
                calls.errors.count();
                return self.silence.began(start);
            }
            Some(StoreError::TooDeep) => self.too_deep.count(),
            Some(StoreError::Full) => self.full.count(),
            None => {}
        }
        calls.time.observe(start.elapsed());
        self.silence.ended();
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self { time: Histogram::new(BOUNDS), errors: Counter::default() }
    }
}

impl Default for StoreStats {
    fn default() -> Self {
        let calls = Calls::default;
        Self {
            too_deep: Counter::default(),
            full: Counter::default(),
            silence: Silence { origin: Instant::now(), since: AtomicU64::new(Silence::NONE) },
            ping: calls(),
            put_body: calls(),
            submit: calls(),
            claim: calls(),
            body: calls(),
            renew: calls(),
            record: calls(),
            status: calls(),
            read: calls(),
            delete: calls(),
            retry: calls(),
            list: calls(),
            counts: calls(),
            cached: calls(),
            cache: calls(),
            sweep: calls(),
        }
    }
}

/// The time in which nothing is heard of a store. Read and written without a lock, by every call.
#[derive(Debug)]
struct Silence {
    origin: Instant,
    /// In milliseconds since the origin.
    since: AtomicU64,
}

impl Silence {
    const NONE: u64 = u64::MAX;

    fn began(&self, at: Instant) {
        let at = u64::try_from(at.duration_since(self.origin).as_millis()).unwrap_or(Self::NONE - 1);
        // Only the first of several counts.
        let _ = self.since.compare_exchange(Self::NONE, at, Relaxed, Relaxed);
    }

    fn ended(&self) {
        // A store that answers is the rule: that is read, not written, by all threads.
        if self.since.load(Relaxed) != Self::NONE {
            self.since.store(Self::NONE, Relaxed);
        }
    }

    fn lasts(&self) -> Option<Duration> {
        let since = Some(self.since.load(Relaxed)).filter(|since| *since != Self::NONE)?;
        Some(self.origin.elapsed().saturating_sub(Duration::from_millis(since)))
    }
}

impl Store for Metered {
    fn ping(&self) -> Pending<'_, ()> {
        self.counted(&self.stats.ping, self.store.ping())
    }

    fn put_body(&self, job: JobId, index: u32, piece: Bytes) -> Pending<'_, ()> {
        self.counted(&self.stats.put_body, self.store.put_body(job, index, piece))
    }

    fn submit(&self, job: NewJob) -> Pending<'_, Submitted> {
        self.counted(&self.stats.submit, self.store.submit(job))
    }

    fn claim(&self, most: usize) -> Pending<'_, Claims> {
        self.counted(&self.stats.claim, self.store.claim(most))
    }

    fn body(&self, job: JobId, index: u32) -> Pending<'_, Option<Bytes>> {
        self.counted(&self.stats.body, self.store.body(job, index))
    }

    fn renew(&self, leases: Vec<Lease>) -> Pending<'_, Vec<Lease>> {
        self.counted(&self.stats.renew, self.store.renew(leases))
    }

    fn record(&self, lease: Lease, batch: Batch) -> Pending<'_, Standing> {
        self.counted(&self.stats.record, self.store.record(lease, batch))
    }

    fn status(&self, job: JobId) -> Pending<'_, Option<Record>> {
        self.counted(&self.stats.status, self.store.status(job))
    }

    fn read(&self, job: JobId, from: u64, most: usize) -> Pending<'_, Option<Page>> {
        self.counted(&self.stats.read, self.store.read(job, from, most))
    }

    fn delete(&self, job: JobId) -> Pending<'_, bool> {
        self.counted(&self.stats.delete, self.store.delete(job))
    }

    fn retry(&self, job: JobId) -> Pending<'_, Retried> {
        self.counted(&self.stats.retry, self.store.retry(job))
    }

    fn list(&self, status: Option<Status>, behind: Option<JobId>, most: usize) -> Pending<'_, Vec<Record>> {
        self.counted(&self.stats.list, self.store.list(status, behind, most))
    }

    fn counts(&self) -> Pending<'_, Counts> {
        self.counted(&self.stats.counts, self.store.counts())
    }

    fn cached(&self, key: [u8; 32]) -> Pending<'_, Option<Bytes>> {
        self.counted(&self.stats.cached, self.store.cached(key))
    }

    fn cache(&self, key: [u8; 32], entry: Bytes, ttl: Duration) -> Pending<'_, ()> {
        self.counted(&self.stats.cache, self.store.cache(key, entry, ttl))
    }

    fn sweep(&self) -> Pending<'_, bool> {
        self.counted(&self.stats.sweep, self.store.sweep())
    }

    fn changes(&self) -> &Changes {
        self.store.changes()
    }

    fn warnings(&self) -> Pending<'_, Vec<String>> {
        self.store.warnings()
    }

    fn close(&self) -> Pending<'_, ()> {
        self.store.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::empty::Empty;

    fn seen(store: &Metered, operation: &str) -> (u64, u64) {
        let operations = store.stats().operations();
        let (_, calls) = operations.into_iter().find(|(name, _)| *name == operation).unwrap();
        (calls.time.buckets().count, calls.errors.get())
    }

    #[tokio::test]
    async fn answers_are_timed_and_silence_is_counted_apart() {
        let empty = Arc::new(Empty::default());
        let store = Metered::new(empty.clone());
        let gone = StoreError::Unavailable("gone".into());
        assert_eq!(store.delete(JobId::random()).await, Ok(false));
        empty.fails_with(Some(gone.clone()));
        assert_eq!(store.delete(JobId::random()).await, Err(gone));
        assert_eq!((seen(&store, "delete"), seen(&store, "ping")), ((1, 1), (0, 0)));
        empty.fails_with(Some(StoreError::Full));
        assert_eq!(store.put_body(JobId::random(), 0, Bytes::new()).await, Err(StoreError::Full));
        empty.fails_with(Some(StoreError::TooDeep));
        assert_eq!(store.retry(JobId::random()).await, Err(StoreError::TooDeep));
        assert_eq!((seen(&store, "put_body"), seen(&store, "retry")), ((1, 0), (1, 0)));
        assert_eq!((store.stats().full.get(), store.stats().too_deep.get()), (1, 1));
    }

    #[tokio::test]
    async fn silence_lasts_from_the_first_call_without_an_answer_to_the_next_answer() {
        let empty = Arc::new(Empty::default());
        let store = Metered::new(empty.clone());
        assert_eq!(store.stats().silence(), None);
        empty.fails_with(Some(StoreError::Unavailable("gone".into())));
        assert!(store.ping().await.is_err());
        let first = store.stats().silence.since.load(Relaxed);
        assert!(store.stats().silence().is_some());
        assert!(store.counts().await.is_err());
        assert_eq!(store.stats().silence.since.load(Relaxed), first);
        empty.fails_with(Some(StoreError::Full));
        assert!(store.ping().await.is_err());
        assert_eq!(store.stats().silence(), None, "a refusal is an answer");
    }

    #[tokio::test]
    async fn each_operation_is_counted_under_its_own_name() {
        let store = Metered::new(Arc::new(Empty::default()));
        let (job, key) = (JobId::random(), [0; 32]);
        store.ping().await.unwrap();
        store.put_body(job, 0, Bytes::new()).await.unwrap();
        store.claim(1).await.unwrap();
        store.body(job, 0).await.unwrap();
        store.renew(vec![]).await.unwrap();
        store.status(job).await.unwrap();
        store.read(job, 0, 1).await.unwrap();
        store.delete(job).await.unwrap();
        store.retry(job).await.unwrap();
        store.list(None, None, 1).await.unwrap();
        store.counts().await.unwrap();
        store.cached(key).await.unwrap();
        store.cache(key, Bytes::new(), Duration::ZERO).await.unwrap();
        store.sweep().await.unwrap();
        for (name, calls) in store.stats().operations() {
            // These two need a job.
            let expected = u64::from(!["submit", "record"].contains(&name));
            assert_eq!(calls.time.buckets().count, expected, "{name}");
        }
    }
}
