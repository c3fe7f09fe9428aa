//! Races that are more than a race: the answer may be known already, or be kept; or the request may become a job.
//!
//! What asks the upstream here owns all that it needs, so that it can outlive its client: others may wait for the same
//! answer, or a worker may go on with it.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{Response, request};

use super::exchange::{Reply, Scene, header_expectation};
use super::jobs::{JobBody, Wish, accepted, no_store};
use crate::answer::{Answer, Code};
use crate::body::Payload;
use crate::cache::{AnswerBody, CacheKind, Look};
use crate::headers::{Forwarded, RespondAsync};
use crate::job::Owner;
use crate::queue::{self, Ended, Queue, Raced, Ticket};
use crate::race::{self, Course, Expectation, Mode, RaceEnd, Timeline};
use crate::routes::{Onward, Route, RouteSettings, outbound};
use crate::time::LazyDeadline;
use crate::upstream::{Outbound, ResponseBody};

/// A request whose body is kept, and where it goes.
pub(super) struct Sent<'t> {
    pub(super) parts: request::Parts,
    pub(super) target: &'t PathAndQuery,
    pub(super) onward: Onward,
}

/// Whoever asks the upstream, with all that he needs.
enum Asking {
    /// In a race.
    Race { route: Arc<Route>, outbound: Box<Outbound>, expectation: Expectation },
    /// In a race that may become a job.
    OrJob { queue: Arc<Queue>, raced: Box<Raced> },
}

/// Why there is no answer of the upstream's to give to the client.
enum Without {
    /// No attempt had a head.
    Failed(Answer),
    /// The request has become a job.
    Accepted(Ticket),
}

impl Asking {
    fn outbound(&self) -> &Outbound {
        match self {
            Self::Race { outbound, .. } => outbound,
            Self::OrJob { raced, .. } => &raced.outbound,
        }
    }

    /// Asks, and says what became of the attempts.
    async fn ask(self) -> (Timeline, Result<Response<ResponseBody>, Without>) {
        let (timeline, head) = match self {
            Self::Race { route, outbound, expectation } => {
                let mut timeline = Timeline::new(Arc::clone(&route.stats));
                let mut timer = LazyDeadline::default();
                let course = course(&route, Mode::Race);
                let end = race::run(course, &outbound, expectation, &mut timer, &mut timeline).await;
                let head = match end {
                    RaceEnd::Committed(committed) => Ok(committed.head),
                    RaceEnd::Failed(failed) => Err(race::failure_in_words(&failed, timeline.attempts())),
                };
                (timeline, head.map_err(Without::Failed))
            }
            Self::OrJob { queue, raced } => {
                let stats = Arc::clone(&raced.route.stats);
                let Some(verdict) = queue.race(*raced).await else {
                    let message = "forebay is shutting down. Try again in a moment.";
                    let answer = Answer::new(Code::ShuttingDown, message).closing();
                    return (Timeline::new(stats), Err(Without::Failed(answer)));
                };
                let head = match verdict.end {
                    Ended::Head(head) => Ok(*head),
                    Ended::Failed(answer) => Err(Without::Failed(answer)),
                    Ended::Accepted(ticket) => Err(Without::Accepted(ticket)),
                };
                (verdict.timeline, head)
            }
        };
        (timeline, head.map(|head| Response::from_parts(head.parts, head.body)))
    }
}

/// Where the races of a route are run, and by which rules.
pub(super) fn course(route: &Route, mode: Mode) -> Course<'_> {
    let Route { settings, pool, budget, hedge_budget, .. } = route;
    Course { pool, policy: &settings.policy, budget, hedge_budget, mode }
}

/// Whether the answers of a route are kept.
pub(super) fn is_cached(settings: &RouteSettings, mode: Mode, payload: &Payload) -> bool {
    settings.cache.kind != CacheKind::None && mode == Mode::Race && matches!(payload, Payload::Kept(_))
}

