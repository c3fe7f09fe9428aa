//! The driver of the plan: attempts are futures, time is a timer, and every decision is the plan's.
//!
//! What it decides itself is a matter of fact: whether the body can be sent again, and what the budgets allow.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;
use tokio::time::Instant;

use super::plan::{Input, Limits, Plan, Step, Trouble, Why};
use super::retry_after::retry_after;
use super::timeline::Timeline;
use super::{Expectation, HedgeBudget, Mode, Policy, Quality, RetryBudget};
use crate::ids::AttemptNo;
use crate::telemetry::in_span;
use crate::time::{LazyDeadline, Offset};
use crate::upstream::{Failure, Head, Outbound, Phase, Pool, Progress, Timeouts, attempt};

/// Where a race is run, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// The connections to the upstream.
    pub pool: &'a Arc<Pool>,
    /// The rules.
    pub policy: &'a Policy,
    /// How many of them apply.
    pub mode: Mode,
    /// What retries are taken from.
    pub budget: &'a Arc<RetryBudget>,
    /// What hedges are taken from.
    pub hedge_budget: &'a HedgeBudget,
}

/// How a race ended.
#[derive(Debug)]
pub enum RaceEnd {
    /// With a response head. From here on bytes only flow.
    Committed(Committed),
    /// Without one.
    Failed(Failed),
}

/// A complete response head that was accepted. There is no way back from here to another attempt.
#[derive(Debug)]
pub struct Committed {
    /// The head and the body behind it.
    pub head: Head,
}

/// No attempt had a head.
#[derive(Debug)]
pub struct Failed {
    /// The failure that was latest in time.
    pub failure: Failure,
    /// Why there was no further attempt.
    pub why: Why,
}

/// Runs a race to its end.
///
/// Dropping the future cancels every attempt at once and starts no other: that is what happens when the client leaves.
/// `timeline` then still tells what had been tried. `timer` is any that nobody else uses meanwhile.
pub async fn run(
    course: Course<'_>,
    outbound: &Outbound,
    expectation: Expectation,
    timer: &mut LazyDeadline,
    timeline: &mut Timeline,
) -> RaceEnd {
    let limits = course.limits(outbound, expectation);
    let mut plan = Plan::new(limits, course.policy.backoff.pauses());
    let timeouts = course.policy.timeouts;
    let start = Instant::now();
    let mut field = Field { runners: SmallVec::new(), start, write_limit: timeouts.write };
    let waiting = course.budget.wait();
    if limits.hedge_after.is_some() {
        course.hedge_budget.exchange();
    }
    // Held while a retry is under way.
    let mut further = None;
    // The heads that the plan knows of: dropped with the race, or before a retry. Their connections stay open.
    let mut heads: Vec<(AttemptNo, Head)> = Vec::new();
    let mut latest = None;
    // Time passes only where something is waited for.
    let mut now = start;
    let mut step = plan.step(Offset::ZERO, Input::Start);
    loop {
        let event = match step {
            Step::Launch { no, fresh } => {
                let runner = Runner::start(no, course.pool, outbound, fresh, timeouts);
                timeline.started(no, Arc::clone(&runner.progress), now);
                field.runners.push(runner);
                // Another one's request may have been written meanwhile, and the plan is told that before the time.
                field.due().unwrap_or(Event::Time)
            }
            Step::AskRetry | Step::AskHedge if !outbound.body.can_be_sent() => Event::Refused(Why::Spent),
            Step::AskRetry => {
                // The one before it is over, and so is its part of the budget.
                drop(further.take());
                further = waiting.further();
                if further.is_some() {
                    heads.clear();
                    Event::Granted
                } else {
                    Event::Refused(Why::Budget)
                }
            }
            Step::AskHedge if course.hedge_budget.hedge() => Event::Granted,
            Step::AskHedge => Event::Refused(Why::Budget),
            Step::Drop(no) => {
                field.remove(no);
                Event::Ended(no, Err(Failure::HeaderTimeout(limits.deadline)))
            }
            Step::Wait(until) => {
                let event = field.next(until, timer).await;
                now = Instant::now();
                event
            }
            Step::Commit(no) => match heads.iter().position(|(of, _)| *of == no) {
                Some(index) => {
                    timeline.committed(no, now);
                    return RaceEnd::Committed(Committed { head: heads.swap_remove(index).1 });
                }
                // The plan commits only what it was told of.
                None => Event::Time,
            },
            Step::GiveUp(why) => {
                timeline.given_up(now);
                // The plan gives up only after a failure.
                let failure = latest.unwrap_or(Failure::HeaderTimeout(limits.deadline));
                return RaceEnd::Failed(Failed { failure, why });
            }
        };
        let input = match event {
            Event::Ended(no, Ok(head)) => {
                timeline.answered(no, head.parts.status, limits.deadline, now);
                let quality = course.quality(&head);
                heads.push((no, head));
                Input::Head(no, quality)
            }
            Event::Ended(no, Err(failure)) => {
                timeline.failed(no, &failure, now);
                let trouble = Trouble {
                    may_have_reached: failure.may_have_reached(),
                    is_stale: failure.is_stale() && outbound.body.can_be_sent(),
                    had_connection: failure.had_connection(),
                };
                latest = Some(failure);
                if outbound.body.fault().is_some() { Input::ClientFault } else { Input::Failed(no, trouble) }
            }
            Event::Written { no, at } => Input::Written { no, at },
            Event::Granted => Input::Granted,
            Event::Refused(why) => {
                timeline.refused(why);
                Input::Refused(why)
            }
            Event::Time => Input::Time,
        };
        step = plan.step(Offset::new(now.duration_since(start)), input);
    }
}

