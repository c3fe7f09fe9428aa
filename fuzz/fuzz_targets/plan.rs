//! Any sequence of events: the properties at the head of `src/race/plan.rs` hold, and every race ends.
//!
//! An input is a header – attempts; bits: no repeating, mode once, hedging, overflow at the last deadline, overflow after
//! one and a half deadlines, no deadline; deadline; pause – and then two bytes for each event: what happens, and to whom or
//! for how long. Where the plan asks for an attempt, the next event is the budget's answer.

#![no_main]

use std::collections::BTreeMap;
use std::iter::repeat;
use std::time::Duration;

use forebay::ids::AttemptNo;
use forebay::race::{Input, Limits, Mode, OverflowPoint, Plan, Quality, Step, Trouble, Why};
use forebay::time::Offset;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [attempts, bits, deadline, pause, events @ ..] = data else { return };
    let deadline = Duration::from_millis(u64::from(*deadline) + 1);
    let limits = Limits {
        max_attempts: u32::from(attempts % 5) + 1,
        deadline: (bits & 32 == 0).then_some(deadline),
        hedge_after: (bits & 4 != 0).then_some(deadline / 4),
        may_repeat: bits & 1 == 0,
        mode: if bits & 2 == 0 { Mode::Race } else { Mode::Once },
        overflow: OverflowPoint {
            after: (bits & 16 != 0).then_some(deadline * 3 / 2),
            at_last_deadline: bits & 8 != 0,
        },
    };
    let pause = Duration::from_millis((*pause).into());
    let mut race = Race {
        plan: Plan::new(limits, repeat(pause)),
        limits,
        pause,
        now: Offset::ZERO,
        until: None,
        flights: BTreeMap::new(),
        held: Vec::new(),
        highest: 0,
        asked: Asked::Nothing,
        leave: Leave::Next(Offset::ZERO),
        has_replaced: false,
        has_failed: false,
        is_spoilt: false,
        is_refused: false,
        is_open: false,
        is_over: false,
    };
    race.tell(Input::Start);
    for event in events.chunks_exact(2) {
        race.happens(event[0], event[1]);
    }
    race.run_out();
});

/// What a missed deadline is.
const MISSED: Trouble = Trouble { may_have_reached: true, is_stale: false, had_connection: true };

/// What the plan waits for an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Retry,
    Hedge,
}

/// What may be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Nothing,
    /// A stale connection was reported just now: this attempt, again.
    Again(AttemptNo),
    /// The next attempt, not before then.
    Next(Offset),
}

/// An attempt in flight.
#[derive(Clone, Copy, Debug, Default)]
struct Flight {
    written: Option<Offset>,
    was_hedged: bool,
}

/// What is true of a race, seen from outside.
struct Race<D> {
    plan: Plan<D>,
    limits: Limits,
    pause: Duration,
    now: Offset,
    /// What the plan said it waits for.
    until: Option<Offset>,
    flights: BTreeMap<AttemptNo, Flight>,
    /// Heads at hand, in order, and from when on the attempt is repeated if its status is retried.
    held: Vec<(AttemptNo, Option<Offset>)>,
    highest: u32,
    asked: Asked,
    leave: Leave,
    has_replaced: bool,
    has_failed: bool,
    /// Something may have reached the upstream that must not be repeated.
    is_spoilt: bool,
    /// The question of just now was answered with no.
    is_refused: bool,
    /// It has overflown, and nobody has decided yet what becomes of it.
    is_open: bool,
    is_over: bool,
}

impl<D: Iterator<Item = Duration>> Race<D> {
    fn may_race(&self) -> bool {
        self.limits.may_repeat && self.limits.mode == Mode::Race
    }

    fn may_follow(&self) -> bool {
        self.highest < self.limits.max_attempts
    }

    fn happens(&mut self, what: u8, detail: u8) {
        if self.asked != Asked::Nothing {
            return self.answer(what.is_multiple_of(2));
        }
        let no = (0..detail % 6).fold(AttemptNo::FIRST, |no, _| no.next());
        match what % 8 {
            0 => {
                self.now = self.now.after(Duration::from_millis(detail.into()));
                self.tell(Input::Time);
            }
            1 => self.written(no),
            2 => self.head(no, detail),
            3 => {
                let (may_have_reached, is_stale) = (detail & 0x80 != 0, detail & 0x40 != 0);
                self.failed(no, Trouble { may_have_reached, is_stale, had_connection: true });
            }
            // News that nobody asked for.
            4 => self.tell(Input::Granted),
            6 => self.go_on(),
            7 if self.is_open && !self.is_over => self.adopt(detail),
            7 => {}
            _ if detail == 0xff => self.tell(Input::ClientFault),
            _ => self.tell(Input::Refused(Why::Budget)),
        }
    }

