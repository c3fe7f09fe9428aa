//! The store in a file of this machine: SQLite, written by one thread.
//!
//! # How a call goes
//!
//! What changes something is done by the *writing clerk*: a thread that takes all that has been asked for in the meantime,
//! does it in one transaction, and answers when that is on the disk. So one wait for the disk serves many callers. What
//! only reads is done by the *reading clerk*, on a connection of its own: nobody who asks for a status waits behind a disk
//! that is being written, and whoever was told something reads it.
//!
//! # What is where
//!
//! `folder` is the place and its lock, `schema` the format and its versions, `clerk` the threads, `desk` what they work
//! with. The rest is SQL, by subject.

mod caching;
mod claiming;
mod clerk;
mod desk;
mod folder;
mod forgetting;
mod reading;
mod recording;
mod rolls;
mod schema;
mod submitting;
mod unheard;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use self::clerk::{Clerk, Kind, PATIENCE};
use self::desk::{Desk, Limits};
use self::unheard::Unheard;
use super::{
    Batch, Changes, Claims, Counts, NewJob, Page, Pending, Retried, Standing, Store, StoreError, StoreSettings,
    Submitted,
};
use crate::ids::JobId;
use crate::job::{Lease, Record, Status};

pub use folder::OpenError;

/// The store in a file of this machine.
#[derive(Debug)]
pub struct EmbeddedStore {
    writing: Clerk,
    reading: Clerk,
    changes: Changes,
    unheard: Unheard,
}

impl EmbeddedStore {
    /// Opens the store in this folder, which is created if it is not there. No other process can open it until this one
    /// ends, or [closes](Store::close) it.
    ///
    /// The process that had it before is gone, and with it whoever held a lease: a job whose worker never crashed before
    /// is taken over at once. For the others their lease has to run out, so that a process that ends again and again as
    /// soon as it starts does not use up the crashes of every job.
    pub async fn open(folder: &Path, settings: &StoreSettings) -> Result<Self, OpenError> {
        let changes = Changes::default();
        let (path, queue) = (folder.to_owned(), settings.queue.clone());
        let limits = Limits::new(settings);
        let writing = move || Desk::writing(&path, &queue, limits);
        let (writing, share) = Clerk::hire(Kind::Writing, writing, changes.clone()).await?;
        let (reading, _) = Clerk::hire(Kind::Reading, move || Desk::reading(share), changes.clone()).await?;
        Ok(Self { writing, reading, changes, unheard: Unheard::default() })
    }
}

impl Store for EmbeddedStore {
    fn ping(&self) -> Pending<'_, ()> {
        self.writing.ask(|desk| Ok(desk.bytes().map(drop)?))
    }

    fn put_body(&self, job: JobId, index: u32, piece: Bytes) -> Pending<'_, ()> {
        self.writing.ask_for_room(move |desk| rolls::put(desk, job, index, &piece))
    }

    fn submit(&self, job: NewJob) -> Pending<'_, Submitted> {
        self.writing.ask_for_room(move |desk| submitting::submit(desk, &job))
    }

    fn claim(&self, most: usize) -> Pending<'_, Claims> {
        Box::pin(async move {
            let left = self.unheard.leases();
            let (handed_back, unheard) = (left.clone(), self.unheard.clone());
            let claim = move |desk: &Desk| {
                claiming::hand_back(desk, &left)?;
                claiming::claim(desk, most)
            };
            let offer = self.writing.ask_and(claim, move |claims| unheard.offer(claims)).await?;
            self.unheard.strike_off(&handed_back);
            Ok(offer.accept())
        })
    }

    fn body(&self, job: JobId, index: u32) -> Pending<'_, Option<Bytes>> {
        self.reading.ask(move |desk| reading::body(desk, job, index))
    }

    fn renew(&self, leases: Vec<Lease>) -> Pending<'_, Vec<Lease>> {
        self.writing.ask(move |desk| claiming::renew(desk, &leases))
    }

    fn record(&self, lease: Lease, batch: Batch) -> Pending<'_, Standing> {
        if batch.head.is_none() && batch.data.is_empty() {
            return self.writing.ask(move |desk| recording::record(desk, lease, &batch));
        }
        self.writing.ask_for_room(move |desk| recording::record(desk, lease, &batch))
    }

    fn status(&self, job: JobId) -> Pending<'_, Option<Record>> {
        self.reading.ask(move |desk| reading::status(desk, job))
    }

    fn read(&self, job: JobId, from: u64, most: usize) -> Pending<'_, Option<Page>> {
        self.reading.ask(move |desk| reading::read(desk, job, from, most))
    }

    fn delete(&self, job: JobId) -> Pending<'_, bool> {
        self.writing.ask(move |desk| forgetting::delete(desk, job))
    }

    fn retry(&self, job: JobId) -> Pending<'_, Retried> {
        self.writing.ask(move |desk| submitting::retry(desk, job))
    }

    fn list(&self, status: Option<Status>, behind: Option<JobId>, most: usize) -> Pending<'_, Vec<Record>> {
        self.reading.ask(move |desk| reading::list(desk, status, behind, most))
    }

    fn counts(&self) -> Pending<'_, Counts> {
        self.reading.ask(reading::counts)
    }

    fn cached(&self, key: [u8; 32]) -> Pending<'_, Option<Bytes>> {
        self.reading.ask(move |desk| caching::cached(desk, key))
    }

    fn cache(&self, key: [u8; 32], entry: Bytes, ttl: Duration) -> Pending<'_, ()> {
        let kept = self.writing.ask_for_room(move |desk| caching::cache(desk, key, &entry, ttl));
        Box::pin(async move {
            match kept.await {
                Err(StoreError::Full) => Ok(()),
                kept => kept,
            }
        })
    }

    fn sweep(&self) -> Pending<'_, bool> {
        self.writing.ask(forgetting::sweep)
    }

    fn changes(&self) -> &Changes {
        &self.changes
    }

    fn close(&self) -> Pending<'_, ()> {
        let closed = async {
            let left = self.unheard.leases();
            if !left.is_empty() {
                // If that cannot be, their leases run out.
                let _ = self.writing.ask(move |desk| claiming::hand_back(desk, &left)).await;
            }
            // In this order: SQLite folds its log into the database when the last connection ends, if that may write.
            self.reading.dismiss().await;
            self.writing.dismiss().await;
        };
        Box::pin(async {
            let slow = |_| StoreError::Unavailable("the disk is slow".into());
            timeout(PATIENCE, closed).await.map_err(slow)
        })
    }
}
