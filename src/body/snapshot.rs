//! A request body that can be sent as often as needed.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{Beginning, Full, Held, Quota};
use crate::time::LazyDeadline;

/// A complete request body, its trailers included. Cloning it copies no byte, and two attempts can send it at the same
/// time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot(Option<Arc<Segments>>);

#[derive(Debug)]
struct Segments {
    list: Vec<Bytes>,
    length: u64,
    trailers: Option<HeaderMap>,
    _held: Held,
}

/// What became of the attempt to keep a body.
#[derive(Debug)]
pub enum Collected {
    /// All of it is kept.
    Whole(Snapshot),
    /// It is longer than the cap. What was read of it comes first, then what is left in the body.
    Over(Beginning),
}

/// What a body may cost until it is complete.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `MAX_REQUEST_BODY_BYTES`.
    pub max: u64,
    /// `CLIENT_BODY_TIMEOUT_SECONDS`: no progress for so long.
    pub progress: Duration,
}

/// Why there is no snapshot.
#[derive(Debug)]
pub enum CollectError<E> {
    /// The quota of all bodies is used up.
    Full,
    /// The client sent nothing for so long.
    Stalled(Duration),
    /// The body is malformed, or the client is gone.
    Broken(E),
}

impl<E> From<Full> for CollectError<E> {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// A chunk shorter than this is copied behind its neighbour: as a slice of its own it could keep a whole read buffer
/// alive, and memory would be what was sent times a thousand.
const COPY_BELOW: usize = 4096;

impl Snapshot {
    /// Reads a body to its end, or until it is longer than the cap. A body whose announced length is above the cap is
    /// not read at all.
    ///
    /// Not cancel-safe: dropping the future drops what was read, which is what should happen when the client is gone.
    pub async fn collect<B>(
        body: &mut B,
        limits: Limits,
        quota: &Arc<Quota>,
        clock: &mut LazyDeadline,
    ) -> Result<Collected, CollectError<B::Error>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if body.is_end_stream() {
            return Ok(Collected::Whole(Self::default()));
        }
        if body.size_hint().lower() > limits.max {
            return Ok(Collected::Over(Beginning::default()));
        }
        let mut body = Pin::new(body);
        let mut parts =
            Parts { list: Vec::new(), tail: BytesMut::new(), length: 0, trailers: None, held: quota.hold() };
        while let Some(frame) = next_frame(body.as_mut(), clock, limits.progress).await? {
            match frame.into_data() {
                Ok(chunk) if parts.length + chunk.len() as u64 > limits.max => {
                    return Ok(Collected::Over(parts.over(chunk)));
                }
                Ok(chunk) => parts.add(chunk)?,
                // Trailers end the body.
                Err(frame) => {
                    parts.trailers = frame.into_trailers().ok().filter(|trailers| !trailers.is_empty());
                    break;
                }
            }
        }
        Ok(Collected::Whole(parts.finish()))
    }

    /// A body that was kept elsewhere, in these pieces. `held` is its part of the quota.
    pub fn of(list: Vec<Bytes>, trailers: Option<HeaderMap>, held: Held) -> Self {
        let length = list.iter().map(|piece| piece.len() as u64).sum();
        if length == 0 && trailers.is_none() {
            return Self::default();
        }
        Self(Some(Arc::new(Segments { list, length, trailers, _held: held })))
    }

    /// The fields behind the body.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.0.as_ref().and_then(|segments| segments.trailers.as_ref())
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.0.as_ref().map_or(0, |segments| segments.length)
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes, in the pieces in which they lie.
    pub fn pieces(&self) -> &[Bytes] {
        self.0.as_ref().map_or(&[], |segments| &segments.list)
    }

    /// The body of one more attempt.
    pub fn replay(&self) -> Replay {
        let trailers = self.trailers().is_some();
        Replay { segments: self.0.clone(), next: 0, left: self.len(), trailers }
    }
}