    fn written(&mut self, no: AttemptNo) {
        if let Some(Flight { written: written @ None, .. }) = self.flights.get_mut(&no) {
            *written = Some(self.now);
        }
        // Of one that is not in flight the plan hears as well: it must not care.
        if self.flights.get(&no).is_none_or(|flight| flight.written == Some(self.now)) {
            self.tell(Input::Written { no, at: self.now });
        }
    }

    fn head(&mut self, no: AttemptNo, detail: u8) {
        let retry_after = (detail & 0x40 != 0).then(|| Duration::from_millis(u64::from(detail >> 3)));
        let quality = Quality { is_poor: detail & 0x80 != 0, retry_after };
        let mut is_final = false;
        if !self.is_over && self.flights.remove(&no).is_some() {
            let pause = retry_after.filter(|_| self.may_race() && self.may_follow());
            self.held.push((no, pause.map(|pause| self.now.after(pause))));
            is_final = !quality.is_poor && pause.is_none();
        }
        self.tell(Input::Head(no, quality));
        assert!(!is_final || self.is_over, "9: a good head does not commit");
    }

    fn failed(&mut self, no: AttemptNo, trouble: Trouble) {
        if !self.is_over
            && let Some(flight) = self.flights.remove(&no)
        {
            self.has_failed = true;
            let may_replace = self.limits.may_repeat || !trouble.may_have_reached;
            if trouble.is_stale && may_replace && !self.has_replaced {
                self.leave = Leave::Again(no);
                self.flights.insert(no, Flight { written: None, ..flight });
            } else {
                self.is_spoilt |= trouble.may_have_reached && !self.may_race();
            }
        }
        self.tell(Input::Failed(no, trouble));
        assert!(!matches!(self.leave, Leave::Again(_)), "4: not replaced");
    }

    /// Nobody takes it over, whether it is open or not.
    fn go_on(&mut self) {
        self.is_open = false;
        self.tell(Input::GoOn);
    }

    /// Somebody takes it over. What goes on is alone and has no deadline.
    fn adopt(&mut self, connected: u8) {
        let has_connection = |no: AttemptNo| connected >> no.get() & 1 != 0;
        let oldest = self.flights.keys().copied().find(|no| has_connection(*no));
        assert_eq!(self.plan.adopt(has_connection), oldest, "14: not the oldest that has a connection");
        self.flights.retain(|no, _| Some(*no) == oldest);
        self.held.clear();
        self.limits = Limits { max_attempts: 0, deadline: None, hedge_after: None, ..self.limits };
        (self.leave, self.is_open, self.is_over) = (Leave::Nothing, false, oldest.is_none());
        self.tell(Input::Time);
    }

    fn answer(&mut self, grant: bool) {
        let asked = std::mem::replace(&mut self.asked, Asked::Nothing);
        self.is_refused = !grant;
        if grant {
            let mut from = self.now;
            if asked == Asked::Retry {
                let heard = self.held.drain(..).filter_map(|(_, from)| from).max();
                from = from.after(self.pause).max(heard.unwrap_or_default());
            }
            self.leave = Leave::Next(from);
            self.tell(Input::Granted);
        } else {
            self.tell(Input::Refused(Why::Budget));
            assert!(asked == Asked::Hedge || self.is_over || self.is_open, "8: goes on without a grant");
        }
        self.is_refused = false;
    }

    /// Tells the plan, and does what the driver does: tells it more until there is something to wait for.
    fn tell(&mut self, input: Input) {
        let mut step = self.plan.step(self.now, input);
        for _ in 0..32 {
            self.check(step);
            match step {
                _ if self.is_over => return,
                Step::Wait(_) | Step::Overflow | Step::AskRetry | Step::AskHedge => return,
                Step::Drop(no) => return self.failed(no, MISSED),
                Step::Launch { .. } | Step::Commit(_) | Step::GiveUp(_) => {}
            }
            step = self.plan.step(self.now, Input::Time);
        }
        panic!("it never waits: {step:?}");
    }

