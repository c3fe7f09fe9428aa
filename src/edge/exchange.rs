//! The story: one client request and its one response, read from top to bottom.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::header::HeaderValue;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, request};
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::beyond::{Sent, course, is_cached};
use super::intake::Intake;
use super::jobs::no_store;
use super::outgoing::{Carrier, OutBody};
use super::respond::Door;
use super::summary::Summary;
use super::upload::Upload;
use super::{Edge, guard};
use crate::answer::{Answer, Code};
use crate::body::Payload;
use crate::cache::AnswerBody;
use crate::dialect::Dialect;
use crate::headers::{Arrival, RespondAsync, hop, surplus, trailers, upgrade};
use crate::ids::JobId;
use crate::queue::{self, Queue};
use crate::race::{self, Expectation, Mode, RaceEnd, Timeline};
use crate::routes::{Lane, Onward, Route, RouteSettings, outbound};
use crate::time::LazyDeadline;
use crate::upstream::{Head, Outbound, ResponseBody, Switched, has_dot_segment};

/// Serves one request: tells the story, and lets its end out through the one door.
///
/// Dropping the future – the client left – cancels what is under way and tries nothing more.
///
/// The request is one place in this future, and everything below borrows it: an argument of an `async fn` is there twice.
pub(super) fn exchange(
    edge: Arc<Edge>,
    carrier: Carrier,
    arrival: Arrival,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<OutBody>, Infallible>> + Send {
    let (mut parts, body) = request.into_parts();
    let body = Upload::new(body, &carrier);
    async move {
        let (edge, carrier) = (&*edge, &carrier);
        if let Some(fields) = carrier.take_fields() {
            surplus::join(&mut parts.headers, *fields);
        }
        hop::name_host(&mut parts);
        // "OPTIONS *" is about the server as a whole, and goes to "/".
        let path = if parts.uri.path() == "*" { "/" } else { parts.uri.path() };
        let client = edge.settings.trusted_proxies.client(arrival.peer, &parts.headers);
        // What is asked of the queue concerns no upstream.
        let route = if edge.is_jobs(path) { None } else { edge.routes.find(path) };
        let stats = Arc::clone(route.map_or(edge.routes.unrouted(), |route| &route.stats));
        let mut summary = Summary::new(client, parts.method.clone(), path, stats);
        let answers = route.map_or(&edge.answers, |route| &route.settings.answers);
        let dialect = Dialect::recognise(answers.dialect, &parts.headers, path);
        let takes_trailers = !carrier.is_http1() || trailers::are_accepted(&parts.headers);
        let is_head = parts.method == Method::HEAD;
        let door = Door { carrier, answers, dialect, is_head, takes_trailers, shutdown: &edge.shutdown };
        let quotes = match carrier {
            Carrier::Http1(turn) => turn.with_quotes(mem::take),
            Carrier::Http2(_) => Vec::new(),
        };
        let scene = Scene { edge, carrier, arrival, dialect, quotes };
        let mut timer = carrier.take_timer();
        let end = {
            let story = pin!(scene.story(route, &mut parts, body, &mut timer, &mut summary.timeline));
            unless_cut(edge, carrier, story).await
        };
        Ok(match end {
            Some(Ok(Reply::Health { is_read })) => door.health(is_read, summary),
            Some(Ok(Reply::Redirect { location, is_read })) => door.redirect(location, is_read, summary),
            Some(Ok(Reply::Upstream { head, route, is_read })) => {
                door.relay(*head, route.settings.stream_idle, is_read, timer, summary)
            }
            Some(Ok(Reply::Shared { response, is_hit, route, prefers })) => {
                door.share(*response, is_hit, prefers, route.settings.stream_idle, timer, summary)
            }
            Some(Ok(Reply::Accepted { location, job, prefers })) => door.accepted(location, job, prefers, summary),
            Some(Ok(Reply::Document { json, is_read })) => door.document(json, is_read, summary),
            Some(Ok(Reply::Content { content, is_read })) => door.content(*content, is_read, timer, summary),
            Some(Ok(Reply::Switched { head, upstream, route })) => {
                door.switch(*head, upstream, route.settings.tunnel_idle, summary)
            }
            Some(Err(answer)) => door.answer(&answer, summary),
            None => {
                let answer =
                    Answer::new(Code::ShuttingDown, "forebay is shutting down. Try again in a moment.").closing();
                door.answer(&answer, summary)
            }
        })
    }
}

/// Runs a future unless the process is cut first. On HTTP/1 the connection's task is woken by the cut, so asking is enough
/// and costs one load; an exchange on HTTP/2 has a task of its own. Pinned by the caller, so that it is not moved again.
async fn unless_cut<F: Future>(edge: &Edge, carrier: &Carrier, mut future: Pin<&mut F>) -> Option<F::Output> {
    match carrier {
        Carrier::Http1(_) => {
            poll_fn(|cx| if edge.shutdown.is_cut() { Poll::Ready(None) } else { future.as_mut().poll(cx).map(Some) })
                .await
        }
        Carrier::Http2(_) => {
            tokio::select! {
                biased;
                () = edge.shutdown.cutting() => None,
                output = future => Some(output),
            }
        }
    }
}

/// How long a WebSocket handshake may take in all for Codex, whose own patience is 15 seconds.
const CODEX_HANDSHAKE: Duration = Duration::from_secs(10);

/// What a good end is made of. `is_read`: nothing of the request is left on the connection.
pub(super) enum Reply<'a> {
    Health {
        is_read: bool,
    },
    Redirect {
        location: HeaderValue,
        is_read: bool,
    },
    Upstream {
        head: Box<Head>,
        route: &'a Route,
        is_read: bool,
    },
    /// An answer that the cache had a part in, or that might have become a job.
    Shared {
        response: Box<Response<AnswerBody<ResponseBody>>>,
        is_hit: Option<bool>,
        route: &'a Route,
        prefers: Option<RespondAsync>,
    },
    Switched {
        head: Box<Head>,
        upstream: Switched,
        route: &'a Route,
    },
    /// The request has become a job.
    Accepted {
        location: HeaderValue,
        job: JobId,
        prefers: Option<RespondAsync>,
    },
    /// What is known of a job.
    Document {
        json: String,
        is_read: bool,
    },
    /// What a job has come to.
    Content {
        content: Box<queue::Content>,
        is_read: bool,
    },
}

