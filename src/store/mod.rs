//! The store: where jobs, recordings and cache entries live, and outlive processes.
//!
//! One trait with two real implementations: *embedded*, a file of this machine, and *Redis*, which several machines share.
//! One suite of tests runs on both. A store deals in opaque bytes – what a request or a head is, only `job` knows – and in
//! the few figures that decide who may do what.
//!
//! # Rules that hold in both
//!
//! - What was accepted is durable before the answer says so.
//! - Time is the store's: leases, pauses and retention are measured by one clock, whoever asks.
//! - A write of a worker names its [`Lease`]; if the fence is not the job's newest, or the job is gone, nothing is written
//!   and the answer is [`Standing::Lost`].
//! - A write can be sent again when its answer was lost: the second one changes nothing. A job that is submitted again, and
//!   a batch that is recorded again, are answered as they were.
//! - A call ends soon, in any case within three seconds: with an answer, or with [`StoreError::Unavailable`].
//! - Dropping the future of a call is safe; what it asked for may have happened or not.

mod changes;
pub mod embedded;
#[cfg(test)]
pub(crate) mod empty;
mod metered;
mod open;
pub mod redis;
mod settings;
#[cfg(test)]
pub(crate) mod single;
#[cfg(test)]
mod suite;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

pub use changes::{Changes, Topic, Watch};
pub use metered::{Calls, Metered, StoreStats};
pub use open::{OpenError, open};
pub use settings::{StoreKind, StoreSettings};

use crate::ids::{ExecutionNo, JobId};
use crate::job::{Idempotency, Lease, Owner, Record, Status, Title};
use crate::time::UnixMillis;

/// An answer that takes a moment.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The largest piece of a request body that is put as one, and what [`Store::read`] gives at most at once.
pub const PIECE: usize = 256 << 10;
/// A request body up to this size is stored with its job; a larger one before it, in pieces of [`PIECE`].
pub const INLINE: usize = 64 << 10;
/// How often the lease of a job may run out before the job is parked as [`Fault::poisoned`](crate::job::Fault::poisoned).
pub const MOST_CRASHES: u32 = 3;
/// How long the pieces of a request body are kept that no job follows.
pub const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// Where jobs, recordings and cache entries live.
pub trait Store: fmt::Debug + Send + Sync {
    /// Whether it answers.
    fn ping(&self) -> Pending<'_, ()>;

    /// Stores a piece of the request body of a job that is not submitted yet: number `index` from 0, [`PIECE`] bytes but for
    /// the last. What no job follows is dropped after [`ABANDONED_AFTER`].
    fn put_body(&self, job: JobId, index: u32, piece: Bytes) -> Pending<'_, ()>;

    /// Stores a job. Durable when it answers. Whether its key is known is found out before the limits are looked at.
    fn submit(&self, job: NewJob) -> Pending<'_, Submitted>;

    /// Takes up to `most` jobs that are due, in the order of their submission, each under a new lease of
    /// [`StoreSettings::lease`]. Before that, jobs whose pause is over and jobs whose lease has run out become due again,
    /// the latter at their old place and without what they had recorded; one whose lease ran out for the [`MOST_CRASHES`]th
    /// time fails. With `most` = 0 nothing is taken, and all the rest happens.
    ///
    /// What was taken for somebody who dropped the call before it answered is given to the next one who claims from this
    /// handle.
    fn claim(&self, most: usize) -> Pending<'_, Claims>;

    /// A piece of a leased job's request body, if it was put in pieces. None = it is not there: the job is lost.
    fn body(&self, job: JobId, index: u32) -> Pending<'_, Option<Bytes>>;

    /// Renews leases. Those that still stand are the answer; the others are lost, because the job is gone or another has it.
    fn renew(&self, leases: Vec<Lease>) -> Pending<'_, Vec<Lease>>;

    /// Writes to the recording of a leased job, and settles the job if the batch says so. All of it, or nothing. A batch that
    /// would leave a hole in the recording is lost: what was there before it is there no more.
    ///
    /// A batch with data for which there is no room is refused with [`StoreError::Full`]; one that only settles never is.
    fn record(&self, lease: Lease, batch: Batch) -> Pending<'_, Standing>;

    /// What is known of a job. None = there is no such job.
    fn status(&self, job: JobId) -> Pending<'_, Option<Record>>;

    /// What is recorded of a job's response from this byte on, up to about `most` bytes. None = there is no such job.
    fn read(&self, job: JobId, from: u64, most: usize) -> Pending<'_, Option<Page>>;

    /// Forgets a job in whatever state it is, with all that belongs to it; its idempotency key is free. False = there was
    /// none. Whoever executes it hears of it as [`Topic::Cancelled`].
    fn delete(&self, job: JobId) -> Pending<'_, bool>;

    /// Queues a failed job again, as if it had just been submitted, if its request is still there. Only the number of its
    /// executions goes on.
    fn retry(&self, job: JobId) -> Pending<'_, Retried>;

    /// The jobs in this status (none = in any), the newest first, behind that of the last page.
    fn list(&self, status: Option<Status>, behind: Option<JobId>, most: usize) -> Pending<'_, Vec<Record>>;

    /// How many jobs there are in each state, and how much is stored.
    fn counts(&self) -> Pending<'_, Counts>;

    /// The cache entry under this key, unless its time is over.
    fn cached(&self, key: [u8; 32]) -> Pending<'_, Option<Bytes>>;

    /// Keeps a cache entry for so long. An entry that has no room is dropped without an error.
    fn cache(&self, key: [u8; 32], entry: Bytes, ttl: Duration) -> Pending<'_, ()>;

