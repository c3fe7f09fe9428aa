//! An upstream of one protocol or the other, for tests that hold for both.

use super::h2::reply;
use super::{FakeUpstream, H2Upstream, Ledger, answer};
use crate::forebay::Settings;

/// A running upstream.
pub enum AnyUpstream {
    /// HTTP/1.1.
    One(FakeUpstream),
    /// HTTP/2 with prior knowledge.
    Two(H2Upstream),
}

impl AnyUpstream {
    /// One of each.
    pub fn both() -> [Self; 2] {
        [Self::One(FakeUpstream::start()), Self::Two(H2Upstream::start())]
    }

    /// The defaults of the tests, and this upstream.
    pub fn settings(&self) -> Settings {
        match self {
            Self::One(upstream) => Settings::in_front_of(upstream),
            Self::Two(upstream) => Settings::in_front_of_h2(upstream),
        }
    }

    /// Every answer is `200` with this body, and `X-Target` says which target was asked for.
    pub fn answer_with_target(&self, body: &'static str) {
        match self {
            Self::One(upstream) => {
                upstream.answer_with(move |seen, _| answer(200).field("X-Target", &seen.target).body(body).into());
            }
            Self::Two(upstream) => {
                upstream.answer_with(move |seen, _| reply(200).field("x-target", &seen.target).body(body).into());
            }
        }
    }

    /// What it speaks.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::One(_) => "HTTP/1.1",
            Self::Two(_) => "HTTP/2",
        }
    }

    /// What [`Self::host_field`] must be in every request.
    pub fn authority(&self) -> String {
        match self {
            Self::One(upstream) => upstream.authority(),
            Self::Two(upstream) => upstream.authority(),
        }
    }

    /// The field that names the upstream.
    pub fn host_field(&self) -> &'static str {
        match self {
            Self::One(_) => "host",
            Self::Two(_) => ":authority",
        }
    }
}

/// What it has seen.
impl std::ops::Deref for AnyUpstream {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        match self {
            Self::One(upstream) => upstream,
            Self::Two(upstream) => upstream,
        }
    }
}
