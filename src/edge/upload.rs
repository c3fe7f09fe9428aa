//! A request's body, and what becomes of the rest when nobody reads it to its end.
//!
//! On HTTP/1 the connection reads and drops what still comes behind an early answer. On HTTP/2 hyper would reset the stream
//! together with the answer's last byte, as RFC 9113 §8.1 allows; curl, undici and httpx then lose the answer. So the rest
//! is left to the stream, which reads it while the answer goes out.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::http2::Stream;
use super::outgoing::Carrier;
use crate::hearing;

/// The body of a request. Dropped before its end, it leaves the rest to its stream.
pub(super) struct Upload {
    /// None once it is being dropped.
    incoming: Option<Incoming>,
    stream: Weak<Stream>,
}

impl Upload {
    pub(super) fn new(incoming: Incoming, carrier: &Carrier) -> Self {
        let stream = match carrier {
            Carrier::Http1(_) => Weak::new(),
            Carrier::Http2(stream) => Arc::downgrade(stream),
        };
        Self { incoming: Some(incoming), stream }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.incoming.as_mut().map_or(Poll::Ready(None), |incoming| hearing::poll_frame(Pin::new(incoming), cx))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(incoming), Some(stream)) = (self.incoming.take(), self.stream.upgrade())
            && !incoming.is_end_stream()
        {
            stream.leave(incoming);
        }
    }
}
