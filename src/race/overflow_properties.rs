//! A race that nobody takes over at its overflow: it decides what it would have decided without one.

use std::iter::{Repeat, repeat};
use std::time::Duration;

use proptest::prelude::*;

use super::plan::Plan;
use super::plan_properties::{Event, MISSED, PAUSE, events, limits, number};
use super::policy::OverflowPoint;
use super::signals::{Input, Limits, Step, Why};
use crate::time::Offset;

/// A plan, and whoever does at once what it says.
struct Run(Plan<Repeat<Duration>>);

impl Run {
    fn new(limits: Limits) -> Self {
        Self(Plan::new(limits, repeat(PAUSE)))
    }

    /// What the plan decides once it is told of this, until it waits; and whether it has overflown then. After as many
    /// decisions as `timeless` says it is told of nothing but the answers to its questions.
    fn decide(&mut self, now: Offset, input: Input, grants: bool, timeless: Option<usize>) -> (Vec<Step>, bool) {
        let (mut decisions, mut input) = (Vec::new(), input);
        while input != Input::Time || timeless != Some(decisions.len()) {
            let step = self.0.step(now, input);
            input = match step {
                Step::Wait(_) => break,
                Step::Overflow => return (decisions, true),
                Step::Launch { .. } | Step::Commit(_) | Step::GiveUp(_) => Input::Time,
                Step::Drop(no) => Input::Failed(no, MISSED),
                Step::AskRetry | Step::AskHedge if grants => Input::Granted,
                Step::AskRetry | Step::AskHedge => Input::Refused(Why::Budget),
            };
            decisions.push(step);
        }
        (decisions, false)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// While it is open, time passes and requests are written, for so many events; beside it runs a race that cannot
    /// overflow, and is not told the time meanwhile.
    #[test]
    fn a_race_that_goes_on_is_as_if_it_had_never_overflown(
        limits in limits(),
        after in 1u64..100_000,
        events in events(),
        storing in 0usize..8,
    ) {
        let overflow = OverflowPoint { after: Some(Duration::from_millis(after)), at_last_deadline: false };
        let mut spilling = Run::new(Limits { overflow, ..limits });
        let mut plain = Run::new(Limits { overflow: OverflowPoint::NEVER, ..limits });
        let (mut now, mut open, mut overflows) = (Offset::ZERO, None, 0);
        let [started, beside] = [&mut spilling, &mut plain].map(|run| run.decide(now, Input::Start, true, None));
        prop_assert_eq!(started, beside);
        for (event, grants) in events {
            let mut input = match event {
                Event::Pass(millis) => {
                    now = now.after(Duration::from_millis(millis.into()));
                    Input::Time
                }
                Event::Write(no) => Input::Written { no: number(no), at: now },
                Event::Head(no, quality) => Input::Head(number(no), quality),
                Event::Fail(no, trouble) => Input::Failed(number(no), trouble),
                Event::ClientFault => Input::ClientFault,
                Event::GoOn | Event::Adopt(_) => continue,
            };
            let mut onward = None;
            match open {
                Some(0) => {
                    open = None;
                    (input, onward) = (Input::Time, Some(Input::GoOn));
                }
                Some(left) => {
                    open = Some(left - 1);
                    prop_assert_eq!(spilling.0.step(now, Input::Time), Step::Wait(None));
                    if matches!(input, Input::Written { .. }) {
                        prop_assert_eq!(spilling.0.step(now, input), Step::Wait(None));
                        plain.0.step(now, input);
                    }
                    continue;
                }
                None => {}
            }
            let (decisions, has_overflown) = spilling.decide(now, onward.unwrap_or(input), grants, None);
            let timeless = has_overflown.then_some(decisions.len());
            prop_assert_eq!(plain.decide(now, input, grants, timeless), (decisions, false), "after {:?}", input);
            if has_overflown {
                open = Some(storing);
                overflows += 1;
            }
        }
        prop_assert!(overflows <= 1);
        prop_assert_eq!(spilling.0.attempts(), plain.0.attempts());
    }
}
