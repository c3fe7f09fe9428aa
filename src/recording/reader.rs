//! Reads a recording, and follows it while it is being written.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::timeout;

use crate::ids::{ExecutionNo, JobId};
use crate::job::{Status, StoredEnd};
use crate::store::{PIECE, Page, Store, StoreError, Topic, Watch};

/// News can be lost: so often is looked all the same.
const LOOK: Duration = Duration::from_secs(1);
/// A store that does not answer for so many looks is given up.
const PATIENCE: u32 = 20;

/// Why the rest of a recording cannot be read.
#[derive(Debug)]
pub enum Unread {
    /// The job is gone, runs again, or has failed: there is no rest.
    Over,
    /// The store does not answer.
    Store(StoreError),
    /// What it gives is not what was stored.
    Damaged,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over => f.write_str("the recording ended before its end"),
            Self::Store(error) => error.fmt(f),
            Self::Damaged => f.write_str("the recording is damaged"),
        }
    }
}

impl std::error::Error for Unread {}

/// The body of a recorded response, from some byte on. It ends with the recording; where that ends before its end, with an
/// error.
pub struct Reader {
    store: Arc<dyn Store>,
    job: JobId,
    execution: ExecutionNo,
    /// The next byte that is asked for.
    at: u64,
    /// What was recorded in all when it was asked last.
    recorded: u64,
    waiting: VecDeque<Bytes>,
    /// The bytes that are left to give, once the length is known.
    left: Option<u64>,
    end: Option<StoredEnd>,
    looking: Option<Looking>,
    is_over: bool,
}

type Looking = Pin<Box<dyn Future<Output = (Watch, Result<Page, Unread>)> + Send>>;

impl Reader {
    /// The body behind the page that was read first, which begins at `from`.
    pub fn new(store: Arc<dyn Store>, from: u64, page: Page) -> Result<Self, Unread> {
        let (job, execution) = (page.record.id, page.execution());
        let mut reader = Self {
            store,
            job,
            execution,
            at: from,
            recorded: 0,
            waiting: VecDeque::new(),
            left: None,
            end: None,
            looking: None,
            is_over: false,
        };
        reader.take(page)?;
        Ok(reader)
    }

    fn take(&mut self, page: Page) -> Result<(), Unread> {
        let is_same = page.execution() == self.execution && page.head.is_some();
        if !is_same || page.record.status == Status::Failed {
            return Err(Unread::Over);
        }
        if let Some(end) = page.end {
            self.end = Some(StoredEnd::decode(&end).map_err(|_| Unread::Damaged)?);
            self.left = Some(page.length.saturating_sub(self.at) + self.waiting_bytes());
        }
        self.recorded = page.length;
        for data in page.data {
            self.at += data.len() as u64;
            self.waiting.push_back(data);
        }
        Ok(())
    }

    fn waiting_bytes(&self) -> u64 {
        self.waiting.iter().map(|data| data.len() as u64).sum()
    }

    /// Asks for what comes next: at once as long as more is recorded than was read, and then when there is news.
    fn look(&mut self, watch: Option<Watch>) {
        let (store, job, at) = (Arc::clone(&self.store), self.job, self.at);
        let is_behind = self.end.is_some() || at < self.recorded;
        self.looking = Some(Box::pin(async move {
            let (mut watch, mut waits) = match watch {
                Some(watch) => (watch, !is_behind),
                // What came before it was watched is asked for at once.
                None => (store.changes().watch(Topic::Job(job)), false),
            };
            let mut failures = 0;
            loop {
                if waits {
                    let _ = timeout(LOOK, watch.changed()).await;
                }
                waits = true;
                let page = match store.read(job, at, PIECE).await {
                    Ok(Some(page)) => page,
                    Ok(None) => return (watch, Err(Unread::Over)),
                    Err(error) if failures < PATIENCE => {
                        tracing::debug!(%job, %error, "a reader waits for the store");
                        failures += 1;
                        continue;
                    }
                    Err(error) => return (watch, Err(Unread::Store(error))),
                };
                failures = 0;
                let is_news = !page.data.is_empty() || page.end.is_some() || page.record.status.is_final();
                if is_news || page.head.is_none() {
                    return (watch, Ok(page));
                }
            }
        }));
    }

    fn is_read(&self) -> bool {
        self.left == Some(0)
    }

    fn has_trailers(&self) -> bool {
        self.end.as_ref().is_some_and(|end| !end.trailers.is_empty())
    }
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Unread;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Unread>>> {
        let this = &mut *self;
        loop {
            if this.is_over {
                return Poll::Ready(None);
            }
            if let Some(data) = this.waiting.pop_front() {
                this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if this.is_read() {
                this.is_over = true;
                let trailers = this.end.take().map(|end| end.trailers).filter(|trailers| !trailers.is_empty());
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            let Some(looking) = &mut this.looking else {
                this.look(None);
                continue;
            };
            let (watch, page) = ready!(looking.as_mut().poll(cx));
            this.looking = None;
            let before = this.at;
            if let Err(error) = page.and_then(|page| this.take(page)) {
                this.is_over = true;
                return Poll::Ready(Some(Err(error)));
            }
            if this.end.is_some() && this.at == before && !this.is_read() {
                // It is complete, and the store gives nothing of what is left.
                this.is_over = true;
                return Poll::Ready(Some(Err(Unread::Damaged)));
            }
            if !this.is_read() || !this.waiting.is_empty() {
                this.look(Some(watch));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || (self.is_read() && self.waiting.is_empty() && !self.has_trailers())
    }

    fn size_hint(&self) -> SizeHint {
        // With trailers it goes out in chunks: a length would leave no place for them.
        match self.left {
            Some(left) if !self.has_trailers() => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("job", &self.job).field("at", &self.at).finish_non_exhaustive()
    }
}
