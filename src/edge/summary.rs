//! One summary line per exchange.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use crate::answer::{Breakage, Code};
use crate::body::{End, Report};
use crate::race::Timeline;
use crate::stats::{CLIENT_GONE, RouteStats};
use crate::telemetry::Escaped;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is known of an exchange. Counted, and written to the log, once: when its response has ended, however it ended.
///
/// In a box: it passes through every hand from the request to the last byte of the answer.
#[derive(Debug)]
pub(super) struct Summary(Box<Known>);

#[derive(Debug)]
pub(super) struct Known {
    start: Instant,
    peer: IpAddr,
    method: Method,
    /// Without the query, which may hold secrets.
    path: String,
    pub(super) timeline: Timeline,
    status: Option<StatusCode>,
    code: Option<Code>,
    request_id: Option<HeaderValue>,
    /// From the request's head to the response's, all attempts together.
    to_headers: Option<Duration>,
    is_health: bool,
    is_written: bool,
}

impl Summary {
    pub(super) fn new(peer: IpAddr, method: Method, path: &str, stats: Arc<RouteStats>) -> Self {
        stats.in_flight.rise();
        Self(Box::new(Known {
            start: Instant::now(),
            peer,
            method,
            path: if is_logged() { path.to_owned() } else { String::new() },
            timeline: Timeline::new(stats),
            status: None,
            code: None,
            request_id: None,
            to_headers: None,
            is_health: false,
            is_written: false,
        }))
    }

    /// The answer is forebay's own.
    pub(super) fn own(&mut self, status: StatusCode, code: Code) {
        (self.status, self.code) = (Some(status), Some(code));
    }

    /// The answer is to a health check: one every few seconds, and nobody wants to read them.
    pub(super) fn health(&mut self, status: StatusCode) {
        (self.status, self.is_health) = (Some(status), true);
    }

    /// The client is sent to the upstream itself.
    pub(super) fn redirected(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The request has become a job, or is about one.
    pub(super) fn accepted(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// The answer is the upstream's.
    pub(super) fn relayed(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = Some(status);
        self.request_id = if is_logged() { headers.get(REQUEST_ID).cloned() } else { None };
        self.to_headers = self.timeline.committed_at().map(|at| at.duration_since(self.start));
    }
}

impl Deref for Summary {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.0
    }
}

impl DerefMut for Summary {
    fn deref_mut(&mut self) -> &mut Known {
        &mut self.0
    }
}

impl Known {
    fn write(&mut self, end: End, bytes: u64) {
        if std::mem::replace(&mut self.is_written, true) {
            return;
        }
        let stats = self.timeline.stats();
        stats.in_flight.fall();
        if self.is_health {
            tracing::debug!(client = %self.peer, "health check");
            return;
        }
        let outcome = match (end, self.code) {
            (End::Complete, None) => "complete",
            (End::Complete, Some(code)) => code.as_str(),
            (End::ClientGone, _) => CLIENT_GONE,
            (End::Broken(breakage), _) => breakage.as_str(),
        };
        stats.exchanges.count(outcome);
        if end == End::Broken(Breakage::Stalled) && self.status != Some(StatusCode::SWITCHING_PROTOCOLS) {
            stats.stream_stalls.count();
        }
        tracing::info!(
            client = %self.peer,
            method = %self.method,
            path = %Escaped(&self.path),
            status = self.status.map_or(0, |status| status.as_u16()),
            outcome,
            attempts = self.timeline.attempts(),
            timeline = %self.timeline,
            to_headers_ms = self.to_headers.map(millis),
            total_ms = millis(self.start.elapsed()),
            bytes = if self.method == Method::HEAD { 0 } else { bytes },
            failure = self.timeline.failure().map(|failure| display(Escaped(failure))),
            upstream_request_id = self.request_id.as_ref().map(|id| display(Escaped(id.to_str().unwrap_or("?")))),
            "exchange"
        );
    }
}

/// Whether anybody will read the line: what is needed for nothing else is otherwise not kept.
fn is_logged() -> bool {
    tracing::enabled!(tracing::Level::INFO)
}

/// Milliseconds to a tenth: more digits would only be noise.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

impl Report for Summary {
    fn ended(&mut self, end: End, bytes: u64) {
        self.0.write(end, bytes);
    }
}

impl Drop for Summary {
    /// Nobody reported an end: the exchange itself was dropped, because its client left.
    fn drop(&mut self) {
        self.0.write(End::ClientGone, 0);
    }
}
