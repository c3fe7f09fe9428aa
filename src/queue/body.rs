//! The request body of a job, on its way from the store to the upstream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::sleep;

use crate::body::{Beginning, Held, Passing, Payload, Quota, Snapshot};
use crate::ids::JobId;
use crate::store::{NewBody, PIECE, Store};

/// A body up to this size is held in memory, so that a stale connection can be replaced. A larger one is read from the store
/// as the upstream takes it.
const KEEP: u64 = 1 << 20;
/// The pause before a piece is asked for again that the store did not give.
const AGAIN: Duration = Duration::from_millis(250);
/// The store may take so long for a piece: whoever executes the job has less patience.
const PROGRESS: Duration = Duration::from_secs(24 * 3600);

/// A piece of a body is gone: the job is lost.
#[derive(Debug)]
pub(super) struct Gone;

/// A body as an attempt sends it.
pub(super) struct Kept {
    pub(super) payload: Payload,
    /// Set when a piece turns out to be gone while it is being sent.
    pub(super) is_lost: Arc<AtomicBool>,
}

/// What is there of a job's body. That the store does not answer is waited out: the job has been accepted, and its request is
/// no less valid. How long, is for whoever keeps the lease and the job's time, and drops the future then. Cancel-safe.
pub(super) async fn load(
    store: &Arc<dyn Store>,
    quota: &Arc<Quota>,
    job: JobId,
    body: NewBody,
    trailers: &HeaderMap,
    keep: u64,
) -> Result<Kept, Gone> {
    let is_lost = Arc::new(AtomicBool::new(false));
    let fields = Some(trailers.clone()).filter(|trailers| !trailers.is_empty());
    let mut held = quota.hold();
    let payload = match body {
        NewBody::Inline(bytes) => Payload::Kept(Snapshot::of(vec![bytes], fields, held)),
        NewBody::Pieces { count, length } if length <= keep.max(KEEP) && grow(&mut held, length) => {
            let mut pieces = Vec::new();
            for index in 0..count {
                pieces.push(piece(store, job, index).await.ok_or(Gone)?);
            }
            Payload::Kept(Snapshot::of(pieces, fields, held))
        }
        NewBody::Pieces { count, length } => {
            let stored = Stored {
                store: Arc::clone(store),
                job,
                next: 0,
                count,
                left: length,
                reading: None,
                trailers: fields,
                is_lost: Arc::clone(&is_lost),
            };
            Payload::Passing(Passing::new(Beginning::default(), stored, PROGRESS))
        }
    };
    Ok(Kept { payload, is_lost })
}

fn grow(held: &mut Held, length: u64) -> bool {
    usize::try_from(length).is_ok_and(|length| held.grow(length).is_ok())
}

/// A piece of it, asked for until the store answers. None = it is not there.
async fn piece(store: &Arc<dyn Store>, job: JobId, index: u32) -> Option<Bytes> {
    loop {
        match store.body(job, index).await {
            Ok(piece) => return piece,
            Err(error) => {
                tracing::debug!(%job, %error, "a request body waits for the store");
                sleep(AGAIN).await;
            }
        }
    }
}

/// A body that is read from the store piece by piece.
struct Stored {
    store: Arc<dyn Store>,
    job: JobId,
    next: u32,
    count: u32,
    left: u64,
    reading: Option<Reading>,
    trailers: Option<HeaderMap>,
    is_lost: Arc<AtomicBool>,
}

type Reading = Pin<Box<dyn Future<Output = Option<Bytes>> + Send>>;

impl Body for Stored {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.next == this.count {
            return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let reading = this.reading.get_or_insert_with(|| {
            let (store, job, index) = (Arc::clone(&this.store), this.job, this.next);
            Box::pin(async move { piece(&store, job, index).await })
        });
        let piece = ready!(reading.as_mut().poll(cx));
        this.reading = None;
        match piece {
            Some(piece) if piece.len() as u64 <= this.left && piece.len() <= PIECE => {
                this.next += 1;
                this.left -= piece.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            _ => {
                this.is_lost.store(true, Relaxed);
                Poll::Ready(Some(Err(io::Error::other("a piece of the request body is gone"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next == self.count && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // With trailers it goes out in chunks: a length would leave no place for them.
        if self.trailers.is_some() { SizeHint::default() } else { SizeHint::with_exact(self.left) }
    }
}
