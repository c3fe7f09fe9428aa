//! A store of one running job, for tests of those who write its recording, read it, or keep its lease. It is away, or at odds
//! with its worker, as it is told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::empty::Empty;
use super::{
    Batch, Changes, Claims, Counts, NewJob, Page, Pending, Retried, Settle, Standing, Store, StoreError, Submitted,
    Topic,
};
use crate::ids::{ExecutionNo, Fence, JobId};
use crate::job::{Lease, Record, Status, Title};
use crate::time::UnixMillis;

/// A store of one running job.
#[derive(Debug)]
pub(crate) struct Single {
    rest: Empty,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    record: Record,
    head: Option<Bytes>,
    data: Vec<u8>,
    end: Option<Bytes>,
    /// Where each write began, and how long it was.
    writes: Vec<(u64, usize)>,
    pieces: HashMap<u32, Bytes>,
    /// So many calls are done, and their answers lost.
    away: u32,
    stands: bool,
    write_takes: Duration,
    reads_at_most: usize,
}

impl Single {
    pub(crate) fn new() -> Arc<Self> {
        let record = Record {
            id: JobId::random(),
            title: Title::default(),
            owner: None,
            status: Status::Running,
            created: UnixMillis::new(0),
            started: None,
            completed: None,
            executions: ExecutionNo::new(1),
            error: None,
        };
        let state = State {
            record,
            head: None,
            data: Vec::new(),
            end: None,
            writes: Vec::new(),
            pieces: HashMap::new(),
            away: 0,
            stands: true,
            write_takes: Duration::ZERO,
            reads_at_most: usize::MAX,
        };
        Arc::new(Self { rest: Empty::default(), state: Mutex::new(state) })
    }

    pub(crate) fn lease(&self) -> Lease {
        let record = &self.state().record;
        Lease { job: record.id, fence: Fence::new(1), execution: record.executions }
    }

    /// The answers of the next so many calls are lost.
    pub(crate) fn is_away_for(&self, calls: u32) {
        self.state().away = calls;
    }

    /// The job is another's, or gone.
    pub(crate) fn has_taken_the_lease(&self) {
        self.state().stands = false;
    }

    pub(crate) fn writes_take(&self, duration: Duration) {
        self.state().write_takes = duration;
    }

    pub(crate) fn reads_at_most(&self, bytes: usize) {
        self.state().reads_at_most = bytes;
    }

    /// Another execution begins.
    pub(crate) fn runs_again(&self) {
        let mut state = self.state();
        (state.head, state.end) = (None, None);
        state.data.clear();
        state.record.executions = ExecutionNo::new(state.record.executions.get() + 1);
    }

    /// There is news of the job.
    pub(crate) fn tell(&self) {
        let job = self.state().record.id;
        self.changes().tell(Topic::Job(job));
    }

    /// What is recorded, and whether it is complete.
    pub(crate) fn recorded(&self) -> (Vec<u8>, bool) {
        let state = self.state();
        (state.data.clone(), state.end.is_some())
    }

    pub(crate) fn has_head(&self) -> bool {
        self.state().head.is_some()
    }

    pub(crate) fn writes(&self) -> Vec<(u64, usize)> {
        self.state().writes.clone()
    }

    pub(crate) fn pieces(&self) -> HashMap<u32, Bytes> {
        self.state().pieces.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn answer<T>(&mut self, answer: T) -> Result<T, StoreError> {
        if self.away == 0 {
            return Ok(answer);
        }
        self.away -= 1;
        Err(StoreError::Unavailable("away".to_owned()))
    }

    fn write(&mut self, batch: &Batch) -> Standing {
        let length = batch.data.iter().map(Bytes::len).sum();
        self.writes.push((batch.at, length));
        if !self.stands || batch.at > self.data.len() as u64 {
            return Standing::Lost;
        }
        if let Some(head) = &batch.head {
            self.head = Some(head.clone());
        }
        self.data.truncate(usize::try_from(batch.at).unwrap());
        self.data.extend_from_slice(&batch.data.concat());
        if let Some(Settle::Completed { end, .. }) = &batch.settle {
            self.end = Some(end.clone());
            self.record.status = Status::Completed;
        }
        Standing::Held
    }

    fn page(&self, from: u64, most: usize) -> Page {
        let from = usize::try_from(from).unwrap().min(self.data.len());
        let to = from.saturating_add(most.min(self.reads_at_most)).min(self.data.len());
        Page {
            record: self.record.clone(),
            head: self.head.clone(),
            data: (from < to).then(|| Bytes::copy_from_slice(&self.data[from..to])).into_iter().collect(),
            length: self.data.len() as u64,
            end: self.end.clone(),
        }
    }
}

impl Store for Single {
    fn ping(&self) -> Pending<'_, ()> {
        self.rest.ping()
    }

    fn put_body(&self, _: JobId, index: u32, piece: Bytes) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut state = self.state();
            state.pieces.insert(index, piece);
            state.answer(())
        })
    }

    fn submit(&self, job: NewJob) -> Pending<'_, Submitted> {
        self.rest.submit(job)
    }

    fn claim(&self, most: usize) -> Pending<'_, Claims> {
        self.rest.claim(most)
    }

    fn body(&self, _: JobId, index: u32) -> Pending<'_, Option<Bytes>> {
        Box::pin(async move {
            let mut state = self.state();
            let piece = state.pieces.get(&index).cloned();
            state.answer(piece)
        })
    }

    fn renew(&self, leases: Vec<Lease>) -> Pending<'_, Vec<Lease>> {
        Box::pin(async move {
            let mut state = self.state();
            let standing = if state.stands { leases } else { Vec::new() };
            state.answer(standing)
        })
    }

    fn record(&self, _: Lease, batch: Batch) -> Pending<'_, Standing> {
        Box::pin(async move {
            let takes = self.state().write_takes;
            if !takes.is_zero() {
                sleep(takes).await;
            }
            let answer = {
                let mut state = self.state();
                let standing = state.write(&batch);
                state.answer(standing)
            };
            self.tell();
            answer
        })
    }

    fn status(&self, job: JobId) -> Pending<'_, Option<Record>> {
        self.rest.status(job)
    }

    fn read(&self, _: JobId, from: u64, most: usize) -> Pending<'_, Option<Page>> {
        Box::pin(async move {
            let mut state = self.state();
            let page = state.page(from, most);
            state.answer(Some(page))
        })
    }

    fn delete(&self, job: JobId) -> Pending<'_, bool> {
        self.rest.delete(job)
    }

    fn retry(&self, job: JobId) -> Pending<'_, Retried> {
        self.rest.retry(job)
    }

    fn list(&self, status: Option<Status>, behind: Option<JobId>, most: usize) -> Pending<'_, Vec<Record>> {
        self.rest.list(status, behind, most)
    }

    fn counts(&self) -> Pending<'_, Counts> {
        self.rest.counts()
    }

    fn cached(&self, key: [u8; 32]) -> Pending<'_, Option<Bytes>> {
        self.rest.cached(key)
    }

    fn cache(&self, key: [u8; 32], entry: Bytes, ttl: Duration) -> Pending<'_, ()> {
        self.rest.cache(key, entry, ttl)
    }

    fn sweep(&self) -> Pending<'_, bool> {
        self.rest.sweep()
    }

    fn changes(&self) -> &Changes {
        self.rest.changes()
    }

    fn close(&self) -> Pending<'_, ()> {
        self.rest.close()
    }
}
