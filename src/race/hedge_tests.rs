//! Hedging, driven: two attempts in flight, and which head wins.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::track::{OK, Track, body_of, is_closed, next, outbound, race, read_request, track};
use super::{BudgetSettings, HedgeBudget, RaceEnd, Retry, RetryBudget, Timeline, Why};
use crate::upstream::{Failure, Pool, TransportSettings};

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nRetry-After: 7\r\n\r\nbusy";

/// Hedges after five seconds, and has no budget for retries: hedges do not need it.
fn hedging(max_attempts: u32) -> Track {
    let mut track = track(max_attempts);
    (track.pool, track.upstream) = Pool::in_memory(TransportSettings::for_tests(4), Duration::ZERO);
    track.policy.hedge_after = Some(Duration::from_secs(5));
    track.budget = RetryBudget::new(BudgetSettings { percent: 0, min: 0 });
    track
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_answers_first_wins_and_the_slow_attempt_is_closed() {
    let mut track = hedging(2);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let start = Instant::now();
    let script = async {
        let mut first = next(&mut upstream).await;
        let mut second = next(&mut upstream).await;
        assert_eq!(start.elapsed().as_secs(), 5);
        sleep(Duration::from_millis(800)).await;
        second.write_all(OK).await.unwrap();
        assert!(is_closed(&mut first).await);
        second
    };
    let (end, _second) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(body_of(end).await, "ok");
    sleep(Duration::from_secs(60)).await;
    assert_eq!((timeline.attempts(), timeline.to_string()), (2, "2=200@0.8,1=cancelled@5.8".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_is_slower_loses_and_is_closed() {
    let mut track = hedging(2);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let script = async {
        let mut first = next(&mut upstream).await;
        let mut second = next(&mut upstream).await;
        sleep(Duration::from_secs(1)).await;
        first.write_all(OK).await.unwrap();
        assert!(is_closed(&mut second).await);
        first
    };
    let (end, _first) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(body_of(end).await, "ok");
    assert_eq!(timeline.to_string(), "1=200@6.0,2=cancelled@1.0");
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_hedge_is_due_is_all_there_is() {
    let mut track = hedging(2);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let script = async {
        let mut first = next(&mut upstream).await;
        sleep(Duration::from_millis(4_900)).await;
        first.write_all(OK).await.unwrap();
        first
    };
    let (end, _first) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(body_of(end).await, "ok");
    assert_eq!(timeline.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_503_is_held_while_the_other_is_in_flight_and_used_when_that_fails() {
    let mut track = hedging(2);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let start = Instant::now();
    let script = async {
        let first = next(&mut upstream).await;
        let mut second = next(&mut upstream).await;
        second.write_all(BUSY).await.unwrap();
        sleep(Duration::from_secs(3)).await;
        drop(first);
        second
    };
    let (end, _second) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(start.elapsed().as_secs(), 8);
    let RaceEnd::Committed(committed) = &end else { panic!("{end:?}") };
    assert_eq!(
        (committed.head.parts.status.as_u16(), &committed.head.parts.headers["retry-after"]),
        (503, &"7".parse().unwrap())
    );
    assert_eq!(body_of(end).await, "busy");
    assert_eq!(timeline.to_string(), "2=503@0.0,1=closed@8.0");
}

#[tokio::test(start_paused = true)]
async fn a_503_that_is_held_gives_way_to_a_200_and_its_connection_is_closed() {
    let mut track = hedging(2);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let script = async {
        let mut first = next(&mut upstream).await;
        let mut second = next(&mut upstream).await;
        sleep(Duration::from_millis(100)).await;
        first.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nbusy").await.unwrap();
        sleep(Duration::from_millis(700)).await;
        second.write_all(OK).await.unwrap();
        assert!(is_closed(&mut first).await);
        second
    };
    let (end, _second) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(body_of(end).await, "ok");
    assert_eq!(timeline.to_string(), "1=503@5.1,2=200@0.8");
}

#[tokio::test(start_paused = true)]
async fn of_several_held_heads_the_latest_is_used() {
    let mut track = hedging(2);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let script = async {
        let mut first = next(&mut upstream).await;
        let mut second = next(&mut upstream).await;
        second.write_all(BUSY).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        first.write_all(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\n\r\nslow").await.unwrap();
        (first, second)
    };
    let (end, _streams) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(body_of(end).await, "slow");
}

#[tokio::test(start_paused = true)]
async fn hedges_beyond_the_share_of_the_exchanges_are_not_started() {
    // Two exchanges whose hedges are due in the same second, and one a second is allowed in any case.
    for (percent, expected) in [(0, 3), (50, 4)] {
        let mut track = hedging(2);
        track.hedge_budget = HedgeBudget::new(percent);
        let (mut upstream, outbound) = (track.take_upstream(), outbound(b"hello").await);
        let script = async {
            let mut streams = Vec::new();
            while let Ok(Some(stream)) = timeout(Duration::from_secs(20), upstream.recv()).await {
                streams.push(stream);
            }
            for stream in &mut streams {
                stream.write_all(OK).await.unwrap();
            }
            streams
        };
        let (mut one, mut two) = <(Timeline, Timeline)>::default();
        let races = async { tokio::join!(race(&track, &outbound, &mut one), race(&track, &outbound, &mut two)) };
        let (ends, _streams) = tokio::join!(races, script);
        assert!(matches!(ends, (RaceEnd::Committed(_), RaceEnd::Committed(_))));
        assert_eq!(one.attempts() + two.attempts(), expected, "{percent} %");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_does_not_put_off_the_hedge_of_another_attempt() {
    let mut track = hedging(3);
    track.hedge_budget = HedgeBudget::new(200);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let script = async {
        let mut kept = next(&mut upstream).await;
        kept.write_all(OK).await.unwrap();
        read_request(&mut kept, 5).await;
        let start = Instant::now();
        let second = next(&mut upstream).await;
        sleep(Duration::from_secs(4)).await;
        drop(kept);
        let replacement = next(&mut upstream).await;
        assert_eq!(start.elapsed().as_secs(), 9);
        let mut third = next(&mut upstream).await;
        assert_eq!(start.elapsed().as_secs(), 10, "five seconds after the second was written");
        third.write_all(OK).await.unwrap();
        (second, replacement, third)
    };
    let exchanges = async {
        assert_eq!(body_of(race(&track, &outbound, &mut Timeline::default()).await).await, "ok");
        tokio::task::yield_now().await;
        race(&track, &outbound, &mut timeline).await
    };
    let (end, _streams) = tokio::join!(exchanges, script);
    assert_eq!(body_of(end).await, "ok");
    assert_eq!(timeline.to_string(), "1=closed@9.0,3=200@0.0,2=cancelled@5.0,1=cancelled@1.0");
}

#[tokio::test(start_paused = true)]
async fn a_refused_hedge_leaves_the_attempt_its_whole_deadline() {
    let mut track = hedging(2);
    track.hedge_budget = HedgeBudget::new(0);
    assert!(track.hedge_budget.hedge(), "the one of this second");
    track.policy.hedge_after = Some(Duration::from_millis(500));
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let script = async {
        let mut first = next(&mut upstream).await;
        sleep(Duration::from_secs(29)).await;
        first.write_all(OK).await.unwrap();
        first
    };
    let (end, _first) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(body_of(end).await, "ok");
    assert_eq!(timeline.to_string(), "1=200@29.0");
}

#[tokio::test(start_paused = true)]
async fn both_attempts_have_their_whole_deadline_and_the_latest_failure_is_the_answer() {
    let mut track = hedging(2);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let start = Instant::now();
    let script = async {
        let first = next(&mut upstream).await;
        let second = next(&mut upstream).await;
        sleep(Duration::from_secs(2)).await;
        drop(first);
        sleep(Duration::from_secs(60)).await;
        second
    };
    let hedged = async {
        let end = race(&track, &outbound, &mut timeline).await;
        assert_eq!(start.elapsed().as_secs(), 35);
        end
    };
    let (end, _second) = tokio::join!(hedged, script);
    let RaceEnd::Failed(failed) = end else { panic!("{end:?}") };
    assert!(matches!((failed.failure, failed.why), (Failure::HeaderTimeout(_), Why::Attempts)));
    assert_eq!(timeline.to_string(), "1=closed@7.0,2=timeout@30.0");
}

#[tokio::test(start_paused = true)]
async fn the_hedge_clock_begins_when_the_request_is_written_and_an_unsafe_request_has_none() {
    for (retry, attempts) in [(Retry::All, 2), (Retry::Safe, 1)] {
        let mut track = hedging(2);
        track.policy.retry = retry;
        let (mut upstream, outbound) = (track.take_upstream(), outbound(&super::track::BODY).await);
        let mut timeline = Timeline::default();
        let (start, mut written) = (Instant::now(), Duration::ZERO);
        let script = async {
            let mut first = upstream.recv().await.unwrap();
            let (mut buf, mut left) = (vec![0; 40_000], super::track::BODY.len());
            while left > 0 {
                sleep(Duration::from_secs(3)).await;
                left = left.saturating_sub(first.read(&mut buf).await.unwrap());
            }
            written = start.elapsed();
            sleep(Duration::from_secs(20)).await;
            assert!(written > Duration::from_secs(20), "a slow upload");
            first.write_all(OK).await.unwrap();
            (first, upstream.try_recv())
        };
        let (end, _streams) = tokio::join!(race(&track, &outbound, &mut timeline), script);
        assert_eq!(body_of(end).await, "ok");
        assert_eq!(timeline.attempts(), attempts, "{retry:?}: {timeline}");
    }
}
