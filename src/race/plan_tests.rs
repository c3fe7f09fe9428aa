//! Scenes of the plan that people ask about. Its properties are in `plan_properties`.

use std::time::Duration;

use super::plan::Plan;
use super::policy::{Mode, OverflowPoint, Quality};
use super::signals::{Input, Limits, Step, Trouble, Why};
use crate::ids::AttemptNo;
use crate::time::Offset;

const DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);
pub(super) const REACHED: Trouble = Trouble { may_have_reached: true, is_stale: false, had_connection: true };
pub(super) const STALE: Trouble = Trouble { may_have_reached: true, is_stale: true, had_connection: true };

pub(super) const GOOD: Quality = Quality { is_poor: false, retry_after: None };
pub(super) const POOR: Quality = Quality { is_poor: true, retry_after: None };
pub(super) const LISTED: Quality = Quality { is_poor: true, retry_after: Some(Duration::ZERO) };

pub(super) fn limits(max_attempts: u32) -> Limits {
    Limits {
        max_attempts,
        deadline: Some(DEADLINE),
        hedge_after: None,
        may_repeat: true,
        mode: Mode::Race,
        overflow: OverflowPoint::NEVER,
    }
}

pub(super) fn started(limits: Limits) -> Plan<impl Iterator<Item = Duration> + Clone> {
    let mut plan = Plan::new(limits, std::iter::repeat(PAUSE));
    assert_eq!(plan.step(Offset::ZERO, Input::Start), launch(1, false));
    plan
}

fn plan(max_attempts: u32, may_repeat: bool) -> Plan<impl Iterator<Item = Duration> + Clone> {
    started(Limits { may_repeat, ..limits(max_attempts) })
}

/// Two attempts in flight: the second is a hedge after five seconds.
fn hedged(max_attempts: u32) -> Plan<impl Iterator<Item = Duration> + Clone> {
    let mut plan = started(Limits { hedge_after: Some(Duration::from_secs(5)), ..limits(max_attempts) });
    assert_eq!(plan.step(at(0.0), written(1, 0.0)), Step::Wait(Some(at(5.0))));
    assert_eq!(plan.step(at(5.0), Input::Time), Step::AskHedge);
    assert_eq!(plan.step(at(5.0), Input::Granted), launch(2, false));
    plan
}

pub(super) fn written(no: u32, seconds: f64) -> Input {
    Input::Written { no: number(no), at: at(seconds) }
}

pub(super) fn failed(no: u32) -> Input {
    Input::Failed(number(no), REACHED)
}

pub(super) fn at(seconds: f64) -> Offset {
    Offset::new(Duration::from_secs_f64(seconds))
}

pub(super) fn launch(no: u32, fresh: bool) -> Step {
    Step::Launch { no: number(no), fresh }
}

pub(super) fn number(no: u32) -> AttemptNo {
    (1..no).fold(AttemptNo::FIRST, |no, _| no.next())
}

#[test]
fn a_head_in_time_commits() {
    let mut plan = plan(2, true);
    assert_eq!(plan.step(at(0.1), Input::Time), Step::Wait(Some(at(30.1))));
    assert_eq!(plan.step(at(5.0), Input::Head(AttemptNo::FIRST, GOOD)), Step::Commit(AttemptNo::FIRST));
    assert_eq!(plan.attempts(), 1);
}

#[test]
fn the_deadline_counts_from_the_request_being_written() {
    let mut plan = plan(1, true);
    assert_eq!(plan.step(at(30.0), Input::Time), Step::Wait(Some(at(60.0))), "still uploading");
    assert_eq!(plan.step(at(40.0), written(1, 31.0)), Step::Wait(Some(at(61.0))));
    assert_eq!(plan.step(at(60.9), Input::Time), Step::Wait(Some(at(61.0))));
    assert_eq!(plan.step(at(61.0), Input::Time), Step::Drop(AttemptNo::FIRST));
    assert_eq!(plan.step(at(61.0), failed(1)), Step::GiveUp(Why::Attempts));
}

#[test]
fn a_missed_deadline_is_followed_by_the_budget_the_backoff_and_a_fresh_connection() {
    let mut plan = plan(2, true);
    plan.step(at(0.0), written(1, 0.0));
    assert_eq!(plan.step(at(30.0), Input::Time), Step::Drop(AttemptNo::FIRST));
    assert_eq!(plan.step(at(30.0), failed(1)), Step::AskRetry);
    assert_eq!(plan.step(at(30.0), Input::Granted), Step::Wait(Some(at(30.25))));
    assert_eq!(plan.step(at(30.25), Input::Time), launch(2, true));
    assert_eq!(
        plan.step(at(31.0), Input::Head(AttemptNo::FIRST, GOOD)),
        Step::Wait(Some(at(60.25))),
        "a late answer is never used"
    );
    assert_eq!(plan.step(at(32.0), failed(2)), Step::GiveUp(Why::Attempts));
}

