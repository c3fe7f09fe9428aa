//! Scenes of the plan that people ask about: a race that may overflow.

use std::time::Duration;

use super::plan::Plan;
use super::plan_tests::{GOOD, LISTED, POOR, REACHED, STALE, at, failed, launch, limits, number, started, written};
use super::policy::{Mode, OverflowPoint};
use super::signals::{Input, Limits, Step, Why};

/// It may overflow after so many seconds, or at the last deadline.
fn spilling(limits: Limits, seconds: Option<u64>) -> Limits {
    Limits { overflow: OverflowPoint::new(seconds.map(Duration::from_secs), None), ..limits }
}

#[test]
fn an_overflow_comes_at_its_time_and_nothing_is_dropped_or_started_until_the_race_goes_on() {
    let hedge_after = Some(Duration::from_secs(25));
    let mut plan = started(spilling(Limits { hedge_after, ..limits(3) }, Some(20)));
    assert_eq!(plan.step(at(0.0), written(1, 0.0)), Step::Wait(Some(at(20.0))));
    assert_eq!(plan.step(at(20.0), Input::Time), Step::Overflow);
    for seconds in [20.0, 26.0, 31.0] {
        assert_eq!(plan.step(at(seconds), Input::Time), Step::Wait(None));
    }
    let mut hedging = plan.clone();
    assert_eq!(hedging.step(at(26.0), Input::GoOn), Step::AskHedge);
    assert_eq!(plan.step(at(31.0), Input::GoOn), Step::Drop(number(1)), "it has missed its deadline");
    assert_eq!(plan.step(at(31.0), failed(1)), Step::AskRetry);
    assert_eq!(plan.step(at(31.0), Input::Granted), Step::Wait(Some(at(31.25))));
}

#[test]
fn the_last_deadline_is_an_overflow_only_if_no_other_attempt_may_follow() {
    for limits in [limits(1), Limits { may_repeat: false, ..limits(3) }, Limits { mode: Mode::Once, ..limits(3) }] {
        let mut plan = started(spilling(limits, None));
        plan.step(at(0.0), written(1, 0.0));
        assert_eq!(plan.step(at(30.0), Input::Time), Step::Overflow, "{limits:?}");
        assert_eq!(plan.step(at(31.0), Input::GoOn), Step::Drop(number(1)));
        assert!(matches!(plan.step(at(31.0), failed(1)), Step::GiveUp(_)));
    }
    let mut plan = started(spilling(limits(2), None));
    plan.step(at(0.0), written(1, 0.0));
    assert_eq!(plan.step(at(30.0), Input::Time), Step::AskRetry, "before it is dropped");
    let mut refused = plan.clone();
    assert_eq!(refused.step(at(30.0), Input::Refused(Why::Budget)), Step::Overflow);
    assert_eq!(plan.step(at(30.0), Input::Granted), Step::Drop(number(1)));
    assert_eq!(plan.step(at(30.0), failed(1)), Step::Wait(Some(at(30.25))), "it is granted already");
    assert_eq!(plan.step(at(30.25), Input::Time), launch(2, true));
    plan.step(at(30.25), written(2, 30.25));
    assert_eq!(plan.step(at(60.25), Input::Time), Step::Overflow);
}

#[test]
fn what_fails_before_its_deadline_is_no_overflow() {
    let mut plan = started(spilling(limits(1), None));
    assert_eq!(plan.step(at(1.0), failed(1)), Step::GiveUp(Why::Attempts));
}

#[test]
fn a_head_that_is_held_commits_where_the_last_deadline_would_overflow() {
    let hedge_after = Some(Duration::from_secs(5));
    let mut plan = started(spilling(Limits { hedge_after, ..limits(2) }, None));
    plan.step(at(0.0), written(1, 0.0));
    plan.step(at(5.0), Input::Time);
    plan.step(at(5.0), Input::Granted);
    assert_eq!(plan.step(at(6.0), Input::Head(number(2), POOR)), Step::Wait(Some(at(30.0))));
    assert_eq!(plan.step(at(30.0), Input::Time), Step::Drop(number(1)));
    assert_eq!(plan.step(at(30.0), failed(1)), Step::Commit(number(2)));
}

/// Two attempts in flight at an overflow after ten seconds.
fn spilled() -> Plan<impl Iterator<Item = Duration> + Clone> {
    let hedge_after = Some(Duration::from_secs(5));
    let mut plan = started(spilling(Limits { hedge_after, ..limits(3) }, Some(10)));
    plan.step(at(0.0), written(1, 0.0));
    plan.step(at(5.0), Input::Time);
    plan.step(at(5.0), Input::Granted);
    plan.step(at(5.0), written(2, 5.0));
    assert_eq!(plan.step(at(10.0), Input::Time), Step::Overflow, "before the hedge that is due");
    plan
}

#[test]
fn the_oldest_attempt_that_has_a_connection_is_adopted_and_is_alone_from_then_on() {
    for (connected, expected) in [(1..3, Some(1)), (2..3, Some(2)), (3..3, None)] {
        let mut plan = spilled();
        let adopted = plan.adopt(|no| connected.contains(&no.get()));
        assert_eq!(adopted, expected.map(number));
        assert_eq!(plan.step(at(100.0), Input::Time), Step::Wait(None), "no deadline, and no hedge");
        let Some(adopted) = adopted else { continue };
        let mut failing = plan.clone();
        assert_eq!(failing.step(at(100.0), Input::Failed(adopted, REACHED)), Step::GiveUp(Why::Attempts));
        let mut stale = plan.clone();
        assert_eq!(stale.step(at(100.0), Input::Failed(adopted, STALE)), launch(adopted.get(), true));
        assert_eq!(plan.step(at(100.0), Input::Head(adopted, LISTED)), Step::Commit(adopted), "whatever it is");
    }
}

#[test]
fn while_it_is_open_a_head_commits_as_ever_and_a_failure_waits() {
    let mut plan = spilled();
    let mut good = plan.clone();
    assert_eq!(good.step(at(11.0), Input::Head(number(2), GOOD)), Step::Commit(number(2)));
    assert_eq!(plan.step(at(11.0), failed(1)), Step::Wait(None));
    let mut poor = plan.clone();
    assert_eq!(poor.step(at(12.0), Input::Head(number(2), POOR)), Step::Commit(number(2)), "nothing is in flight");
    assert_eq!(plan.step(at(12.0), failed(2)), Step::Wait(None));
    let mut adopted = plan.clone();
    assert_eq!(adopted.adopt(|_| true), None);
    assert_eq!(plan.step(at(13.0), Input::GoOn), Step::AskRetry);
    assert_eq!(plan.step(at(13.0), Input::Refused(Why::Budget)), Step::GiveUp(Why::Budget));
}

#[test]
fn a_pause_is_neither_over_nor_longer_for_an_overflow_in_it() {
    let mut plan = started(spilling(limits(2), Some(10)));
    plan.step(at(9.9), failed(1));
    assert_eq!(plan.step(at(9.9), Input::Granted), Step::Wait(Some(at(10.0))));
    assert_eq!(plan.step(at(10.0), Input::Time), Step::Overflow);
    let mut late = plan.clone();
    assert_eq!(late.step(at(12.0), Input::GoOn), launch(2, true));
    assert_eq!(plan.step(at(10.1), Input::GoOn), Step::Wait(Some(at(10.15))));
}
