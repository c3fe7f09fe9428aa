//! What the plan of a race is told, and what it says. (p)

use std::time::Duration;

use super::policy::{Mode, OverflowPoint, Quality};
use crate::ids::AttemptNo;
use crate::time::Offset;

/// What the plan may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many attempts there may be, the first included.
    pub max_attempts: u32,
    /// The header deadline of each, from its request being written; none = there is no such clock.
    pub deadline: Option<Duration>,
    /// When an attempt gets company, from its request being written; none = never.
    pub hedge_after: Option<Duration>,
    /// Whether the request may be repeated after bytes of it may have reached the upstream.
    pub may_repeat: bool,
    /// How much of the rest there is.
    pub mode: Mode,
    /// When the race overflows.
    pub overflow: OverflowPoint,
}

impl Limits {
    /// Whether there may be another attempt although the request may have reached the upstream.
    pub(super) fn may_race(&self) -> bool {
        self.may_repeat && self.mode != Mode::Once
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The exchange begins. Once, first.
    Start,
    /// An attempt's request was written completely, then. Told before any later [`Input::Time`].
    Written {
        /// Whose.
        no: AttemptNo,
        /// When its last byte was taken.
        at: Offset,
    },
    /// An attempt has a complete response head, which is kept until it is committed or a retry is granted.
    Head(AttemptNo, Quality),
    /// An attempt ended without one.
    Failed(AttemptNo, Trouble),
    /// The client did not finish its own request: there is nothing left to try.
    ClientFault,
    /// What was asked for may start. The heads that are held are dropped if it is a retry: they were failed attempts.
    Granted,
    /// It may not.
    Refused(Why),
    /// Nobody takes the race over at its overflow: it goes on.
    GoOn,
    /// Nothing else; time has passed.
    Time,
}

/// What the plan needs to know about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A byte of the request may have reached the upstream.
    pub may_have_reached: bool,
    /// A pooled connection was not there any more, and the request can be sent on another.
    pub is_stale: bool,
    /// There was a connection, and it failed: the next attempt is better off with one that served nobody before.
    pub had_connection: bool,
}

/// What to do now. After everything but [`Step::Wait`], [`Step::Overflow`] and the two ends, the plan is to be told of
/// something at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start an attempt.
    Launch {
        /// Its number; a free replacement has the number of what it replaces.
        no: AttemptNo,
        /// On a connection that served nobody before, because one of this exchange has failed.
        fresh: bool,
    },
    /// Ask whether a further attempt may follow, and answer at once with [`Input::Granted`] or [`Input::Refused`].
    AskRetry,
    /// Ask whether an attempt may start beside what is in flight, and answer as before.
    AskHedge,
    /// Drop an attempt that has missed its header deadline, and tell of it with [`Input::Failed`].
    Drop(AttemptNo),
    /// Nothing to do until something happens, at the latest until then.
    Wait(Option<Offset>),
    /// Let whoever runs the race take it over. Until he does ([`Plan::adopt`]) or lets it go on ([`Input::GoOn`]), no
    /// attempt is started or dropped, and the plan is told what becomes of those in flight.
    ///
    /// [`Plan::adopt`]: super::Plan::adopt
    Overflow,
    /// Use the head of this attempt, drop all others. The end.
    Commit(AttemptNo),
    /// Drop everything, and answer with the latest failure. The end.
    GiveUp(Why),
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// All of `max_attempts` were used.
    Attempts,
    /// The request may have reached the upstream, and must not be repeated then.
    Unsafe,
    /// The request may have reached the upstream, and nothing of it is kept: [`Mode::Once`].
    Once,
    /// A part of the body was taken from the client and is gone.
    Spent,
    /// The client itself did not finish its request.
    Client,
    /// The budget refused it.
    Budget,
}