#[test]
fn a_stale_connection_is_replaced_at_once_and_free_of_charge_and_only_once() {
    let mut plan = plan(1, true);
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
        (Trouble { may_have_reached: false, ..REACHED }, Step::AskRetry),
    ] {
        let mut plan = plan(3, false);
        assert_eq!(plan.step(at(0.1), Input::Failed(AttemptNo::FIRST, trouble)), expected, "{trouble:?}");
    }
}

#[test]
fn who_only_waited_may_have_a_pooled_connection_the_next_time() {
    let mut plan = plan(2, true);
    let waited = Trouble { may_have_reached: false, is_stale: false, had_connection: false };
    assert_eq!(plan.step(at(10.0), Input::Failed(AttemptNo::FIRST, waited)), Step::AskRetry);
    plan.step(at(10.0), Input::Granted);
    assert_eq!(plan.step(at(10.25), Input::Time), launch(2, false));
}

#[test]
fn a_refused_budget_ends_the_race_at_once() {
    let mut plan = plan(3, true);
    assert_eq!(plan.step(at(0.1), failed(1)), Step::AskRetry);
    assert_eq!(plan.step(at(0.1), Input::Refused(Why::Budget)), Step::GiveUp(Why::Budget));
    assert_eq!(plan.attempts(), 1);
}

#[test]
fn a_hedge_starts_beside_the_newest_attempt_and_each_has_one() {
    let mut plan = hedged(4);
    assert_eq!(plan.step(at(5.0), Input::Time), Step::Wait(Some(at(10.0))), "a hedge that is not written yet");
    assert_eq!(plan.step(at(6.0), written(2, 6.0)), Step::Wait(Some(at(11.0))));
    assert_eq!(plan.step(at(11.0), Input::Time), Step::AskHedge);
    assert_eq!(plan.step(at(11.0), Input::Granted), launch(3, false));
    assert_eq!(plan.step(at(11.5), failed(3)), Step::Wait(Some(at(30.0))), "the others had theirs");
    assert_eq!(plan.step(at(12.0), Input::Head(number(2), GOOD)), Step::Commit(number(2)));
    assert_eq!(plan.attempts(), 3);
}

#[test]
fn a_refused_hedge_is_not_asked_for_again() {
    let mut plan = started(Limits { hedge_after: Some(Duration::from_secs(5)), ..limits(3) });
    plan.step(at(0.0), written(1, 0.0));
    assert_eq!(plan.step(at(5.0), Input::Time), Step::AskHedge);
    assert_eq!(plan.step(at(5.0), Input::Refused(Why::Budget)), Step::Wait(Some(at(30.0))));
    assert_eq!(plan.step(at(29.0), Input::Time), Step::Wait(Some(at(30.0))));
    assert_eq!(plan.attempts(), 1);
}

#[test]
fn hedges_are_attempts_and_there_is_none_where_nothing_may_be_repeated() {
    let hedge_after = Some(Duration::from_secs(5));
    for limits in [
        Limits { hedge_after, ..limits(1) },
        Limits { hedge_after, may_repeat: false, ..limits(3) },
        Limits { hedge_after, mode: Mode::Once, ..limits(3) },
    ] {
        let mut plan = started(limits);
        assert_eq!(plan.step(at(0.0), written(1, 0.0)), Step::Wait(Some(at(30.0))), "{limits:?}");
        assert_eq!(plan.step(at(29.0), Input::Time), Step::Wait(Some(at(30.0))), "{limits:?}");
    }
}

#[test]
fn a_failure_with_another_in_flight_starts_nothing() {
    let mut plan = hedged(3);
    assert_eq!(plan.step(at(6.0), failed(1)), Step::Wait(Some(at(10.0))));
    assert_eq!(plan.step(at(7.0), failed(2)), Step::AskRetry);
    assert_eq!(plan.step(at(7.0), Input::Granted), Step::Wait(Some(at(7.25))));
    assert_eq!(plan.step(at(7.25), Input::Time), launch(3, true));
}

