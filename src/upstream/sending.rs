//! A request body on its way to an upstream.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::wire::Gauge;
use crate::body::Replay;

/// A request body on its way, which tells when it has ended and stops when nobody wants it any more.
pub(super) struct SendBody {
    replay: Replay,
    gauge: Arc<Gauge>,
}

impl SendBody {
    pub(super) fn new(replay: Replay, gauge: &Arc<Gauge>) -> Self {
        Self { replay, gauge: Arc::clone(gauge) }
    }
}

impl Body for SendBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.gauge.is_retired() {
            // Nobody wakes it: the connection is closed when the response ends.
            return Poll::Pending;
        }
        let frame = Pin::new(&mut self.replay).poll_frame(cx);
        if self.replay.is_end_stream() {
            self.gauge.body_ended();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.replay.is_end_stream();
        if ended {
            self.gauge.body_ended();
        }
        ended
    }

    fn size_hint(&self) -> SizeHint {
        self.replay.size_hint()
    }
}
