//! The plan of a race: a state machine that decides, and does nothing else. (p)
//!
//! It never sees a socket or a clock: the driver in `run` tells it what happened and when, and does what it says. Its
//! properties, in the order in which they matter:
//!
//! 1. at most one commit, and nothing is launched after the end;
//! 2. every launch ends exactly once: with a head, with a failure (a missed deadline is one), or with the race;
//! 3. never more than `max_attempts` attempts, whatever started them;
//! 4. a reused connection that died unread is replaced free of charge, once; the attempt goes on, with its number and its
//!    place among the others;
//! 5. no attempt is dropped before its whole header deadline, counted from the request being written, unless the race is
//!    over;
//! 6. what may have reached the upstream is repeated only where that is allowed;
//! 7. while an attempt is in flight only a hedge starts another: `hedge_after` after the request of the newest was
//!    written, asked for once for each attempt, with a grant of its own;
//! 8. with none in flight a retry starts the next: with a grant, and not before its backoff and every `Retry-After` that
//!    led to it are over;
//! 9. a head that might be bettered – a poor one, or one whose status is retried – is held while another attempt is in
//!    flight. When none is left, the latest commits that is not to be retried; only without one is there a retry, and if
//!    there may be none, the latest of all commits;
//! 10. the race ends: it never waits for nothing.

use std::time::Duration;

use smallvec::SmallVec;

use super::policy::{Mode, Quality};
use crate::ids::AttemptNo;
use crate::time::Offset;

/// What the plan may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many attempts there may be, the first included.
    pub max_attempts: u32,
    /// The header deadline of each, from its request being written.
    pub deadline: Duration,
    /// When an attempt gets company, from its request being written; none = never.
    pub hedge_after: Option<Duration>,
    /// Whether the request may be repeated after bytes of it may have reached the upstream.
    pub may_repeat: bool,
    /// How much of the rest there is.
    pub mode: Mode,
}

