//! A request body on its way to an upstream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::wire::Gauge;
use crate::body::{ClientFault, Passing, Payload, Replay};
use crate::headers::trailers;

/// A request body on its way, which tells when it has ended and stops when nobody wants it any more.
pub(super) struct SendBody {
    source: Source,
    /// Bytes still to come, where the head announces a length. hyper asks for no more once it has them, and the source may
    /// not know yet that it has ended.
    left: Option<u64>,
    gauge: Arc<Gauge>,
}

enum Source {
    Kept(Replay),
    Passing(Passing),
}

impl SendBody {
    /// The body of a request whose head announces so many bytes.
    pub(super) fn new(payload: &Payload, length: Option<u64>, gauge: &Arc<Gauge>) -> Self {
        let source = match payload {
            Payload::Kept(snapshot) => Source::Kept(snapshot.replay()),
            Payload::Passing(passing) => Source::Passing(passing.clone()),
        };
        Self { source, left: length, gauge: Arc::clone(gauge) }
    }

    fn has_ended(&self) -> bool {
        self.source.has_ended() || self.left == Some(0)
    }

    fn follow(&mut self, frame: &Frame<Bytes>) {
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            *left = left.saturating_sub(data.len() as u64);
        }
        if frame.is_trailers() || self.has_ended() {
            self.gauge.body_ended();
        }
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

/// Trailers without what may not stand there; data as it is.
pub(super) fn without_forbidden_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            trailers::strip(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(data) => data,
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
        let Poll::Ready(frame) = frame else {
            self.gauge.body_waits();
            return Poll::Pending;
        };
        self.gauge.body_goes_on();
        match &frame {
            Some(Ok(frame)) => self.follow(frame),
            Some(Err(_)) => {}
            None => self.gauge.body_ended(),
        }
        Poll::Ready(frame.map(|result| result.map(without_forbidden_trailers)))
    }

    fn is_end_stream(&self) -> bool {
        let ended = self.has_ended();
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