    /// Removes some of what is past its time: finished jobs, abandoned bodies, cache entries. True = there is more.
    fn sweep(&self) -> Pending<'_, bool>;

    /// Hears of what happens in the store, in this process or another. Loss is possible: whoever waits asks again once a
    /// second all the same.
    fn changes(&self) -> &Changes;

    /// What an operator should change about it, a sentence each.
    fn warnings(&self) -> Pending<'_, Vec<String>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Ends connections and threads, after what is under way.
    fn close(&self) -> Pending<'_, ()>;
}

/// A job to be stored.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id, which nobody else has.
    pub id: JobId,
    /// What operators know it by.
    pub title: Title,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// [`StoredRequest`](crate::job::StoredRequest), encoded. Erased when the job completes.
    pub request: Bytes,
    /// Its body.
    pub body: NewBody,
    /// Under which key the same request would be this job.
    pub idempotency: Option<Idempotency>,
    /// Who begins with it.
    pub start: Start,
    /// How long it can be seen if the store parks it: nobody is there then to say so.
    pub retention: Duration,
}

/// The request body of a new job.
#[derive(Clone, Debug)]
pub enum NewBody {
    /// Up to [`INLINE`] bytes.
    Inline(Bytes),
    /// It was put before.
    Pieces {
        /// How many.
        count: u32,
        /// How many bytes together.
        length: u64,
    },
}

/// Who begins with a new job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Whoever claims it.
    Queued,
    /// The one who submits it has begun already: it is running, under a lease of his, and counts for no depth.
    Adopted,
}

/// What became of a new job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It is stored; if it was adopted, under this lease.
    Accepted(Option<Lease>),
    /// The same request under the same key is this job already.
    Existing(JobId),
    /// The key was used for another request.
    Mismatch,
}

/// What there is to execute.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// The jobs, in the order of their submission.
    pub jobs: Vec<Claimed>,
    /// When the next one becomes due by time alone: a pause or another's lease that ends. None = none will.
    pub next: Option<Duration>,
    /// How many of all jobs were taken back from a worker that fell silent, by this call.
    pub taken_over: u64,
    /// How many were parked as poisoned, by this call.
    pub parked: u64,
}

/// A job under a lease.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The lease.
    pub lease: Lease,
    /// The encoded request. Empty = it is gone, and the job is lost.
    pub request: Bytes,
    /// Its body.
    pub body: NewBody,
    /// How many repeats there were.
    pub retries: u32,
}

/// What is written to a recording at once.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// [`StoredHead`](crate::job::StoredHead), encoded. With it the recording of an execution begins, at byte 0; what an
    /// earlier execution left is dropped.
    pub head: Option<Bytes>,
    /// Where `data` begins in the body.
    pub at: u64,
    /// The next bytes of the body.
    pub data: Vec<Bytes>,
    /// The end of the execution.
    pub settle: Option<Settle>,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settle {
    /// The recording is complete: the job is completed. Its request is erased.
    Completed {
        /// [`StoredEnd`](crate::job::StoredEnd), encoded.
        end: Bytes,
        /// How long the job can be fetched.
        retention: Duration,
    },
    /// The job failed; its recording is dropped, its request is kept for `jobs retry`.
    Failed {
        /// `<code>: <message>`.
        error: String,
        /// How long the job can be seen.
        retention: Duration,
    },
    /// It is repeated after a pause; its recording is dropped. Counts as a retry.
    Again {
        /// Why: `<code>: <message>`.
        error: String,
        /// The pause.
        after: Duration,
    },
    /// The worker goes away before it could finish: the job is queued again at its old place; its recording is dropped.
    /// Counts as nothing.
    HandedBack,
}

/// Whether a lease still stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does; what was asked for is done.
    Held,
    /// It does not; nothing is done.
    Lost,
}

/// What is recorded of a job's response.
#[derive(Clone, Debug)]
pub struct Page {
    /// The job.
    pub record: Record,
    /// The head, once there is one.
    pub head: Option<Bytes>,
    /// What follows the byte that was asked for.
    pub data: Vec<Bytes>,
    /// The bytes that are recorded in all, so far.
    pub length: u64,
    /// The end mark, once it is complete.
    pub end: Option<Bytes>,
}

/// What became of the wish to repeat a failed job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It is queued.
    Queued,
    /// There is no such job.
    Unknown,
    /// It has not failed.
    NotFailed,
    /// Its request is gone.
    Lost,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs that wait for a worker.
    pub queued: u64,
    /// Jobs under a lease.
    pub running: u64,
    /// Jobs that wait for a repeat.
    pub waiting: u64,
    /// Finished jobs with a response.
    pub completed: u64,
    /// Finished jobs without one.
    pub failed: u64,
    /// When the oldest job that waits for a worker was submitted.
    pub oldest: Option<UnixMillis>,
    /// What counts for `STORE_MAX_BYTES`.
    pub bytes: u64,
}

/// Why a store did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It cannot be reached, or does not answer. For the log; it may name addresses and files.
    Unavailable(String),
    /// `QUEUE_MAX_DEPTH` jobs wait already.
    TooDeep,
    /// `STORE_MAX_BYTES` are stored already.
    Full,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "the store does not answer: {why}"),
            Self::TooDeep => f.write_str("too many jobs wait (QUEUE_MAX_DEPTH)"),
            Self::Full => f.write_str("the store is full (STORE_MAX_BYTES)"),
        }
    }
}

impl std::error::Error for StoreError {}

/// A job's place in a page of a recording: which execution the bytes are of.
impl Page {
    /// The execution whose recording this is.
    pub fn execution(&self) -> ExecutionNo {
        self.record.executions
    }
}
