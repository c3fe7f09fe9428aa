//! The driver of the plan: attempts are futures, time is a timer, and every decision is the plan's.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::plan::{Input, Limits, Plan, Step, Trouble, Why};
use super::timeline::Timeline;
use super::{Expectation, Policy, RetryBudget};
use crate::ids::AttemptNo;
use crate::time::{LazyDeadline, Offset};
use crate::upstream::{Failure, Head, Outbound, Phase, Pool, Progress, Timeouts, attempt};

/// Where a race is run, and by which rules.
#[derive(Clone, Copy, Debug)]
pub struct Course<'a> {
    /// The connections to the upstream.
    pub pool: &'a Arc<Pool>,
    /// The rules.
    pub policy: &'a Policy,
    /// What further attempts are taken from.
    pub budget: &'a Arc<RetryBudget>,
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
/// `timeline` then still tells what had been tried.
pub async fn run(
    course: Course<'_>,
    outbound: &Outbound,
    expectation: Expectation,
    timeline: &mut Timeline,
) -> RaceEnd {
    let Course { pool, policy, budget } = course;
    let limits = Limits {
        max_attempts: policy.max_attempts,
        deadline: policy.deadline(expectation),
        may_repeat: policy.may_repeat(&outbound.method, outbound.headers.contains_key("idempotency-key")),
    };
    let mut plan = Plan::new(limits, policy.backoff.pauses());
    let start = Instant::now();
    let elapsed = || Offset::new(start.elapsed());
    let mut field = Field { runners: Vec::with_capacity(1), start, write_limit: policy.timeouts.write };
    let mut timer = LazyDeadline::default();
    let waiting = budget.wait();
    // Held while a further attempt is under way.
    let mut further = None;
    let mut latest = None;
    let mut heads: Vec<(AttemptNo, Head)> = Vec::new();
    let mut step = plan.step(Offset::ZERO, Input::Start);
    loop {
        let input = match step {
            Step::Launch { no, fresh } => {
                timeline.started(no);
                field.runners.push(Runner::start(no, pool, outbound, fresh, policy.timeouts));
                Input::Time
            }
            Step::Ask => {
                // The one before it is over, and so is its part of the budget.
                drop(further.take());
                further = waiting.further();
                if further.is_some() { Input::Granted } else { Input::Refused }
            }
            Step::Drop(no) => {
                field.remove(no);
                let missed = Failure::HeaderTimeout(limits.deadline);
                timeline.failed(no, &missed);
                latest = Some(missed);
                Input::Time
            }
            Step::Wait(until) => match field.next(until, &mut timer).await {
                Event::Ended(no, Ok(head)) => {
                    timeline.answered(no, head.parts.status);
                    heads.push((no, head));
                    Input::Head(no)
                }
                Event::Ended(no, Err(failure)) => {
                    timeline.failed(no, &failure);
                    let trouble = Trouble {
                        may_have_reached: failure.may_have_reached(),
                        is_stale: failure.is_stale(),
                        had_connection: failure.had_connection(),
                    };
                    latest = Some(failure);
                    Input::Failed(no, trouble)
                }
                Event::Written { no, at } => Input::Written { no, at },
                Event::Time => Input::Time,
            },
            Step::Commit(no) => match heads.iter().position(|(of, _)| *of == no) {
                Some(index) => return RaceEnd::Committed(Committed { head: heads.swap_remove(index).1 }),
                // The plan commits only what it was told of.
                None => Input::Time,
            },
            Step::GiveUp(why) => {
                // The plan gives up only after a failure.
                let failure = latest.unwrap_or(Failure::HeaderTimeout(limits.deadline));
                return RaceEnd::Failed(Failed { failure, why });
            }
        };
        step = plan.step(elapsed(), input);
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
        let attempt =
            Box::pin(async move { attempt(pool, outbound, fresh, timeouts, &watched).await }.instrument(span));
        Self { no, progress, attempt, is_known_written: false }
    }
}

/// The attempts in flight.
struct Field<'a> {
    runners: Vec<Runner<'a>>,
    start: Instant,
    write_limit: Duration,
}

enum Event {
    Ended(AttemptNo, Result<Head, Failure>),
    Written { no: AttemptNo, at: Offset },
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
