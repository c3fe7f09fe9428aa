//! An exchange as hyper runs it on a stream, and the body of its answer.
//!
//! hyper gives each stream a task, and the task has room for whichever of the two is larger. Both are small: what an
//! exchange needs until its answer has a head is in a box that goes with it, and what is behind the head is in the stream.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::streams::Stream;
use crate::body::BrokenOff;
use crate::edge::outgoing::OutBody;

type Exchange = Pin<Box<dyn Future<Output = Result<Response<OutBody>, Infallible>> + Send>>;

/// An exchange until its answer begins.
pub(super) struct Answering {
    exchange: Exchange,
    stream: Arc<Stream>,
}

impl Answering {
    /// An exchange that answers on this stream.
    pub(super) fn new(exchange: Exchange, stream: Arc<Stream>) -> Self {
        Self { exchange, stream }
    }
}

impl Future for Answering {
    type Output = Result<Response<StreamBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let body = StreamBody(Arc::clone(&self.stream));
        self.exchange.as_mut().poll(cx).map_ok(|answer| answer.map(|_| body))
    }
}

/// The body of an answer, which is in its stream.
pub(in crate::edge) struct StreamBody(pub(in crate::edge) Arc<Stream>);

impl Body for StreamBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        self.0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
