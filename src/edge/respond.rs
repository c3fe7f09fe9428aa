//! The one door: every answer leaves through here, the upstream's and forebay's own.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use http::{HeaderName, Response, Version};

use super::client_io::Refusal;
use super::outgoing::OutBody;
use super::summary::Summary;
use super::turn::Turn;
use crate::answer::{self, Answer, Code, Source};
use crate::body::{ClientFault, CollectError, Watch, Watched};
use crate::dialect::{self, Dialect};
use crate::headers::{hop, media};
use crate::race::{Committed, Failed, Why};
use crate::routes::AnswerSettings;
use crate::shutdown::Shutdown;
use crate::size::ByteSize;
use crate::time::Human;
use crate::upstream::{Breach, ConnectStage, Failure};

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// To whom an answer goes, and how it may be worded.
#[derive(Clone, Copy)]
pub(super) struct Door<'a> {
    pub(super) turn: &'a Arc<Turn>,
    pub(super) answers: &'a AnswerSettings,
    pub(super) stream_idle: Option<Duration>,
    pub(super) dialect: Dialect,
    pub(super) shutdown: &'a Shutdown,
}

impl Door<'_> {
    /// An error of forebay's own, in the client's dialect.
    pub(super) fn answer(&self, answer: &Answer, mut summary: Summary) -> Response<OutBody> {
        let mut response = word(answer, self.dialect, self.answers.dialect, &self.answers.source);
        summary.own(response.status(), answer.code);
        self.stamp(&mut response, &summary);
        response.map(|body| OutBody::own(body, summary, self.turn))
    }

    /// `HEALTH_PATH`.
    pub(super) fn health(&self, mut summary: Summary) -> Response<OutBody> {
        let mut response = answer::healthy(&self.answers.source);
        summary.health(response.status());
        self.stamp(&mut response, &summary);
        response.map(|body| OutBody::own(body, summary, self.turn))
    }

    /// The upstream's answer, from here on byte for byte.
    pub(super) fn relay(&self, committed: Committed, mut summary: Summary) -> Response<OutBody> {
        let head = committed.head;
        let mut response = Response::from_parts(head.parts, head.body);
        hop::strip_response(response.headers_mut(), &self.answers.source.name);
        let events = media::is_open_event_stream(response.headers()).then_some(self.dialect);
        summary.relayed(response.status(), response.headers().get(REQUEST_ID));
        self.stamp(&mut response, &summary);
        let watch = Watch { idle: self.stream_idle, events, shutdown: self.shutdown.clone() };
        response.map(|body| OutBody::relayed(Watched::new(body, watch, summary), self.turn))
    }

    /// What every answer tells, whoever made it.
    fn stamp<B>(&self, response: &mut Response<B>, summary: &Summary) {
        // hyper speaks the client's version; what the upstream spoke is of no concern.
        *response.version_mut() = Version::HTTP_11;
        let headers = response.headers_mut();
        headers.insert(hop::ATTEMPTS, HeaderValue::from(summary.timeline.attempts()));
        if self.answers.timeline && summary.timeline.attempts() > 0 {
            // Digits, dots, commas, labels of ours: always a valid value.
            if let Ok(timeline) = HeaderValue::try_from(summary.timeline.to_string()) {
                headers.insert(hop::TIMELINE, timeline);
            }
        }
        if self.shutdown.is_draining() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

fn word(answer: &Answer, dialect: Dialect, settings: dialect::Settings, source: &Source) -> Response<Bytes> {
    let plain = dialect::Plain {
        status: answer.code.status(),
        kind: answer.code.kind(),
        code: answer.code.as_str(),
        message: &answer.message,
    };
    let worded = dialect.word(plain, settings);
    let mut response = answer.message(worded.status, source, worded.body);
    let headers = response.headers_mut();
    if let Some(should_retry) = worded.should_retry {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(if should_retry { "true" } else { "false" }));
    }
    if worded.soon && answer.retry_after.is_none() {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// What to say to a request that never became one.
pub(super) fn refusal(refusal: Refusal) -> Answer {
    let (code, message) = match refusal {
        Refusal::Malformed => (Code::BadRequest, "The request is not HTTP/1.1, or can be read in more than one way."),
        Refusal::Fragment => (Code::BadRequest, "The target has a fragment (#), which is never sent to a server."),
        Refusal::Timeout => {
            (Code::ClientTimeout, "The request head did not arrive in time (CLIENT_HEADER_TIMEOUT_SECONDS).")
        }
        Refusal::HeadTooLarge => {
            (Code::HeadersTooLarge, "The request head is larger than MAX_HEADER_BYTES, or has more than 128 fields.")
        }
        Refusal::TargetTooLong => (Code::UriTooLong, "The target is longer than 65534 bytes."),
    };
    Answer::new(code, message).closing()
}

/// An answer as bytes, where hyper has no part in it.
pub(super) fn bytes(answer: &Answer, settings: &AnswerSettings) -> Bytes {
    let mut response = word(answer, Dialect::Plain, settings.dialect, &settings.source);
    response.headers_mut().insert(hop::ATTEMPTS, HeaderValue::from_static("0"));
    let (parts, body) = response.into_parts();
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let mut bytes = BytesMut::from(format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16()).as_str());
    for (name, value) in &parts.headers {
        bytes.put_slice(name.as_ref());
        bytes.put_slice(b": ");
        bytes.put_slice(value.as_bytes());
        bytes.put_slice(b"\r\n");
    }
    bytes.put_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.put_slice(&body);
    bytes.freeze()
}

/// What to say to a body above the cap.
pub(super) fn too_large(cap: ByteSize) -> Answer {
    let message = format!("The request body is larger than {cap}. Raise MAX_REQUEST_BODY_BYTES, or send less.");
    Answer::new(Code::PayloadTooLarge, message).closing()
}

/// What to say when the request body did not become a snapshot.
pub(super) fn body_failure<E>(error: &CollectError<E>) -> Answer {
    match error {
        CollectError::Full => {
            let message = "The request bodies that are buffered now fill MAX_BUFFERED_BYTES. Try again in a moment.";
            Answer::new(Code::Overloaded, message).retry_after(1).closing()
        }
        CollectError::Stalled(limit) => client_fault(ClientFault::Stalled(*limit)),
        CollectError::Broken(_) => client_fault(ClientFault::Broken),
    }
}

/// What to say to a client that did not send its request body.
fn client_fault(fault: ClientFault) -> Answer {
    match fault {
        ClientFault::Stalled(limit) => {
            let message =
                format!("No byte of the request body arrived for {} (CLIENT_BODY_TIMEOUT_SECONDS).", Human(limit));
            Answer::new(Code::ClientTimeout, message)
        }
        ClientFault::Broken => Answer::new(Code::BadRequest, "The request body is malformed or ended early."),
    }
    .closing()
}

/// What to say when no attempt had a head: what happened, how often and for how long, and what to change.
pub(super) fn race_failure(failed: &Failed, attempts: u32) -> Answer {
    let attempts = match attempts {
        1 => "1 attempt".to_owned(),
        n => format!("{n} attempts"),
    };
    let why = match failed.why {
        Why::Attempts => "",
        Why::Unsafe => {
            " RETRY=safe repeats a request that may have reached the upstream only if its method is idempotent or it has \
             an Idempotency-Key."
        }
        Why::Budget => " The retry budget (RETRY_BUDGET_PERCENT, RETRY_BUDGET_MIN) allows no further attempt now.",
    };
    let (code, what) = match &failed.failure {
        Failure::HeaderTimeout(limit) => (
            Code::UpstreamHeaderTimeout,
            format!(
                "The upstream took the request and sent no response headers within the header deadline of {} \
                 (RESPONSE_HEADER_TIMEOUT_SECONDS, NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS). Raise the deadline if it \
                 is merely slow.",
                Human(*limit)
            ),
        ),
        Failure::PoolTimeout(limit) => (
            Code::UpstreamTimeout,
            format!(
                "No connection to the upstream became free for {} (POOL_TIMEOUT_SECONDS, UPSTREAM_MAX_CONNECTIONS).",
                Human(*limit)
            ),
        ),
        Failure::ConnectTimeout(limit) => (
            Code::UpstreamTimeout,
            format!("The upstream could not be connected to within {} (CONNECT_TIMEOUT_SECONDS).", Human(*limit)),
        ),
        Failure::WriteTimeout(limit) => (
            Code::UpstreamTimeout,
            format!("The upstream took nothing of the request for {} (WRITE_TIMEOUT_SECONDS).", Human(*limit)),
        ),
        Failure::Connect(stage, _) => (
            Code::UpstreamRequestError,
            match stage {
                ConnectStage::Dns => "The upstream's name does not resolve. Check UPSTREAM_BASE_URL.",
                ConnectStage::Tcp => "The upstream refused the connection. Check that it runs, and UPSTREAM_BASE_URL.",
                ConnectStage::Proxy => {
                    "The outbound proxy refused the connection to the upstream, or could not be reached. Check \
                     OUTBOUND_PROXY, its user and password, and that the proxy may connect to the upstream."
                }
                ConnectStage::OpenFiles => {
                    "No further connection can be opened, because the limit of open files is reached. Raise it, or lower \
                     MAX_CLIENT_CONNECTIONS and UPSTREAM_MAX_CONNECTIONS."
                }
                ConnectStage::Tls => {
                    "The TLS handshake with the upstream failed. Check its certificate, and UPSTREAM_CA_FILE."
                }
            }
            .to_owned(),
        ),
        Failure::Client(fault) => return client_fault(*fault),
        Failure::Broken(breach, ..) => (
            Code::UpstreamRequestError,
            match breach {
                Breach::Closed => "The upstream closed the connection before its response headers were complete.",
                Breach::Reset => "The upstream reset the connection before its response headers were complete.",
                Breach::Malformed => "The upstream's answer is no HTTP response, or its head is too long.",
                Breach::Unprocessed => "The upstream refused to process the request (an HTTP/2 stream was refused).",
            }
            .to_owned(),
        ),
    };
    Answer::new(code, format!("Gave up after {attempts}. {what}{why}"))
}