#[test]
fn a_stale_connection_is_replaced_beside_the_hedge_and_keeps_its_place() {
    let mut plan = hedged(3);
    assert_eq!(plan.step(at(5.5), Input::Failed(AttemptNo::FIRST, STALE)), launch(1, true));
    plan.step(at(5.5), written(1, 5.5));
    plan.step(at(6.0), written(2, 6.0));
    assert_eq!(plan.step(at(10.5), Input::Time), Step::Wait(Some(at(11.0))), "the newest is still the hedge");
    assert_eq!(plan.step(at(11.0), Input::Time), Step::AskHedge);
}

#[test]
fn a_poor_head_is_held_while_another_is_in_flight_and_used_if_none_is_better() {
    let mut plan = hedged(2);
    assert_eq!(plan.step(at(6.0), Input::Head(number(2), POOR)), Step::Wait(Some(at(30.0))));
    let mut better = plan.clone();
    assert_eq!(better.step(at(7.0), Input::Head(number(1), GOOD)), Step::Commit(number(1)));
    let mut worse = plan.clone();
    assert_eq!(worse.step(at(7.0), failed(1)), Step::Commit(number(2)));
    assert_eq!(plan.step(at(7.0), Input::Head(number(1), POOR)), Step::Commit(number(1)), "the latest of several");
}

#[test]
fn a_poor_head_commits_where_nothing_else_is_in_flight() {
    let mut plan = started(limits(3));
    assert_eq!(plan.step(at(1.0), Input::Head(number(1), POOR)), Step::Commit(number(1)));
}

#[test]
fn a_listed_head_is_a_failed_attempt_while_attempts_are_left() {
    let mut plan = started(limits(2));
    let patient = Quality { retry_after: Some(Duration::from_secs(3)), ..LISTED };
    assert_eq!(plan.step(at(1.0), Input::Head(number(1), patient)), Step::AskRetry);
    let mut refused = plan.clone();
    assert_eq!(refused.step(at(1.0), Input::Refused(Why::Budget)), Step::Commit(number(1)));
    assert_eq!(plan.step(at(1.0), Input::Granted), Step::Wait(Some(at(4.0))), "longer than the backoff");
    assert_eq!(plan.step(at(4.0), Input::Time), launch(2, false));
    let mut failing = plan.clone();
    assert_eq!(failing.step(at(5.0), failed(2)), Step::GiveUp(Why::Attempts), "what was retried is gone");
    assert_eq!(plan.step(at(5.0), Input::Head(number(2), LISTED)), Step::Commit(number(2)), "the last one passes");
}

#[test]
fn a_listed_head_commits_where_the_request_must_not_be_repeated() {
    for limits in [Limits { may_repeat: false, ..limits(3) }, Limits { mode: Mode::Once, ..limits(3) }] {
        let mut plan = started(limits);
        assert_eq!(plan.step(at(1.0), Input::Head(number(1), LISTED)), Step::Commit(number(1)), "{limits:?}");
    }
}

#[test]
fn a_held_head_that_is_not_retried_goes_before_one_that_is() {
    let mut plan = hedged(3);
    let mut retried = plan.clone();
    plan.step(at(6.0), Input::Head(number(2), POOR));
    assert_eq!(plan.step(at(7.0), Input::Head(number(1), LISTED)), Step::Commit(number(2)));
    retried.step(at(6.0), Input::Head(number(2), LISTED));
    assert_eq!(retried.step(at(7.0), failed(1)), Step::AskRetry, "it was a failed attempt, and one is left");
    let not_poor = Quality { is_poor: false, ..LISTED };
    let mut unpoor = hedged(3);
    assert_eq!(unpoor.step(at(6.0), Input::Head(number(2), not_poor)), Step::Wait(Some(at(30.0))));
    let mut last = hedged(2);
    assert_eq!(last.step(at(6.0), Input::Head(number(2), not_poor)), Step::Commit(number(2)));
}

#[test]
fn once_repeats_what_reached_nobody_and_replaces_a_stale_connection() {
    let unsent = Trouble { may_have_reached: false, ..REACHED };
    for (may_repeat, trouble, expected) in [
        (true, REACHED, Step::GiveUp(Why::Once)),
        (true, unsent, Step::AskRetry),
        (true, STALE, launch(1, true)),
        (false, STALE, Step::GiveUp(Why::Once)),
    ] {
        let mut plan = started(Limits { may_repeat, mode: Mode::Once, ..limits(3) });
        assert_eq!(plan.step(at(0.1), Input::Failed(number(1), trouble)), expected, "{may_repeat} {trouble:?}");
    }
}

#[test]
fn a_client_that_does_not_finish_ends_the_race_at_once() {
    assert_eq!(hedged(3).step(at(6.0), Input::ClientFault), Step::GiveUp(Why::Client));
}
