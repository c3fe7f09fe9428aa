//! What an attempt obtained: a response head, and the body behind it.

use std::error::Error;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::Lease;
use super::sending::without_forbidden_trailers;
use super::sharing::Seat;
use super::upgrade::Switched;
use crate::hearing;

/// A chunk below this is copied out of hyper's buffer.
const COPY_BELOW: usize = 2048;

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
/// earlier, it closes the connection at once, or resets its stream where others use the connection too.
pub struct ResponseBody(Source);

enum Source {
    Whole(Incoming, Option<Lease>),
    Stream(Arrival),
    /// It has ended, or broke off.
    Over,
}

/// A body on a stream of an HTTP/2 connection. The order matters: the stream ends before its seat is free.
struct Arrival {
    stream: RecvStream,
    /// Bytes still to come, where the head announced a length. h2 compares.
    left: Option<u64>,
    data_ended: bool,
    _seat: Seat,
}

impl ResponseBody {
    /// A body on a connection of its own; without one it has come already, as nothing.
    pub(super) fn on_connection(incoming: Incoming, lease: Option<Lease>) -> Self {
        Self(Source::Whole(incoming, lease))
    }

    /// A body on a stream.
    pub(super) fn on_stream(stream: RecvStream, length: Option<u64>, seat: Seat) -> Self {
        Self(Source::Stream(Arrival { stream, left: length, data_ended: false, _seat: seat }))
    }

    /// A short chunk in memory of its own, if others may follow. As a slice of hyper's buffer it would be alive when hyper
    /// reads again, so hyper would take a new buffer of 8 KiB for every event of a stream; with it gone, the old one serves
    /// on.
    fn detached(&self, data: Bytes) -> Bytes {
        match &self.0 {
            Source::Whole(incoming, _) if data.len() < COPY_BELOW && !incoming.is_end_stream() => {
                Bytes::copy_from_slice(&data)
            }
            _ => data,
        }
    }

    /// The end of an orderly exchange.
    fn release(&mut self) {
        if let Source::Whole(_, Some(lease)) = mem::replace(&mut self.0, Source::Over)
            && lease.connection.gauge.is_reusable()
        {
            lease.park();
        }
    }
}

impl Arrival {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_ended {
            if let Some(data) = ready!(self.stream.poll_data(cx)?) {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                // What is in our hands makes room for more, as it does on a socket. An error means that the stream is over.
                let _ = self.stream.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.data_ended = true;
        }
        self.stream.poll_trailers(cx).map(|trailers| trailers.map(|found| found.map(Frame::trailers)).transpose())
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let frame = match &mut this.0 {
            Source::Whole(incoming, _) => {
                ready!(hearing::poll_frame(Pin::new(incoming), cx)).map(|result| result.map_err(Self::Error::from))
            }
            Source::Stream(arrival) => ready!(arrival.poll_frame(cx)).map(|result| result.map_err(Self::Error::from)),
            Source::Over => None,
        };
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Poll::Ready(Some(Ok(Frame::data(this.detached(data))))),
                Err(frame) => {
                    // They are the end: nobody need ask for it.
                    this.release();
                    let frame = without_forbidden_trailers(frame);
                    let is_empty = frame.trailers_ref().is_none_or(HeaderMap::is_empty);
                    Poll::Ready((!is_empty).then_some(Ok(frame)))
                }
            },
            Some(Err(error)) => {
                this.0 = Source::Over;
                Poll::Ready(Some(Err(error)))
            }
            None => {
                this.release();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Whole(incoming, _) => incoming.is_end_stream(),
            Source::Stream(arrival) => arrival.stream.is_end_stream(),
            Source::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Whole(incoming, _) => incoming.size_hint(),
            Source::Stream(arrival) if arrival.stream.is_end_stream() => SizeHint::with_exact(0),
            Source::Stream(arrival) => arrival.left.map_or_else(SizeHint::default, SizeHint::with_exact),
            Source::Over => SizeHint::with_exact(0),
        }
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
        f.debug_struct("ResponseBody").field("is_end_stream", &self.is_end_stream()).finish_non_exhaustive()
    }
}
