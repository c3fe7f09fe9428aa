//! Why a job failed (contract 6.2).

use std::fmt;

/// What an owner is told: `<code>: <message>`. Never an internal address, a secret, or a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A code of section 5, or one of this type's.
    pub code: &'static str,
    /// What happened.
    pub message: String,
}

impl Fault {
    /// One execution took longer than the job's timeout.
    pub const TIMEOUT: &'static str = "job_timeout";
    /// The upstream broke off after its head.
    pub const BROKEN: &'static str = "response_broken";
    /// The response is larger than `JOB_MAX_RESPONSE_BYTES`.
    pub const TOO_LARGE: &'static str = "response_too_large";
    /// Three workers died of it.
    pub const POISONED: &'static str = "poisoned";
    /// Its request is gone from the store.
    pub const LOST: &'static str = "lost";

    /// A fault with its message.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What a store says of a job whose lease ran out for the third time.
    pub fn poisoned() -> Self {
        Self::new(Self::POISONED, "three workers stopped while they executed this job; it is not tried again")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}
