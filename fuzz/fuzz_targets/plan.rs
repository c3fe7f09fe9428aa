//! Any sequence of events: the properties at the head of `src/race/plan.rs` hold, and every race ends.
//!
//! An input is a header – attempts, whether the request may be repeated, deadline, pause – and then two bytes for each
//! event: what happens, and to whom or for how long.

#![no_main]

use std::collections::HashMap;
use std::iter::repeat;
use std::time::Duration;

use forebay::ids::AttemptNo;
use forebay::race::{Input, Limits, Plan, Step, Trouble};
use forebay::time::Offset;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [attempts, may_repeat, deadline, pause, events @ ..] = data else { return };
    let limits = Limits {
        max_attempts: u32::from(attempts % 5) + 1,
        deadline: Duration::from_millis(u64::from(*deadline) + 1),
        may_repeat: may_repeat % 2 == 0,
    };
    let pause = Duration::from_millis((*pause).into());
    let mut race = Race {
        plan: Plan::new(limits, repeat(pause)),
        limits,
        pause,
        now: Offset::ZERO,
        until: None,
        flights: HashMap::new(),
        highest: 0,
        budget: Budget::Untouched,
        replacement: None,
        has_replaced: false,
        is_spoilt: false,
        is_over: false,
    };
    race.tell(Input::Start);
    for event in events.chunks_exact(2) {
        race.happens(event[0], event[1]);
    }
    race.run_out();
});

/// The budget, as the plan must see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Budget {
    Untouched,
    Asked,
    /// One further attempt may be launched, not before then.
    GrantedFrom(Offset),
}

/// What is true of a race, seen from outside.
struct Race<D> {
    plan: Plan<D>,
    limits: Limits,
    pause: Duration,
    now: Offset,
    /// What the plan said it waits for.
    until: Option<Offset>,
    /// Attempts in flight, each with the time at which its request was written.
    flights: HashMap<AttemptNo, Option<Offset>>,
    highest: u32,
    budget: Budget,
    /// A stale connection was reported just now: this attempt may be launched again.
    replacement: Option<AttemptNo>,
    has_replaced: bool,
    /// Something may have reached the upstream that must not be repeated.
    is_spoilt: bool,
    is_over: bool,
}

impl<D: Iterator<Item = Duration>> Race<D> {
    fn happens(&mut self, what: u8, detail: u8) {
        let no = (0..detail % 6).fold(AttemptNo::FIRST, |no, _| no.next());
        match what % 6 {
            0 => {
                self.now = self.now.after(Duration::from_millis(detail.into()));
                self.tell(Input::Time);
            }
            1 => {
                if self.flights.get(&no) == Some(&None) {
                    self.flights.insert(no, Some(self.now));
                }
                // Of one that is not in flight the plan hears as well: it must not care.
                if self.flights.get(&no).is_none_or(|written| *written == Some(self.now)) {
                    self.tell(Input::Written { no, at: self.now });
                }
            }
            2 => self.tell(Input::Head(no)),
            3 => {
                let trouble = Trouble {
                    may_have_reached: detail & 0x80 != 0,
                    is_stale: detail & 0x40 != 0,
                    had_connection: true,
                };
                if self.flights.remove(&no).is_some() {
                    self.is_spoilt |= trouble.may_have_reached && !self.limits.may_repeat;
                    self.replacement = trouble.is_stale.then_some(no);
                }
                self.tell(Input::Failed(no, trouble));
                self.replacement = None;
            }
            4 => self.answer(true),
            _ => self.answer(false),
        }
    }

    fn answer(&mut self, grant: bool) {
        let input = if grant { Input::Granted } else { Input::Refused };
        if self.budget == Budget::Asked {
            self.budget = if grant { Budget::GrantedFrom(self.now.after(self.pause)) } else { Budget::Untouched };
        }
        self.tell(input);
    }

    /// Tells the plan, and does what the driver does: asks again until there is something to wait for.
    fn tell(&mut self, input: Input) {
        let mut step = self.plan.step(self.now, input);
        for _ in 0..32 {
            self.check(step);
            if matches!(step, Step::Wait(_) | Step::Ask) || self.is_over {
                return;
            }
            step = self.plan.step(self.now, Input::Time);
        }
        panic!("it never waits: {step:?}");
    }

    fn check(&mut self, step: Step) {
        assert!(!self.is_over || step == Step::Wait(None), "1: {step:?} after the end");
        match step {
            Step::Launch { no, fresh } => {
                assert!(!self.is_spoilt, "6: repeated");
                if no.get() <= self.highest {
                    assert_eq!(self.replacement.take(), Some(no), "4: replaced what was not stale");
                    assert!(!std::mem::replace(&mut self.has_replaced, true), "4: replaced twice");
                    assert!(fresh, "4: replaced from the pool");
                } else {
                    self.highest += 1;
                    assert_eq!(no.get(), self.highest, "3: out of order");
                    assert!(self.highest <= self.limits.max_attempts, "3: too many");
                    assert_eq!(fresh, self.highest > 1);
                    if self.highest > 1 {
                        let Budget::GrantedFrom(from) = self.budget else { panic!("7: no grant") };
                        assert!(from <= self.now, "7: before its backoff was over");
                        self.budget = Budget::Untouched;
                    }
                }
                assert_eq!(self.flights.insert(no, None), None, "2: launched while in flight");
            }
            Step::Drop(no) => {
                let written = self.flights.remove(&no).expect("2: ended twice").expect("5: dropped while uploading");
                assert!(written.after(self.limits.deadline) <= self.now, "5: dropped too early");
                self.is_spoilt |= !self.limits.may_repeat;
            }
            Step::Commit(no) => {
                assert!(self.flights.contains_key(&no), "2: committed what had ended");
                self.is_over = true;
            }
            Step::GiveUp(_) => {
                assert!(self.flights.is_empty(), "gave up with an attempt in flight");
                self.is_over = true;
            }
            Step::Ask => {
                assert!(self.flights.is_empty() && !self.is_spoilt, "6: asked for what must not be repeated");
                assert!(self.highest < self.limits.max_attempts, "3: asked for one too many");
                assert_eq!(self.budget, Budget::Untouched, "7: asked twice");
                self.budget = Budget::Asked;
            }
            Step::Wait(until) => {
                let is_waited_for = self.is_over || self.budget == Budget::Asked;
                assert!(is_waited_for || until.is_some(), "8: waits for nothing");
                self.until = until;
            }
        }
        assert!(self.plan.attempts() == self.highest.max(1));
    }

    /// From here on all requests are written at once, nobody answers, and the budget grants everything.
    fn run_out(&mut self) {
        // Each attempt takes a write, a deadline, a question and a pause; a deadline may be looked at early once.
        for _ in 0..8 * self.limits.max_attempts {
            if self.is_over {
                return;
            }
            let unwritten = self.flights.iter().find(|(_, written)| written.is_none()).map(|(no, _)| *no);
            if let Some(no) = unwritten {
                self.flights.insert(no, Some(self.now));
                self.tell(Input::Written { no, at: self.now });
            } else if self.budget == Budget::Asked {
                self.answer(true);
            } else {
                let until = self.until.expect("8: waits for nothing");
                self.now = self.now.max(until);
                self.tell(Input::Time);
            }
        }
        panic!("8: the race does not end");
    }
}
