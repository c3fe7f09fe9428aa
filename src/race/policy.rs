//! What a race may do: how often, how long, and which failures it may repeat.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use crate::upstream::Timeouts;

/// The policy of a route's races. Pure data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `RESPONSE_HEADER_TIMEOUT_SECONDS`: the header deadline of one attempt, from the request being written completely.
    pub header_deadline: Duration,
    /// `NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS`: the header deadline of a generation that answers as a whole.
    pub whole_answer_deadline: Duration,
    /// `UPSTREAM_MAX_ATTEMPTS`: how many attempts there may be, the first included. At least 1.
    pub max_attempts: u32,
    /// `RETRY_BACKOFF_SECONDS`, `RETRY_BACKOFF_MAX_SECONDS`.
    pub backoff: Backoff,
    /// `RETRY`.
    pub retry: Retry,
    /// `RETRY_STATUSES`: a head with one of these is a failed attempt while attempts are left.
    pub retry_statuses: Vec<StatusCode>,
    /// `HEDGE_AFTER_SECONDS`: when the next attempt starts beside one that is in flight, from its request being written;
    /// none = never.
    pub hedge_after: Option<Duration>,
    /// `CONNECT_TIMEOUT_SECONDS`, `WRITE_TIMEOUT_SECONDS`, `POOL_TIMEOUT_SECONDS`.
    pub timeouts: Timeouts,
}

/// The pause before a further attempt: `first`, doubled each time up to `max`, with jitter of ±20 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The pause before the second attempt; zero means no pauses at all.
    pub first: Duration,
    /// No pause is longer than this (before jitter).
    pub max: Duration,
}

/// Which requests may be repeated once bytes may have reached the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Any method, before headers: what the product is for.
    All,
    /// Only methods that are idempotent (RFC 9110 §9.2.2), and requests with an `Idempotency-Key`.
    Safe,
}

/// The methods that `RETRY=safe` repeats. http's own list may grow; the contract's does not by itself.
const IDEMPOTENT: [Method; 6] =
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE];

/// Which header deadline an attempt has (contract 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The head comes early: a stream of events, or no generation at all.
    EarlyHead,
    /// A generation that does not stream: its head comes when the whole answer is ready.
    WholeAnswer,
    /// Nobody looked, because nothing is buffered: it has the longer deadline of the two.
    Unknown,
}

/// How much may be repeated, and whether attempts may run side by side (contract 2, 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All that section 3.3 offers.
    Race,
    /// For a body that is not kept: only what reached nobody is repeated, and a stale connection is replaced, while no
    /// byte of the body was taken from the client. No hedge, and no status is retried.
    Once,
    /// One execution of a job: a single attempt without a header deadline, which uses no budget and counts for none. A
    /// stale connection is replaced, as `RETRY` allows; whatever else is repeated is another execution. No status is
    /// retried: `JOB_RETRY_STATUSES` is for whoever runs the executions.
    Job {
        /// `JOB_RESPONSE_HEADER_TIMEOUT_SECONDS`: with it an execution is a race, with hedges, backoff, `RETRY` and budgets,
        /// under this header deadline instead of the two others.
        header_deadline: Option<Duration>,
    },
}

/// When a race may be taken over as a job, if nothing has decided it by then (contract 3.6, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverflowPoint {
    /// So long after its beginning.
    pub after: Option<Duration>,
    /// When the last attempt misses its header deadline, and no other may follow.
    pub at_last_deadline: bool,
}

impl OverflowPoint {
    /// The race is nobody else's.
    pub const NEVER: Self = Self { after: None, at_last_deadline: false };

    /// As `OVERFLOW_AFTER_SECONDS` says, which unset means the last header deadline; `wait=N` of the request counts if it is
    /// smaller.
    pub fn new(after: Option<Duration>, wait: Option<Duration>) -> Self {
        Self { after: after.into_iter().chain(wait).min(), at_last_deadline: after.is_none() }
    }
}

/// What a complete response head is worth while there could be a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// 429 or ≥ 500: held back while another attempt is in flight.
    pub is_poor: bool,
    /// One of `RETRY_STATUSES`: a failed attempt, if another may follow, and it does not follow sooner than this.
    pub retry_after: Option<Duration>,
}

impl Policy {
    /// The header deadline of each attempt of an exchange.
    pub fn deadline(&self, expectation: Expectation) -> Duration {
        match expectation {
            Expectation::EarlyHead => self.header_deadline,
            Expectation::WholeAnswer => self.whole_answer_deadline,
            Expectation::Unknown => self.header_deadline.max(self.whole_answer_deadline),
        }
    }

