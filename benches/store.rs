//! What the embedded store does in a second: durably, with one caller and with many.
//!
//! The folder is in the one for temporary files; a disk of its own is measured with TMPDIR.

#![allow(clippy::unwrap_used)] // a bench that cannot begin has nothing to say

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use forebay::ids::JobId;
use forebay::job::Title;
use forebay::size::ByteSize;
use forebay::store::embedded::EmbeddedStore;
use forebay::store::{Batch, NewBody, NewJob, Settle, Start, Store, StoreKind, StoreSettings};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

criterion_group!(benches, submits, jobs);
criterion_main!(benches);

const CALLERS: [u64; 3] = [1, 16, 128];
const RETENTION: Duration = Duration::from_secs(3600);

/// A store in a folder of its own, both gone at the end.
struct Bed {
    folder: PathBuf,
    store: Option<Arc<EmbeddedStore>>,
    runtime: Runtime,
}

impl Bed {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let folder = std::env::temp_dir().join(format!("forebay-bench-{}", JobId::random()));
        let settings = StoreSettings {
            kind: StoreKind::Embedded { folder: folder.clone() },
            is_required: true,
            max_bytes: ByteSize::new(100 << 30),
            queue: "default".into(),
            max_depth: u64::MAX,
            lease: RETENTION,
        };
        let store = runtime.block_on(EmbeddedStore::open(&folder, &settings)).unwrap();
        Self { folder, store: Some(Arc::new(store)), runtime }
    }

    /// How long it takes until these callers together have done it so often.
    fn time<F>(&self, callers: u64, times: u64, act: impl Fn(Arc<EmbeddedStore>) -> F) -> Duration
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(store) = &self.store else { return Duration::ZERO };
        let act = &act;
        self.runtime.block_on(async {
            let begin = Instant::now();
            let mut tasks = JoinSet::new();
            for caller in 0..callers {
                let share = times / callers + u64::from(caller < times % callers);
                let acts: Vec<F> = (0..share).map(|_| act(Arc::clone(store))).collect();
                tasks.spawn(async move {
                    for act in acts {
                        act.await;
                    }
                });
            }
            tasks.join_all().await;
            begin.elapsed()
        })
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            self.runtime.block_on(store.close()).unwrap();
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A job with a request of 2 KiB.
fn job() -> NewJob {
    NewJob {
        id: JobId::random(),
        title: Title::new("default", "POST", "/v1/responses"),
        owner: None,
        request: vec![b'h'; 512].into(),
        body: NewBody::Inline(vec![b'b'; 1536].into()),
        idempotency: None,
        start: Start::Queued,
        retention: RETENTION,
    }
}

/// One job is submitted.
fn submits(c: &mut Criterion) {
    let mut group = c.benchmark_group("submit");
    for callers in CALLERS {
        let bed = Bed::new();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{callers} callers"), |bencher| {
            bencher.iter_custom(|times| {
                bed.time(callers, times, |store| async move {
                    store.submit(job()).await.unwrap();
                })
            });
        });
    }
}

/// One job is submitted, claimed, recorded and read.
fn jobs(c: &mut Criterion) {
    let mut group = c.benchmark_group("job");
    for callers in CALLERS {
        let bed = Bed::new();
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("{callers} callers"), |bencher| {
            bencher.iter_custom(|times| bed.time(callers, times, one_job));
        });
    }
}

async fn one_job(store: Arc<EmbeddedStore>) {
    store.submit(job()).await.unwrap();
    let claimed = store.claim(1).await.unwrap().jobs.remove(0);
    let batch = Batch {
        head: Some(vec![b'h'; 512].into()),
        at: 0,
        data: vec![vec![b'r'; 2048].into()],
        settle: Some(Settle::Completed { end: "end".into(), retention: RETENTION }),
    };
    store.record(claimed.lease, batch).await.unwrap();
    store.read(claimed.lease.job, 0, usize::MAX).await.unwrap().unwrap();
}
