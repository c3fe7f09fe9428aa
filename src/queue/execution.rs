//! One execution of a job, from its lease to its result (contract 6.4).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response, StatusCode};
use http_body::Body;
use tokio::time::{Instant, timeout};

use super::body::{self, Gone};
use super::lease::Kept;
use super::{Queue, unstored};
use crate::answer::{Breakage, Code};
use crate::body::{BrokenOff, End, Report, Watch, Watched};
use crate::cache::{AnswerBody, Look};
use crate::headers::hop;
use crate::job::{Fault, Lease, StoredHead, StoredRequest};
use crate::race::{self, Committed, Course, Expectation, Mode, RaceEnd, Timeline};
use crate::recording::{Unwritten, Writer};
use crate::routes::{EndToEnd, Onward, Route};
use crate::store::{Batch, Claimed, NewBody, Settle, Standing, StoreError};
use crate::telemetry::{Escaped, in_span};
use crate::time::{Human, LazyDeadline};
use crate::upstream::{Outbound, ResponseBody};

/// The pause before a result is written again that the store did not take.
const AGAIN: Duration = Duration::from_millis(250);
/// No `Retry-After` keeps a job waiting for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// How an execution ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The job has its response; it was settled with the last byte.
    Completed,
    /// There is none.
    Failed(Failed),
    /// The job is another's now, or gone.
    Lost,
    /// This process ends.
    Cut,
}

/// Why an execution has no response.
#[derive(Debug)]
pub(super) struct Failed {
    fault: Fault,
    /// Whether another execution could fare better. It has this pause at least.
    again: Option<Duration>,
}

impl Failed {
    /// For good.
    fn finally(fault: Fault) -> Self {
        Self { fault, again: None }
    }

    /// On the way to the upstream or back.
    fn in_transport(fault: Fault) -> Self {
        Self { fault, again: Some(Duration::ZERO) }
    }
}

/// A job while it is executed.
pub(super) struct Execution {
    pub(super) queue: Arc<Queue>,
    pub(super) kept: Kept,
    /// None where its name is no route of this process.
    pub(super) route: Option<Arc<Route>>,
    pub(super) retries: u32,
    /// For the log.
    pub(super) title: Title,
    pub(super) start: Instant,
}

/// What the log calls a job: route, method, and the path without its query.
#[derive(Clone, Debug, Default)]
pub(super) struct Title {
    route: String,
    method: Method,
    path: String,
}

impl Title {
    /// Of a request with this target.
    pub(super) fn new(route: &str, method: &Method, target: &str) -> Self {
        let path = target.split('?').next().unwrap_or_default();
        Self { route: route.to_owned(), method: method.clone(), path: path.to_owned() }
    }
}

/// What became of the attempts of an execution, for the log.
#[derive(Debug, Default)]
pub(super) struct Account {
    attempts: u32,
    timeline: String,
    failure: Option<String>,
}

impl Account {
    /// As it is now.
    pub(super) fn of(timeline: &Timeline) -> Self {
        let failure = timeline.failure().map(str::to_owned);
        Self { attempts: timeline.attempts(), timeline: timeline.to_string(), failure }
    }
}

/// Executes a job that was claimed, and settles it.
///
/// Dropping the future ends the attempt that is under way; the job is taken over when its lease has run out.
pub(super) async fn execute(queue: Arc<Queue>, claimed: Claimed) {
    let Claimed { lease, request, body, retries } = claimed;
    let kept = queue.keeper.keep(lease);
    let request = StoredRequest::decode(&request);
    let route = request.as_ref().ok().and_then(|request| queue.route(&request.route)).cloned();
    let title = request.as_ref().map(|request| Title::new(&request.route, &request.method, &request.target));
    let title = title.unwrap_or_default();
    let mut timeline = Timeline::new(route.as_ref().map_or_else(Arc::default, |route| Arc::clone(&route.stats)));
    let mut execution = Execution { queue, kept, route, retries, title, start: Instant::now() };
    let outcome = execution.run(request.ok(), body, &mut timeline).await;
    execution.settle(outcome, Account::of(&timeline)).await;
}

impl Execution {
    async fn run(&mut self, request: Option<StoredRequest>, body: NewBody, timeline: &mut Timeline) -> Outcome {
        let Some(request) = request else {
            return Outcome::Failed(Failed::finally(lost()));
        };
        let Some(route) = self.route.clone() else {
            let message = format!("the worker has no route \"{}\"", request.route);
            return Outcome::Failed(Failed::finally(Fault::new(Code::NoRoute.as_str(), message)));
        };
        let (queue, lease, retries, limit) =
            (Arc::clone(&self.queue), self.kept.lease(), self.retries, request.timeout);
        self.watched(limit, run(&queue, &route, lease, request, body, retries, timeline)).await
    }

