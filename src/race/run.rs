//! The driver of the plan: attempts are futures, time is a timer, and every decision is the plan's.
//!
//! What it decides itself is a matter of fact: whether the body can be sent again, and what the budgets allow.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;
use tokio::time::Instant;

use super::backoff::Pauses;
use super::plan::Plan;
use super::retry_after::retry_after;
use super::signals::{Input, Limits, Step, Trouble, Why};
use super::timeline::Timeline;
use super::{Expectation, Further, HedgeBudget, Mode, OverflowPoint, Policy, Quality, RetryBudget, Waiting};
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

/// How a race ended. One that cannot overflow ends in one of two ways, and the third needs no arm.
#[derive(Debug)]
pub enum RaceEnd<O = Infallible> {
    /// With a response head. From here on bytes only flow.
    Committed(Committed),
    /// Without one.
    Failed(Failed),
    /// Not at all: it may be taken over.
    Overflowed(O),
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
    Race::new(course, outbound, expectation, OverflowPoint::NEVER).go(Input::Start, timer, timeline, nobody).await
}

/// Nobody takes a race over that overflows.
pub(super) fn nobody() -> Option<Infallible> {
    None
}

/// A race under way. Dropping it ends its attempts at once.
pub(super) struct Race<'a> {
    course: Course<'a>,
    outbound: &'a Outbound,
    /// As they were at the beginning: the wait of an adopted attempt is measured by the deadline that it had.
    limits: Limits,
    pub(super) plan: Plan<Pauses>,
    pub(super) field: Field<'a>,
    /// Its place among those that share the budget. None: it has no part of it.
    pub(super) waiting: Option<Waiting>,
    /// Held while a retry is under way.
    pub(super) further: Option<Further>,
    /// The heads that the plan knows of: dropped with the race, or before a retry. Their connections stay open.
    pub(super) heads: Vec<(AttemptNo, Head)>,
    pub(super) latest: Option<Failure>,
    /// Time passes only where something is waited for.
    pub(super) now: Instant,
}

impl<'a> Race<'a> {
    pub(super) fn new(
        course: Course<'a>,
        outbound: &'a Outbound,
        expectation: Expectation,
        overflow: OverflowPoint,
    ) -> Self {
        let limits = course.limits(outbound, expectation, overflow);
        let start = Instant::now();
        if limits.hedge_after.is_some() {
            course.hedge_budget.exchange();
        }
        Self {
            course,
            outbound,
            limits,
            plan: Plan::new(limits, course.policy.backoff.pauses()),
            field: Field { runners: SmallVec::new(), start, write_limit: course.policy.timeouts.write },
            waiting: limits.deadline.is_some().then(|| course.budget.wait()),
            further: None,
            heads: Vec::new(),
            latest: None,
            now: start,
        }
    }