impl Limits {
    /// Whether there may be another attempt although the request may have reached the upstream.
    fn may_race(&self) -> bool {
        self.may_repeat && self.mode == Mode::Race
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

/// What to do now. After everything but [`Step::Wait`] and the two ends, the plan is to be told of something at once.
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

/// The state machine. `D` yields the pauses before further attempts.
#[derive(Clone, Debug)]
pub struct Plan<D> {
    limits: Limits,
    pauses: D,
    /// In the order of their numbers: the newest is the last.
    in_flight: SmallVec<[Flight; 1]>,
    /// In the order in which they came.
    held: Vec<Held>,
    last: AttemptNo,
    has_replaced: bool,
    wants_fresh: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Attempts are in flight.
    Racing,
    AskingRetry,
    AskingHedge,
    /// The backoff before a further attempt.
    Pausing(Offset),
    Done,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    no: AttemptNo,
    /// When the request was written; until that is known, the last time that it was not.
    clock: Offset,
    is_written: bool,
    /// Nobody has asked yet for an attempt beside this one.
    may_hedge: bool,
}

/// A head that might be bettered.
#[derive(Clone, Copy, Debug)]
struct Held {
    no: AttemptNo,
    /// If its status is retried: not before then.
    retry_from: Option<Offset>,
}

impl<D: Iterator<Item = Duration>> Plan<D> {
    /// A plan for one exchange.
    pub fn new(limits: Limits, pauses: D) -> Self {
        Self {
            limits,
            pauses,
            in_flight: SmallVec::new(),
            held: Vec::new(),
            last: AttemptNo::FIRST,
            has_replaced: false,
            wants_fresh: false,
            state: State::Racing,
        }
    }

    /// How many attempts were started, free replacements excepted.
    pub fn attempts(&self) -> u32 {
        self.last.get()
    }

    /// Takes what happened at `now` and says what to do.
    pub fn step(&mut self, now: Offset, input: Input) -> Step {
        if self.state == State::Done {
            return Step::Wait(None);
        }
        match input {
            Input::Start => self.launch(now, AttemptNo::FIRST),
            Input::Written { no, at } => {
                if let Some(flight) = self.flight(no) {
                    (flight.clock, flight.is_written) = (at, true);
                }
                self.wait()
            }
            Input::Head(no, quality) if self.land(no) => self.head(now, no, quality),
            Input::Failed(no, trouble) if self.flight(no).is_some() => self.failed(now, no, trouble),
            // Late news of an attempt that is out of the race.
            Input::Head(..) | Input::Failed(..) => self.wait(),
            Input::ClientFault => self.end(Step::GiveUp(Why::Client)),
            Input::Granted => self.granted(now),
            Input::Refused(why) => self.refused(why),
            Input::Time => self.time(now),
        }
    }

    fn head(&mut self, now: Offset, no: AttemptNo, quality: Quality) -> Step {
        let may_follow = self.limits.may_race() && self.has_attempts_left();
        let retry_from = quality.retry_after.filter(|_| may_follow).map(|pause| now.after(pause));
        if !quality.is_poor && retry_from.is_none() {
            return self.end(Step::Commit(no));
        }
        self.held.push(Held { no, retry_from });
        self.settle(self.limits.may_race())
    }

    fn failed(&mut self, now: Offset, no: AttemptNo, trouble: Trouble) -> Step {
        self.wants_fresh |= trouble.had_connection;
        let reached = trouble.may_have_reached;
        if trouble.is_stale
            && !self.has_replaced
            && (self.limits.may_repeat || !reached)
            && let Some(flight) = self.flight(no)
        {
            (flight.clock, flight.is_written) = (now, false);
            self.has_replaced = true;
            return Step::Launch { no, fresh: true };
        }
        self.land(no);
        self.settle(self.limits.may_race() || !reached)
    }

    /// One attempt less in flight, and the race not decided by it.
    fn settle(&mut self, may_repeat: bool) -> Step {
        if !self.in_flight.is_empty() {
            return self.wait();
        }
        let refusal = if !self.has_attempts_left() {
            Some(Why::Attempts)
        } else if may_repeat {
            None
        } else if self.limits.mode == Mode::Once {
            Some(Why::Once)
        } else {
            Some(Why::Unsafe)
        };
        let best = self.held.iter().rfind(|held| refusal.is_some() || held.retry_from.is_none());
        match (best, refusal) {
            (Some(held), _) => self.end(Step::Commit(held.no)),
            (None, Some(why)) => self.end(Step::GiveUp(why)),
            (None, None) => {
                self.state = State::AskingRetry;
                Step::AskRetry
            }
        }
    }

    fn granted(&mut self, now: Offset) -> Step {
        match self.state {
            State::AskingHedge => self.launch_next(now),
            State::AskingRetry => {
                let backoff = now.after(self.pauses.next().unwrap_or_default());
                let asked_for = self.held.drain(..).filter_map(|held| held.retry_from).max();
                self.state = State::Pausing(asked_for.map_or(backoff, |from| from.max(backoff)));
                self.time(now)
            }
            State::Racing | State::Pausing(_) | State::Done => self.wait(),
        }
    }

    fn refused(&mut self, why: Why) -> Step {
        match self.state {
            State::AskingHedge => {
                self.state = State::Racing;
                self.wait()
            }
            State::AskingRetry => self.end(self.held.last().map_or(Step::GiveUp(why), |held| Step::Commit(held.no))),
            State::Racing | State::Pausing(_) | State::Done => self.wait(),
        }
    }

    fn time(&mut self, now: Offset) -> Step {
        match self.state {
            State::Pausing(until) if until <= now => return self.launch_next(now),
            State::Racing => {}
            State::Pausing(_) | State::AskingRetry | State::AskingHedge | State::Done => return self.wait(),
        }
        let deadline = self.limits.deadline;
        if let Some(missed) = self.in_flight.iter().find(|f| f.is_written && f.clock.after(deadline) <= now) {
            return Step::Drop(missed.no);
        }
        if self.hedge_from().is_some_and(|from| from <= now)
            && let Some(newest) = self.in_flight.last_mut().filter(|newest| newest.is_written)
        {
            newest.may_hedge = false;
            self.state = State::AskingHedge;
            return Step::AskHedge;
        }
        for flight in self.in_flight.iter_mut().filter(|flight| !flight.is_written) {
            flight.clock = now;
        }
        self.wait()
    }

    fn launch_next(&mut self, now: Offset) -> Step {
        self.last = self.last.next();
        self.launch(now, self.last)
    }

    fn launch(&mut self, now: Offset, no: AttemptNo) -> Step {
        self.state = State::Racing;
        self.in_flight.push(Flight { no, clock: now, is_written: false, may_hedge: self.limits.may_race() });
        Step::Launch { no, fresh: self.wants_fresh }
    }

    fn flight(&mut self, no: AttemptNo) -> Option<&mut Flight> {
        self.in_flight.iter_mut().find(|flight| flight.no == no)
    }

    /// Takes an attempt out of the race; false if it was not in it.
    fn land(&mut self, no: AttemptNo) -> bool {
        let index = self.in_flight.iter().position(|flight| flight.no == no);
        index.map(|index| self.in_flight.remove(index)).is_some()
    }

    fn has_attempts_left(&self) -> bool {
        self.last.get() < self.limits.max_attempts
    }

    /// When the newest attempt gets company, as far as its clock is known.
    fn hedge_from(&self) -> Option<Offset> {
        let newest = self.in_flight.last().filter(|newest| newest.may_hedge && self.has_attempts_left())?;
        self.limits.hedge_after.map(|after| newest.clock.after(after))
    }

    /// The earliest time at which time alone could change something. For a request that is not written yet that is a
    /// whole deadline after the last look at it, or the time after which it would be hedged.
    fn wait(&self) -> Step {
        let pause = match self.state {
            State::Pausing(until) => Some(until),
            State::Racing | State::AskingRetry | State::AskingHedge | State::Done => None,
        };
        let deadlines = self.in_flight.iter().map(|flight| flight.clock.after(self.limits.deadline));
        Step::Wait(deadlines.chain(pause).chain(self.hedge_from()).min())
    }

    fn end(&mut self, step: Step) -> Step {
        self.state = State::Done;
        step
    }
}