    fn check(&mut self, step: Step) {
        assert!(!self.is_over || step == Step::Wait(None), "1: {step:?} after the end");
        if self.is_open {
            let may_be = matches!(step, Step::Wait(None) | Step::Commit(_) | Step::GiveUp(Why::Client));
            assert!(may_be || matches!(self.leave, Leave::Again(_)), "12: {step:?} while it was open");
        }
        match step {
            Step::Launch { no, fresh } => self.launched(no, fresh),
            Step::Drop(no) => {
                assert!(self.flights.contains_key(&no), "2: ended twice");
                assert!(self.has_missed(no), "5: dropped too early");
            }
            Step::Overflow => {
                let is_late = self.limits.overflow.after.is_some_and(|after| Offset::new(after) <= self.now);
                let is_last = self.is_refused || !self.may_race() || !self.may_follow();
                assert!(is_late || self.is_at_last_deadline() && is_last, "11: nobody asked for it");
                self.limits.overflow = OverflowPoint::NEVER;
                self.is_open = true;
            }
            Step::Commit(no) => {
                assert!(self.held.iter().any(|(held, _)| *held == no), "2: committed what has no head");
                let may_follow = self.may_follow();
                let best = self.held.iter().rfind(|(_, retry_from)| !may_follow || retry_from.is_none());
                let best = best.or(self.held.last()).map(|(best, _)| *best);
                assert_eq!(best, Some(no), "9: a better head was at hand");
                self.is_over = true;
            }
            Step::GiveUp(why) => {
                assert!(self.flights.is_empty() || why == Why::Client, "gave up with an attempt in flight");
                assert!(self.held.is_empty() || why == Why::Client, "9: gave up with a head at hand");
                self.is_over = true;
            }
            Step::AskRetry => {
                assert!(self.flights.is_empty() || self.is_at_last_deadline(), "7: asked beside one in flight");
                assert!(!self.is_spoilt, "6: asked for what must not be repeated");
                assert!(self.may_follow(), "3: asked for one too many");
                assert!(self.held.iter().all(|(_, retry_from)| retry_from.is_some()), "9: retried with a head at hand");
                self.asked = Asked::Retry;
            }
            Step::AskHedge => {
                assert!(self.may_race() && self.may_follow(), "6: hedged what must not be");
                let after = self.limits.hedge_after.expect("7: hedged without a time for it");
                let newest = self.flights.last_entry().expect("7: hedged nothing").into_mut();
                assert!(!std::mem::replace(&mut newest.was_hedged, true), "7: hedged twice");
                assert!(newest.written.expect("7: hedged unwritten").after(after) <= self.now, "7: hedged too early");
                self.asked = Asked::Hedge;
            }
            Step::Wait(until) => {
                let is_timeless = self.limits.deadline.is_none() && !self.flights.is_empty();
                assert!(self.is_over || until.is_some() || self.is_open || is_timeless, "10: waits for nothing");
                self.until = until;
            }
        }
        assert!(self.plan.attempts() == self.highest.max(1));
    }

    fn has_missed(&self, no: AttemptNo) -> bool {
        let written = self.flights.get(&no).and_then(|flight| flight.written);
        written.zip(self.limits.deadline).is_some_and(|(written, deadline)| written.after(deadline) <= self.now)
    }

    /// The only attempt in flight has missed its deadline, and that may be an overflow.
    fn is_at_last_deadline(&self) -> bool {
        let mut flights = self.flights.keys();
        let only = flights.next().filter(|_| flights.next().is_none() && self.held.is_empty());
        self.limits.overflow.at_last_deadline && only.is_some_and(|no| self.has_missed(*no))
    }

    fn launched(&mut self, no: AttemptNo, fresh: bool) {
        assert!(!self.is_spoilt, "6: repeated");
        match std::mem::replace(&mut self.leave, Leave::Nothing) {
            Leave::Nothing => panic!("7, 8: no leave"),
            Leave::Again(of) => {
                assert!(no == of && fresh, "4: replaced another, or from the pool");
                assert!(!std::mem::replace(&mut self.has_replaced, true), "4: replaced twice");
            }
            Leave::Next(from) => {
                assert!(from <= self.now, "8: before its pause was over");
                assert!(self.may_follow(), "3: too many");
                self.highest += 1;
                assert_eq!(
                    (no.get(), fresh),
                    (self.highest, self.has_failed),
                    "3: out of order, or from the wrong place"
                );
                assert!(self.flights.insert(no, Flight::default()).is_none(), "2: launched while in flight");
            }
        }
    }

    /// From here on all requests are written at once, nobody answers or takes the race over, and the budgets grant
    /// everything. What has no deadline fails.
    fn run_out(&mut self) {
        // Each attempt takes a write, a deadline, a hedge, a question and a pause; a clock may be looked at early once.
        // And there may be an overflow.
        for _ in 0..12 * self.limits.max_attempts.max(1) + 2 {
            if self.is_over {
                return;
            }
            let unwritten = self.flights.iter().find(|(_, flight)| flight.written.is_none()).map(|(no, _)| *no);
            if self.asked != Asked::Nothing {
                self.answer(true);
            } else if self.is_open {
                self.go_on();
            } else if let Some(no) = unwritten {
                self.written(no);
            } else if let (None, Some((no, _))) = (self.limits.deadline, self.flights.first_key_value()) {
                self.failed(*no, MISSED);
            } else {
                let until = self.until.expect("10: waits for nothing");
                self.now = self.now.max(until);
                self.tell(Input::Time);
            }
        }
        panic!("10: the race does not end");
    }
}
