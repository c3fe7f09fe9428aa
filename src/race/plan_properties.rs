//! The properties at the head of the plan, whatever the world does.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::plan::Plan;
use super::policy::{Mode, OverflowPoint, Quality};
use super::signals::{Input, Limits, Step, Trouble, Why};
use crate::ids::AttemptNo;
use crate::time::Offset;

const DEADLINE: Duration = Duration::from_secs(30);
pub(super) const PAUSE: Duration = Duration::from_millis(250);
pub(super) const MISSED: Trouble = Trouble { may_have_reached: true, is_stale: false, had_connection: true };

/// What the world does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Pass(u32),
    Write(u32),
    Head(u32, Quality),
    Fail(u32, Trouble),
    ClientFault,
    /// Nobody takes the race over.
    GoOn,
    /// Somebody does; these attempts have a connection.
    Adopt([bool; 5]),
}

pub(super) fn events() -> impl Strategy<Value = Vec<(Event, bool)>> {
    let trouble = (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(reached, stale, had_connection)| Trouble {
        may_have_reached: reached && had_connection,
        is_stale: stale && had_connection,
        had_connection,
    });
    let retry_after = prop::option::of((0u64..5000).prop_map(Duration::from_millis));
    let quality = (any::<bool>(), retry_after).prop_map(|(is_poor, retry_after)| Quality { is_poor, retry_after });
    let event = prop_oneof![
        40 => (0u32..40_000).prop_map(Event::Pass),
        40 => (1u32..6).prop_map(Event::Write),
        25 => (1u32..6, quality).prop_map(|(no, quality)| Event::Head(no, quality)),
        50 => (1u32..6, trouble).prop_map(|(no, trouble)| Event::Fail(no, trouble)),
        1 => Just(Event::ClientFault),
        15 => Just(Event::GoOn),
        10 => any::<[bool; 5]>().prop_map(Event::Adopt),
    ];
    // With each what the budgets say after it.
    prop::collection::vec((event, prop::bool::weighted(0.8)), 0..60)
}

pub(super) fn limits() -> impl Strategy<Value = Limits> {
    let hedge_after = prop::option::of((0u64..30_000).prop_map(Duration::from_millis));
    let deadline = prop::option::weighted(0.9, Just(DEADLINE));
    let job = Mode::Job { header_deadline: None };
    let mode = prop_oneof![3 => Just(Mode::Race), 1 => Just(Mode::Once), 1 => Just(job)];
    (1u32..6, deadline, hedge_after, any::<bool>(), mode, overflow()).prop_map(
        |(max_attempts, deadline, hedge_after, may_repeat, mode, overflow)| Limits {
            max_attempts,
            deadline,
            hedge_after,
            may_repeat,
            mode,
            overflow,
        },
    )
}

fn overflow() -> impl Strategy<Value = OverflowPoint> {
    let after = prop::option::of((0u64..100_000).prop_map(Duration::from_millis));
    (after, any::<bool>()).prop_map(|(after, at_last_deadline)| OverflowPoint { after, at_last_deadline })
}

pub(super) fn number(no: u32) -> AttemptNo {
    (1..no).fold(AttemptNo::FIRST, |no, _| no.next())
}

/// One attempt in flight.
#[derive(Clone, Copy, Debug, Default)]
struct Flight {
    written: Option<Offset>,
    was_hedged: bool,
}

/// What may be launched next, by whose leave, and from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Nothing,
    Replacement(AttemptNo),
    Next { from: Offset },
}

/// The world beside the plan, with its own books.
#[expect(clippy::struct_excessive_bools, reason = "they are facts of their own: any of them may hold with any other")]
struct Books<D> {
    plan: Plan<D>,
    limits: Limits,
    now: Offset,
    flights: BTreeMap<AttemptNo, Flight>,
    /// Heads that wait, in order, and from when on each is retried if it is.
    held: Vec<(AttemptNo, Option<Offset>)>,
    launched: u32,
    leave: Leave,
    has_replaced: bool,
    /// A connection of this exchange has failed.
    has_failed: bool,
    /// The last attempt in flight has missed its deadline, and another was granted: it is to be dropped.
    is_last_missed: bool,
    /// It has overflown, and nobody has decided yet what becomes of it.
    is_open: bool,
    /// The last attempt ended while it was open, and the request may be repeated after it or not.
    unsettled: Option<bool>,
    is_over: bool,
}

