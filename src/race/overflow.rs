//! A race that may overflow: it ends as any other, or is taken over with the attempt that is in flight (contract 6.3).
//!
//! An attempt borrows its request and its route. So that it can outlive its client's exchange, whoever owns those two must
//! run the whole race: a task of its own, which the exchange waits for, and ends when its client leaves before the overflow.

use std::fmt;
use std::future::Future;
use std::pin::pin;

use tokio::time::Instant;

use super::run::{Course, Failed, Race, RaceEnd, Runner, nobody};
use super::signals::Input;
use super::timeline::Timeline;
use super::{Expectation, OverflowPoint};
use crate::ids::AttemptNo;
use crate::time::LazyDeadline;
use crate::upstream::{Failure, Head, Outbound};

/// Runs a race to its end or to its overflow, whichever is first.
///
/// Dropping the future cancels every attempt at once and starts no other, as with [`run`](super::run).
pub async fn run_until_overflow<'a>(
    course: Course<'a>,
    outbound: &'a Outbound,
    expectation: Expectation,
    overflow: OverflowPoint,
    timer: &mut LazyDeadline,
    timeline: &mut Timeline,
) -> RaceEnd<Overflowed<'a>> {
    let mut race = Box::new(Race::new(course, outbound, expectation, overflow));
    match race.go(Input::Start, timer, timeline, || Some(())).await {
        RaceEnd::Committed(committed) => RaceEnd::Committed(committed),
        RaceEnd::Failed(failed) => RaceEnd::Failed(failed),
        RaceEnd::Overflowed(()) => RaceEnd::Overflowed(Overflowed { race }),
    }
}

/// A race that has overflown: nothing of it is lost, and it starts no further attempt. Dropping it ends its attempts at once.
pub struct Overflowed<'a> {
    race: Box<Race<'a>>,
}

/// An attempt that goes on as the execution of a job: the same request on the same connection, without a header deadline.
/// Dropping it ends it at once.
pub struct Adopted<'a> {
    race: Box<Race<'a>>,
    timer: LazyDeadline,
    timeline: Timeline,
}

/// There was no attempt to adopt: whatever there is of the race is over, and the request has to be executed anew.
#[derive(Debug)]
pub struct NoneInFlight {
    /// The latest failure, if there was one.
    pub latest: Option<Failure>,
}

impl<'a> Overflowed<'a> {
    /// Whether an attempt is in flight that has a connection. One that still waits for it has sent nothing, and counts for
    /// none: then the request becomes an ordinary job.
    pub fn can_be_adopted(&self) -> bool {
        self.race.field.runners.iter().any(Runner::is_connected)
    }

    /// Waits for something else, the storing of the job, and meanwhile for the attempts. Says what came of it, and how the
    /// race stands: a head that came is at hand as [`RaceEnd::Committed`]; without one it is still to be taken over.
    ///
    /// No deadline is enforced meanwhile, no attempt is dropped and no further one is started; one that fails is noted. If
    /// none can be adopted from the start they all rest, because what they would send the job will send again.
    ///
    /// Dropping the future cancels every attempt.
    pub async fn during<F: Future>(
        mut self,
        storing: F,
        timer: &mut LazyDeadline,
        timeline: &mut Timeline,
    ) -> (F::Output, RaceEnd<Self>) {
        if !self.can_be_adopted() {
            return (storing.await, RaceEnd::Overflowed(self));
        }
        let mut storing = pin!(storing);
        let decided = tokio::select! {
            biased;
            end = self.race.go(Input::Time, timer, timeline, nobody) => Ok(end),
            stored = &mut storing => Err(stored),
        };
        match decided {
            Ok(RaceEnd::Committed(committed)) => (storing.await, RaceEnd::Committed(committed)),
            Ok(RaceEnd::Failed(failed)) => (storing.await, RaceEnd::Failed(failed)),
            Err(stored) => (stored, RaceEnd::Overflowed(self)),
        }
    }

    /// Nobody takes the race over: it goes on to its end as if it could not have overflown. A deadline that has passed
    /// meanwhile is missed.
    ///
    /// Dropping the future cancels every attempt.
    pub async fn go_on(mut self, timer: &mut LazyDeadline, timeline: &mut Timeline) -> RaceEnd {
        self.race.now = Instant::now();
        self.race.go(Input::GoOn, timer, timeline, nobody).await
    }

    /// Adopts the oldest attempt in flight that has a connection, and drops the others and the heads that are held. In
    /// `timeline` it ends as `adopted`; the adopted attempt has a timeline of its own from then on.
    pub fn adopt(mut self, timeline: &mut Timeline) -> Result<Adopted<'a>, NoneInFlight> {
        let now = Instant::now();
        let Some(no) = self.race.adopt() else {
            timeline.given_up(now);
            return Err(NoneInFlight { latest: self.race.latest });
        };
        let timeline = timeline.adopted(no, now);
        Ok(Adopted { race: self.race, timer: LazyDeadline::default(), timeline })
    }
}

impl Adopted<'_> {
    /// Waits for the response head, or for what the attempt fails with. There is no header deadline; the clock for writing
    /// runs, and a stale connection is replaced if none was before.
    ///
    /// Cancel-safe: to be called again until it has said one of the two, and not after that.
    pub async fn head(&mut self) -> Result<Head, Failed> {
        match self.race.go(Input::Time, &mut self.timer, &mut self.timeline, nobody).await {
            RaceEnd::Committed(committed) => Ok(committed.head),
            RaceEnd::Failed(failed) => Err(failed),
        }
    }

    /// What has become of the attempt since its start.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }
}

impl Race<'_> {
    /// Lets go of everything but the attempt that is adopted, the budgets too.
    fn adopt(&mut self) -> Option<AttemptNo> {
        let runners = &self.field.runners;
        let is_connected = |no| runners.iter().any(|runner| runner.no == no && runner.is_connected());
        let adopted = self.plan.adopt(is_connected);
        self.field.runners.retain(|runner| Some(runner.no) == adopted);
        self.heads.clear();
        (self.waiting, self.further) = (None, None);
        adopted
    }
}

impl fmt::Debug for Overflowed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overflowed").field("can_be_adopted", &self.can_be_adopted()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Adopted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adopted").field("timeline", &self.timeline).finish_non_exhaustive()
    }
}