/// Where the story plays.
pub(super) struct Scene<'a> {
    pub(super) edge: &'a Edge,
    carrier: &'a Carrier,
    pub(super) arrival: Arrival,
    dialect: Dialect,
    pub(super) quotes: Vec<u32>,
}

impl<'a> Scene<'a> {
    async fn story(
        &self,
        route: Option<&'a Arc<Route>>,
        parts: &mut request::Parts,
        body: Upload,
        timer: &mut LazyDeadline,
        timeline: &mut Timeline,
    ) -> Result<Reply<'a>, Answer> {
        if self.carrier.is_ambiguous() {
            return Err(Answer::new(Code::BadRequest, "The length of the request's body is ambiguous.").closing());
        }
        let target = guard::check(parts, self.edge.settings.max_header_bytes)?;
        let is_read = body.is_end_stream();
        if self.edge.is_health_check(&parts.method, target.path()) {
            return Ok(Reply::Health { is_read });
        }
        if let Some((queue, rest)) = self.edge.jobs(target.path()) {
            return Box::pin(self.ask_for_a_job(queue, parts, rest, is_read)).await;
        }
        let route = route.ok_or_else(|| no_route(is_read))?;
        let settings = &route.settings;
        may_pass(settings, &parts.headers, &target)?;
        let onward = Onward::new(settings, &target, &self.quotes)?;
        if self.is_websocket(parts, &body) {
            let mut outbound =
                outbound(settings, self.edge.settings.hop(self.arrival), taken(parts), onward, Payload::default());
            upgrade::to_websocket(&mut outbound.headers);
            outbound.is_upgrade = true;
            return Box::pin(self.upgrade(route, &outbound, timer, timeline)).await;
        }
        let lane = settings.lanes.of(target.path());
        let intake = match lane {
            Lane::Redirect => Intake::Redirect,
            Lane::Queue if self.edge.queue.is_none() => return Err(no_store()),
            Lane::Race | Lane::Stream | Lane::Queue => self.take_in(settings, lane, body, timer).await?,
        };
        let (payload, mode) = match intake {
            Intake::Payload(payload, mode) => (payload, mode),
            Intake::Job(body) => {
                return Box::pin(self.enqueue(route, taken(parts), &target, body, timer, None)).await;
            }
            Intake::Redirect => {
                let location = onward.location(&settings.base).ok_or_else(unsendable)?;
                return Ok(Reply::Redirect { location, is_read });
            }
        };
        if let Some(wish) = self.wish(settings, mode, &payload, &mut parts.headers) {
            let story = self.may_become_a_job(
                route,
                Sent { parts: taken(parts), target: &target, onward },
                wish,
                timer,
                timeline,
            );
            return Box::pin(story).await;
        }
        if is_cached(settings, mode, &payload) {
            let story =
                self.may_be_known(route, Sent { parts: taken(parts), target: &target, onward }, payload, timeline);
            return Box::pin(story).await;
        }
        let expectation = header_expectation(settings, mode, parts, &target, &payload).await;
        let outbound = outbound(settings, self.edge.settings.hop(self.arrival), taken(parts), onward, payload);
        let end = race::run(course(route, mode), &outbound, expectation, timer, timeline).await;
        let is_read = outbound.body.has_ended();
        if !self.carrier.is_http1() {
            outbound.body.leave();
        }
        match end {
            RaceEnd::Committed(committed) => Ok(Reply::Upstream { head: Box::new(committed.head), route, is_read }),
            RaceEnd::Failed(failed) => {
                let answer = race::failure_in_words(&failed, timeline.attempts());
                Err(if is_read { answer } else { answer.closing() })
            }
        }
    }

    /// RFC 6455 §4.1: a GET of HTTP/1.1, and no body.
    fn is_websocket(&self, parts: &request::Parts, body: &Upload) -> bool {
        self.carrier.is_http1()
            && parts.version == Version::HTTP_11
            && parts.method == Method::GET
            && body.is_end_stream()
            && upgrade::is_asked_for(&parts.headers)
    }

    /// A handshake has no body, so it is repeated as in a race, whatever the lane. Codex gives up before a silent upstream
    /// has used up its deadlines, and would try seven times: it is told in time.
    async fn upgrade(
        &self,
        route: &'a Route,
        outbound: &Outbound,
        timer: &mut LazyDeadline,
        timeline: &mut Timeline,
    ) -> Result<Reply<'a>, Answer> {
        let is_codex = self.dialect == Dialect::Codex;
        let patience = if is_codex { CODEX_HANDSHAKE } else { Duration::MAX };
        let handshake = race::run(course(route, Mode::Race), outbound, Expectation::EarlyHead, timer, timeline);
        let Ok(end) = timeout(patience, handshake).await else { return Err(upgrade_failed()) };
        match end {
            RaceEnd::Committed(mut committed) => match committed.head.switched.take() {
                Some(upstream) => Ok(Reply::Switched { head: Box::new(committed.head), upstream, route }),
                None if is_codex && has_no_websocket(committed.head.parts.status) => Err(upgrade_failed()),
                None => Ok(Reply::Upstream { head: Box::new(committed.head), route, is_read: true }),
            },
            RaceEnd::Failed(_) if is_codex => Err(upgrade_failed()),
            RaceEnd::Failed(failed) => Err(race::failure_in_words(&failed, timeline.attempts())),
        }
    }
}

