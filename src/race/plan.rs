//! The plan of a race: a state machine that decides, and does nothing else. (p)
//!
//! It never sees a socket or a clock: the driver in `run` tells it what happened and when, and does what it says. Its
//! properties, in the order in which they matter:
//!
//! 1. at most one commit, and nothing is launched after the end;
//! 2. every launch ends exactly once: with a head, with a failure (a missed deadline is one), with the adoption of another,
//!    or with the race;
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
//! 10. the race ends: it never waits for nothing. While it is open to be taken over it waits for that, and what has no
//!     header deadline has the clocks of whoever runs it.
//!
//! And where it may overflow:
//!
//! 11. at most one overflow, only where it was asked for, and not before its time: so long after the beginning, or when the
//!     last attempt in flight has missed its header deadline, no head is held, and no other attempt may follow – which is
//!     asked for before that one is dropped;
//! 12. after it nobody is asked for another attempt, and none is started or dropped, until the race goes on: a head commits
//!     as it would, and a stale connection is replaced;
//! 13. when it goes on it is as if there had been no overflow, but for the time that has passed;
//! 14. what is adopted is the oldest attempt that has a connection. It is alone from then on and has no header deadline: its
//!     head commits, whatever it is, and its failure is the end.

use std::time::Duration;

use smallvec::SmallVec;

use super::policy::{Mode, OverflowPoint, Quality};
use super::signals::{Input, Limits, Step, Trouble, Why};
use crate::ids::AttemptNo;
use crate::time::Offset;

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
    /// Whether another may follow the only attempt in flight, which has missed its deadline.
    AskingLast,
    /// The backoff before a further attempt.
    Pausing(Offset),
    /// It has overflown, and may be taken over.
    Open(Onward),
    Done,
}

/// Where a race goes on that nobody takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Onward {
    /// Attempts are in flight.
    Racing,
    Pausing(Offset),
    /// The last one has ended meanwhile, without deciding the race; the request may be repeated after it, or not.
    Settling {
        may_repeat: bool,
    },
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
            Input::GoOn => self.go_on(now),
            Input::Time => self.time(now),
        }
    }

    /// Adopts the oldest attempt in flight that has a connection, and says which: all others are to be dropped, held heads
    /// too. None: there was none, and the race is over. Only after [`Step::Overflow`].
    pub fn adopt(&mut self, has_connection: impl Fn(AttemptNo) -> bool) -> Option<AttemptNo> {
        let is_open = matches!(self.state, State::Open(_));
        let adopted = self.in_flight.iter().map(|flight| flight.no).find(|no| is_open && has_connection(*no));
        self.in_flight.retain(|flight| Some(flight.no) == adopted);
        self.held.clear();
        self.limits = Limits { max_attempts: self.last.get(), deadline: None, hedge_after: None, ..self.limits };
        self.state = if adopted.is_some() { State::Racing } else { State::Done };
        adopted
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
            _ if matches!(self.state, State::Open(_)) => {
                self.state = State::Open(Onward::Settling { may_repeat });
                self.wait()
            }
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
                self.pause(now);
                self.time(now)
            }
            State::AskingLast => {
                self.pause(now);
                self.wants_fresh = true;
                self.in_flight.pop().map_or_else(|| self.time(now), |missed| Step::Drop(missed.no))
            }
            State::Racing | State::Pausing(_) | State::Open(_) | State::Done => self.wait(),
        }
    }

    fn pause(&mut self, now: Offset) {
        let backoff = now.after(self.pauses.next().unwrap_or_default());
        let asked_for = self.held.drain(..).filter_map(|held| held.retry_from).max();
        self.state = State::Pausing(asked_for.map_or(backoff, |from| from.max(backoff)));
    }

    fn refused(&mut self, why: Why) -> Step {
        match self.state {
            State::AskingHedge => {
                self.state = State::Racing;
                self.wait()
            }
            State::AskingRetry => self.end(self.held.last().map_or(Step::GiveUp(why), |held| Step::Commit(held.no))),
            State::AskingLast => self.overflow(Onward::Racing),
            State::Racing | State::Pausing(_) | State::Open(_) | State::Done => self.wait(),
        }
    }

    fn time(&mut self, now: Offset) -> Step {
        let overflows = self.overflow_at().is_some_and(|at| at <= now);
        match self.state {
            State::Racing if overflows => return self.overflow(Onward::Racing),
            State::Pausing(until) if overflows => return self.overflow(Onward::Pausing(until)),
            State::Pausing(until) if until <= now => return self.launch_next(now),
            State::Racing => {}
            State::Pausing(_)
            | State::AskingRetry
            | State::AskingHedge
            | State::AskingLast
            | State::Open(_)
            | State::Done => return self.wait(),
        }
        if let Some(deadline) = self.limits.deadline
            && let Some(missed) = self.in_flight.iter().find(|f| f.is_written && f.clock.after(deadline) <= now)
        {
            return self.missed(missed.no);
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

    /// An attempt has missed its header deadline. It is dropped, unless it is the last.
    fn missed(&mut self, no: AttemptNo) -> Step {
        let is_alone = self.in_flight.len() == 1 && self.held.is_empty();
        if !self.limits.overflow.at_last_deadline || !is_alone {
            return Step::Drop(no);
        }
        if self.limits.may_race() && self.has_attempts_left() {
            self.state = State::AskingLast;
            return Step::AskRetry;
        }
        self.overflow(Onward::Racing)
    }

    /// There is one at most.
    fn overflow(&mut self, onward: Onward) -> Step {
        self.limits.overflow = OverflowPoint::NEVER;
        self.state = State::Open(onward);
        Step::Overflow
    }

    fn go_on(&mut self, now: Offset) -> Step {
        let State::Open(onward) = self.state else { return self.wait() };
        self.state = match onward {
            Onward::Racing | Onward::Settling { .. } => State::Racing,
            Onward::Pausing(until) => State::Pausing(until),
        };
        match onward {
            Onward::Settling { may_repeat } => self.settle(may_repeat),
            Onward::Racing | Onward::Pausing(_) => self.time(now),
        }
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

    /// When time is up for the whole race.
    fn overflow_at(&self) -> Option<Offset> {
        self.limits.overflow.after.map(Offset::new)
    }

    /// The earliest time at which time alone could change something. For a request that is not written yet that is a
    /// whole deadline after the last look at it, or the time after which it would be hedged.
    fn wait(&self) -> Step {
        let pause = match self.state {
            State::Pausing(until) => Some(until),
            State::Racing | State::AskingRetry | State::AskingHedge | State::AskingLast => None,
            State::Open(_) | State::Done => return Step::Wait(None),
        };
        let deadlines = self.in_flight.iter().filter_map(|flight| Some(flight.clock.after(self.limits.deadline?)));
        Step::Wait(deadlines.chain(pause).chain(self.hedge_from()).chain(self.overflow_at()).min())
    }

    fn end(&mut self, step: Step) -> Step {
        self.state = State::Done;
        step
    }
}
