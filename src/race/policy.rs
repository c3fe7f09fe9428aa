//! What a race may do: how often, how long, and which failures it may repeat.

use std::time::Duration;

use http::{Method, StatusCode};

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
}

impl Policy {
    /// The header deadline of each attempt of an exchange.
    pub fn deadline(&self, expectation: Expectation) -> Duration {
        match expectation {
            Expectation::EarlyHead => self.header_deadline,
            Expectation::WholeAnswer => self.whole_answer_deadline,
        }
    }

    /// Whether a request may be repeated after bytes of it may have reached the upstream.
    pub fn may_repeat(&self, method: &Method, has_idempotency_key: bool) -> bool {
        match self.retry {
            Retry::All => true,
            Retry::Safe => has_idempotency_key || IDEMPOTENT.contains(method),
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
    use super::*;

    #[test]
    fn safe_repeats_idempotent_methods_and_keyed_requests() {
        let policy = Policy { retry: Retry::Safe, ..Policy::for_tests(2) };
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            assert!(policy.may_repeat(&method.parse().unwrap(), false), "{method}");
        }
        for method in ["POST", "PATCH", "QUERY", "PROPFIND", "get"] {
            assert!(!policy.may_repeat(&method.parse().unwrap(), false), "{method}");
            assert!(policy.may_repeat(&method.parse().unwrap(), true), "{method}");
        }
    }
}