impl Course<'_> {
    fn limits(&self, outbound: &Outbound, expectation: Expectation) -> Limits {
        Limits {
            max_attempts: self.policy.max_attempts,
            deadline: self.policy.deadline(expectation),
            hedge_after: self.policy.hedge_after.filter(|_| self.mode == Mode::Race),
            may_repeat: self.policy.may_repeat(&outbound.method, &outbound.headers),
            mode: self.mode,
        }
    }

    fn quality(&self, head: &Head) -> Quality {
        let (status, headers) = (head.parts.status, &head.parts.headers);
        self.policy.quality(status, || retry_after(headers, SystemTime::now()))
    }
}

/// One attempt in flight.
struct Runner<'a> {
    no: AttemptNo,
    progress: Arc<Progress>,
    attempt: Pin<Box<dyn Future<Output = Result<Head, Failure>> + Send + 'a>>,
    /// The plan knows that the request was written.
    is_known_written: bool,
}

impl<'a> Runner<'a> {
    fn start(no: AttemptNo, pool: &'a Arc<Pool>, outbound: &'a Outbound, fresh: bool, timeouts: Timeouts) -> Self {
        let progress = Arc::new(Progress::default());
        let watched = Arc::clone(&progress);
        let span = tracing::debug_span!("attempt", %no, fresh);
        let attempt = in_span(span, attempt(pool, outbound, fresh, timeouts, watched));
        Self { no, progress, attempt, is_known_written: false }
    }
}

/// The attempts in flight.
struct Field<'a> {
    runners: SmallVec<[Runner<'a>; 1]>,
    start: Instant,
    write_limit: Duration,
}

#[expect(clippy::large_enum_variant, reason = "it is moved once, and most events are ends")]
enum Event {
    Ended(AttemptNo, Result<Head, Failure>),
    Written { no: AttemptNo, at: Offset },
    Granted,
    Refused(Why),
    Time,
}

impl Field<'_> {
    /// Takes an attempt out of the race, which ends it.
    fn remove(&mut self, no: AttemptNo) {
        self.runners.retain(|runner| runner.no != no);
    }

    /// What happens next, at the latest at `until`.
    async fn next(&mut self, until: Option<Offset>, timer: &mut LazyDeadline) -> Event {
        poll_fn(|cx| self.poll_next(cx, until, timer)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, until: Option<Offset>, timer: &mut LazyDeadline) -> Poll<Event> {
        for index in 0..self.runners.len() {
            if let Poll::Ready(result) = self.runners[index].attempt.as_mut().poll(cx) {
                let runner = self.runners.remove(index);
                return Poll::Ready(Event::Ended(runner.no, result));
            }
        }
        loop {
            let due = until.map(|offset| self.start + offset.get());
            // A request that is not written yet has the write clock as well.
            let writing = self.runners.iter().filter_map(|runner| match runner.progress.phase() {
                Phase::Writing { progress } => Some(progress + self.write_limit),
                Phase::Connecting | Phase::Written { .. } => None,
            });
            let Some(due) = writing.chain(due).min() else { return Poll::Pending };
            timer.set(due);
            if timer.poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(event) = self.due() {
                return Poll::Ready(event);
            }
            if until.is_some_and(|offset| self.start + offset.get() <= Instant::now()) {
                return Poll::Ready(Event::Time);
            }
        }
    }

    /// What the clocks have to say now: a request that was written meanwhile, or one that is not taken any more.
    fn due(&mut self) -> Option<Event> {
        for index in 0..self.runners.len() {
            let runner = &mut self.runners[index];
            match runner.progress.phase() {
                Phase::Written { at } if !runner.is_known_written => {
                    runner.is_known_written = true;
                    return Some(Event::Written { no: runner.no, at: Offset::new(at.duration_since(self.start)) });
                }
                Phase::Writing { progress } if progress.elapsed() >= self.write_limit => {
                    let runner = self.runners.remove(index);
                    return Some(Event::Ended(runner.no, Err(Failure::WriteTimeout(self.write_limit))));
                }
                Phase::Connecting | Phase::Writing { .. } | Phase::Written { .. } => {}
            }
        }
        None
    }
}
