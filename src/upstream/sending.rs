//! A request body on its way to an upstream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::wire::Gauge;
use crate::body::{ClientFault, Passing, Payload, Replay};

/// A request body on its way, which tells when it has ended and stops when nobody wants it any more.
pub(super) struct SendBody {
    source: Source,
    gauge: Arc<Gauge>,
}

enum Source {
    Kept(Replay),
    Passing(Passing),
}

impl SendBody {
    pub(super) fn new(payload: &Payload, gauge: &Arc<Gauge>) -> Self {
        let source = match payload {
            Payload::Kept(snapshot) => Source::Kept(snapshot.replay()),
            Payload::Passing(passing) => Source::Passing(passing.clone()),
        };
        Self { source, gauge: Arc::clone(gauge) }
    }
}

impl Source {
    fn has_ended(&self) -> bool {
        match self {
            Self::Kept(replay) => replay.is_end_stream(),
            Self::Passing(passing) => passing.has_ended(),
        }
    }
}

impl Body for SendBody {
    type Data = Bytes;
    type Error = ClientFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        if self.gauge.is_retired() {
            // Nobody wakes it: the connection is closed when the response ends.
            return Poll::Pending;
        }
        let frame = match &mut self.source {
            Source::Kept(replay) => Pin::new(replay).poll_frame(cx).map_err(|never| match never {}),
            Source::Passing(passing) => passing.poll_frame(cx),
        };
        if self.source.has_ended() {
            self.gauge.body_ended();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.source.has_ended();
        if ended {
            self.gauge.body_ended();
        }
        ended
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Kept(replay) => replay.size_hint(),
            Source::Passing(passing) => passing.length().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