    /// What a head of this status is worth. `retry_after` says what its `Retry-After` asks for, if it has one; a wait that
    /// is longer than any backoff is for the client to decide on.
    pub fn quality(&self, status: StatusCode, retry_after: impl FnOnce() -> Option<Duration>) -> Quality {
        let is_poor = status == StatusCode::TOO_MANY_REQUESTS || status.as_u16() >= 500;
        let is_listed = self.retry_statuses.contains(&status);
        let pause = is_listed.then(|| retry_after().unwrap_or_default());
        Quality { is_poor, retry_after: pause.filter(|pause| *pause <= self.backoff.max) }
    }

    /// Whether a request may be repeated after bytes of it may have reached the upstream.
    pub fn may_repeat(&self, method: &Method, headers: &HeaderMap) -> bool {
        match self.retry {
            Retry::All => true,
            Retry::Safe => IDEMPOTENT.contains(method) || headers.contains_key("idempotency-key"),
        }
    }
}

#[cfg(test)]
impl Policy {
    /// The defaults of the contract, without pauses.
    pub(crate) fn for_tests(max_attempts: u32) -> Self {
        Self {
            header_deadline: Duration::from_secs(30),
            whole_answer_deadline: Duration::from_secs(290),
            max_attempts,
            backoff: Backoff { first: Duration::ZERO, max: Duration::ZERO },
            retry: Retry::All,
            retry_statuses: Vec::new(),
            hedge_after: None,
            timeouts: Timeouts::for_tests(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn safe_repeats_idempotent_methods_and_keyed_requests() {
        let policy = Policy { retry: Retry::Safe, ..Policy::for_tests(2) };
        let (bare, key) =
            (HeaderMap::new(), (HeaderName::from_static("idempotency-key"), HeaderValue::from_static("k")));
        let keyed = HeaderMap::from_iter([key]);
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            assert!(policy.may_repeat(&method.parse().unwrap(), &bare), "{method}");
        }
        for method in ["POST", "PATCH", "QUERY", "PROPFIND", "get"] {
            assert!(!policy.may_repeat(&method.parse().unwrap(), &bare), "{method}");
            assert!(policy.may_repeat(&method.parse().unwrap(), &keyed), "{method}");
        }
    }

    #[test]
    fn a_race_overflows_at_the_earlier_of_two_times_and_without_a_setting_at_its_last_deadline() {
        let seconds = |seconds: u64| Some(Duration::from_secs(seconds));
        for (after, wait, expected, at_last_deadline) in [
            (None, None, None, true),
            (None, seconds(5), seconds(5), true),
            (seconds(60), None, seconds(60), false),
            (seconds(60), seconds(5), seconds(5), false),
            (seconds(60), seconds(90), seconds(60), false),
        ] {
            assert_eq!(
                OverflowPoint::new(after, wait),
                OverflowPoint { after: expected, at_last_deadline },
                "{after:?} {wait:?}"
            );
        }
    }

    #[test]
    fn who_did_not_look_has_the_longer_deadline() {
        let policy = Policy { header_deadline: Duration::from_secs(300), ..Policy::for_tests(2) };
        assert_eq!(policy.deadline(Expectation::Unknown).as_secs(), 300);
        assert_eq!(Policy::for_tests(2).deadline(Expectation::Unknown).as_secs(), 290);
    }

    #[test]
    fn a_listed_status_is_retried_unless_it_asks_for_more_patience_than_there_is() {
        let max = Duration::from_secs(5);
        let backoff = Backoff { first: Duration::ZERO, max };
        let listed = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::CONFLICT];
        let policy = Policy { backoff, retry_statuses: listed, ..Policy::for_tests(2) };
        for (status, after, is_poor, retry_after) in [
            (503, None, true, Some(Duration::ZERO)),
            (503, Some(max), true, Some(max)),
            (503, Some(max + Duration::from_nanos(1)), true, None),
            (409, None, false, Some(Duration::ZERO)),
            (429, Some(max), true, None),
            (500, None, true, None),
            (599, None, true, None),
            (200, None, false, None),
            (404, Some(max), false, None),
        ] {
            let quality = policy.quality(StatusCode::from_u16(status).unwrap(), || after);
            assert_eq!(quality, Quality { is_poor, retry_after }, "{status} {after:?}");
        }
    }
}