impl<D: Iterator<Item = Duration>> Books<D> {
    fn new(limits: Limits, pauses: D) -> Self {
        Self {
            plan: Plan::new(limits, pauses),
            limits,
            now: Offset::ZERO,
            flights: BTreeMap::new(),
            held: Vec::new(),
            launched: 0,
            leave: Leave::Next { from: Offset::ZERO },
            has_replaced: false,
            has_failed: false,
            is_last_missed: false,
            is_open: false,
            unsettled: None,
            is_over: false,
        }
    }

    fn may_race(&self) -> bool {
        self.limits.may_repeat && self.limits.mode != Mode::Once
    }

    fn may_follow(&self) -> bool {
        self.launched < self.limits.max_attempts
    }

    /// What must follow when an attempt has ended and did not decide the race. None: anything that time may bring.
    fn settled(&mut self, may_repeat: bool) -> Option<Step> {
        let may_follow = may_repeat && self.may_follow();
        let best = self.held.iter().rfind(|(_, retry_from)| !may_follow || retry_from.is_none());
        match best {
            _ if !self.flights.is_empty() => None,
            Some((no, _)) => Some(Step::Commit(*no)),
            None if self.is_open => {
                self.unsettled = Some(may_repeat);
                Some(Step::Wait(None))
            }
            None if may_follow => Some(Step::AskRetry),
            None if !self.may_follow() => Some(Step::GiveUp(Why::Attempts)),
            None if self.limits.mode == Mode::Once => Some(Step::GiveUp(Why::Once)),
            None => Some(Step::GiveUp(Why::Unsafe)),
        }
    }

    /// Tells the plan of a head or a failure; its answer is known beforehand where the rules leave no choice.
    fn ended(&mut self, no: AttemptNo, result: Result<Quality, Trouble>) -> (Input, Option<Step>) {
        let input = result.map_or_else(|trouble| Input::Failed(no, trouble), |quality| Input::Head(no, quality));
        let Some(flight) = self.flights.remove(&no) else { return (input, None) };
        let expected = match result {
            Ok(Quality { is_poor, retry_after }) => {
                let pause = retry_after.filter(|_| self.may_race() && self.may_follow());
                let retry_from = pause.map(|pause| self.now.after(pause));
                self.held.push((no, retry_from));
                let is_final = !is_poor && retry_from.is_none();
                if is_final { Some(Step::Commit(no)) } else { self.settled(self.may_race()) }
            }
            Err(trouble) => {
                self.has_failed |= trouble.had_connection;
                let may_replace = self.limits.may_repeat || !trouble.may_have_reached;
                if trouble.is_stale && may_replace && !self.has_replaced {
                    self.has_replaced = true;
                    self.leave = Leave::Replacement(no);
                    // Its place among the others stays its own.
                    self.flights.insert(no, Flight { written: None, ..flight });
                    Some(Step::Launch { no, fresh: true })
                } else {
                    self.settled(self.may_race() || !trouble.may_have_reached)
                }
            }
        };
        (input, expected)
    }