    /// Goes on until there is a result, the job's time is over, the lease is lost, or the process is cut.
    pub(super) async fn watched(&mut self, limit: Duration, result: impl Future<Output = Outcome> + Send) -> Outcome {
        let lease = self.kept.lease();
        let span = tracing::debug_span!("job", id = %lease.job, execution = lease.execution.get());
        tokio::select! {
            biased;
            () = self.kept.lost() => Outcome::Lost,
            () = self.queue.shutdown.cutting() => Outcome::Cut,
            outcome = timeout(limit, in_span(span, result)) => outcome.unwrap_or_else(|_| Outcome::Failed(timed_out(limit))),
        }
    }

    /// Writes the end of the execution, again and again until the store takes it or the lease is lost.
    pub(super) async fn settle(mut self, outcome: Outcome, account: Account) {
        let (mut word, settle) = self.verdict(&outcome);
        if let Some(settle) = settle
            && self.write(settle).await == Standing::Lost
        {
            word = "lost";
        }
        let stats = &self.queue.stats;
        stats.executions.count(word);
        if word == "repeated" {
            stats.repeated.count();
        }
        let Title { route, method, path } = &self.title;
        let lease = self.kept.lease();
        tracing::info!(
            job = %lease.job,
            route,
            %method,
            path = %Escaped(path),
            outcome = word,
            execution = lease.execution.get(),
            attempts = account.attempts,
            timeline = %account.timeline,
            total_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX),
            failure = account.failure.as_deref().map(|failure| tracing::field::display(Escaped(failure))),
            "job"
        );
    }

    /// What is to be written, and what is to be logged.
    fn verdict(&self, outcome: &Outcome) -> (&'static str, Option<Settle>) {
        let failed = match outcome {
            Outcome::Completed => return ("completed", None),
            Outcome::Lost => return ("lost", None),
            Outcome::Cut => return ("handed_back", Some(Settle::HandedBack)),
            Outcome::Failed(failed) => failed,
        };
        let error = failed.fault.to_string();
        let policy = self.route.as_ref().map(|route| &route.settings.jobs);
        match (failed.again, policy) {
            (Some(at_least), Some(policy)) if self.retries < policy.max_retries => {
                let after = policy.pause(self.retries + 1).max(at_least);
                ("repeated", Some(Settle::Again { error, after }))
            }
            _ => {
                let retention = policy.map_or(Duration::from_secs(3600), |policy| policy.retention);
                ("failed", Some(Settle::Failed { error, retention }))
            }
        }
    }

    async fn write(&mut self, settle: Settle) -> Standing {
        let (store, lease) = (Arc::clone(&self.queue.store), self.kept.lease());
        let batch = Batch { settle: Some(settle), ..Batch::default() };
        let written = async {
            loop {
                match store.record(lease, batch.clone()).await {
                    Ok(standing) => return standing,
                    Err(error) => {
                        tracing::debug!(job = %lease.job, %error, "a result waits for the store");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            standing = written => standing,
            () = self.kept.lost() => Standing::Lost,
        }
    }
}

/// Sends the request and records the response.
async fn run(
    queue: &Arc<Queue>,
    route: &Arc<Route>,
    lease: Lease,
    request: StoredRequest,
    body: NewBody,
    retries: u32,
    timeline: &mut Timeline,
) -> Outcome {
    let settings = &route.settings;
    let Some(onward) = Onward::again(settings, &request.target) else {
        return Outcome::Failed(Failed::finally(lost()));
    };
    let keep = if settings.jobs.header_deadline.is_some() { settings.max_request_body.get() } else { 0 };
    let kept = match body::load(&queue.store, &queue.quota, lease.job, body, &request.trailers, keep).await {
        Ok(kept) => kept,
        Err(Gone) => return Outcome::Failed(Failed::finally(lost())),
    };
    let (owner, is_known) = (request.owner, request.forwarded_is_known);
    let end_to_end = EndToEnd::kept(request.headers, request.was_framed, &request.trailers);
    let outbound = end_to_end.outbound(settings, request.method, onward, kept.payload);
    let method = outbound.method.clone();
    let look = queue.cache.look(&settings.cache, &route.asked(&outbound, owner, is_known), &route.stats).await;
    let (cache, result) = match look {
        Look::Off => (None, respond(route, &outbound, timeline).await.map(|response| response.map(AnswerBody::Own))),
        Look::Hit(response) => (Some(true), Ok(response.map(AnswerBody::from))),
        Look::Lead(lead) => {
            let (note, result) = lead.run(respond_for_all(Arc::clone(route), outbound)).await;
            *timeline = note;
            (Some(false), result)
        }
        Look::Alone => {
            let result = respond(route, &outbound, timeline).await;
            (Some(false), result.map(|response| response.map(AnswerBody::Own)))
        }
    };
    match result {
        Ok(response) => record(queue, route, lease, retries, &method, response, cache).await,
        Err(_) if kept.is_lost.load(Relaxed) => Outcome::Failed(Failed::finally(lost())),
        Err(failed) => Outcome::Failed(self::failed(&failed, timeline.attempts())),
    }
}

/// Asks the upstream, as one execution does.
async fn respond(
    route: &Route,
    outbound: &Outbound,
    timeline: &mut Timeline,
) -> Result<Response<ResponseBody>, race::Failed> {
    let course = Course {
        pool: &route.pool,
        policy: &route.settings.policy,
        mode: Mode::Job { header_deadline: route.settings.jobs.header_deadline },
        budget: &route.budget,
        hedge_budget: &route.hedge_budget,
    };
    let mut timer = LazyDeadline::default();
    match race::run(course, outbound, Expectation::EarlyHead, &mut timer, timeline).await {
        RaceEnd::Committed(Committed { head }) => Ok(Response::from_parts(head.parts, head.body)),
        RaceEnd::Failed(failed) => Err(failed),
    }
}

/// The same by somebody who owns all that it needs, because others may wait for the answer as well.
async fn respond_for_all(
    route: Arc<Route>,
    outbound: Outbound,
) -> (Timeline, Result<Response<ResponseBody>, race::Failed>) {
    let mut timeline = Timeline::new(Arc::clone(&route.stats));
    let result = respond(&route, &outbound, &mut timeline).await;
    (timeline, result)
}

/// Records a response to its end: it is the result, unless its status is one that is repeated and repeats are left. `is_hit`
/// says whether the cache had it; none = it was not asked.
pub(super) async fn record<B>(
    queue: &Arc<Queue>,
    route: &Arc<Route>,
    lease: Lease,
    retries: u32,
    method: &Method,
    response: Response<B>,
    is_hit: Option<bool>,
) -> Outcome
where
    B: Body<Data = Bytes> + Unpin,
{
    let settings = &route.settings;
    if retries < settings.jobs.max_retries && settings.jobs.retry_statuses.contains(&response.status()) {
        return Outcome::Failed(refused(&response));
    }
    let (mut parts, body) = response.into_parts();
    hop::strip_response(&mut parts.headers, &settings.answers.source.name, true);
    if let Some(is_hit) = is_hit {
        hop::tell_cache_status(&mut parts.headers, is_hit);
    }
    let is_bodiless = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if *method == Method::HEAD || is_bodiless {
        // It is replayed to a GET, whose body would have to have that length.
        parts.headers.remove(CONTENT_LENGTH);
    }
    let head_kept = StoredHead { status: parts.status, headers: parts.headers };
    let watch = Watch { idle: settings.stream_idle, events: None, shutdown: queue.shutdown.clone() };
    let body = Watched::new(body, watch, LazyDeadline::default(), Nobody);
    let writer = Writer::new(Arc::clone(&queue.store), lease, &head_kept, settings.jobs.max_response.get());
    match writer.write(body, settings.jobs.retention).await {
        Ok(()) => Outcome::Completed,
        Err(Unwritten::Lost) => Outcome::Lost,
        Err(Unwritten::TooLarge) => {
            let message =
                format!("the response is larger than {} (JOB_MAX_RESPONSE_BYTES)", settings.jobs.max_response);
            Outcome::Failed(Failed::finally(Fault::new(Fault::TOO_LARGE, message)))
        }
        Err(Unwritten::Full) => Outcome::Failed(Failed::in_transport(unreadable(&StoreError::Full))),
        Err(Unwritten::Broken(error)) => match error.downcast_ref::<BrokenOff>() {
            Some(BrokenOff(Breakage::ShuttingDown)) => Outcome::Cut,
            Some(BrokenOff(Breakage::Stalled)) => {
                let message = "the upstream sent response headers and then nothing for STREAM_IDLE_TIMEOUT_SECONDS";
                Outcome::Failed(Failed::in_transport(Fault::new(Fault::BROKEN, message)))
            }
            Some(BrokenOff(Breakage::Broken)) | None => {
                let message = "the upstream broke off after its response headers";
                Outcome::Failed(Failed::in_transport(Fault::new(Fault::BROKEN, message)))
            }
        },
    }
}

fn lost() -> Fault {
    Fault::new(Fault::LOST, "the request of this job is not in the store any more")
}

fn timed_out(limit: Duration) -> Failed {
    let message = format!("the execution took longer than {} (JOB_TIMEOUT_SECONDS, X-Forebay-Timeout)", Human(limit));
    Failed::in_transport(Fault::new(Fault::TIMEOUT, message))
}

/// No attempt had a head.
pub(super) fn failed(failed: &race::Failed, attempts: u32) -> Failed {
    let answer = race::failure_in_words(failed, attempts);
    Failed::in_transport(Fault::new(answer.code.as_str(), answer.message))
}

/// An answer that does not count, because of its status.
fn refused<B>(response: &Response<B>) -> Failed {
    let status = response.status().as_u16();
    let message = format!("the upstream answered with {status}, which is repeated (JOB_RETRY_STATUSES)");
    let pause = race::retry_after(response.headers(), SystemTime::now()).unwrap_or_default();
    let again = Some(pause.min(LONGEST_PAUSE));
    Failed { fault: Fault::new(Code::UpstreamRequestError.as_str(), message), again }
}

fn unreadable(error: &StoreError) -> Fault {
    let answer = unstored(error);
    Fault::new(answer.code.as_str(), answer.message)
}

/// Nobody hears how the body ended: the writer does.
struct Nobody;

impl Report for Nobody {
    fn ended(&mut self, _: End, _: u64) {}
}
