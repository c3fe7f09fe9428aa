//! Requests that become jobs, and requests about jobs.

use http::header::HeaderValue;
use http::uri::PathAndQuery;
use http::{HeaderMap, request};

use super::exchange::{Reply, Scene};
use super::upload::Upload;
use super::wording::body_failure;
use crate::answer::{Answer, Code};
use crate::body::{Beginning, Payload, Snapshot};
use crate::headers::RespondAsync;
use crate::job::requested_timeout;
use crate::queue::{self, Asked, Queue, Ticket, Unsubmitted};
use crate::race::{self, Mode};
use crate::routes::{EndToEnd, Overflow, OverflowSettings, Route, RouteSettings, as_sent};
use crate::size::ByteSize;
use crate::store::Start;
use crate::time::{Human, LazyDeadline};

/// The body of a request that becomes a job.
pub(super) enum JobBody {
    /// All of it is kept.
    Kept(Snapshot),
    /// It goes into the store as it comes.
    Passing { beginning: Beginning, body: Box<Upload>, most: ByteSize },
}

/// A race that may become a job, with what would be stored of it.
pub(super) enum Wish {
    /// At once, because its client asks for it.
    AtOnce { prefers: RespondAsync, body: Snapshot },
    /// If nothing has decided it by then.
    Later { prefers: Option<RespondAsync>, overflow: race::OverflowPoint, body: Snapshot },
}

/// What is said where a request would have to become a job and there is no store.
pub(super) fn no_store() -> Answer {
    let message = "This request would become a job, and jobs need a store: STORE is off here, or could not be opened.";
    Answer::new(Code::StoreUnavailable, message).closing()
}

impl Scene<'_> {
    /// Whether a race may become a job, and when. What the client asks for and is honoured is taken out of the fields.
    pub(super) fn wish(
        &self,
        settings: &RouteSettings,
        mode: Mode,
        payload: &Payload,
        headers: &mut HeaderMap,
    ) -> Option<Wish> {
        self.edge.queue.as_ref()?;
        let Payload::Kept(body) = payload else { return None };
        let OverflowSettings { overflow, after } = settings.overflow;
        if mode != Mode::Race || overflow == Overflow::Off || body.len() > settings.jobs.max_body.get() {
            return None;
        }
        let prefers = RespondAsync::of(headers);
        if prefers.is_none() && overflow != Overflow::Always {
            return None;
        }
        let body = body.clone();
        let wish = match prefers {
            Some(prefers) if prefers.wait.is_none_or(|wait| wait.is_zero()) => Wish::AtOnce { prefers, body },
            Some(RespondAsync { wait }) => {
                Wish::Later { prefers, overflow: race::OverflowPoint::new(after, wait), body }
            }
            None => Wish::Later { prefers, overflow: race::OverflowPoint::new(after, None), body },
        };
        if prefers.is_some() {
            RespondAsync::remove(headers);
        }
        Some(wish)
    }

    /// Makes a job of a request. Where the client asked for it, that is said.
    pub(super) async fn enqueue<'b>(
        &self,
        route: &'b Route,
        parts: request::Parts,
        target: &PathAndQuery,
        body: JobBody,
        timer: &mut LazyDeadline,
        prefers: Option<RespondAsync>,
    ) -> Result<Reply<'b>, Answer> {
        let queue = self.edge.queue.as_ref().ok_or_else(no_store)?;
        let is_read = matches!(body, JobBody::Kept(_));
        let asked = self.asked(route, parts, target);
        let asked = asked.map_err(|answer| if is_read { answer } else { answer.closing() })?;
        let ticket = match body {
            JobBody::Kept(snapshot) => queue.submit(asked, &snapshot, Start::Queued).await?,
            JobBody::Passing { beginning, mut body, most } => {
                let progress = self.edge.settings.body_timeout;
                let submitted = queue.submit_passing(asked, beginning, &mut body, most.get(), progress, timer).await;
                submitted.map_err(|error| match error {
                    Unsubmitted::TooLarge => too_large_for_a_job(most),
                    Unsubmitted::Body(error) => body_failure(&error),
                    Unsubmitted::Answer(answer) => answer,
                })?
            }
        };
        accepted(queue, ticket, prefers)
    }

    /// What a job keeps of a request.
    pub(super) fn asked(&self, route: &Route, parts: request::Parts, target: &PathAndQuery) -> Result<Asked, Answer> {
        let settings = &route.settings;
        let requested = requested_timeout(&parts.headers, settings.jobs.timeout_max).map_err(|_| {
            let message = format!(
                "X-Forebay-Timeout (or X-Proxq-Timeout) is a duration such as 90s or 1m30s, above zero and at most {} \
                 (JOB_TIMEOUT_MAX_SECONDS).",
                Human(settings.jobs.timeout_max)
            );
            Answer::new(Code::BadRequest, message)
        })?;
        let owner = queue::owner(Some(settings), &parts.headers);
        let request::Parts { method, version, headers, .. } = parts;
        let end_to_end = EndToEnd::of(settings, self.edge.settings.job_hop(self.arrival), version, headers);
        let was_framed = end_to_end.was_framed;
        Ok(Asked {
            route: route.label().to_owned(),
            owner,
            method,
            target: as_sent(target, &self.quotes),
            headers: end_to_end.for_keeping(settings),
            was_framed,
            timeout: requested.unwrap_or(settings.jobs.timeout),
            retention: settings.jobs.retention,
            forwarded_is_known: self.is_known(self.edge.settings.forwarded_jobs),
        })
    }

    /// A request to the jobs API. `rest` is what stands behind `JOBS_PATH`.
    pub(super) async fn ask_for_a_job<'b>(
        &self,
        queue: &Queue,
        parts: &request::Parts,
        rest: &str,
        is_read: bool,
    ) -> Result<Reply<'b>, Answer> {
        let answered = queue.answer(&parts.method, rest, parts.uri.query(), &parts.headers).await;
        let answered = answered.map_err(|answer| if is_read { answer } else { answer.closing() })?;
        Ok(match answered {
            queue::Reply::Document(json) => Reply::Document { json, is_read },
            queue::Reply::Content(content) => Reply::Content { content, is_read },
        })
    }
}

/// The job is stored.
pub(super) fn accepted<'b>(queue: &Queue, ticket: Ticket, prefers: Option<RespondAsync>) -> Result<Reply<'b>, Answer> {
    // JOBS_PATH is a path of visible characters, and so is an id.
    let location = HeaderValue::try_from(queue.location(ticket.job));
    let location = location.map_err(|_| Answer::new(Code::BadRequest, "JOBS_PATH cannot be put into a field."))?;
    Ok(Reply::Accepted { location, job: ticket.job, prefers })
}

/// What to say to a body above the cap of jobs.
pub(super) fn too_large_for_a_job(cap: ByteSize) -> Answer {
    let message = format!("The request body is larger than {cap}. Raise QUEUE_MAX_BODY_BYTES, or send less.");
    Answer::new(Code::PayloadTooLarge, message).closing()
}
