//! The body of every answer, as hyper takes it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::http1::Turn;
use super::http2::{Stream, StreamBody};
use super::summary::Summary;
use crate::body::{BrokenOff, End, Report, Watched};
use crate::cache::AnswerBody;
use crate::recording::Reader;
use crate::time::LazyDeadline;
use crate::upstream::ResponseBody;

/// What carries an exchange: its turn on an HTTP/1 connection, or its stream on an HTTP/2 one.
#[derive(Clone)]
pub(super) enum Carrier {
    Http1(Arc<Turn>),
    Http2(Arc<Stream>),
}

impl Carrier {
    pub(super) fn is_http1(&self) -> bool {
        matches!(self, Self::Http1(_))
    }

    /// Whether it is not clear where the request ends.
    pub(super) fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Http1(turn) if turn.is_ambiguous())
    }

    /// What belongs to the head of the request besides what hyper has parsed.
    pub(super) fn take_fields(&self) -> Option<Box<HeaderMap>> {
        match self {
            Self::Http1(turn) => turn.take_fields(),
            Self::Http2(_) => None,
        }
    }

    /// A timer for the exchange. On HTTP/1 it is the connection's, so that an exchange need not register one.
    pub(super) fn take_timer(&self) -> LazyDeadline {
        match self {
            Self::Http1(turn) => turn.take_timer(),
            Self::Http2(_) => LazyDeadline::default(),
        }
    }

    /// A body on its way out.
    pub(super) fn send(&self, content: Content) -> OutBody {
        match self {
            Self::Http1(turn) => OutBody::Http1 { content, broken: None, turn: Arc::clone(turn) },
            Self::Http2(stream) => {
                stream.answer(content);
                OutBody::Http2(StreamBody(Arc::clone(stream)))
            }
        }
    }
}

/// What an answer's body is made of.
pub(super) enum Content {
    /// An answer of forebay's own.
    Own {
        /// None once hyper has taken it.
        body: Option<Bytes>,
        length: u64,
        summary: Summary,
    },
    /// The upstream's answer.
    Relayed(Watched<ResponseBody, Summary>),
    /// The upstream's answer, as it was recorded. In a box: it is rare, and large.
    Recorded(Box<Watched<Reader, Summary>>),
    /// The upstream's answer, in which the cache had a part. In a box, as above.
    Shared(Box<Watched<AnswerBody<ResponseBody>, Summary>>),
    /// The tunnel begins here.
    Switched,
}

impl Content {
    /// An answer of forebay's own.
    pub(super) fn own(body: Bytes, summary: Summary) -> Self {
        Self::Own { length: body.len() as u64, body: Some(body), summary }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Own { body, .. } => Poll::Ready(body.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(body) => Pin::new(body).poll_frame(cx),
            Self::Recorded(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::Shared(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::Switched => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own { body, .. } => body.as_ref().is_none_or(Bytes::is_empty),
            Self::Relayed(body) => body.is_end_stream(),
            Self::Recorded(body) => body.is_end_stream(),
            Self::Shared(body) => body.is_end_stream(),
            Self::Switched => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own { body, .. } => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Self::Relayed(body) => body.size_hint(),
            Self::Recorded(body) => body.size_hint(),
            Self::Shared(body) => body.size_hint(),
            Self::Switched => SizeHint::with_exact(0),
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        if let Self::Own { length, summary, .. } = self {
            summary.ended(End::Complete, *length);
        }
    }
}

/// A body on its way out. On HTTP/1, dropped by hyper with its last byte, it ends the exchange's turn.
#[expect(clippy::large_enum_variant, reason = "a box would be one more allocation for every answer on HTTP/1")]
pub(super) enum OutBody {
    Http1 {
        content: Content,
        /// It broke off; told once what came before is with the client.
        broken: Option<BrokenOff>,
        turn: Arc<Turn>,
    },
    Http2(StreamBody),
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        match self.get_mut() {
            Self::Http1 { content, broken, turn } => {
                if broken.is_none() {
                    match Pin::new(content).poll_frame(cx) {
                        Poll::Ready(Some(Err(error))) => *broken = Some(error),
                        other => return other,
                    }
                }
                // hyper would drop what it has not written yet, the head perhaps.
                if turn.is_flushed() { Poll::Ready(broken.map(Err)) } else { Poll::Pending }
            }
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1 { content, broken, .. } => broken.is_none() && content.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1 { content, .. } => content.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

impl Drop for OutBody {
    fn drop(&mut self) {
        if let Self::Http1 { content, turn, .. } = self {
            if let Content::Relayed(body) = content {
                turn.keep_timer(body.take_timer());
            }
            turn.answered();
        }
    }
}
