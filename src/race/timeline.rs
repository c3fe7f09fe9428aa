//! What the attempts of one exchange came to.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::signals::Why;
use crate::ids::AttemptNo;
use crate::stats::{self, RouteStats};
use crate::time::Tenths;
use crate::upstream::{Failure, Phase, Progress};

/// The attempts of one exchange in the order of their ends. Displayed as in `X-Forebay-Timeline`:
/// `1=timeout@30.0,2=200@0.8` (attempt = outcome @ seconds from its start).
///
/// Whatever it is told of is counted for the route. What is in flight when it is dropped was cancelled.
#[derive(Debug, Default)]
pub struct Timeline {
    attempts: u32,
    entries: SmallVec<[Entry; 1]>,
    /// In flight.
    open: SmallVec<[Open; 1]>,
    /// When a head was committed.
    decided: Option<Instant>,
    /// The latest failure in full.
    failure: Option<String>,
    stats: Arc<RouteStats>,
}

/// An attempt in flight.
#[derive(Debug)]
struct Open {
    no: AttemptNo,
    since: Instant,
    progress: Arc<Progress>,
}

#[derive(Debug)]
struct Entry {
    no: AttemptNo,
    outcome: Outcome,
    took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Head(StatusCode),
    /// As labelled.
    Without(&'static str),
}

/// An attempt that was dropped while it was in flight: because of another's head, or because its client left.
const CANCELLED: Outcome = Outcome::Without(stats::CANCELLED);
/// An attempt that goes on as the execution of a job.
const ADOPTED: Outcome = Outcome::Without("adopted");

impl Timeline {
    /// Of an exchange of the route that is counted here.
    pub fn new(stats: Arc<RouteStats>) -> Self {
        Self { stats, attempts: 0, entries: SmallVec::new(), open: SmallVec::new(), decided: None, failure: None }
    }

    /// What is counted of the route.
    pub fn stats(&self) -> &RouteStats {
        &self.stats
    }

    /// An attempt starts. A free replacement has the number of what it replaces.
    pub fn started(&mut self, no: AttemptNo, progress: Arc<Progress>, now: Instant) {
        if no.get() > self.attempts && no != AttemptNo::FIRST {
            // Only a hedge starts beside another.
            if self.open.is_empty() { self.stats.retries.count() } else { self.stats.hedges.count() }
        }
        self.attempts = self.attempts.max(no.get());
        self.open.push(Open { no, since: now, progress });
    }

    /// A further attempt may not follow now.
    pub fn retry_refused(&mut self, why: Why) {
        if why == Why::Budget {
            self.stats.retries_refused.count();
        }
    }

    /// A further attempt may not start beside what is in flight.
    pub fn hedge_refused(&mut self, why: Why) {
        if why == Why::Budget {
            self.stats.hedges_refused.count();
        }
    }

    /// An attempt has a response head, under this header deadline if it has one.
    pub fn answered(&mut self, no: AttemptNo, status: StatusCode, deadline: Option<Duration>, now: Instant) {
        if let Some(open) = self.ended(no, Outcome::Head(status), now) {
            let after = open.written_at().map_or(Duration::ZERO, |at| now.duration_since(at));
            self.stats.answered(class(status), after, deadline);
        }
    }

    /// An attempt has failed.
    pub fn failed(&mut self, no: AttemptNo, failure: &Failure, now: Instant) {
        self.failure = Some(failure.to_string());
        if self.ended(no, Outcome::Without(failure.label()), now).is_some() {
            self.stats.attempts.count(failure.label());
            if let Failure::HeaderTimeout(deadline) = failure {
                self.stats.missed(*deadline);
            }
        }
    }

    /// The race is over with the head of this attempt: what is still in flight is cancelled.
    pub fn committed(&mut self, no: AttemptNo, now: Instant) {
        self.decided = Some(now);
        if no != AttemptNo::FIRST {
            self.stats.rescued.count();
        }
        self.won(now);
    }

    /// The race is over for the exchange, because this attempt goes on without it: what else is in flight is cancelled.
    /// The timeline of what goes on, which began when the attempt did.
    #[must_use]
    pub fn adopted(&mut self, no: AttemptNo, now: Instant) -> Self {
        let open = self.ended(no, ADOPTED, now);
        self.stats.adopted.count();
        self.won(now);
        let mut onward = Self::new(Arc::clone(&self.stats));
        onward.attempts = no.get();
        onward.open.extend(open);
        onward
    }

    /// Another one was preferred to what is still in flight.
    fn won(&mut self, now: Instant) {
        for _ in self.open.iter().filter(|open| open.written_at().is_some()) {
            self.stats.paid_twice.count();
        }
        self.given_up(now);
    }

    /// The race is over without a head: what is still in flight is cancelled.
    pub fn given_up(&mut self, now: Instant) {
        for Open { no, since, .. } in mem::take(&mut self.open) {
            self.stats.attempts.count(stats::CANCELLED);
            self.entries.push(Entry { no, outcome: CANCELLED, took: now.duration_since(since) });
        }
    }

