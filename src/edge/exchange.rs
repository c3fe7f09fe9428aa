//! The story: one client request and its one response, read from top to bottom.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri, request};
use hyper::body::Incoming;

use super::outgoing::OutBody;
use super::respond::{Door, body_failure, race_failure, too_large};
use super::summary::Summary;
use super::turn::Turn;
use super::{Edge, guard, quotes};
use crate::answer::{Answer, Code};
use crate::body::{Collected, Limits, Payload, Snapshot};
use crate::dialect::Dialect;
use crate::headers::hop;
use crate::race::{self, Committed, Course, Expectation, Mode, RaceEnd, Timeline};
use crate::routes::{Route, RouteSettings};
use crate::upstream::{BaseUrl, Outbound, has_dot_segment};

/// Serves one request: tells the story, and lets its end out through the one door.
///
/// Dropping the future – the client left – cancels what is under way and tries nothing more.
pub(super) async fn exchange(
    edge: &Edge,
    turn: &Arc<Turn>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<OutBody> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let mut summary = Summary::new(peer, parts.method.clone(), path.to_owned());
    let route = edge.routes.find(path);
    let (answers, stream_idle) = route.map_or((&edge.answers, None), |r| (&r.settings.answers, r.settings.stream_idle));
    let dialect = Dialect::recognise(answers.dialect, &parts.headers, path);
    let door = Door { turn, answers, stream_idle, dialect, shutdown: &edge.shutdown };
    let quotes = turn.with_quotes(std::mem::take);
    match unless_cut(edge, story(edge, route, parts, body, &quotes, &mut summary.timeline)).await {
        Some(Ok(Reply::Health)) => door.health(summary),
        Some(Ok(Reply::Upstream(committed))) => door.relay(*committed, summary),
        Some(Err(answer)) => door.answer(&answer, summary),
        None => {
            let answer = Answer::new(Code::ShuttingDown, "forebay is shutting down. Try again in a moment.").closing();
            door.answer(&answer, summary)
        }
    }
}

/// Runs a future unless the process is cut first. The connection's task is woken by the cut, so asking is enough, and
/// costs one load.
async fn unless_cut<F: Future>(edge: &Edge, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| if edge.shutdown.is_cut() { Poll::Ready(None) } else { future.as_mut().poll(cx).map(Some) }).await
}

/// What a good end is made of.
enum Reply {
    Health,
    Upstream(Box<Committed>),
}

async fn story(
    edge: &Edge,
    route: Option<&Arc<Route>>,
    parts: request::Parts,
    mut body: Incoming,
    quotes: &[u32],
    timeline: &mut Timeline,
) -> Result<Reply, Answer> {
    let target = guard::check(&parts)?;
    if edge.is_health_check(&parts.method, target.path()) {
        return Ok(Reply::Health);
    }
    let route = route.ok_or_else(|| Answer::new(Code::NoRoute, "No route matches this path."))?;
    let settings = &route.settings;
    may_pass(route, &parts.headers, &target)?;
    let limits = Limits { max: settings.max_request_body.get(), progress: edge.settings.body_timeout };
    let collected = Snapshot::collect(&mut body, limits, &edge.quota).await.map_err(|error| body_failure(&error))?;
    let Collected::Whole(body) = collected else { return Err(too_large(settings.max_request_body)) };
    let expectation = header_expectation(route, &parts, &target, &body).await;
    let outbound = outbound(settings, parts, &target, quotes, body)?;
    let (pool, policy, mode) = (&route.pool, &settings.policy, Mode::Race);
    let course = Course { pool, policy, mode, budget: &route.budget, hedge_budget: &route.hedge_budget };
    match race::run(course, &outbound, expectation, timeline).await {
        RaceEnd::Committed(committed) => Ok(Reply::Upstream(Box::new(committed))),
        RaceEnd::Failed(failed) => Err(race_failure(&failed, timeline.attempts())),
    }
}

impl Edge {
    fn is_health_check(&self, method: &Method, path: &str) -> bool {
        matches!(*method, Method::GET | Method::HEAD) && self.settings.health_path.as_deref() == Some(path)
    }
}

/// The rules that need a route: who may use its key, and the fence around its base path.
fn may_pass(route: &Route, headers: &HeaderMap, target: &PathAndQuery) -> Result<(), Answer> {
    if route.settings.web.as_ref().is_some_and(|rule| !rule.allows(headers)) {
        let message = "This proxy adds a key of its own, so it serves loopback host names, those in ALLOWED_HOSTS, and web \
                       pages from ALLOWED_ORIGINS only.";
        return Err(Answer::new(Code::HostNotAllowed, message).closing());
    }
    if !route.settings.base.path().is_empty() && has_dot_segment(target.path()) {
        let message = "The path has a dot segment, and the upstream has a base path that must not be left.";
        return Err(Answer::new(Code::BadRequest, message).closing());
    }
    Ok(())
}

/// Which header deadline applies. Nobody looks where both are the same.
async fn header_expectation(
    route: &Route,
    parts: &request::Parts,
    target: &PathAndQuery,
    body: &Snapshot,
) -> Expectation {
    let policy = &route.settings.policy;
    if policy.header_deadline == policy.whole_answer_deadline {
        return Expectation::EarlyHead;
    }
    race::look(&parts.method, target.path(), &parts.headers, body).await
}

/// The request as the upstream is to see it. `target` is what the guard made of the client's; `quotes` are the offsets in
/// its query at which the client had a `"`.
pub fn outbound(
    settings: &RouteSettings,
    parts: request::Parts,
    target: &PathAndQuery,
    quotes: &[u32],
    body: Snapshot,
) -> Result<Outbound, Answer> {
    let request::Parts { method, mut headers, .. } = parts;
    let was_framed = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    hop::strip_request(&mut headers, &settings.answers.source.name);
    headers.insert(HOST, settings.base.host().clone());
    if was_framed {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    if let Some(key) = &settings.key {
        key.apply(&mut headers);
    }
    let target = upstream_target(&settings.base, target)?;
    let quotes = quotes::in_target(quotes, target.path_and_query().map_or("", PathAndQuery::as_str));
    Ok(Outbound { method, target, quotes, headers, body: Payload::Kept(body), is_upgrade: false })
}

/// The client's path and query behind the base path, byte for byte.
fn upstream_target(base: &BaseUrl, target: &PathAndQuery) -> Result<Uri, Answer> {
    if base.path().is_empty() {
        return Ok(Uri::from(target.clone()));
    }
    let joined = Bytes::from([base.path(), target.as_str()].concat());
    PathAndQuery::from_maybe_shared(joined).map(Uri::from).map_err(|_| {
        Answer::new(Code::UriTooLong, "Behind the upstream's base path the target is longer than 65534 bytes.")
            .closing()
    })
}
