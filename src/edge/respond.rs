//! The one door: every answer leaves through here, the upstream's and forebay's own.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderValue, RETRY_AFTER};
use http::{HeaderName, Response, StatusCode, Version};
use http_body::Body;

use super::outgoing::{Carrier, Content, OutBody};
use super::summary::Summary;
use super::tunnel::Tunnel;
use crate::answer::{self, Answer, Source};
use crate::body::{Watch, Watched};
use crate::cache::AnswerBody;
use crate::dialect::{self, Dialect};
use crate::headers::{RespondAsync, framing, hop, media, upgrade};
use crate::ids::JobId;
use crate::queue;
use crate::routes::AnswerSettings;
use crate::shutdown::Shutdown;
use crate::time::LazyDeadline;
use crate::upstream::{Head, ResponseBody, Switched};

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// To whom an answer goes, and how it may be worded.
#[derive(Clone, Copy)]
pub(super) struct Door<'a> {
    pub(super) carrier: &'a Carrier,
    pub(super) answers: &'a AnswerSettings,
    pub(super) dialect: Dialect,
    /// The request was HEAD: its answer has no body.
    pub(super) is_head: bool,
    /// The client takes trailers.
    pub(super) takes_trailers: bool,
    pub(super) shutdown: &'a Shutdown,
}

