//! Numbers that must not be mixed up.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// The number of an attempt within its exchange, counted from 1. Free replacements share the number of what they replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptNo(u32);

impl AttemptNo {
    /// The first attempt of every exchange.
    pub const FIRST: Self = Self(1);

    /// The attempt after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// As a plain number, for headers and logs.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for AttemptNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a job: random, a version 4 UUID (RFC 9562 §5.4). Whoever knows it may ask for the job, so it cannot be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Uuid);

impl JobId {
    /// A new one.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Its 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these bytes, as a store gives them back.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// A text that is no id of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoJobId;

impl FromStr for JobId {
    type Err = NoJobId;

    /// Only the spelling that is given out: lower case, with hyphens. One job has one URL.
    fn from_str(text: &str) -> Result<Self, NoJobId> {
        let id = Self(Uuid::try_parse(text).map_err(|_| NoJobId)?);
        if id.to_string() == text { Ok(id) } else { Err(NoJobId) }
    }
}

/// Who may write for a job. Each lease has a greater one than the lease before it, so that a worker that lost its lease can
/// change nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(u64);

impl Fence {
    /// As a store counts it.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// As a plain number, for the store.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The number of an execution of a job, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionNo(u32);

impl ExecutionNo {
    /// As a store counts it.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// As a plain number, for headers and logs.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ExecutionNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_has_one_spelling_of_its_id() {
        let id = JobId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(JobId::from_bytes(*id.as_bytes()), id);
        for text in [
            id.to_string().to_uppercase().replace(char::is_numeric, "A"),
            id.to_string().replace('-', ""),
            format!("{{{id}}}"),
            format!("urn:uuid:{id}"),
            format!("{id} "),
            String::new(),
        ] {
            assert_eq!(text.parse::<JobId>(), Err(NoJobId), "{text}");
        }
    }
}
