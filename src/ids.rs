//! Numbers that must not be mixed up.

use std::fmt;

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