    /// Tells the plan, and does what the driver does until there is something to wait for.
    fn tell(&mut self, input: Input, expected: Option<Step>, grants: bool) {
        let mut input = input;
        let mut step = self.plan.step(self.now, input);
        if !self.is_over
            && let Some(expected) = expected
        {
            assert_eq!(step, expected, "after {input:?}");
        }
        for _ in 0..40 {
            self.check(step, input);
            let expected;
            (input, expected) = match step {
                _ if self.is_over => return,
                Step::Wait(_) | Step::Overflow => return,
                Step::Launch { .. } => (Input::Time, None),
                Step::Drop(no) if std::mem::take(&mut self.is_last_missed) => {
                    let missed = self.ended(no, Err(MISSED)).0;
                    (missed, None)
                }
                Step::Drop(no) => self.ended(no, Err(MISSED)),
                Step::AskHedge if grants => {
                    self.leave = Leave::Next { from: self.now };
                    (Input::Granted, None)
                }
                Step::AskRetry if grants => {
                    let heard = self.held.drain(..).filter_map(|(_, from)| from).max();
                    let backoff = self.now.after(PAUSE);
                    self.leave = Leave::Next { from: heard.unwrap_or(backoff).max(backoff) };
                    let last = self.flights.first_key_value().map(|(no, _)| *no);
                    self.is_last_missed = last.is_some();
                    (Input::Granted, last.map(Step::Drop))
                }
                Step::AskHedge => (Input::Refused(Why::Budget), None),
                Step::AskRetry if !self.flights.is_empty() => (Input::Refused(Why::Budget), Some(Step::Overflow)),
                Step::AskRetry => {
                    let last = self.held.last().map(|(no, _)| Step::Commit(*no));
                    (Input::Refused(Why::Budget), Some(last.unwrap_or(Step::GiveUp(Why::Budget))))
                }
                Step::Commit(_) | Step::GiveUp(_) => unreachable!("the race is over"),
            };
            step = self.plan.step(self.now, input);
            if let Some(expected) = expected {
                assert_eq!(step, expected, "after {input:?}");
            }
        }
        panic!("it never waits: {step:?}");
    }

