//! What clients may ask of their jobs (contract 6.2).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use tokio::time::{Instant, timeout_at};

use super::ask::{Ask, not_found, read};
use super::{Queue, unstored};
use crate::answer::{Answer, Code};
use crate::ids::{ExecutionNo, JobId};
use crate::job::{Record, Status, StoredHead};
use crate::recording::Reader;
use crate::store::{PIECE, Page, Topic};

/// News can be lost: so often is looked all the same.
const LOOK: Duration = Duration::from_secs(1);
/// What is read of a response while only its end is waited for: a short answer as a whole, and little of a long one in vain.
const GLANCE: usize = 4096;

/// What a request to the jobs API is answered with.
#[derive(Debug)]
pub enum Reply {
    /// A JSON document.
    Document(String),
    /// The upstream's response.
    Content(Box<Content>),
}

/// A recorded response.
#[derive(Debug)]
pub struct Content {
    /// Status and fields as they were recorded. Where only a part is asked for, without their length.
    pub head: StoredHead,
    /// What follows.
    pub body: Reader,
    /// Which execution it is of.
    pub execution: ExecutionNo,
}

impl Queue {
    /// What stands behind `JOBS_PATH` in a path that is ours; none = the path is not ours.
    pub fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.settings.jobs_path.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Where a job is to be found.
    pub fn location(&self, job: JobId) -> String {
        format!("{}/{job}", self.settings.jobs_path)
    }

    /// Answers a request to the jobs API. `rest` is what stands behind `JOBS_PATH`. Cancel-safe, but for a deletion, which may
    /// have happened.
    pub async fn answer(
        &self,
        method: &Method,
        rest: &str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Reply, Answer> {
        match read(method, rest, query)? {
            Ask::Status { job, wait } => self.status(job, wait, headers).await,
            Ask::Content { job, wait, follow, from, execution } => {
                let wanted = Wanted { follow, from, execution };
                self.content(job, wait, wanted, headers).await
            }
            Ask::Delete { job } => self.delete(job, headers).await,
        }
    }

    async fn status(&self, job: JobId, wait: Duration, headers: &HeaderMap) -> Result<Reply, Answer> {
        let until = Instant::now() + wait;
        let mut watch = None;
        loop {
            let record = self.record(job, headers).await?;
            if record.status.is_final() || self.is_over(until) {
                return Ok(Reply::Document(record.document().to_string()));
            }
            match &mut watch {
                // What happened before it was watched is asked for once more.
                None => watch = Some(self.store().changes().watch(Topic::Job(job))),
                Some(watch) => {
                    let _ = timeout_at(until.min(Instant::now() + LOOK), watch.changed()).await;
                }
            }
        }
    }

    async fn content(&self, job: JobId, wait: Duration, wanted: Wanted, headers: &HeaderMap) -> Result<Reply, Answer> {
        let until = Instant::now() + wait;
        let mut watch = None;
        loop {
            let most = if wanted.follow || watch.is_none() { PIECE } else { GLANCE };
            let page = self.store().read(job, wanted.from, most).await.map_err(|error| unstored(&error))?;
            let page = page.filter(|page| self.shows(&page.record, headers)).ok_or_else(not_found)?;
            if wanted.is_ready(&page)? {
                return self.open(page, wanted.from);
            }
            if self.is_over(until) {
                let message = "The job has no response yet. Ask again later, or wait for it with ?wait=30.";
                return Err(Answer::new(Code::JobNotReady, message).retry_after(1));
            }
            match &mut watch {
                None => watch = Some(self.store().changes().watch(Topic::Job(job))),
                Some(watch) => {
                    let _ = timeout_at(until.min(Instant::now() + LOOK), watch.changed()).await;
                }
            }
        }
    }

    /// Whether a wait has come to its end. It does not hold up the end of the process.
    fn is_over(&self, until: Instant) -> bool {
        Instant::now() >= until || self.shutdown.is_draining()
    }

    fn open(&self, page: Page, from: u64) -> Result<Reply, Answer> {
        let damaged = || Answer::new(Code::JobFailed, "What is stored of the job's response is damaged.");
        let mut head = page.head.as_ref().and_then(|head| StoredHead::decode(head).ok()).ok_or_else(damaged)?;
        if from > 0 {
            head.headers.remove(http::header::CONTENT_LENGTH);
        }
        let execution = page.execution();
        let body = Reader::new(Arc::clone(self.store()), from, page).map_err(|_| damaged())?;
        Ok(Reply::Content(Box::new(Content { head, body, execution })))
    }

    async fn delete(&self, job: JobId, headers: &HeaderMap) -> Result<Reply, Answer> {
        self.record(job, headers).await?;
        if self.store().delete(job).await.map_err(|error| unstored(&error))? {
            Ok(Reply::Document("{\"status\":\"cancelled\"}".to_owned()))
        } else {
            Err(not_found())
        }
    }

    async fn record(&self, job: JobId, headers: &HeaderMap) -> Result<Record, Answer> {
        let record = self.store().status(job).await.map_err(|error| unstored(&error))?;
        record.filter(|record| self.shows(record, headers)).ok_or_else(not_found)
    }
}

/// Which part of which recording is wanted.
#[derive(Clone, Copy)]
struct Wanted {
    follow: bool,
    from: u64,
    execution: Option<ExecutionNo>,
}

impl Wanted {
    /// Whether this page is the beginning of the answer.
    fn is_ready(self, page: &Page) -> Result<bool, Answer> {
        let record = &page.record;
        if self.execution.is_some_and(|execution| execution != record.executions) {
            let message = "The recording of that execution is gone: the job has run again. Begin at its first byte.";
            return Err(Answer::new(Code::RecordingRestarted, message));
        }
        let is_ready = match record.status {
            Status::Failed => {
                let why = record.error.as_deref().unwrap_or("unknown");
                return Err(Answer::new(Code::JobFailed, format!("The job has no response: {why}")));
            }
            Status::Completed => true,
            Status::Queued | Status::Running => self.follow && page.head.is_some(),
        };
        if is_ready && self.from > page.length {
            let message = format!("The recording has {} bytes so far.", page.length);
            return Err(Answer::new(Code::RangeNotSatisfiable, message));
        }
        Ok(is_ready)
    }
}
