//! `Mode::Job`, driven: one execution is one attempt, or a race under the job's own deadline.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

use super::track::{BODY, OK, Track, body_of, next, outbound, race, read_request, track};
use super::{BudgetSettings, HedgeBudget, Mode, RaceEnd, Retry, RetryBudget, Timeline, Why};
use crate::upstream::{Pool, TransportSettings};

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";

/// A route whose races would do all there is: three attempts, hedges, and a status that is retried.
fn job(header_deadline: Option<u64>) -> Track {
    let mut track = track(3);
    (track.pool, track.upstream) = Pool::in_memory(TransportSettings::for_tests(4), Duration::ZERO);
    track.mode = Mode::Job { header_deadline: header_deadline.map(Duration::from_secs) };
    track.policy.hedge_after = Some(Duration::from_secs(20));
    track.policy.retry_statuses = vec![StatusCode::SERVICE_UNAVAILABLE];
    track
}

#[tokio::test(start_paused = true)]
async fn an_execution_waits_for_its_head_without_a_deadline_a_hedge_or_a_budget() {
    let mut track = job(None);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let budget = Arc::clone(&track.budget);
    let script = async {
        let mut stream = next(&mut upstream).await;
        sleep(Duration::from_secs(3000)).await;
        assert_eq!(budget.in_use(), (0, 0), "no other exchange may repeat more because of it");
        stream.write_all(OK).await.unwrap();
        (stream, upstream.try_recv())
    };
    let (end, (_stream, another)) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(body_of(end).await, "ok");
    assert!(another.is_err());
    assert_eq!(timeline.to_string(), "1=200@3000.0");
    assert!(track.hedge_budget.hedge(), "the one of this second");
    assert!(!track.hedge_budget.hedge(), "what is never hedged earns no share");
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_fails_is_repeated_by_nobody_here() {
    let mut track = job(None);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let script = async { drop(next(&mut upstream).await) };
    let (end, ()) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    let RaceEnd::Failed(failed) = end else { panic!("{end:?}") };
    assert_eq!((failed.failure.label(), failed.why, timeline.attempts()), ("closed", Why::Attempts, 1));
}

#[tokio::test(start_paused = true)]
async fn an_execution_has_the_clock_for_writing() {
    let track = job(None);
    let (outbound, start) = (outbound(&BODY).await, Instant::now());
    let end = race(&track, &outbound, &mut Timeline::default()).await;
    assert!(matches!(end, RaceEnd::Failed(failed) if failed.failure.label() == "write_timeout"));
    assert_eq!(start.elapsed().as_secs(), track.policy.timeouts.write.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_listed_status_is_a_result_in_both_kinds_of_execution() {
    for header_deadline in [None, Some(30)] {
        let mut track = job(header_deadline);
        let (mut upstream, outbound, mut timeline) =
            (track.take_upstream(), outbound(b"hello").await, Timeline::default());
        let script = async {
            let mut stream = next(&mut upstream).await;
            stream.write_all(BUSY).await.unwrap();
            stream
        };
        let (end, _stream) = tokio::join!(race(&track, &outbound, &mut timeline), script);
        assert_eq!(body_of(end).await, "busy");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pooled_connection_that_died_is_replaced_in_an_execution_as_retry_allows() {
    for (retry, expected) in [(Retry::All, "1=closed@0.0,1=200@0.0"), (Retry::Safe, "1=closed@0.0")] {
        let mut track = job(None);
        track.policy.retry = retry;
        let (mut upstream, outbound) = (track.take_upstream(), outbound(b"hello").await);
        let script = async {
            let mut first = next(&mut upstream).await;
            first.write_all(OK).await.unwrap();
            read_request(&mut first, 5).await;
            drop(first);
            let Ok(mut second) = timeout(Duration::from_secs(60), next(&mut upstream)).await else { return None };
            second.write_all(OK).await.unwrap();
            Some(second)
        };
        let executions = async {
            assert_eq!(body_of(race(&track, &outbound, &mut Timeline::default()).await).await, "ok");
            tokio::task::yield_now().await;
            let mut timeline = Timeline::default();
            let end = race(&track, &outbound, &mut timeline).await;
            assert_eq!(matches!(end, RaceEnd::Committed(_)), retry == Retry::All);
            timeline
        };
        let (timeline, _second) = tokio::join!(executions, script);
        assert_eq!(timeline.to_string(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_deadline_of_its_own_an_execution_races_like_the_front() {
    let mut track = job(Some(50));
    track.hedge_budget = HedgeBudget::new(100);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let budget = Arc::clone(&track.budget);
    let script = async {
        let first = next(&mut upstream).await;
        let second = next(&mut upstream).await;
        assert_eq!(budget.in_use(), (1, 0));
        let mut third = next(&mut upstream).await;
        third.write_all(OK).await.unwrap();
        (first, second, third)
    };
    let (end, _streams) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(body_of(end).await, "ok");
    assert_eq!(timeline.to_string(), "3=200@0.0,1=cancelled@40.0,2=cancelled@20.0");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_of_a_job_that_misses_the_jobs_deadline_is_replaced_within_the_budget() {
    for (min, expected) in [(10, "1=timeout@50.0,2=timeout@50.0,3=timeout@50.0"), (0, "1=timeout@50.0")] {
        let mut track = job(Some(50));
        track.policy.hedge_after = None;
        track.budget = RetryBudget::new(BudgetSettings { percent: 0, min });
        let (mut timeline, outbound) = (Timeline::default(), outbound(b"hello").await);
        let end = race(&track, &outbound, &mut timeline).await;
        assert!(matches!(end, RaceEnd::Failed(failed) if failed.failure.label() == "timeout"));
        assert_eq!(timeline.to_string(), expected);
    }
}
