//! What the attempts of one exchange came to.

use std::fmt;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::ids::AttemptNo;
use crate::upstream::Failure;

/// The attempts of one exchange in the order of their ends. Displayed as in `X-Forebay-Timeline`:
/// `1=timeout@30.0,2=200@0.8` (attempt = outcome @ seconds from its start).
#[derive(Debug, Default)]
pub struct Timeline {
    attempts: u32,
    entries: Vec<Entry>,
    /// In flight, with their starts.
    open: Vec<(AttemptNo, Instant)>,
    /// The latest failure in full.
    failure: Option<String>,
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
const CANCELLED: Outcome = Outcome::Failure("cancelled");

impl Timeline {
    /// An attempt starts now. A free replacement has the number of what it replaces.
    pub fn started(&mut self, no: AttemptNo) {
        self.attempts = self.attempts.max(no.get());
        self.open.push((no, Instant::now()));
    }

    /// An attempt has a response head now.
    pub fn answered(&mut self, no: AttemptNo, status: StatusCode) {
        self.ended(no, Outcome::Head(status));
    }

    /// An attempt has failed now.
    pub fn failed(&mut self, no: AttemptNo, failure: &Failure) {
        self.failure = Some(failure.to_string());
        self.ended(no, Outcome::Failure(failure.label()));
    }

    /// The race is over: what is still in flight is cancelled now.
    pub fn decided(&mut self) {
        for (no, since) in std::mem::take(&mut self.open) {
            self.entries.push(Entry { no, outcome: CANCELLED, took: since.elapsed() });
        }
    }

    fn ended(&mut self, no: AttemptNo, outcome: Outcome) {
        if let Some(index) = self.open.iter().position(|(open, _)| *open == no) {
            let (no, since) = self.open.remove(index);
            self.entries.push(Entry { no, outcome, took: since.elapsed() });
        }
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
        let open = self.open.iter().map(|(no, since)| Entry { no: *no, outcome: CANCELLED, took: since.elapsed() });
        let mut comma = "";
        for entry in self.entries.iter().map(Ok).chain(open.map(Err)) {
            let entry = match &entry {
                Ok(ended) => *ended,
                Err(open) => open,
            };
            let seconds = entry.took.as_secs_f64();
            match entry.outcome {
                Outcome::Head(status) => write!(f, "{comma}{}={}@{seconds:.1}", entry.no, status.as_u16())?,
                Outcome::Failure(label) => write!(f, "{comma}{}={label}@{seconds:.1}", entry.no)?,
            }
            comma = ",";
        }
        Ok(())
    }
}
