//! Jobs, for those who operate the process: all of them, whoever they belong to.

mod ask;

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::answer::{Answer, Code};
use crate::ids::JobId;
use crate::job::{Record, Status};
use crate::queue::{Queue, unstored};
use crate::store::{Counts, Metered, Retried, Store, StoreError, StoreKind, StoreSettings};
use crate::time::{Human, UnixMillis};
use ask::{Ask, not_found};

/// So many jobs are asked for at once: a long list must not hold up a store that others use.
const PAGE: usize = 100;

/// A page that tells other things as well waits no longer for the store.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Where jobs are.
#[derive(Debug)]
pub struct Jobs {
    /// What this process does with them.
    pub queue: Arc<Queue>,
    /// Where they are kept.
    pub store: Arc<Metered>,
    /// What the store was told.
    pub settings: StoreSettings,
}

/// What stands behind `/jobs` in a path that is about jobs; none = it is not.
pub(super) fn rest(path: &str) -> Option<&str> {
    path.strip_prefix("/jobs").filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What to say where there is no store.
pub(super) fn no_store() -> Answer {
    Answer::new(Code::StoreUnavailable, "Jobs need a store: STORE is off here, or could not be opened.")
}

impl Jobs {
    /// Answers a request of somebody who may send it. `rest` is what stands behind `/jobs`. Cancel-safe, but for a change,
    /// which may have happened.
    pub(super) async fn answer<B>(&self, request: &Request<B>, rest: &str) -> Result<Value, Answer> {
        match ask::read(request.method(), rest, request.uri().query())? {
            Ask::List { status, after, limit } => self.list(status, after, limit).await,
            Ask::Show { job } => self.show(job).await,
            Ask::Cancel { job } => self.cancel(job).await,
            Ask::Retry { job } => self.retry(job).await,
        }
        .map_err(Refusal::into_answer)
    }

    /// How many jobs there are, unless the store takes its time. Cancel-safe.
    pub(super) async fn counts_at_once(&self) -> Option<Counts> {
        timeout(AT_ONCE, self.store.counts()).await.ok()?.ok()
    }

    /// How the store is, in words. Cancel-safe.
    pub(super) async fn store_in_words(&self) -> String {
        let kind = match self.settings.kind {
            StoreKind::Embedded { .. } => "embedded",
            StoreKind::Redis { .. } => "redis",
        };
        if matches!(timeout(AT_ONCE, self.store.ping()).await, Ok(Ok(()))) {
            return format!("store {kind}: answers");
        }
        // One that hangs is not known to be silent before its own patience ends.
        let silence = self.store.stats().silence().unwrap_or(AT_ONCE);
        let silence = Human(Duration::from_secs(silence.as_secs().max(AT_ONCE.as_secs())));
        format!("store {kind}: has not answered for {silence}; requests pass, and jobs wait for it")
    }

    async fn list(&self, status: Option<Status>, after: Option<JobId>, limit: usize) -> Result<Value, Refusal> {
        let counts = self.store.counts().await?;
        let (mut records, mut behind) = (Vec::<Record>::new(), after);
        while records.len() < limit {
            let most = PAGE.min(limit - records.len());
            let page = self.store.list(status, behind, most).await?;
            let is_last = page.len() < most;
            records.extend(page);
            behind = records.last().map(|record| record.id);
            if is_last {
                break;
            }
        }
        let now = UnixMillis::now();
        let jobs: Vec<_> = records.iter().map(|record| described(record, now)).collect();
        Ok(json!({ "counts": counted(&counts, now), "jobs": jobs }))
    }

    async fn show(&self, job: JobId) -> Result<Value, Refusal> {
        let record = self.store.status(job).await?.ok_or_else(not_found)?;
        Ok(described(&record, UnixMillis::now()))
    }

    async fn cancel(&self, job: JobId) -> Result<Value, Refusal> {
        if !self.store.delete(job).await? {
            return Err(not_found().into());
        }
        tracing::info!(%job, "cancelled on the admin listener");
        Ok(json!({ "status": "cancelled" }))
    }

    async fn retry(&self, job: JobId) -> Result<Value, Refusal> {
        let refused = |message| Refusal::Answer(Answer::new(Code::JobNotRetryable, message));
        match self.store.retry(job).await? {
            Retried::Queued => {
                tracing::info!(%job, "queued again on the admin listener");
                Ok(json!({ "status": Status::Queued.as_str() }))
            }
            Retried::Unknown => Err(not_found().into()),
            Retried::NotFailed => Err(refused("Only a failed job can be queued again, and this one has not failed.")),
            Retried::Lost => {
                Err(refused("The request of this job is not in the store any more. Only its client can send it again."))
            }
        }
    }
}

/// Why nothing was done.
enum Refusal {
    Answer(Answer),
    Store(StoreError),
}

impl Refusal {
    fn into_answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::Store(error) => unstored(&error),
        }
    }
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// How long the oldest job has waited for a worker; zero if none waits.
pub(super) fn oldest(counts: &Counts, now: UnixMillis) -> Duration {
    counts.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest))
}

