//! What the attempts of one exchange came to.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::plan::Why;
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
    Failure(&'static str),
}

/// An attempt that was dropped while it was in flight: because of another's head, or because its client left.
const CANCELLED: Outcome = Outcome::Failure(stats::CANCELLED);

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

    /// A further attempt may not start now.
    pub fn refused(&mut self, why: Why) {
        if why == Why::Budget {
            if self.open.is_empty() { self.stats.retries_refused.count() } else { self.stats.hedges_refused.count() }
        }
    }

    /// An attempt has a response head, under this header deadline.
    pub fn answered(&mut self, no: AttemptNo, status: StatusCode, deadline: Duration, now: Instant) {
        if let Some(open) = self.ended(no, Outcome::Head(status), now) {
            let after = open.written_at().map_or(Duration::ZERO, |at| now.duration_since(at));
            self.stats.answered(class(status), after, deadline);
        }
    }

    /// An attempt has failed.
    pub fn failed(&mut self, no: AttemptNo, failure: &Failure, now: Instant) {
        self.failure = Some(failure.to_string());
        if self.ended(no, Outcome::Failure(failure.label()), now).is_some() {
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
                Outcome::Failure(label) => write!(f, "{comma}{}={label}@{seconds}", entry.no)?,
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
        timeline.refused(Why::Budget);
        assert_eq!(further(timeline.stats()), [0, 0, 0, 1]);
        timeline.started(second, Arc::default(), Instant::now());
        timeline.failed(second, &Failure::HeaderTimeout(deadline), Instant::now());
        timeline.failed(AttemptNo::FIRST, &Failure::HeaderTimeout(deadline), Instant::now());
        timeline.refused(Why::Budget);
        timeline.started(second.next(), Arc::default(), Instant::now());
        assert_eq!(further(timeline.stats()), [1, 1, 1, 1]);
        timeline.answered(second.next(), StatusCode::OK, deadline, Instant::now());
        timeline.committed(second.next(), Instant::now());
        let stats = timeline.stats();
        assert_eq!([stats.rescued.get(), stats.attempts.of("timeout"), stats.attempts.of("2xx")], [1, 2, 1]);
    }

    #[test]
    fn only_a_budget_refuses_what_is_counted_as_refused() {
        let mut timeline = Timeline::default();
        for why in [Why::Attempts, Why::Unsafe, Why::Once, Why::Spent, Why::Client] {
            timeline.refused(why);
        }
        assert_eq!(further(timeline.stats()), [0; 4]);
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
