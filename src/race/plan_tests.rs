//! The properties of the plan, and the scenes that people ask about.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::plan::{Input, Limits, Plan, Step, Trouble, Why};
use crate::ids::AttemptNo;
use crate::time::Offset;

const DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);
const REACHED: Trouble = Trouble { may_have_reached: true, is_stale: false, had_connection: true };
const STALE: Trouble = Trouble { may_have_reached: true, is_stale: true, had_connection: true };

fn plan(max_attempts: u32, may_repeat: bool) -> Plan<impl Iterator<Item = Duration> + Clone> {
    Plan::new(Limits { max_attempts, deadline: DEADLINE, may_repeat }, std::iter::repeat(PAUSE))
}

fn at(seconds: f64) -> Offset {
    Offset::new(Duration::from_secs_f64(seconds))
}

fn launch(no: u32, fresh: bool) -> Step {
    Step::Launch { no: number(no), fresh }
}

fn number(no: u32) -> AttemptNo {
    (1..no).fold(AttemptNo::FIRST, |no, _| no.next())
}

#[test]
fn a_head_in_time_commits() {
    let mut plan = plan(2, true);
    assert_eq!(plan.step(at(0.0), Input::Start), launch(1, false));
    assert_eq!(plan.step(at(0.1), Input::Time), Step::Wait(Some(at(30.1))));
    assert_eq!(plan.step(at(5.0), Input::Head(AttemptNo::FIRST)), Step::Commit(AttemptNo::FIRST));
    assert_eq!(plan.attempts(), 1);
}

#[test]
fn the_deadline_counts_from_the_request_being_written() {
    let mut plan = plan(1, true);
    plan.step(at(0.0), Input::Start);
    assert_eq!(plan.step(at(30.0), Input::Time), Step::Wait(Some(at(60.0))), "still uploading");
    let written = Input::Written { no: AttemptNo::FIRST, at: at(31.0) };
    assert_eq!(plan.step(at(40.0), written), Step::Wait(Some(at(61.0))));
    assert_eq!(plan.step(at(60.9), Input::Time), Step::Wait(Some(at(61.0))));
    assert_eq!(plan.step(at(61.0), Input::Time), Step::Drop(AttemptNo::FIRST));
    assert_eq!(plan.step(at(61.0), Input::Time), Step::GiveUp(Why::Attempts));
}

#[test]
fn a_missed_deadline_is_followed_by_the_budget_the_backoff_and_a_fresh_connection() {
    let mut plan = plan(2, true);
    plan.step(at(0.0), Input::Start);
    plan.step(at(0.0), Input::Written { no: AttemptNo::FIRST, at: at(0.0) });
    assert_eq!(plan.step(at(30.0), Input::Time), Step::Drop(AttemptNo::FIRST));
    assert_eq!(plan.step(at(30.0), Input::Time), Step::Ask);
    assert_eq!(plan.step(at(30.0), Input::Granted), Step::Wait(Some(at(30.25))));
    assert_eq!(plan.step(at(30.25), Input::Time), launch(2, true));
    assert_eq!(
        plan.step(at(31.0), Input::Head(AttemptNo::FIRST)),
        Step::Wait(Some(at(60.25))),
        "a late answer is never used"
    );
    assert_eq!(plan.step(at(32.0), Input::Failed(number(2), REACHED)), Step::GiveUp(Why::Attempts));
}

#[test]
fn a_stale_connection_is_replaced_at_once_and_free_of_charge_and_only_once() {
    let mut plan = plan(1, true);
    plan.step(at(0.0), Input::Start);
    assert_eq!(plan.step(at(0.1), Input::Failed(AttemptNo::FIRST, STALE)), launch(1, true));
    assert_eq!(plan.attempts(), 1);
    assert_eq!(plan.step(at(0.2), Input::Failed(AttemptNo::FIRST, STALE)), Step::GiveUp(Why::Attempts));
}

#[test]
fn an_unsafe_request_is_repeated_only_if_nothing_of_it_was_sent() {
    for (trouble, expected) in [
        (REACHED, Step::GiveUp(Why::Unsafe)),
        (STALE, Step::GiveUp(Why::Unsafe)),
        (Trouble { may_have_reached: false, ..STALE }, launch(1, true)),
        (Trouble { may_have_reached: false, ..REACHED }, Step::Ask),
    ] {
        let mut plan = plan(3, false);
        plan.step(at(0.0), Input::Start);
        assert_eq!(plan.step(at(0.1), Input::Failed(AttemptNo::FIRST, trouble)), expected, "{trouble:?}");
    }
}

#[test]
fn who_only_waited_may_have_a_pooled_connection_the_next_time() {
    let mut plan = plan(2, true);
    plan.step(at(0.0), Input::Start);
    let waited = Trouble { may_have_reached: false, is_stale: false, had_connection: false };
    assert_eq!(plan.step(at(10.0), Input::Failed(AttemptNo::FIRST, waited)), Step::Ask);
    plan.step(at(10.0), Input::Granted);
    assert_eq!(plan.step(at(10.25), Input::Time), launch(2, false));
}

