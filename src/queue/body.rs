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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::{HeaderName, HeaderValue};
    use http_body_util::BodyExt;

    use super::*;
    use crate::store::single::Single;

    /// A body that was put in pieces; the last one is short.
    async fn put(store: &Arc<dyn Store>, job: JobId, count: u32) -> NewBody {
        for index in 0..count {
            let length = if index + 1 == count { 5 } else { PIECE };
            store.put_body(job, index, vec![u8::try_from(index).unwrap(); length].into()).await.unwrap();
        }
        NewBody::Pieces { count, length: u64::from(count - 1) * PIECE as u64 + 5 }
    }

    async fn sent(payload: &Payload) -> Result<(u64, usize), ()> {
        let (mut length, mut trailers) = (0, 0);
        match payload {
            Payload::Kept(snapshot) => {
                let all = snapshot.replay().collect().await.unwrap();
                trailers = all.trailers().map_or(0, HeaderMap::len);
                length = all.to_bytes().len() as u64;
            }
            Payload::Passing(passing) => {
                while let Some(frame) = poll_fn(|cx| passing.poll_frame(cx)).await {
                    match frame.map_err(|_| ())?.into_data() {
                        Ok(data) => length += data.len() as u64,
                        Err(frame) => trailers = frame.into_trailers().unwrap().len(),
                    }
                }
            }
        }
        Ok((length, trailers))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_there_however_often_the_store_is_away_meanwhile() {
        let single = Single::new();
        let (store, job) = (Arc::clone(&single) as Arc<dyn Store>, single.lease().job);
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("1"))]);
        for (count, is_kept) in [(2, true), (8, false)] {
            let body = put(&store, job, count).await;
            let NewBody::Pieces { length, .. } = body else { panic!() };
            single.is_away_for(300);
            let kept = load(&store, &Quota::new(1 << 30), job, body, &trailers, 0).await.unwrap();
            assert_eq!(matches!(kept.payload, Payload::Kept(_)), is_kept);
            assert_eq!(sent(&kept.payload).await, Ok((length, 1)));
            assert!(!kept.is_lost.load(Relaxed));
        }
    }

    #[tokio::test]
    async fn a_body_of_which_a_piece_is_gone_is_lost() {
        let single = Single::new();
        let (store, job) = (Arc::clone(&single) as Arc<dyn Store>, single.lease().job);
        let quota = Quota::new(1 << 30);
        put(&store, job, 2).await;
        let small = NewBody::Pieces { count: 3, length: 2 * PIECE as u64 };
        assert!(load(&store, &quota, job, small, &HeaderMap::new(), 0).await.is_err());
        let large = NewBody::Pieces { count: 9, length: 8 * PIECE as u64 };
        let kept = load(&store, &quota, job, large, &HeaderMap::new(), 0).await.unwrap();
        assert_eq!(sent(&kept.payload).await, Err(()));
        assert!(kept.is_lost.load(Relaxed));
    }
}
