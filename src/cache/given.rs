//! The body of an answer that the cache had a part in.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::entry::Entry;
use super::flight::{Seat, Told};

/// A body that was asked for by somebody else before: kept, or still coming.
pub struct Given(Source);

enum Source {
    Kept(Replay),
    Live { seat: Seat, is_over: bool },
}

/// An entry on its way out.
struct Replay {
    entry: Arc<Entry>,
    /// The next byte.
    at: usize,
    /// The trailers are still to come.
    trailers: bool,
}

/// How much of an entry goes out at once: what a client has been given is counted in pieces of this.
const PIECE: usize = 64 << 10;

/// The body of an answer to a miss: the upstream's own, or a share in what is told to several.
pub enum AnswerBody<B> {
    /// Nobody else reads it.
    Own(B),
    /// It is kept, and others may read it too.
    Shared(Given),
}

/// The upstream's answer broke off, for all who read it; or one who reads was so slow that the others could not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenOff;

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shared answer broke off")
    }
}

impl Error for BrokenOff {}

impl Given {
    pub(super) fn kept(entry: Arc<Entry>) -> Self {
        let trailers = !entry.trailers.is_empty();
        Self(Source::Kept(Replay { entry, at: 0, trailers }))
    }

    pub(super) fn live(seat: Seat) -> Self {
        Self(Source::Live { seat, is_over: false })
    }
}

impl Body for Given {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        Poll::Ready(match &mut self.get_mut().0 {
            Source::Kept(replay) => replay.next_frame().map(Ok),
            Source::Live { is_over: true, .. } => None,
            Source::Live { seat, is_over } => match ready!(seat.poll_told(cx)) {
                Told::Data(data) => Some(Ok(Frame::data(data))),
                Told::Complete(trailers) => {
                    *is_over = true;
                    trailers.map(|trailers| Ok(Frame::trailers(trailers)))
                }
                Told::Broken => {
                    *is_over = true;
                    Some(Err(BrokenOff))
                }
            },
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Kept(replay) => replay.left() == 0 && !replay.trailers,
            Source::Live { seat, is_over } => *is_over || seat.rest().1,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let exact = match &self.0 {
            // With a length HTTP/1.1 has no place for trailers.
            Source::Kept(replay) => (!replay.trailers).then_some(replay.left() as u64),
            Source::Live { is_over: true, .. } => Some(0),
            Source::Live { seat, .. } => seat.rest().0,
        };
        exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Replay {
    fn left(&self) -> usize {
        self.entry.body.len() - self.at
    }

    fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        let length = self.left().min(PIECE);
        if length > 0 {
            let piece = self.entry.body.slice(self.at..self.at + length);
            self.at += length;
            return Some(Frame::data(piece));
        }
        std::mem::take(&mut self.trailers).then(|| Frame::trailers(self.entry.trailers.clone()))
    }
}

impl<B> From<Given> for AnswerBody<B> {
    fn from(given: Given) -> Self {
        Self::Shared(given)
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Shared(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Shared(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Shared(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("is_end_stream", &self.is_end_stream()).finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for AnswerBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(_) => f.write_str("Own"),
            Self::Shared(given) => given.fmt(f),
        }
    }
}
