//! The plan of a race: a state machine that decides, and does nothing else. (p)
//!
//! It never sees a socket or a clock: the driver in `run` tells it what happened and when, and does what it says. Its
//! properties, in the order in which they matter:
//!
//! 1. at most one commit, and nothing is launched after it;
//! 2. every launch ends exactly once: committed, failed, or dropped for its missed deadline;
//! 3. never more than `max_attempts` attempts;
//! 4. a reused connection that died unread is replaced free of charge, once;
//! 5. no attempt is dropped before its whole header deadline, counted from the request being written;
//! 6. what may have reached the upstream is repeated only where that is allowed;
//! 7. no further attempt without a budget's grant, nor before its backoff is over;
//! 8. the race ends: it never waits for nothing.
//!
//! Hedging (a second attempt beside the first) finds its place here: attempts in flight are a list, a failure only ends
//! the race when the list is empty, and [`Step::Wait`] is where a hedge timer joins the deadlines.

use std::time::Duration;

use crate::ids::AttemptNo;
use crate::time::Offset;

/// What the plan may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many attempts there may be, the first included.
    pub max_attempts: u32,
    /// The header deadline of each, from its request being written.
    pub deadline: Duration,
    /// Whether the request may be repeated after bytes of it may have reached the upstream.
    pub may_repeat: bool,
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
    /// An attempt has a complete response head.
    Head(AttemptNo),
    /// An attempt ended without one.
    Failed(AttemptNo, Trouble),
    /// The budget allows the attempt that was asked for.
    Granted,
    /// The budget does not.
    Refused,
    /// Nothing else; time has passed.
    Time,
}

/// What the plan needs to know about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A byte of the request may have reached the upstream.
    pub may_have_reached: bool,
    /// A pooled connection was not there any more.
    pub is_stale: bool,
    /// There was a connection, and it failed: the next attempt is better off with one that served nobody before.
    pub had_connection: bool,
}

/// What to do now. After everything but [`Step::Wait`] and the two ends, the plan is to be asked again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start an attempt.
    Launch {
        /// Its number; a free replacement has the number of what it replaces.
        no: AttemptNo,
        /// On a connection that served nobody before, because one of this exchange has failed.
        fresh: bool,
    },
    /// Ask the budget for a further attempt, and answer with [`Input::Granted`] or [`Input::Refused`].
    Ask,
    /// Drop an attempt that has missed its header deadline.
    Drop(AttemptNo),
    /// Nothing to do until something happens, at the latest until then.
    Wait(Option<Offset>),
    /// Use the head of this attempt, drop all others. The end.
    Commit(AttemptNo),
    /// Answer with the latest failure. The end.
    GiveUp(Why),
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// All of `max_attempts` were used.
    Attempts,
    /// The request may have reached the upstream, and must not be repeated then.
    Unsafe,
    /// The budget refused it.
    Budget,
}

/// The state machine. `D` yields the pauses before further attempts.
#[derive(Clone, Debug)]
pub struct Plan<D> {
    limits: Limits,
    pauses: D,
    in_flight: Vec<Flight>,
    last: AttemptNo,
    has_replaced: bool,
    wants_fresh: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Attempts are in flight.
    Racing,
    /// The last one in flight was dropped for its missed deadline; what follows is decided next.
    Missed,
    /// The budget was asked.
    Asking,
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
}

impl<D: Iterator<Item = Duration>> Plan<D> {
    /// A plan for one exchange.
    pub fn new(limits: Limits, pauses: D) -> Self {
        let (last, state) = (AttemptNo::FIRST, State::Racing);
        Self { limits, pauses, in_flight: Vec::with_capacity(1), last, has_replaced: false, wants_fresh: false, state }
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
                if let Some(flight) = self.in_flight.iter_mut().find(|flight| flight.no == no) {
                    (flight.clock, flight.is_written) = (at, true);
                }
                self.wait()
            }
            Input::Head(no) if self.land(no) => self.end(Step::Commit(no)),
            Input::Failed(no, trouble) if self.land(no) => self.failed(now, no, trouble),
            // Late news of an attempt that is out of the race.
            Input::Head(_) | Input::Failed(..) => self.wait(),
            Input::Granted => self.granted(now),
            Input::Refused => match self.state {
                State::Asking => self.end(Step::GiveUp(Why::Budget)),
                _ => self.wait(),
            },
            Input::Time => self.time(now),
        }
    }

    fn failed(&mut self, now: Offset, no: AttemptNo, trouble: Trouble) -> Step {
        self.wants_fresh |= trouble.had_connection;
        let may_repeat = self.limits.may_repeat || !trouble.may_have_reached;
        if trouble.is_stale && may_repeat && !self.has_replaced {
            self.has_replaced = true;
            return self.launch(now, no);
        }
        self.lost(may_repeat)
    }

    /// One attempt less in flight, and no head from it.
    fn lost(&mut self, may_repeat: bool) -> Step {
        if !self.in_flight.is_empty() {
            return self.wait();
        }
        if self.last.get() >= self.limits.max_attempts {
            return self.end(Step::GiveUp(Why::Attempts));
        }
        if !may_repeat {
            return self.end(Step::GiveUp(Why::Unsafe));
        }
        self.state = State::Asking;
        Step::Ask
    }

    fn granted(&mut self, now: Offset) -> Step {
        if self.state != State::Asking {
            return self.wait();
        }
        let pause = self.pauses.next().unwrap_or_default();
        self.state = State::Pausing(now.after(pause));
        self.time(now)
    }

    fn time(&mut self, now: Offset) -> Step {
        match self.state {
            State::Pausing(until) if until <= now => {
                self.last = self.last.next();
                return self.launch(now, self.last);
            }
            // A request that was written counts as having reached the upstream.
            State::Missed => return self.lost(self.limits.may_repeat),
            State::Racing | State::Pausing(_) | State::Asking | State::Done => {}
        }
        let deadline = self.limits.deadline;
        if let Some(index) = self.in_flight.iter().position(|f| f.is_written && f.clock.after(deadline) <= now) {
            let missed = self.in_flight.remove(index);
            self.wants_fresh = true;
            if self.in_flight.is_empty() {
                self.state = State::Missed;
            }
            return Step::Drop(missed.no);
        }
        for flight in self.in_flight.iter_mut().filter(|flight| !flight.is_written) {
            flight.clock = now;
        }
        self.wait()
    }

    fn launch(&mut self, now: Offset, no: AttemptNo) -> Step {
        self.state = State::Racing;
        self.in_flight.push(Flight { no, clock: now, is_written: false });
        Step::Launch { no, fresh: self.wants_fresh }
    }

    /// Takes an attempt out of the race; false if it was not in it.
    fn land(&mut self, no: AttemptNo) -> bool {
        let index = self.in_flight.iter().position(|flight| flight.no == no);
        index.map(|index| self.in_flight.remove(index)).is_some()
    }

    /// The earliest time at which time alone could change something. For a request that is not written yet that is a
    /// whole deadline after the last look at it.
    fn wait(&self) -> Step {
        let pause = match self.state {
            State::Pausing(until) => Some(until),
            State::Racing | State::Missed | State::Asking | State::Done => None,
        };
        let deadlines = self.in_flight.iter().map(|flight| flight.clock.after(self.limits.deadline));
        Step::Wait(deadlines.chain(pause).min())
    }

    fn end(&mut self, step: Step) -> Step {
        self.state = State::Done;
        step
    }
}