    fn check(&mut self, step: Step, input: Input) {
        assert!(!self.is_over || step == Step::Wait(None), "{step:?} after the end");
        if self.is_open {
            let may_be = matches!(step, Step::Wait(None) | Step::Commit(_) | Step::GiveUp(Why::Client));
            assert!(may_be || matches!(self.leave, Leave::Replacement(_)), "{step:?} while it was open");
        }
        match step {
            Step::Launch { no, fresh } => match std::mem::replace(&mut self.leave, Leave::Nothing) {
                Leave::Replacement(of) => assert!(no == of && fresh, "replaced another"),
                Leave::Next { from } => {
                    assert!(from <= self.now, "launched too early");
                    assert_eq!((no.get(), fresh), (self.launched + 1, self.has_failed));
                    assert!(self.may_follow(), "one too many");
                    self.launched += 1;
                    assert!(self.flights.insert(no, Flight::default()).is_none(), "launched twice");
                }
                Leave::Nothing => panic!("launched without leave"),
            },
            Step::Drop(no) => {
                assert!(self.flights.contains_key(&no), "dropped what was not in flight");
                assert!(self.has_missed(no), "dropped too early");
            }
            Step::AskHedge => {
                assert!(self.may_race() && self.may_follow(), "hedged what must not be");
                let after = self.limits.hedge_after.expect("hedged without a time for it");
                let newest = self.flights.last_entry().expect("hedged nothing").into_mut();
                assert!(!std::mem::replace(&mut newest.was_hedged, true), "hedged twice");
                assert!(newest.written.expect("hedged unwritten").after(after) <= self.now, "hedged too early");
            }
            Step::Commit(no) => {
                assert!(self.held.iter().any(|(held, _)| *held == no), "committed what has no head");
                self.is_over = true;
            }
            Step::GiveUp(why) => {
                assert!(self.flights.is_empty() || why == Why::Client, "gave up with an attempt in flight");
                assert!(self.held.is_empty() || why == Why::Client, "gave up with a head at hand");
                self.is_over = true;
            }
            Step::AskRetry => {
                assert!(self.flights.is_empty() || self.is_at_last_deadline(), "retried beside an attempt in flight");
                assert!(self.may_follow(), "asked for one too many");
            }
            Step::Overflow => {
                let is_late = self.limits.overflow.after.is_some_and(|after| Offset::new(after) <= self.now);
                let is_refused = matches!(input, Input::Refused(_)) || !self.may_race() || !self.may_follow();
                assert!(is_late || self.is_at_last_deadline() && is_refused, "an overflow that nobody asked for");
                self.limits.overflow = OverflowPoint::NEVER;
                self.is_open = true;
            }
            Step::Wait(until) if !self.is_over => {
                let is_timeless = self.limits.deadline.is_none() && !self.flights.is_empty();
                assert!(until.is_some() || self.is_open || is_timeless, "waits for nothing");
                if input == Input::Time {
                    self.check_nothing_is_due();
                }
            }
            Step::Wait(_) => {}
        }
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

    /// The plan waits although it was told the time: rightly.
    fn check_nothing_is_due(&self) {
        if self.is_open {
            return;
        }
        let is_past = |written: Option<Offset>, limit: Duration| written.is_some_and(|w| w.after(limit) <= self.now);
        assert!(!self.flights.keys().any(|no| self.has_missed(*no)), "a deadline was missed");
        let overflow = self.limits.overflow.after.map(Offset::new);
        assert!(overflow.is_none_or(|at| at > self.now), "an overflow was missed");
        let hedge_after = self.limits.hedge_after.filter(|_| self.may_race() && self.may_follow());
        if let (Some(after), Some((_, newest))) = (hedge_after, self.flights.last_key_value()) {
            assert!(newest.was_hedged || !is_past(newest.written, after), "a hedge was missed");
        }
        assert!(!matches!(self.leave, Leave::Next { from } if from <= self.now), "a retry was missed");
    }

    /// What the plan is told when nobody takes it over, and what must follow.
    fn go_on(&mut self) -> (Input, Option<Step>) {
        self.is_open = false;
        let unsettled = self.unsettled.take();
        (Input::GoOn, unsettled.and_then(|may_repeat| self.settled(may_repeat)))
    }

    /// Somebody takes it over. What goes on has no deadline, and nothing follows it.
    fn adopt(&mut self, connected: [bool; 5]) {
        let has_connection = |no: AttemptNo| connected[no.get() as usize - 1];
        let oldest = self.flights.keys().copied().find(|no| has_connection(*no));
        assert_eq!(self.plan.adopt(has_connection), oldest, "not the oldest that has a connection");
        self.flights.retain(|no, _| Some(*no) == oldest);
        self.held.clear();
        (self.is_open, self.unsettled, self.leave) = (false, None, Leave::Nothing);
        self.limits = Limits { max_attempts: 0, deadline: None, hedge_after: None, ..self.limits };
        self.is_over = oldest.is_none();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_properties_hold_whatever_happens(limits in limits(), events in events()) {
        let mut books = Books::new(limits, std::iter::repeat(PAUSE));
        books.tell(Input::Start, None, true);
        for (event, grants) in events {
            let (input, expected) = match event {
                Event::Pass(millis) => {
                    books.now = books.now.after(Duration::from_millis(millis.into()));
                    (Input::Time, None)
                }
                Event::Write(no) => match books.flights.get_mut(&number(no)) {
                    Some(Flight { written: written @ None, .. }) => {
                        *written = Some(books.now);
                        (Input::Written { no: number(no), at: books.now }, None)
                    }
                    _ => continue,
                },
                Event::Head(no, quality) => books.ended(number(no), Ok(quality)),
                Event::Fail(no, trouble) => books.ended(number(no), Err(trouble)),
                Event::ClientFault => (Input::ClientFault, Some(Step::GiveUp(Why::Client))),
                Event::GoOn => books.go_on(),
                Event::Adopt(connected) if books.is_open && !books.is_over => {
                    books.adopt(connected);
                    (Input::Time, Some(Step::Wait(None)))
                }
                Event::Adopt(_) => continue,
            };
            books.tell(input, expected, grants);
        }
        prop_assert_eq!(books.plan.attempts(), books.launched);
    }
}
