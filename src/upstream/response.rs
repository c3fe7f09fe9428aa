//! What an attempt obtained: a response head, and the body behind it.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::Lease;
use super::sending::without_forbidden_trailers;
use super::upgrade::Switched;

/// A complete response head and what follows it.
#[derive(Debug)]
pub struct Head {
    /// Status and fields.
    pub parts: response::Parts,
    /// What follows; nothing, where the protocol was switched.
    pub body: ResponseBody,
    /// The connection, where a `101` answers an upgrade.
    pub switched: Option<Switched>,
}

/// A response body. With its last byte its connection goes back to the pool, if the exchange was orderly; dropped
/// earlier, it closes the connection at once.
pub struct ResponseBody {
    incoming: Incoming,
    /// The trailers were passed on, and with them the body ended.
    has_ended: bool,
    lease: Option<Lease>,
}

impl ResponseBody {
    /// A body on a connection of its own; without one it has come already, as nothing.
    pub(super) fn new(incoming: Incoming, lease: Option<Lease>) -> Self {
        Self { incoming, has_ended: false, lease }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take()
            && lease.connection.gauge.is_reusable()
        {
            lease.park();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut this.incoming).poll_frame(cx));
        match frame {
            Some(Ok(frame)) if frame.is_trailers() => {
                this.has_ended = true;
                this.release();
                let frame = without_forbidden_trailers(frame);
                let is_empty = frame.trailers_ref().is_none_or(HeaderMap::is_empty);
                Poll::Ready((!is_empty).then_some(Ok(frame)))
            }
            Some(Ok(data)) => Poll::Ready(Some(Ok(data))),
            Some(Err(error)) => {
                this.lease = None;
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                this.release();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.is_end_stream() {
            self.release();
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}
