//! One try to obtain response headers.

use std::error::Error;
use std::io;
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use tokio::time::Instant;

use super::Timeouts;
use super::failure::{Breach, Failure};
use super::pool::{Lease, Pool};
use super::response::{Head, ResponseBody};
use super::sending::SendBody;
use super::stream;
use super::upgrade::{Switched, is_websocket};
use super::waiting::{Grant, Need};
use super::wire::Gauge;
use crate::body::Payload;
use crate::headers::framing;

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
    fn follow(&self, gauge: &Arc<Gauge>) {
        // Set once: an attempt has one connection.
        let _ = self.0.set(Arc::clone(gauge));
    }

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
/// the help of `progress`. While a passing body waits for its client, no time of the upstream's runs. Dropping the future
/// ends the attempt at once: its connection is closed, or its stream on a shared one is reset.
pub async fn attempt(
    pool: &Arc<Pool>,
    outbound: &Outbound,
    fresh: bool,
    timeouts: Timeouts,
    progress: Arc<Progress>,
) -> Result<Head, Failure> {
    let need = match (outbound.is_upgrade, fresh) {
        (true, _) => Need::Upgrade,
        (false, true) => Need::Fresh,
        (false, false) => Need::Any,
    };
    match pool.checkout(need, timeouts).await? {
        Grant::Whole(lease) => send(lease, outbound, &progress).await,
        Grant::Seat(seat) => {
            let gauge = Gauge::new();
            progress.follow(&gauge);
            stream::send(seat, outbound, gauge).await
        }
    }
}

/// Sends a request on a connection of its own and waits for its response head.
async fn send(mut lease: Lease, outbound: &Outbound, progress: &Progress) -> Result<Head, Failure> {
    let gauge = Arc::clone(&lease.connection.gauge);
    gauge.begin(outbound.quotes_in_request());
    progress.follow(&gauge);
    let request = outbound.request(&gauge);
    let mut response = match lease.connection.sender.try_send_request(request).await {
        Ok(response) => response,
        Err(mut error) => {
            let never_sent = error.take_message().is_some();
            return Err(match outbound.body.fault() {
                Some(fault) if !never_sent => Failure::Client(fault),
                _ => broken(never_sent, error.into_error(), &gauge),
            });
        }
    };
    if let Some(reason) = cannot_be_passed_on(&response, outbound.is_upgrade) {
        return Err(Failure::Broken(Breach::Malformed, gauge.trace(), reason.into()));
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let ended = || Failure::Broken(Breach::Closed, gauge.trace(), "the connection ended with its 101".into());
        let switched = Switched::take(&mut response).await.ok_or_else(ended)?;
        let (parts, incoming) = response.into_parts();
        return Ok(Head { parts, body: ResponseBody::on_connection(incoming, None), switched: Some(switched) });
    }
    let has_two_lengths = response.headers().contains_key(header::TRANSFER_ENCODING)
        && response.headers().contains_key(header::CONTENT_LENGTH);
    if gauge.written_at().is_none() || has_two_lengths {
        gauge.retire();
    }
    let (parts, incoming) = response.into_parts();
    Ok(Head { parts, body: ResponseBody::on_connection(incoming, Some(lease)), switched: None })
}

/// Why a head that hyper takes is none for us.
fn cannot_be_passed_on<B>(response: &Response<B>, is_upgrade: bool) -> Option<&'static str> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // RFC 9110 §15.2.2: to one of the protocols that were asked for, and only if one was.
        return match (is_upgrade, is_websocket(response.headers())) {
            (true, true) => None,
            (true, false) => Some("a 101 to another protocol than websocket"),
            (false, _) => Some("an unasked 101"),
        };
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
        let mut headers = self.headers.clone();
        if self.body.needs_chunks() {
            framing::chunk(&mut headers);
        }
        let length = framing::length(&headers);
        let mut request = Request::new(SendBody::new(&self.body, length, gauge));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = headers;
        request
    }
}
