//! `RETRY_STATUSES`, driven: which heads are failed attempts, and for how long one waits.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::track::{OK, Track, body_of, outbound, race, read_request, track};
use super::{Backoff, BudgetSettings, RaceEnd, Retry, RetryBudget, Timeline};
use crate::upstream::Failure;

/// 503 is retried; a pause is a second and a half, and no `Retry-After` above five seconds is waited for.
fn listing(max_attempts: u32) -> Track {
    let mut track = track(max_attempts);
    track.policy.retry_statuses = vec![StatusCode::SERVICE_UNAVAILABLE];
    track.policy.backoff = Backoff { first: Duration::from_millis(1_500), max: Duration::from_secs(5) };
    track
}

fn busy(fields: &str) -> String {
    format!("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n{fields}\r\nbusy")
}

/// Plays the upstream: each connection is answered with the next of these, or not at all.
async fn run(track: &mut Track, retryable: bool, answers: &[&str]) -> (RaceEnd, Timeline, Vec<Duration>) {
    let (mut upstream, mut outbound, mut timeline) =
        (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    if retryable {
        outbound.headers.insert("idempotency-key", HeaderValue::from_static("k"));
    }
    let start = Instant::now();
    let script = async {
        let mut times = Vec::new();
        for (index, answer) in answers.iter().enumerate() {
            let Some(mut stream) = upstream.recv().await else { return (None, times) };
            times.push(start.elapsed());
            read_request(&mut stream, 5).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            if index + 1 == answers.len() {
                return (Some(stream), times);
            }
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the connection of a head that was dropped is closed");
            assert_eq!(start.elapsed(), times[index], "it is closed before the pause");
        }
        (None, times)
    };
    let race = race(track, &outbound, &mut timeline);
    let (end, (_last, times)) = tokio::join!(race, script);
    (end, timeline, times)
}

fn status(end: &RaceEnd) -> u16 {
    match end {
        RaceEnd::Committed(committed) => committed.head.parts.status.as_u16(),
        RaceEnd::Failed(failed) => panic!("{failed:?}"),
        RaceEnd::Overflowed(never) => match *never {},
    }
}

const OK_TEXT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test(start_paused = true)]
async fn a_listed_status_is_a_failed_attempt_and_follows_the_backoff() {
    let (end, timeline, times) = run(&mut listing(2), false, &[&busy(""), OK_TEXT]).await;
    assert_eq!(status(&end), 200);
    assert!((1.2..=1.8).contains(&times[1].as_secs_f64()), "{times:?}");
    assert_eq!((timeline.attempts(), timeline.to_string()), (2, "1=503@0.0,2=200@0.0".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_within_the_longest_backoff_is_waited_for() {
    let (end, _, times) = run(&mut listing(2), false, &[&busy("Retry-After: 4\r\n"), OK_TEXT]).await;
    assert_eq!((status(&end), times[1].as_secs()), (200, 4));
    let (end, _, times) = run(&mut listing(2), false, &[&busy("Retry-After: 1\r\n"), OK_TEXT]).await;
    assert_eq!(status(&end), 200);
    assert!(times[1].as_secs_f64() >= 1.2, "the backoff is longer: {times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_longer_retry_after_commits_and_passes() {
    let (end, timeline, _) = run(&mut listing(3), false, &[&busy("Retry-After: 6\r\n")]).await;
    let RaceEnd::Committed(committed) = &end else { panic!("{end:?}") };
    assert_eq!(committed.head.parts.headers["retry-after"], "6");
    assert_eq!((status(&end), timeline.attempts()), (503, 1));
}

#[tokio::test(start_paused = true)]
async fn the_last_one_passes_as_it_came() {
    let last = busy("Retry-After: 2\r\nX-Last: yes\r\n");
    let (end, timeline, _) = run(&mut listing(2), false, &[&busy(""), &last]).await;
    let RaceEnd::Committed(committed) = &end else { panic!("{end:?}") };
    assert_eq!(committed.head.parts.headers["retry-after"], "2");
    assert_eq!(committed.head.parts.headers["x-last"], "yes");
    assert_eq!(timeline.to_string(), "1=503@0.0,2=503@0.0");
}

#[tokio::test(start_paused = true)]
async fn a_refused_retry_answers_with_the_head_it_has() {
    let mut track = listing(3);
    track.budget = RetryBudget::new(BudgetSettings { percent: 0, min: 0 });
    let (end, timeline, _) = run(&mut track, false, &[&busy("")]).await;
    assert_eq!((status(&end), timeline.attempts()), (503, 1));
}

#[tokio::test(start_paused = true)]
async fn a_retried_status_that_is_followed_by_a_timeout_ends_as_that_timeout() {
    let (end, timeline, _) = run(&mut listing(2), false, &[&busy(""), ""]).await;
    assert!(matches!(end, RaceEnd::Failed(failed) if matches!(failed.failure, Failure::HeaderTimeout(_))));
    assert_eq!(timeline.to_string(), "1=503@0.0,2=timeout@30.0");
}

#[tokio::test(start_paused = true)]
async fn safe_repeats_by_status_only_what_is_idempotent() {
    let mut track = listing(2);
    track.policy.retry = Retry::Safe;
    let (end, timeline, _) = run(&mut track, false, &[&busy("")]).await;
    assert_eq!((status(&end), timeline.attempts()), (503, 1));
    let mut track = listing(2);
    track.policy.retry = Retry::Safe;
    let (end, timeline, _) = run(&mut track, true, &[&busy(""), OK_TEXT]).await;
    assert_eq!((status(&end), timeline.attempts()), (200, 2));
}

#[tokio::test(start_paused = true)]
async fn a_listed_head_waits_for_the_other_attempt_and_then_counts_as_failed() {
    let mut track = listing(3);
    track.policy.hedge_after = Some(Duration::from_secs(5));
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let start = Instant::now();
    let script = async {
        let first = upstream.recv().await.unwrap();
        let mut second = upstream.recv().await.unwrap();
        read_request(&mut second, 5).await;
        second.write_all(busy("Retry-After: 5\r\n").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(first);
        let mut third = upstream.recv().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10, "five seconds after it was asked for");
        read_request(&mut third, 5).await;
        third.write_all(OK).await.unwrap();
        (second, third)
    };
    let (end, _streams) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(body_of(end).await, "ok");
    assert_eq!(timeline.to_string(), "2=503@0.0,1=closed@6.0,3=200@0.0");
}