impl Door<'_> {
    /// An error of forebay's own, in the client's dialect.
    pub(super) fn answer(&self, answer: &Answer, mut summary: Summary) -> Response<OutBody> {
        let response = word(answer, self.dialect, self.answers.dialect, &self.answers.source);
        summary.own(response.status(), answer.code);
        self.own(response, summary)
    }

    /// `HEALTH_PATH`. `is_read` tells whether the request was read to its end.
    pub(super) fn health(&self, is_read: bool, mut summary: Summary) -> Response<OutBody> {
        let mut response = answer::healthy(&self.answers.source);
        if !is_read {
            hop::close(response.headers_mut());
        }
        summary.health(response.status());
        self.own(response, summary)
    }

    /// The redirect lane. `is_read` as for a health check.
    pub(super) fn redirect(&self, location: HeaderValue, is_read: bool, mut summary: Summary) -> Response<OutBody> {
        let mut response = answer::redirect(location, &self.answers.source);
        if !is_read {
            hop::close(response.headers_mut());
        }
        summary.redirected(response.status());
        self.own(response, summary)
    }

    /// The request has become a job.
    pub(super) fn accepted(
        &self,
        location: HeaderValue,
        job: JobId,
        prefers: Option<RespondAsync>,
        mut summary: Summary,
    ) -> Response<OutBody> {
        let mut response = answer::accepted(location, job, &self.answers.source);
        if let Some(prefers) = prefers {
            prefers.applied_async(response.headers_mut());
        }
        summary.accepted(response.status());
        self.own(response, summary)
    }

    /// What is known of a job. `is_read` as for a health check.
    pub(super) fn document(&self, json: String, is_read: bool, mut summary: Summary) -> Response<OutBody> {
        let mut response = answer::json(StatusCode::OK, &self.answers.source, json);
        response.headers_mut().insert(CACHE_CONTROL, answer::NO_STORE);
        if !is_read {
            hop::close(response.headers_mut());
        }
        summary.accepted(response.status());
        self.own(response, summary)
    }

    /// What a job has come to: the upstream's response as it was recorded. `is_read` as for a health check.
    pub(super) fn content(
        &self,
        content: queue::Content,
        is_read: bool,
        timer: LazyDeadline,
        mut summary: Summary,
    ) -> Response<OutBody> {
        let queue::Content { head, body, execution } = content;
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (head.status, head.headers);
        let headers = response.headers_mut();
        hop::replay(headers, execution, self.takes_trailers);
        if !is_read {
            hop::close(headers);
        }
        summary.accepted(response.status());
        self.stamp(&mut response, &summary);
        if self.is_head {
            let is_bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            let has_length = is_bodiless || response.headers().contains_key(CONTENT_LENGTH);
            if let Some(length) = response.body().size_hint().exact().filter(|_| !has_length) {
                framing::set_length(response.headers_mut(), length);
            }
            return response.map(|_| self.carrier.send(Content::own(Bytes::new(), summary)));
        }
        // The recording's own clock has ended it, if anything: who reads it waits for as long as it is written.
        let watch = Watch { idle: None, events: None, shutdown: self.shutdown.clone() };
        response.map(|body| {
            let watched = Watched::new(body, watch, timer, summary);
            self.carrier.send(Content::Recorded(Box::new(watched)))
        })
    }

    fn own(&self, mut response: Response<Bytes>, summary: Summary) -> Response<OutBody> {
        self.stamp(&mut response, &summary);
        if self.is_head {
            // hyper leaves a body out on HTTP/1 only.
            let length = response.body().len();
            framing::set_length(response.headers_mut(), length as u64);
            *response.body_mut() = Bytes::new();
        }
        response.map(|body| self.carrier.send(Content::own(body, summary)))
    }

    /// The upstream's answer, from here on byte for byte. `is_read` as for a health check.
    pub(super) fn relay(
        &self,
        head: Head,
        idle: Option<Duration>,
        is_read: bool,
        timer: LazyDeadline,
        mut summary: Summary,
    ) -> Response<OutBody> {
        let mut response = Response::from_parts(head.parts, head.body);
        hop::strip_response(response.headers_mut(), &self.answers.source.name, self.takes_trailers);
        if !is_read {
            hop::close(response.headers_mut());
        }
        let watch = self.pass_on(&mut response, idle, &mut summary);
        response.map(|body| self.carrier.send(Content::Relayed(Watched::new(body, watch, timer, summary))))
    }

    /// An answer that the cache had a part in: kept, or shared with others. `is_hit` is none where it had none.
    pub(super) fn share(
        &self,
        mut response: Response<AnswerBody<ResponseBody>>,
        is_hit: Option<bool>,
        prefers: Option<RespondAsync>,
        idle: Option<Duration>,
        timer: LazyDeadline,
        mut summary: Summary,
    ) -> Response<OutBody> {
        hop::strip_response(response.headers_mut(), &self.answers.source.name, self.takes_trailers);
        if let Some(is_hit) = is_hit {
            hop::tell_cache_status(response.headers_mut(), is_hit);
        }
        if let Some(prefers) = prefers {
            prefers.applied_wait(response.headers_mut());
        }
        let watch = self.pass_on(&mut response, idle, &mut summary);
        response.map(|body| self.carrier.send(Content::Shared(Box::new(Watched::new(body, watch, timer, summary)))))
    }

    /// What every answer of the upstream's is told and watched for.
    fn pass_on<B>(&self, response: &mut Response<B>, idle: Option<Duration>, summary: &mut Summary) -> Watch {
        let events = media::is_open_event_stream(response.headers()).then_some(self.dialect);
        summary.relayed(response.status(), response.headers());
        self.stamp(response, summary);
        Watch { idle, events, shutdown: self.shutdown.clone() }
    }

    /// The upstream's `101`. What follows is no HTTP: the connection becomes a tunnel.
    pub(super) fn switch(
        &self,
        head: Head,
        upstream: Switched,
        idle: Option<Duration>,
        mut summary: Summary,
    ) -> Response<OutBody> {
        let mut response = Response::from_parts(head.parts, ());
        hop::strip_response(response.headers_mut(), &self.answers.source.name, false);
        summary.relayed(response.status(), response.headers());
        self.stamp(&mut response, &summary);
        upgrade::to_websocket(response.headers_mut());
        match self.carrier {
            Carrier::Http1(turn) => turn.switch(Tunnel { upstream, idle, summary }),
            // Upgrades are HTTP/1's: nobody asked for one here.
            Carrier::Http2(_) => drop((upstream, summary)),
        }
        response.map(|()| self.carrier.send(Content::Switched))
    }

    /// What every answer tells, whoever made it.
    fn stamp<B>(&self, response: &mut Response<B>, summary: &Summary) {
        // hyper speaks the client's version; what the upstream spoke is of no concern.
        *response.version_mut() = Version::HTTP_11;
        let headers = response.headers_mut();
        hop::count_attempts(headers, summary.timeline.attempts());
        if self.answers.timeline && summary.timeline.attempts() > 0 {
            // Digits, dots, commas, labels of ours: always a valid value.
            if let Ok(timeline) = HeaderValue::try_from(summary.timeline.to_string()) {
                headers.insert(hop::TIMELINE, timeline);
            }
        }
        if !self.carrier.is_http1() {
            hop::strip_for_http2(headers);
        } else if self.shutdown.is_draining() {
            hop::close(headers);
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