    /// Tells the plan of `first`, and goes on until the race has ended. `overflow` makes the end that an overflow is; where
    /// it makes none, the race goes on at once.
    ///
    /// Cancel-safe: what has happened by then is known to the race. It goes on with [`Input::Time`].
    pub(super) async fn go<O>(
        &mut self,
        first: Input,
        timer: &mut LazyDeadline,
        timeline: &mut Timeline,
        overflow: impl Fn() -> Option<O>,
    ) -> RaceEnd<O> {
        let mut step = self.step(first);
        loop {
            let event = match step {
                Step::Launch { no, fresh } => {
                    let timeouts = self.course.policy.timeouts;
                    let runner = Runner::start(no, self.course.pool, self.outbound, fresh, timeouts);
                    timeline.started(no, Arc::clone(&runner.progress), self.now);
                    self.field.runners.push(runner);
                    // Another one's request may have been written meanwhile, and the plan is told that before the time.
                    self.field.due().unwrap_or(Event::Time)
                }
                Step::AskRetry | Step::AskHedge if !self.outbound.body.can_be_sent() => Event::Refused(Why::Spent),
                Step::AskRetry => {
                    // The one before it is over, or will be if this is granted, and so is its part of the budget.
                    drop(self.further.take());
                    self.further = self.waiting.as_ref().and_then(Waiting::further);
                    if self.further.is_some() {
                        self.heads.clear();
                        Event::Granted
                    } else {
                        Event::Refused(Why::Budget)
                    }
                }
                Step::AskHedge if self.course.hedge_budget.hedge() => Event::Granted,
                Step::AskHedge => Event::Refused(Why::Budget),
                Step::Drop(no) => {
                    self.field.remove(no);
                    Event::Ended(no, Err(self.missed()))
                }
                Step::Wait(until) => {
                    let event = self.field.next(until, timer).await;
                    self.now = Instant::now();
                    event
                }
                Step::Overflow => match overflow() {
                    Some(overflowed) => return RaceEnd::Overflowed(overflowed),
                    None => Event::GoOn,
                },
                Step::Commit(no) => match self.heads.iter().position(|(of, _)| *of == no) {
                    Some(index) => {
                        timeline.committed(no, self.now);
                        return RaceEnd::Committed(Committed { head: self.heads.swap_remove(index).1 });
                    }
                    // The plan commits only what it was told of.
                    None => Event::Time,
                },
                Step::GiveUp(why) => {
                    timeline.given_up(self.now);
                    // The plan gives up only after a failure.
                    let failure = self.latest.take().unwrap_or_else(|| self.missed());
                    return RaceEnd::Failed(Failed { failure, why });
                }
            };
            let input = match event {
                Event::Ended(no, Ok(head)) => {
                    timeline.answered(no, head.parts.status, self.limits.deadline, self.now);
                    let quality = self.course.quality(&head);
                    self.heads.push((no, head));
                    Input::Head(no, quality)
                }
                Event::Ended(no, Err(failure)) => {
                    timeline.failed(no, &failure, self.now);
                    let body = &self.outbound.body;
                    let trouble = Trouble {
                        may_have_reached: failure.may_have_reached(),
                        is_stale: failure.is_stale() && body.can_be_sent(),
                        had_connection: failure.had_connection(),
                    };
                    self.latest = Some(failure);
                    if body.fault().is_some() { Input::ClientFault } else { Input::Failed(no, trouble) }
                }
                Event::Written { no, at } => Input::Written { no, at },
                Event::Granted => Input::Granted,
                Event::Refused(why) => {
                    if step == Step::AskHedge {
                        timeline.hedge_refused(why);
                    } else {
                        timeline.retry_refused(why);
                    }
                    Input::Refused(why)
                }
                Event::GoOn => Input::GoOn,
                Event::Time => Input::Time,
            };
            step = self.step(input);
        }
    }

    fn step(&mut self, input: Input) -> Step {
        self.plan.step(Offset::new(self.now.duration_since(self.field.start)), input)
    }

    fn missed(&self) -> Failure {
        // What has no deadline does not miss it.
        Failure::HeaderTimeout(self.limits.deadline.unwrap_or_default())
    }
}

impl Course<'_> {
    fn limits(&self, outbound: &Outbound, expectation: Expectation, overflow: OverflowPoint) -> Limits {
        let policy = self.policy;
        let (max_attempts, deadline, may_hedge) = match self.mode {
            Mode::Race => (policy.max_attempts, Some(policy.deadline(expectation)), true),
            Mode::Once => (policy.max_attempts, Some(policy.deadline(expectation)), false),
            Mode::Job { header_deadline: None } => (1, None, false),
            Mode::Job { header_deadline } => (policy.max_attempts, header_deadline, true),
        };
        let hedge_after = policy.hedge_after.filter(|_| may_hedge);
        let may_repeat = policy.may_repeat(&outbound.method, &outbound.headers);
        Limits { max_attempts, deadline, hedge_after, may_repeat, mode: self.mode, overflow }
    }

    fn quality(&self, head: &Head) -> Quality {
        let (status, headers) = (head.parts.status, &head.parts.headers);
        let quality = self.policy.quality(status, || retry_after(headers, SystemTime::now()));
        match self.mode {
            Mode::Race | Mode::Once => quality,
            Mode::Job { .. } => Quality { retry_after: None, ..quality },
        }
    }
}

/// One attempt in flight.
pub(super) struct Runner<'a> {
    pub(super) no: AttemptNo,
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

    /// Whether it has a connection: only then the upstream may know of it.
    pub(super) fn is_connected(&self) -> bool {
        self.progress.phase() != Phase::Connecting
    }
}

/// The attempts in flight.
pub(super) struct Field<'a> {
    pub(super) runners: SmallVec<[Runner<'a>; 1]>,
    start: Instant,
    write_limit: Duration,
}

#[expect(clippy::large_enum_variant, reason = "it is moved once, and most events are ends")]
enum Event {
    Ended(AttemptNo, Result<Head, Failure>),
    Written { no: AttemptNo, at: Offset },
    Granted,
    Refused(Why),
    GoOn,
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