fn counted(counts: &Counts, now: UnixMillis) -> Value {
    json!({
        "queued": counts.queued,
        "running": counts.running,
        "waiting": counts.waiting,
        "completed": counts.completed,
        "failed": counts.failed,
        "oldestSeconds": oldest(counts, now).as_secs(),
        "bytes": counts.bytes,
    })
}

/// The document that clients get, and what operators know the job by. Whose it is stays untold, even as a digest.
fn described(record: &Record, now: UnixMillis) -> Value {
    let mut document = record.document();
    document["route"] = record.title.route.as_str().into();
    document["method"] = record.title.method.as_str().into();
    document["path"] = record.title.path.as_str().into();
    document["hasOwner"] = record.owner.is_some().into();
    document["ageSeconds"] = now.since(record.created).as_secs().into();
    document
}

#[cfg(test)]
impl Jobs {
    /// In this store, of the queue "test", and with small limits. Nothing is executed.
    pub(super) fn in_store(store: Arc<dyn Store>) -> Self {
        use crate::queue::{QueueSettings, Roles};
        use crate::shutdown::{Shutdown, Tasks};
        let (store, lease) = (Metered::new(store), Duration::from_secs(30));
        let kind = StoreKind::Embedded { folder: "unused".into() };
        let max_bytes = crate::size::ByteSize::new(1000);
        let queue = "test".to_owned();
        let settings = StoreSettings { kind, is_required: false, max_bytes, queue, max_depth: 10, lease };
        let roles = Roles { front: true, worker: false };
        let queue = QueueSettings { roles, jobs_path: "/__jobs".into(), concurrency: 1, lease };
        let (shutdown, tasks) = (Shutdown::default(), Tasks::default());
        let (routes, quota) = (crate::routes::Routes::new([]), crate::body::Quota::new(1));
        let cache = crate::cache::Cache::nothing();
        let queue = Queue::new(store.clone(), queue, routes, quota, cache, shutdown, tasks);
        Self { queue, store, settings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ExecutionNo;
    use crate::job::{Owner, Title};

    #[test]
    fn only_paths_of_jobs_are_about_jobs() {
        assert_eq!(rest("/jobs"), Some(""));
        assert_eq!(rest("/jobs/x/retry"), Some("/x/retry"));
        for path in ["/", "/job", "/jobsx", "/Jobs", "//jobs", "/x/jobs"] {
            assert_eq!(rest(path), None, "{path}");
        }
    }

    #[test]
    fn a_job_is_described_by_its_title_and_age_and_not_by_its_owner() {
        let id = JobId::random();
        let record = Record {
            id,
            title: Title::new("default", "POST", "/v1/x"),
            owner: Some(Owner::new([0xab; 32])),
            status: Status::Running,
            created: UnixMillis::new(1_000),
            started: None,
            completed: None,
            executions: ExecutionNo::new(2),
            error: None,
        };
        let expected = json!({
            "id": id.to_string(),
            "status": "running",
            "createdAt": "1970-01-01T00:00:01.000Z",
            "attempts": 2,
            "route": "default",
            "method": "POST",
            "path": "/v1/x",
            "hasOwner": true,
            "ageSeconds": 8,
        });
        assert_eq!(described(&record, UnixMillis::new(9_999)), expected);
    }

    #[test]
    fn counts_say_how_long_the_oldest_job_waits() {
        let mut counts =
            Counts { queued: 1, waiting: 2, bytes: 3, oldest: Some(UnixMillis::new(1_000)), ..Counts::default() };
        let expected = json!({
            "queued": 1, "running": 0, "waiting": 2, "completed": 0, "failed": 0, "oldestSeconds": 8, "bytes": 3,
        });
        assert_eq!(counted(&counts, UnixMillis::new(9_999)), expected);
        assert_eq!(counted(&counts, UnixMillis::new(0))["oldestSeconds"], 0, "the store's clock may be ahead");
        counts.oldest = None;
        assert_eq!(counted(&counts, UnixMillis::new(9_999))["oldestSeconds"], 0);
    }
}
