//! One try to obtain response headers.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header, response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::Timeouts;
use super::failure::{Breach, Failure};
use super::pool::{Lease, Pool};
use super::sending::SendBody;
use super::wire::Gauge;
use crate::body::Payload;

/// A request as the upstream is to see it. Every attempt sends the same one.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// As the client sent it.
    pub method: Method,
    /// Path and query only.
    pub target: Uri,
    /// Where the target has a `"` in its query that `target` cannot hold: an apostrophe stands there. Ascending.
    pub quotes: Vec<usize>,
    /// End-to-end fields, `Host` among them.
    pub headers: HeaderMap,
    /// The body.
    pub body: Payload,
    /// The request asks for another protocol: it needs an HTTP/1.1 connection of its own, and a `101` is an answer.
    pub is_upgrade: bool,
}

/// A complete response head and the body behind it.
#[derive(Debug)]
pub struct Head {
    /// Status and fields.
    pub parts: response::Parts,
    /// What follows.
    pub body: ResponseBody,
}

/// How far an attempt has come, for the one who holds the clocks.
#[derive(Debug, Default)]
pub struct Progress(OnceLock<Arc<Gauge>>);

/// What the clocks of an attempt need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for a connection, which has clocks of its own.
    Connecting,
    /// It is being written; the last byte was taken then.
    Writing {
        /// When the socket last took a byte.
        progress: Instant,
    },
    /// It was written completely.
    Written {
        /// When its last byte was taken.
        at: Instant,
    },
}

impl Progress {
    /// Where the attempt is now.
    pub fn phase(&self) -> Phase {
        match self.0.get() {
            None => Phase::Connecting,
            Some(gauge) => match gauge.written_at() {
                Some(at) => Phase::Written { at },
                None => Phase::Writing { progress: gauge.progress_at() },
            },
        }
    }
}

/// Obtains a response head, or says why there is none.
///
/// Limits the wait for a connection and the connect by `timeouts`; the clocks for writing and for the head are the caller's, with
/// the help of `progress`. Dropping the future ends the attempt at once: its connection is closed.
pub async fn attempt(
    pool: &Arc<Pool>,
    outbound: &Outbound,
    fresh: bool,
    timeouts: Timeouts,
    progress: &Progress,
) -> Result<Head, Failure> {
    let mut lease = pool.checkout(fresh, timeouts).await?;
    let gauge = Arc::clone(&lease.connection.gauge);
    gauge.begin(outbound.quotes_in_request());
    // Set once: an attempt has one connection.
    let _ = progress.0.set(Arc::clone(&gauge));
    let request = outbound.request(&gauge);
    let response = match lease.connection.sender.try_send_request(request).await {
        Ok(response) => response,
        Err(mut error) => {
            let never_sent = error.take_message().is_some();
            return Err(broken(never_sent, error.into_error(), &gauge));
        }
    };
    if let Some(reason) = cannot_be_passed_on(&response) {
        return Err(Failure::Broken(Breach::Malformed, gauge.trace(), reason.into()));
    }
    let has_two_lengths = response.headers().contains_key(header::TRANSFER_ENCODING)
        && response.headers().contains_key(header::CONTENT_LENGTH);
    if gauge.written_at().is_none() || has_two_lengths {
        gauge.retire();
    }
    Ok(Head::new(response, lease))
}

/// Why a head that hyper takes is none for us.
fn cannot_be_passed_on<B>(response: &Response<B>) -> Option<&'static str> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for another protocol (RFC 9110 §15.2.2).
        return Some("an unasked 101");
    }
    // Any other coding would reach the client without its name, and so as something else.
    let mut codings = response.headers().get_all(header::TRANSFER_ENCODING).iter();
    let is_plain = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    (!is_plain || codings.next().is_some()).then_some("a transfer coding other than chunked")
}

fn broken(never_sent: bool, error: hyper::Error, gauge: &Gauge) -> Failure {
    let mut trace = gauge.trace();
    if never_sent {
        trace.written = 0;
    }
    let breach = if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        Breach::Malformed
    } else if is_reset(&error) {
        Breach::Reset
    } else {
        Breach::Closed
    };
    Failure::Broken(breach, trace, error.into())
}

fn is_reset(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return matches!(io.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted);
        }
        cause = error.source();
    }
    false
}

impl Outbound {
    /// Where the quotes are in the bytes of the request, which begins with the method and a space.
    fn quotes_in_request(&self) -> Vec<usize> {
        self.quotes.iter().map(|offset| self.method.as_str().len() + 1 + offset).collect()
    }

    fn request(&self, gauge: &Arc<Gauge>) -> Request<SendBody> {
        let mut request = Request::new(SendBody::new(&self.body, gauge));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        request.headers_mut().clone_from(&self.headers);
        request
    }
}

impl Head {
    fn new(response: Response<Incoming>, lease: Lease) -> Self {
        let (parts, incoming) = response.into_parts();
        Self { parts, body: ResponseBody { incoming, lease: Some(lease) } }
    }
}

/// A response body. With its last byte its connection goes back to the pool, if the exchange was orderly; dropped
/// earlier, it closes the connection at once.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    lease: Option<Lease>,
}

impl ResponseBody {
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
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.incoming).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {
                // They end here, and with them the body.
                this.release();
                return Poll::Ready(None);
            }
            Poll::Ready(None) => this.release(),
            Poll::Ready(Some(Err(_))) => this.lease = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("gauge", &self.connection.gauge).finish_non_exhaustive()
    }
}
