//! The properties at the head of the plan, whatever the world does.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::plan::{Input, Limits, Plan, Step, Trouble, Why};
use super::policy::{Mode, Quality};
use crate::ids::AttemptNo;
use crate::time::Offset;

const DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);

/// What the world does next.
#[derive(Clone, Copy, Debug)]
enum Event {
    Pass(u32),
    Write(u32),
    Head(u32, Quality),
    Fail(u32, Trouble),
    ClientFault,
}

fn events() -> impl Strategy<Value = Vec<(Event, bool)>> {
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
    ];
    // With each what the budgets say after it.
    prop::collection::vec((event, prop::bool::weighted(0.8)), 0..60)
}

fn limits() -> impl Strategy<Value = Limits> {
    let hedge_after = prop::option::of((0u64..30_000).prop_map(Duration::from_millis));
    (1u32..6, hedge_after, any::<bool>(), any::<bool>()).prop_map(|(max_attempts, hedge_after, may_repeat, once)| {
        let mode = if once { Mode::Once } else { Mode::Race };
        Limits { max_attempts, deadline: DEADLINE, hedge_after, may_repeat, mode }
    })
}

fn number(no: u32) -> AttemptNo {
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
    is_over: bool,
}

impl<D: Iterator<Item = Duration>> Books<D> {
    fn may_race(&self) -> bool {
        self.limits.may_repeat && self.limits.mode == Mode::Race
    }

    fn may_follow(&self) -> bool {
        self.launched < self.limits.max_attempts
    }

    /// What must follow when an attempt has ended and did not decide the race. None: anything that time may bring.
    fn settled(&self, may_repeat: bool) -> Option<Step> {
        let may_follow = may_repeat && self.may_follow();
        let best = self.held.iter().rfind(|(_, retry_from)| !may_follow || retry_from.is_none());
        match best {
            _ if !self.flights.is_empty() => None,
            Some((no, _)) => Some(Step::Commit(*no)),
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
                Step::Wait(_) => return,
                Step::Launch { .. } => (Input::Time, None),
                Step::Drop(no) => {
                    let missed = Trouble { may_have_reached: true, is_stale: false, had_connection: true };
                    self.ended(no, Err(missed))
                }
                Step::AskHedge if grants => {
                    self.leave = Leave::Next { from: self.now };
                    (Input::Granted, None)
                }
                Step::AskRetry if grants => {
                    let heard = self.held.drain(..).filter_map(|(_, from)| from).max();
                    let backoff = self.now.after(PAUSE);
                    self.leave = Leave::Next { from: heard.unwrap_or(backoff).max(backoff) };
                    (Input::Granted, None)
                }
                Step::AskHedge => (Input::Refused(Why::Budget), None),
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
                let written = self.flights.get(&no).expect("dropped what was not in flight").written;
                assert!(written.expect("dropped unwritten").after(DEADLINE) <= self.now, "dropped too early");
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
            Step::AskRetry => assert!(self.flights.is_empty(), "retried beside an attempt in flight"),
            Step::Wait(until) if !self.is_over => {
                assert!(until.is_some(), "waits for nothing");
                if input == Input::Time {
                    self.check_nothing_is_due();
                }
            }
            Step::Wait(_) => {}
        }
    }

    /// The plan waits although it was told the time: rightly.
    fn check_nothing_is_due(&self) {
        let is_past = |written: Option<Offset>, limit: Duration| written.is_some_and(|w| w.after(limit) <= self.now);
        assert!(!self.flights.values().any(|flight| is_past(flight.written, DEADLINE)), "a deadline was missed");
        let hedge_after = self.limits.hedge_after.filter(|_| self.may_race() && self.may_follow());
        if let (Some(after), Some((_, newest))) = (hedge_after, self.flights.last_key_value()) {
            assert!(newest.was_hedged || !is_past(newest.written, after), "a hedge was missed");
        }
        assert!(!matches!(self.leave, Leave::Next { from } if from <= self.now), "a retry was missed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_properties_hold_whatever_happens(limits in limits(), events in events()) {
        let mut books = Books {
            plan: Plan::new(limits, std::iter::repeat(PAUSE)),
            limits,
            now: Offset::ZERO,
            flights: BTreeMap::new(),
            held: Vec::new(),
            launched: 0,
            leave: Leave::Next { from: Offset::ZERO },
            has_replaced: false,
            has_failed: false,
            is_over: false,
        };
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
            };
            books.tell(input, expected, grants);
        }
        prop_assert_eq!(books.plan.attempts(), books.launched);
    }
}