impl<'a> Scene<'a> {
    /// The story of a race that may become a job.
    pub(super) async fn may_become_a_job(
        &self,
        route: &'a Arc<Route>,
        sent: Sent<'_>,
        wish: Wish,
        timer: &mut LazyDeadline,
        timeline: &mut Timeline,
    ) -> Result<Reply<'a>, Answer> {
        let Sent { parts, target, onward } = sent;
        let (prefers, overflow, body) = match wish {
            Wish::AtOnce { prefers, body } => {
                return self.enqueue(route, parts, target, JobBody::Kept(body), timer, Some(prefers)).await;
            }
            Wish::Later { prefers, overflow, body } => (prefers, overflow, body),
        };
        let queue = self.edge.queue.as_ref().ok_or_else(no_store)?;
        let settings = &route.settings;
        let payload = Payload::Kept(body.clone());
        let expectation = header_expectation(settings, Mode::Race, &parts, target, &payload).await;
        let asked = self.asked(route, parts.clone(), target)?;
        let outbound = outbound(settings, self.edge.settings.hop(self.arrival), parts, onward, payload);
        let owner = asked.owner;
        let raced = Raced { route: Arc::clone(route), outbound, expectation, overflow, asked, body };
        let asking = Asking::OrJob { queue: Arc::clone(queue), raced: Box::new(raced) };
        self.look(route, asking, owner, prefers, timeline).await
    }

    /// The story of a race whose answer may be known already.
    pub(super) async fn may_be_known(
        &self,
        route: &'a Arc<Route>,
        sent: Sent<'_>,
        payload: Payload,
        timeline: &mut Timeline,
    ) -> Result<Reply<'a>, Answer> {
        let Sent { parts, target, onward } = sent;
        let settings = &route.settings;
        let expectation = header_expectation(settings, Mode::Race, &parts, target, &payload).await;
        let owner = queue::owner(Some(settings), &parts.headers);
        let outbound = outbound(settings, self.edge.settings.hop(self.arrival), parts, onward, payload);
        let asking = Asking::Race { route: Arc::clone(route), outbound: Box::new(outbound), expectation };
        self.look(route, asking, owner, None, timeline).await
    }

    /// Looks for the answer, and asks for it where it is not there.
    async fn look(
        &self,
        route: &'a Arc<Route>,
        asking: Asking,
        owner: Option<Owner>,
        prefers: Option<RespondAsync>,
        timeline: &mut Timeline,
    ) -> Result<Reply<'a>, Answer> {
        let settings = &route.settings;
        let is_known = self.is_known(self.edge.settings.forwarded);
        let asked = route.asked(asking.outbound(), owner, is_known);
        let look = self.edge.cache.look(&settings.cache, &asked, &route.stats).await;
        let (is_hit, result) = match look {
            Look::Hit(response) => (Some(true), Ok(response.map(AnswerBody::from))),
            Look::Lead(lead) => {
                let (note, result) = lead.run(asking.ask()).await;
                *timeline = note;
                (Some(false), result)
            }
            Look::Alone | Look::Off => {
                let is_miss = matches!(look, Look::Alone).then_some(false);
                let (note, result) = asking.ask().await;
                *timeline = note;
                (is_miss, result.map(|response| response.map(AnswerBody::Own)))
            }
        };
        match result {
            Ok(response) => Ok(Reply::Shared { response: Box::new(response), is_hit, route, prefers }),
            Err(Without::Failed(answer)) => Err(answer),
            Err(Without::Accepted(ticket)) => accepted(self.edge.queue.as_ref().ok_or_else(no_store)?, ticket, prefers),
        }
    }

    /// Whether `X-Forwarded-*` is forebay's own, or that of somebody who is believed.
    pub(super) fn is_known(&self, forwarded: Forwarded) -> bool {
        forwarded != Forwarded::Keep || self.edge.settings.trusted_proxies.trusts(self.arrival.peer)
    }
}