/// The next frame of a body whose sender may be silent for `progress` at most. None is the end. Cancel-safe; `clock` is any
/// that nobody else uses meanwhile.
pub async fn next_frame<B: Body>(
    mut body: Pin<&mut B>,
    clock: &mut LazyDeadline,
    progress: Duration,
) -> Result<Option<Frame<B::Data>>, CollectError<B::Error>> {
    clock.clear();
    poll_fn(|cx| match body.as_mut().poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(frame.transpose().map_err(CollectError::Broken)),
        Poll::Pending => {
            if clock.at().is_none() {
                clock.set(Instant::now() + progress);
            }
            ready!(clock.poll(cx));
            Poll::Ready(Err(CollectError::Stalled(progress)))
        }
    })
    .await
}

/// A snapshot in the making.
struct Parts {
    list: Vec<Bytes>,
    tail: BytesMut,
    length: u64,
    trailers: Option<HeaderMap>,
    held: Held,
}

impl Parts {
    fn add(&mut self, chunk: Bytes) -> Result<(), Full> {
        self.held.grow(chunk.len())?;
        self.length += chunk.len() as u64;
        // The first chunk is taken as it is, however short: most bodies have no other.
        if chunk.len() < COPY_BELOW && !self.list.is_empty() {
            self.tail.extend_from_slice(&chunk);
        } else {
            self.flush_tail();
            self.list.push(chunk);
        }
        Ok(())
    }

    fn flush_tail(&mut self) {
        if !self.tail.is_empty() {
            self.list.push(self.tail.split().freeze());
        }
    }

    fn finish(mut self) -> Snapshot {
        self.flush_tail();
        Snapshot::of(self.list, self.trailers, self.held)
    }

    fn over(mut self, last: Bytes) -> Beginning {
        self.flush_tail();
        self.list.push(last);
        Beginning::new(self.list, self.held)
    }
}

/// A snapshot on its way to an upstream.
#[derive(Debug)]
pub struct Replay {
    segments: Option<Arc<Segments>>,
    next: usize,
    left: u64,
    /// Trailers are still to come.
    trailers: bool,
}

