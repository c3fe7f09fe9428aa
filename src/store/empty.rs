//! A store for tests of those who ask one: it holds nothing, and answers as it is told to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::{Batch, Changes, Claims, Counts, NewJob, Page, Pending, Retried, Standing, Store, StoreError, Submitted};
use crate::ids::JobId;
use crate::job::{Lease, Record, Status};

/// A store that holds nothing.
#[derive(Debug, Default)]
pub(crate) struct Empty {
    mood: Mutex<Mood>,
    changes: Changes,
}

#[derive(Clone, Debug, Default)]
enum Mood {
    #[default]
    Answers,
    Fails(StoreError),
    Hangs,
}

impl Empty {
    /// Fails from now on, or answers again.
    pub(crate) fn fails_with(&self, error: Option<StoreError>) {
        self.is(error.map_or(Mood::Answers, Mood::Fails));
    }

    /// Never answers again.
    pub(crate) fn hangs(&self) {
        self.is(Mood::Hangs);
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    fn answers<'a, T: Send + 'a>(&'a self, answer: T) -> Pending<'a, T> {
        let mood = self.mood.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            match mood {
                Mood::Answers => Ok(answer),
                Mood::Fails(error) => Err(error),
                Mood::Hangs => std::future::pending().await,
            }
        })
    }
}

impl Store for Empty {
    fn ping(&self) -> Pending<'_, ()> {
        self.answers(())
    }

    fn put_body(&self, _: JobId, _: u32, _: Bytes) -> Pending<'_, ()> {
        self.answers(())
    }

    fn submit(&self, _: NewJob) -> Pending<'_, Submitted> {
        self.answers(Submitted::Accepted(None))
    }

    fn claim(&self, _: usize) -> Pending<'_, Claims> {
        self.answers(Claims::default())
    }

    fn body(&self, _: JobId, _: u32) -> Pending<'_, Option<Bytes>> {
        self.answers(None)
    }

    fn renew(&self, _: Vec<Lease>) -> Pending<'_, Vec<Lease>> {
        self.answers(Vec::new())
    }

    fn record(&self, _: Lease, _: Batch) -> Pending<'_, Standing> {
        self.answers(Standing::Lost)
    }

    fn status(&self, _: JobId) -> Pending<'_, Option<Record>> {
        self.answers(None)
    }

    fn read(&self, _: JobId, _: u64, _: usize) -> Pending<'_, Option<Page>> {
        self.answers(None)
    }

    fn delete(&self, _: JobId) -> Pending<'_, bool> {
        self.answers(false)
    }

    fn retry(&self, _: JobId) -> Pending<'_, Retried> {
        self.answers(Retried::Unknown)
    }

    fn list(&self, _: Option<Status>, _: Option<JobId>, _: usize) -> Pending<'_, Vec<Record>> {
        self.answers(Vec::new())
    }

    fn counts(&self) -> Pending<'_, Counts> {
        self.answers(Counts::default())
    }

    fn cached(&self, _: [u8; 32]) -> Pending<'_, Option<Bytes>> {
        self.answers(None)
    }

    fn cache(&self, _: [u8; 32], _: Bytes, _: Duration) -> Pending<'_, ()> {
        self.answers(())
    }

    fn sweep(&self) -> Pending<'_, bool> {
        self.answers(false)
    }

    fn changes(&self) -> &Changes {
        &self.changes
    }

    fn close(&self) -> Pending<'_, ()> {
        self.answers(())
    }
}
