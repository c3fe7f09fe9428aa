//! Requests that are refused before they are one. (p)

/// Why a request was refused before it was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Refusal {
    /// Not HTTP/1.1, or ambiguous.
    Malformed,
    /// `#` in the target.
    Fragment,
    /// The head did not come in time.
    Timeout,
    /// The head is too large.
    HeadTooLarge,
    /// The target is too long.
    TargetTooLong,
}

impl Refusal {
    /// What hyper means by an answer of its own, of which this is the beginning. It writes one only to refuse a head.
    pub(super) fn of_answer(first: &[u8]) -> Self {
        match first.get(9..12) {
            Some(b"431") => Self::HeadTooLarge,
            Some(b"414") => Self::TargetTooLong,
            _ => Self::Malformed,
        }
    }
}
