//! What a job may take, and how often it is tried (contract 3.7, 6.4).

use std::time::Duration;

use http::StatusCode;

use super::OwnerRule;
use crate::size::ByteSize;

/// The policy of a route's jobs. Pure data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPolicy {
    /// `JOB_TIMEOUT_SECONDS`: one execution.
    pub timeout: Duration,
    /// `JOB_TIMEOUT_MAX_SECONDS`: the most that a request may ask for.
    pub timeout_max: Duration,
    /// `JOB_RESPONSE_HEADER_TIMEOUT_SECONDS`: when set, an execution races as the front does, with this header deadline.
    pub header_deadline: Option<Duration>,
    /// `JOB_MAX_RETRIES`: further executions after a transport failure.
    pub max_retries: u32,
    /// `JOB_RETRY_DELAY_SECONDS`; none = n⁴ seconds.
    pub retry_delay: Option<Duration>,
    /// `JOB_RETRY_STATUSES`: statuses of the upstream that count as a failure while retries are left.
    pub retry_statuses: Vec<StatusCode>,
    /// `JOB_MAX_RESPONSE_BYTES`.
    pub max_response: ByteSize,
    /// `JOB_OWNER`.
    pub owner: OwnerRule,
    /// `JOB_RETENTION_SECONDS`: how long a finished job can be fetched.
    pub retention: Duration,
    /// `QUEUE_MAX_BODY_BYTES`: above it a request to the queue lane follows `OVERSIZE`.
    pub max_body: ByteSize,
}

impl JobPolicy {
    /// The pause before the retry of this number, counted from 1: the fixed one, or n⁴ seconds.
    pub fn pause(&self, retry: u32) -> Duration {
        self.retry_delay.unwrap_or_else(|| Duration::from_secs(u64::from(retry).saturating_pow(4)))
    }
}

#[cfg(test)]
impl JobPolicy {
    /// The defaults of the contract.
    pub(crate) fn for_tests() -> Self {
        Self {
            timeout: Duration::from_secs(300),
            timeout_max: Duration::from_secs(3600),
            header_deadline: None,
            max_retries: 0,
            retry_delay: None,
            retry_statuses: Vec::new(),
            max_response: ByteSize::new(1 << 30),
            owner: OwnerRule::Credentials,
            retention: Duration::from_secs(3600),
            max_body: ByteSize::new(10 << 20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_the_fourth_power_unless_they_are_fixed() {
        let policy = JobPolicy::for_tests();
        let pauses: Vec<u64> = (1..=5).map(|retry| policy.pause(retry).as_secs()).collect();
        assert_eq!(pauses, [1, 16, 81, 256, 625]);
        assert!(policy.pause(u32::MAX) > Duration::from_secs(1 << 60));
        let fixed = JobPolicy { retry_delay: Some(Duration::from_secs(7)), ..policy };
        assert_eq!((fixed.pause(1), fixed.pause(9)), (Duration::from_secs(7), Duration::from_secs(7)));
    }
}
