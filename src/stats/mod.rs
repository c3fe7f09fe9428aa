//! What is counted while exchanges pass: handles for the hot path, and figures for those who ask.
//!
//! Counting is a relaxed addition to a number whose place is known; there is no look-up, no allocation and no lock but one
//! short one for each response head. How it is shown is `admin`'s.

mod caching;
mod count;
mod histogram;
mod outlook;
mod waits;

use std::time::Duration;

pub use caching::CacheStats;
pub use count::{Counter, Level, Outcomes};
pub use histogram::{Buckets, Histogram};
pub use outlook::Outlook;
pub use waits::Waits;

/// The outcomes of exchanges that are shown from the start; others once they happen.
const EXCHANGES: [&str; 8] = [
    "complete",
    CLIENT_GONE,
    "upstream_request_error",
    "upstream_header_timeout",
    "upstream_timeout",
    "upstream_stalled",
    "upstream_broken",
    "overloaded",
];
/// The outcomes of attempts that are shown from the start; others once they happen.
const ATTEMPTS: [&str; 9] = ["2xx", "4xx", "5xx", "3xx", "timeout", CANCELLED, "refused", "closed", "reset"];
/// The outcomes of requests without a route that are shown from the start.
const REFUSALS: [&str; 8] = [
    "no_route",
    "bad_request",
    CLIENT_GONE,
    "client_timeout",
    "headers_too_large",
    "uri_too_long",
    "expectation_failed",
    "shutting_down",
];

/// The client went away before the end of its response.
pub const CLIENT_GONE: &str = "client_gone";
/// The attempt was dropped: because of another's head, or because its client left.
pub const CANCELLED: &str = "cancelled";

/// The upper bounds of the buckets, in seconds: the usual deadlines are among them.
const TIME_TO_HEADERS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// What is counted of one route.
#[derive(Debug)]
pub struct RouteStats {
    /// Exchanges, by how they ended. Answers to health checks are none.
    pub exchanges: Outcomes<8>,
    /// Exchanges whose response has not ended yet.
    pub in_flight: Level,
    /// Streams that were ended because the upstream had fallen silent.
    pub stream_stalls: Counter,
    /// Attempts, by how they ended; a free replacement is one more.
    pub attempts: Outcomes<9>,
    /// Of attempts that had a head: from the request being written completely to its head; zero if the head came first.
    pub time_to_headers: Histogram,
    /// Exchanges that were answered with the head of a later attempt than the first.
    pub rescued: Counter,
    /// Attempts that were started after another had failed.
    pub retries: Counter,
    /// …and those that the budget did not allow.
    pub retries_refused: Counter,
    /// Attempts that were started beside another.
    pub hedges: Counter,
    /// …and those that the budget did not allow.
    pub hedges_refused: Counter,
    /// Attempts that were dropped because of another's head, or because another was adopted, after their request had been
    /// written completely: the upstream may have worked, and charged, for both.
    pub paid_twice: Counter,
    /// Attempts that were adopted at an overflow. When one ends, it is counted like any other.
    pub adopted: Counter,
    /// What the cache did, where it is on.
    pub cache: CacheStats,
    waits: Vec<Waits>,
}

impl RouteStats {
    /// Nothing yet. Waits for headers are told apart by these two deadlines, if they differ.
    pub fn new(header_deadline: Duration, whole_answer_deadline: Duration) -> Self {
        let mut waits = vec![Waits::new("header deadline", header_deadline)];
        if whole_answer_deadline != header_deadline {
            waits.push(Waits::new("whole-answer deadline", whole_answer_deadline));
        }
        Self { waits, ..Self::default() }
    }

    /// Nothing yet, of requests for which there is no route, or that are refused before they have a path.
    pub fn unrouted() -> Self {
        Self { exchanges: Outcomes::new(REFUSALS), ..Self::default() }
    }

    /// An attempt has a head of this class of statuses, so long after its request was written, under this deadline if it had
    /// one.
    pub fn answered(&self, class: &'static str, after: Duration, deadline: Option<Duration>) {
        self.attempts.count(class);
        self.time_to_headers.observe(after);
        if let Some(waits) = deadline.and_then(|deadline| self.waits_under(deadline)) {
            waits.had_head(after);
        }
    }

    /// An attempt has missed this deadline.
    pub fn missed(&self, deadline: Duration) {
        if let Some(waits) = self.waits_under(deadline) {
            waits.missed();
        }
    }

    /// The recent waits for headers, for each deadline that there is.
    pub fn waits(&self) -> &[Waits] {
        &self.waits
    }

    fn waits_under(&self, deadline: Duration) -> Option<&Waits> {
        self.waits.iter().find(|waits| waits.deadline() == deadline)
    }
}

impl Default for RouteStats {
    /// Nothing yet, and no deadline whose waits are looked at.
    fn default() -> Self {
        Self {
            exchanges: Outcomes::new(EXCHANGES),
            in_flight: Level::default(),
            stream_stalls: Counter::default(),
            attempts: Outcomes::new(ATTEMPTS),
            time_to_headers: Histogram::new(TIME_TO_HEADERS),
            rescued: Counter::default(),
            retries: Counter::default(),
            retries_refused: Counter::default(),
            hedges: Counter::default(),
            hedges_refused: Counter::default(),
            paid_twice: Counter::default(),
            adopted: Counter::default(),
            cache: CacheStats::default(),
            waits: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_looked_at_under_its_own_deadline() {
        let (short, long) = (Duration::from_secs(30), Duration::from_secs(290));
        let stats = RouteStats::new(short, long);
        stats.answered("2xx", Duration::from_secs(1), Some(short));
        stats.answered("2xx", Duration::from_secs(100), Some(long));
        stats.answered("2xx", Duration::from_secs(100), None);
        stats.missed(long);
        stats.missed(Duration::from_secs(7));
        let seen: Vec<_> = stats.waits().iter().map(Waits::outlook).map(|o| (o.heads, o.missed)).collect();
        assert_eq!(seen, [(1, 0), (1, 1)]);
        assert_eq!((stats.attempts.of("2xx"), stats.time_to_headers.buckets().count), (3, 3));
        assert_eq!(RouteStats::new(short, short).waits().len(), 1, "the same deadline is one");
    }
}