#[test]
fn a_refused_budget_ends_the_race_at_once() {
    let mut plan = plan(3, true);
    plan.step(at(0.0), Input::Start);
    assert_eq!(plan.step(at(0.1), Input::Failed(AttemptNo::FIRST, REACHED)), Step::Ask);
    assert_eq!(plan.step(at(0.1), Input::Refused), Step::GiveUp(Why::Budget));
    assert_eq!(plan.attempts(), 1);
}

/// What the world does next.
#[derive(Clone, Copy, Debug)]
enum Event {
    Pass(u32),
    Write(u32),
    Head(u32),
    Fail(u32, Trouble),
    Answer(bool),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let trouble = (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(reached, stale, had_connection)| Trouble {
        may_have_reached: reached && had_connection,
        is_stale: stale && had_connection,
        had_connection,
    });
    let event = prop_oneof![
        3 => (0u32..40_000).prop_map(Event::Pass),
        2 => (1u32..6).prop_map(Event::Write),
        1 => (1u32..6).prop_map(Event::Head),
        3 => ((1u32..6), trouble).prop_map(|(no, trouble)| Event::Fail(no, trouble)),
        2 => any::<bool>().prop_map(Event::Answer),
    ];
    prop::collection::vec(event, 0..60)
}

/// The world beside the plan, with its own books.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // a ledger: each is a fact of its own
struct Books {
    /// Attempts in flight, and when they were written.
    in_flight: BTreeMap<AttemptNo, Option<Offset>>,
    launched: u32,
    replaced: u32,
    asked: bool,
    /// A grant, and the time from which it may be used.
    granted: Option<Offset>,
    unrepeatable: bool,
    /// A connection of this exchange has failed.
    has_failed: bool,
    ended: bool,
}

impl Books {
    fn check(&mut self, now: Offset, step: Step, limits: Limits) {
        assert!(!self.ended || matches!(step, Step::Wait(None)), "{step:?} after the end");
        match step {
            Step::Launch { no, fresh } => {
                assert!(!self.unrepeatable, "repeated what must not be repeated");
                if no.get() > self.launched {
                    assert!(no.get() == self.launched + 1 && no.get() <= limits.max_attempts);
                    assert_eq!(fresh, self.has_failed);
                    if no != AttemptNo::FIRST {
                        let from = self.granted.take().expect("launched without a grant");
                        assert!(from <= now, "launched before its backoff was over");
                    }
                    self.launched = no.get();
                } else {
                    self.replaced += 1;
                    assert!(fresh && self.replaced == 1);
                }
                assert!(self.in_flight.insert(no, None).is_none(), "launched twice");
            }
            Step::Drop(no) => {
                let written =
                    self.in_flight.remove(&no).expect("dropped what was not in flight").expect("dropped unwritten");
                assert!(written.after(limits.deadline) <= now, "dropped before its deadline");
                self.unrepeatable |= !limits.may_repeat;
                self.has_failed = true;
            }
            Step::Commit(no) => {
                assert!(self.in_flight.remove(&no).is_some(), "committed what was not in flight");
                self.ended = true;
            }
            Step::GiveUp(_) => {
                assert!(self.in_flight.is_empty(), "gave up with an attempt in flight");
                self.ended = true;
            }
            Step::Ask => {
                assert!(self.in_flight.is_empty() && !self.unrepeatable);
                self.asked = true;
            }
            Step::Wait(until) => {
                assert!(self.ended || self.asked || until.is_some(), "waits for nothing");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The eight properties at the head of the plan hold whatever the world does.
    #[test]
    fn the_properties_hold_whatever_happens(
        max_attempts in 1u32..5, may_repeat in any::<bool>(), events in events(),
    ) {
        let limits = Limits { max_attempts, deadline: DEADLINE, may_repeat };
        let mut plan = Plan::new(limits, std::iter::repeat(PAUSE));
        let (mut books, mut now) = (Books::default(), Offset::ZERO);
        let mut step = plan.step(now, Input::Start);
        books.check(now, step, limits);
        for event in events {
            // The driver's duty: ask again until there is something to wait for.
            while !matches!(step, Step::Wait(_) | Step::Ask | Step::Commit(_) | Step::GiveUp(_)) {
                step = plan.step(now, Input::Time);
                books.check(now, step, limits);
            }
            let input = match event {
                Event::Pass(millis) => {
                    now = now.after(Duration::from_millis(millis.into()));
                    Input::Time
                }
                Event::Write(no) => match books.in_flight.get_mut(&number(no)) {
                    Some(written @ None) => {
                        *written = Some(now);
                        Input::Written { no: number(no), at: now }
                    }
                    _ => continue,
                },
                Event::Head(no) => Input::Head(number(no)),
                Event::Fail(no, trouble) => {
                    if books.in_flight.remove(&number(no)).is_some() {
                        books.unrepeatable |= trouble.may_have_reached && !may_repeat;
                        books.has_failed |= trouble.had_connection;
                    }
                    Input::Failed(number(no), trouble)
                }
                Event::Answer(granted) if books.asked => {
                    books.asked = false;
                    books.granted = granted.then(|| now.after(PAUSE));
                    if granted { Input::Granted } else { Input::Refused }
                }
                Event::Answer(_) => continue,
            };
            if books.asked && input != Input::Time {
                // Nothing else happens while the budget is being asked: it answers at once.
                continue;
            }
            step = plan.step(now, input);
            books.check(now, step, limits);
        }
        prop_assert!(plan.attempts() <= max_attempts);
    }
}