    fn ended(&mut self, no: AttemptNo, outcome: Outcome, now: Instant) -> Option<Open> {
        let index = self.open.iter().position(|open| open.no == no)?;
        let open = self.open.remove(index);
        self.entries.push(Entry { no, outcome, took: now.duration_since(open.since) });
        Some(open)
    }

    /// When a head was committed.
    pub fn committed_at(&self) -> Option<Instant> {
        self.decided
    }

    /// The number of attempts, free replacements excepted.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The latest failure with its causes, for the log.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cancelled = |open: &Open| Entry { no: open.no, outcome: CANCELLED, took: open.since.elapsed() };
        let open = self.open.iter().map(cancelled);
        let mut comma = "";
        for entry in self.entries.iter().map(Ok).chain(open.map(Err)) {
            let entry = match &entry {
                Ok(ended) => *ended,
                Err(open) => open,
            };
            let seconds = Tenths(entry.took);
            match entry.outcome {
                Outcome::Head(status) => write!(f, "{comma}{}={}@{seconds}", entry.no, status.as_u16())?,
                Outcome::Without(label) => write!(f, "{comma}{}={label}@{seconds}", entry.no)?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl Drop for Timeline {
    /// The client left in the middle of the race.
    fn drop(&mut self) {
        if !self.open.is_empty() {
            self.given_up(Instant::now());
        }
    }
}

impl Open {
    fn written_at(&self) -> Option<Instant> {
        match self.progress.phase() {
            Phase::Written { at } => Some(at),
            Phase::Connecting | Phase::Writing { .. } => None,
        }
    }
}

/// The class of a status, as it is counted.
fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is counted of attempts that are started, and of those that are not.
    fn further(stats: &RouteStats) -> [u64; 4] {
        [&stats.retries, &stats.retries_refused, &stats.hedges, &stats.hedges_refused].map(stats::Counter::get)
    }

    #[test]
    fn what_starts_beside_another_is_a_hedge_and_what_follows_one_a_retry() {
        let deadline = Duration::from_secs(30);
        let (mut timeline, second) = (Timeline::default(), AttemptNo::FIRST.next());
        timeline.started(AttemptNo::FIRST, Arc::default(), Instant::now());
        timeline.hedge_refused(Why::Budget);
        assert_eq!(further(timeline.stats()), [0, 0, 0, 1]);
        timeline.started(second, Arc::default(), Instant::now());
        timeline.failed(second, &Failure::HeaderTimeout(deadline), Instant::now());
        timeline.failed(AttemptNo::FIRST, &Failure::HeaderTimeout(deadline), Instant::now());
        timeline.retry_refused(Why::Budget);
        timeline.started(second.next(), Arc::default(), Instant::now());
        assert_eq!(further(timeline.stats()), [1, 1, 1, 1]);
        timeline.answered(second.next(), StatusCode::OK, Some(deadline), Instant::now());
        timeline.committed(second.next(), Instant::now());
        let stats = timeline.stats();
        assert_eq!([stats.rescued.get(), stats.attempts.of("timeout"), stats.attempts.of("2xx")], [1, 2, 1]);
    }

    #[test]
    fn only_a_budget_refuses_what_is_counted_as_refused() {
        let mut timeline = Timeline::default();
        for why in [Why::Attempts, Why::Unsafe, Why::Once, Why::Spent, Why::Client] {
            timeline.retry_refused(why);
            timeline.hedge_refused(why);
        }
        assert_eq!(further(timeline.stats()), [0; 4]);
    }

    #[test]
    fn an_adopted_attempt_ends_in_one_timeline_and_goes_on_in_another() {
        let (mut timeline, start) = (Timeline::default(), Instant::now());
        let [second, fourth] = [2, 4].map(|seconds| start + Duration::from_secs(seconds));
        let no = AttemptNo::FIRST.next();
        timeline.started(AttemptNo::FIRST, Arc::default(), start);
        timeline.started(no, Arc::default(), start);
        let mut onward = timeline.adopted(no, second);
        assert_eq!((timeline.to_string(), timeline.attempts()), ("2=adopted@2.0,1=cancelled@2.0".to_owned(), 2));
        let stats = Arc::clone(&timeline.stats);
        let counted = || (stats.adopted.get(), stats.attempts.of(stats::CANCELLED), stats.attempts.of("2xx"));
        drop(timeline);
        assert_eq!(counted(), (1, 1, 0), "what goes on has not ended");
        onward.answered(no, StatusCode::OK, None, fourth);
        onward.committed(no, fourth);
        assert_eq!((onward.to_string(), counted()), ("2=200@4.0".to_owned(), (1, 1, 1)));
    }

    #[test]
    fn a_free_replacement_is_neither() {
        let mut timeline = Timeline::default();
        timeline.started(AttemptNo::FIRST, Arc::default(), Instant::now());
        timeline.failed(AttemptNo::FIRST, &Failure::PoolTimeout(Duration::ZERO), Instant::now());
        timeline.started(AttemptNo::FIRST, Arc::default(), Instant::now());
        assert_eq!((further(timeline.stats()), timeline.attempts()), ([0; 4], 1));
        let stats = Arc::clone(&timeline.stats);
        drop(timeline);
        assert_eq!((stats.attempts.of(stats::CANCELLED), stats.attempts.of("pool_timeout")), (1, 1));
    }
}