impl Body for Replay {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let segment = self.segments.as_ref().and_then(|segments| segments.list.get(self.next)).cloned();
        let Some(segment) = segment else {
            let trailers = std::mem::take(&mut self.trailers).then_some(self.segments.as_ref()).flatten();
            return Poll::Ready(trailers.and_then(|s| s.trailers.clone()).map(|fields| Ok(Frame::trailers(fields))));
        };
        self.next += 1;
        self.left -= segment.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(segment))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && !self.trailers
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full as FullBody, StreamBody, channel::Channel};
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { max: 1 << 20, progress: Duration::from_secs(30) };

    fn kept<E: std::fmt::Debug>(end: Result<Collected, CollectError<E>>) -> Snapshot {
        match end {
            Ok(Collected::Whole(snapshot)) => snapshot,
            other => panic!("{other:?}"),
        }
    }

    fn body_of(chunks: Vec<Vec<u8>>) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        StreamBody::new(tokio_stream_of(chunks.into_iter().map(|c| Ok(Frame::data(Bytes::from(c))))))
    }

    /// A stream from an iterator, without a further dependency.
    fn tokio_stream_of<I: Iterator + Unpin>(iterator: I) -> impl futures_core::Stream<Item = I::Item> {
        struct Iter<I>(I);
        impl<I: Iterator + Unpin> futures_core::Stream for Iter<I> {
            type Item = I::Item;
            fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
                Poll::Ready(self.0.next())
            }
        }
        Iter(iterator)
    }

    proptest! {
        /// However a body is cut into chunks, every replay is the same bytes, and the quota is charged for them once.
        #[test]
        fn replays_are_identical(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9000), 0..6)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let quota = Quota::new(1 << 20);
                let whole = chunks.concat();
                let snapshot = kept(Snapshot::collect(&mut body_of(chunks), LIMITS, &quota, &mut LazyDeadline::default()).await);
                prop_assert_eq!(quota.used(), whole.len());
                let copy = snapshot.clone();
                let (first, second) = tokio::join!(snapshot.replay().collect(), copy.replay().collect());
                prop_assert_eq!(first.unwrap().to_bytes(), &whole);
                prop_assert_eq!(second.unwrap().to_bytes(), &whole);
                prop_assert_eq!(&snapshot.pieces().concat(), &whole);
                prop_assert_eq!(snapshot.len(), whole.len() as u64);
                drop((snapshot, copy));
                prop_assert_eq!(quota.used(), 0);
                Ok(())
            })?;
        }
    }

    #[tokio::test]
    async fn a_declared_length_above_the_cap_is_noticed_before_a_byte_is_read() {
        let limits = Limits { max: 4, ..LIMITS };
        let end = Snapshot::collect(
            &mut FullBody::new(Bytes::from_static(b"12345")),
            limits,
            &Quota::new(100),
            &mut LazyDeadline::default(),
        )
        .await;
        assert!(matches!(end, Ok(Collected::Over(beginning)) if beginning.is_empty()));
    }

    #[tokio::test]
    async fn an_undeclared_length_above_the_cap_is_noticed_where_it_passes_it_and_nothing_is_lost() {
        let limits = Limits { max: 4, ..LIMITS };
        let quota = Quota::new(100);
        let mut body = body_of(vec![b"123".to_vec(), b"45".to_vec(), b"6".to_vec()]);
        let Ok(Collected::Over(mut beginning)) =
            Snapshot::collect(&mut body, limits, &quota, &mut LazyDeadline::default()).await
        else {
            panic!()
        };
        assert_eq!(quota.used(), 3);
        let read: Vec<Bytes> = std::iter::from_fn(|| beginning.next()).collect();
        assert_eq!(read.concat(), b"12345");
        assert_eq!(quota.used(), 0, "what was passed on is still held");
        assert_eq!(body.collect().await.unwrap().to_bytes(), "6");
    }

    #[tokio::test]
    async fn trailers_are_kept_and_sent_behind_every_replay() {
        let fields = HeaderMap::from_iter([(http::header::ETAG, http::HeaderValue::from_static("x"))]);
        let with = fields.clone();
        for data in [Some(Bytes::from_static(b"12")), None] {
            let frames = data.clone().map(Frame::data).into_iter().chain([Frame::trailers(with.clone())]);
            let mut body = StreamBody::new(tokio_stream_of(frames.map(Ok::<_, Infallible>)));
            let snapshot =
                kept(Snapshot::collect(&mut body, LIMITS, &Quota::new(100), &mut LazyDeadline::default()).await);
            for _ in 0..2 {
                let replay = snapshot.replay();
                assert!(!replay.is_end_stream());
                let sent = replay.collect().await.unwrap();
                assert_eq!(sent.trailers(), Some(&fields));
                assert_eq!(sent.to_bytes(), data.clone().unwrap_or_default());
            }
        }
    }

    #[tokio::test]
    async fn a_full_quota_is_an_error_and_what_was_held_is_given_back() {
        let quota = Quota::new(4);
        let end = Snapshot::collect(
            &mut body_of(vec![b"123".to_vec(), b"45".to_vec()]),
            LIMITS,
            &quota,
            &mut LazyDeadline::default(),
        )
        .await;
        assert!(matches!(end, Err(CollectError::Full)));
        assert_eq!(quota.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn progress_restarts_the_clock_and_its_absence_ends_the_wait() {
        let (mut sender, mut body) = Channel::<Bytes>::new(1);
        let quota = Quota::new(100);
        let start = Instant::now();
        let client = async move {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                sender.send_data(Bytes::from_static(b"x")).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let mut clock = LazyDeadline::default();
        tokio::select! {
            end = Snapshot::collect(&mut body, LIMITS, &quota, &mut clock) => assert!(matches!(end, Err(CollectError::Stalled(_)))),
            () = client => {}
        }
        assert_eq!(start.elapsed().as_secs(), 90);
    }
}
