//! The body of every answer, as hyper takes it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::summary::Summary;
use super::turn::Turn;
use crate::body::{BrokenOff, End, Report, Watched};
use crate::upstream::ResponseBody;

/// A body on its way out. Dropped by hyper with its last byte, it ends the exchange's turn.
pub(super) struct OutBody {
    content: Content,
    turn: Arc<Turn>,
}

enum Content {
    Own {
        /// None once hyper has taken it.
        body: Option<Bytes>,
        length: u64,
        summary: Summary,
    },
    Relayed {
        body: Watched<ResponseBody, Summary>,
        /// It broke off; told once what came before is with the client.
        broken: Option<BrokenOff>,
    },
}

impl OutBody {
    /// An answer of forebay's own.
    pub(super) fn own(body: Bytes, summary: Summary, turn: &Arc<Turn>) -> Self {
        let length = body.len() as u64;
        Self { content: Content::Own { body: Some(body), length, summary }, turn: Arc::clone(turn) }
    }

    /// The upstream's answer.
    pub(super) fn relayed(body: Watched<ResponseBody, Summary>, turn: &Arc<Turn>) -> Self {
        Self { content: Content::Relayed { body, broken: None }, turn: Arc::clone(turn) }
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        match &mut this.content {
            Content::Own { body, .. } => Poll::Ready(body.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Relayed { body, broken } => {
                if broken.is_none() {
                    match Pin::new(body).poll_frame(cx) {
                        Poll::Ready(Some(Err(error))) => *broken = Some(error),
                        other => return other,
                    }
                }
                // hyper would drop what it has not written yet, the head perhaps.
                if this.turn.is_flushed() { Poll::Ready(broken.map(Err)) } else { Poll::Pending }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Own { body, .. } => body.as_ref().is_none_or(Bytes::is_empty),
            Content::Relayed { body, broken } => broken.is_none() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Own { body, .. } => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Content::Relayed { body, .. } => body.size_hint(),
        }
    }
}

impl Drop for OutBody {
    fn drop(&mut self) {
        if let Content::Own { length, summary, .. } = &mut self.content {
            summary.ended(End::Complete, *length);
        }
        self.turn.answered();
    }
}
