//! Writes the response of one execution into the store while it comes.

use std::collections::VecDeque;
use std::error::Error;
use std::future::poll_fn;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::{Instant, sleep_until};

use crate::job::{Lease, StoredEnd, StoredHead};
use crate::store::{Batch, PIECE, Settle, Standing, Store, StoreError};

/// How long bytes may wait for others to be written with them. The next byte is never waited for.
const GATHER: Duration = Duration::from_millis(2);
/// The pause before a write is sent again that the store did not answer.
const AGAIN: Duration = Duration::from_millis(250);
/// What is held of a response at most while the store is slow: then its upstream has to wait.
const WINDOW: usize = 4 * PIECE;

/// Why a response was not recorded to its end. What was written of it stays until the job is settled.
#[derive(Debug)]
pub enum Unwritten {
    /// Its body broke off.
    Broken(Box<dyn Error + Send + Sync>),
    /// It is larger than it may be.
    TooLarge,
    /// The store has no room for it.
    Full,
    /// The job is gone, or another executes it now: nothing can be written any more.
    Lost,
}

/// Writes one recording.
#[derive(Debug)]
pub struct Writer {
    store: Arc<dyn Store>,
    lease: Lease,
    /// Not written yet.
    head: Option<Bytes>,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Written, and so the place of what is written next.
    at: u64,
    /// What the body may come to.
    most: u64,
}

impl Writer {
    /// A recording of a response with this head, of up to `most` bytes.
    pub fn new(store: Arc<dyn Store>, lease: Lease, head: &StoredHead, most: u64) -> Self {
        let head = Some(Bytes::from(head.encode()));
        Self { store, lease, head, waiting: VecDeque::new(), waiting_bytes: 0, at: 0, most }
    }

    /// Records a body to its end and completes the job with it. A write that the store does not answer is sent again until
    /// it does: that the lease is lost meanwhile is for the caller to notice, who drops the future then.
    ///
    /// Dropping the future ends the response; what was written stays until the job is settled.
    pub async fn write<B>(mut self, mut body: B, retention: Duration) -> Result<(), Unwritten>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
    {
        let mut trailers = HeaderMap::new();
        let mut is_over = body.is_end_stream();
        while !is_over {
            // What is there by now goes into one write.
            let gathered = Instant::now() + GATHER;
            is_over = self.gather(&mut body, &mut trailers, gathered).await?;
            if is_over {
                break;
            }
            is_over = self.write_and_read(&mut body, &mut trailers).await?;
        }
        let end = StoredEnd { trailers };
        let settle = Settle::Completed { end: end.encode().into(), retention };
        let mut last = self.batch();
        last.settle = Some(settle);
        self.put(last).await
    }

    /// Reads on for a moment, or until there is enough. True = the body has ended.
    async fn gather<B>(&mut self, body: &mut B, trailers: &mut HeaderMap, until: Instant) -> Result<bool, Unwritten>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
    {
        let mut pause = pin!(sleep_until(until));
        while self.waiting_bytes < PIECE {
            let frame = tokio::select! {
                biased;
                frame = next(body) => frame,
                // The first byte is waited for, unless the head has to go out.
                () = pause.as_mut(), if self.head.is_some() || self.waiting_bytes > 0 => return Ok(false),
            };
            if self.waiting_bytes == 0 && self.head.is_none() {
                pause.as_mut().reset(Instant::now() + GATHER);
            }
            if self.take(frame, trailers)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes what waits, and goes on reading meanwhile as far as the window allows. True = the body has ended.
    async fn write_and_read<B>(&mut self, body: &mut B, trailers: &mut HeaderMap) -> Result<bool, Unwritten>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
    {
        let batch = self.batch();
        let written = put(Arc::clone(&self.store), self.lease, batch);
        let mut written = pin!(written);
        let mut is_over = false;
        loop {
            tokio::select! {
                biased;
                result = written.as_mut() => return result.map(|()| is_over),
                frame = next(body), if !is_over && self.waiting_bytes < WINDOW => is_over = self.take(frame, trailers)?,
            }
        }
    }

    /// Takes what came of the body. True = it was the end.
    fn take<E>(&mut self, frame: Option<Result<Frame<Bytes>, E>>, trailers: &mut HeaderMap) -> Result<bool, Unwritten>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let Some(frame) = frame else { return Ok(true) };
        match frame.map_err(|error| Unwritten::Broken(error.into()))?.into_data() {
            Ok(data) => {
                self.waiting_bytes += data.len();
                if self.at + self.waiting_bytes as u64 > self.most {
                    return Err(Unwritten::TooLarge);
                }
                if !data.is_empty() {
                    self.waiting.push_back(data);
                }
                Ok(false)
            }
            Err(frame) => {
                *trailers = frame.into_trailers().unwrap_or_default();
                Ok(true)
            }
        }
    }

    /// All that waits, as one write. It has its place from here on.
    fn batch(&mut self) -> Batch {
        let data: Vec<Bytes> = mem::take(&mut self.waiting).into();
        let at = self.at;
        self.at += mem::take(&mut self.waiting_bytes) as u64;
        Batch { head: self.head.take(), at, data, settle: None }
    }

    async fn put(&self, batch: Batch) -> Result<(), Unwritten> {
        put(Arc::clone(&self.store), self.lease, batch).await
    }
}

/// Writes a batch, again and again until the store answers.
async fn put(store: Arc<dyn Store>, lease: Lease, batch: Batch) -> Result<(), Unwritten> {
    loop {
        match store.record(lease, batch.clone()).await {
            Ok(Standing::Held) => return Ok(()),
            Ok(Standing::Lost) => return Err(Unwritten::Lost),
            Err(StoreError::Full | StoreError::TooDeep) => return Err(Unwritten::Full),
            Err(StoreError::Unavailable(why)) => {
                tracing::debug!(job = %lease.job, %why, "a recording waits for the store");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn next<B: Body + Unpin>(body: &mut B) -> Option<Result<Frame<B::Data>, B::Error>> {
    poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
}