/// The head of a request, to be made another of. Nothing is left of it where it was.
fn taken(parts: &mut request::Parts) -> request::Parts {
    mem::replace(parts, Request::new(()).into_parts().0)
}

impl Edge {
    /// The queue, and what stands behind `JOBS_PATH` in a path that is its own.
    fn jobs<'a>(&'a self, path: &'a str) -> Option<(&'a Queue, &'a str)> {
        let queue = self.queue.as_ref()?;
        queue.rest(path).map(|rest| (&**queue, rest))
    }

    fn is_jobs(&self, path: &str) -> bool {
        self.jobs(path).is_some()
    }

    fn is_health_check(&self, method: &Method, path: &str) -> bool {
        matches!(*method, Method::GET | Method::HEAD) && self.settings.health_path.as_deref() == Some(path)
    }
}

/// The rules that need a route: who may use its key, and the fence that a prefix or a base path is.
fn may_pass(settings: &RouteSettings, headers: &HeaderMap, target: &PathAndQuery) -> Result<(), Answer> {
    if settings.web.as_ref().is_some_and(|rule| !rule.allows(headers)) {
        let message = "This proxy adds a key of its own, so it serves loopback host names, those in ALLOWED_HOSTS, and web \
                       pages from ALLOWED_ORIGINS only.";
        return Err(Answer::new(Code::HostNotAllowed, message).closing());
    }
    let is_fenced = !settings.base.path().is_empty() || !settings.prefix.is_root();
    if is_fenced && has_dot_segment(target.path()) {
        let message = "The path has a dot segment, and the route has a prefix or a base path that must not be left.";
        return Err(Answer::new(Code::BadRequest, message).closing());
    }
    Ok(())
}

fn no_route(is_read: bool) -> Answer {
    let answer = Answer::new(Code::NoRoute, "No route matches this path. Routes are set with ROUTE_<NAME>_PREFIX.");
    if is_read { answer } else { answer.closing() }
}

fn unsendable() -> Answer {
    Answer::new(Code::BadRequest, "The target cannot be put into a Location field.").closing()
}

/// Codex falls back to POST at once after a 426, and after nothing else.
fn upgrade_failed() -> Answer {
    let message = "The upstream does not speak WebSocket here. Send the request as POST.";
    Answer::new(Code::UpgradeFailed, message).upgrade("websocket")
}

/// Whether an answer to a handshake means that there is no WebSocket, rather than that this client must not use it.
fn has_no_websocket(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 404 | 405 | 426) || status.is_server_error()
}

/// Which header deadline applies. Nobody looks where both are the same, or where nothing is kept to look into.
pub(super) async fn header_expectation(
    settings: &RouteSettings,
    mode: Mode,
    parts: &request::Parts,
    target: &PathAndQuery,
    payload: &Payload,
) -> Expectation {
    let policy = &settings.policy;
    let (Mode::Race, Payload::Kept(body)) = (mode, payload) else { return Expectation::Unknown };
    if policy.header_deadline == policy.whole_answer_deadline {
        return Expectation::EarlyHead;
    }
    race::look(&parts.method, target.path(), &parts.headers, body).await
}
