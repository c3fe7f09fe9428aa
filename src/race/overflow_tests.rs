//! Overflow, driven: when there is one, what happens while the job is stored, and what becomes of a race that nobody takes
//! over.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::track::{Exchange, OK, after, at_last_deadline, body_of, is_closed, next, outbound, race, track};
use super::{NoneInFlight, OverflowPoint, RaceEnd, Timeline};
use crate::upstream::Failure;

#[tokio::test(start_paused = true)]
async fn in_a_pause_there_is_nothing_to_adopt_and_the_latest_failure_is_told() {
    let mut track = track(2);
    track.policy.backoff.first = Duration::from_secs(60);
    track.policy.backoff.max = Duration::from_secs(60);
    let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
    let script = async { drop(next(&mut upstream).await) };
    let job = async {
        let overflowed = exchange.overflows(&track, &outbound, after(20), 20).await;
        assert!(!overflowed.can_be_adopted());
        let RaceEnd::Overflowed(overflowed) = exchange.stores(overflowed, 100).await else { panic!("nothing came") };
        let NoneInFlight { latest } = overflowed.adopt(&mut exchange.timeline).unwrap_err();
        assert!(matches!(latest, Some(Failure::Broken(..))));
        assert_eq!(exchange.timeline.to_string(), "1=closed@0.0");
    };
    tokio::join!(script, job);
    assert!(upstream.try_recv().is_err(), "the pause was over while the job was stored, and nothing was started");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_waits_for_a_connection_counts_for_none_and_gets_none_while_the_job_is_stored() {
    let mut track = track(1);
    let (mut upstream, outbound) = (track.take_upstream(), outbound(b"hello").await);
    let (mut one, mut two) = <(Timeline, Timeline)>::default();
    // There are two connections.
    let others = async { tokio::join!(race(&track, &outbound, &mut one), race(&track, &outbound, &mut two)) };
    let script = async {
        let mut streams = [next(&mut upstream).await, next(&mut upstream).await];
        sleep(Duration::from_secs(6)).await;
        for stream in &mut streams {
            stream.write_all(OK).await.unwrap();
        }
        sleep(Duration::from_secs(3)).await;
        for mut stream in streams {
            let read = timeout(Duration::ZERO, stream.read_u8()).await;
            assert!(!matches!(read, Ok(Ok(_))), "the request was sent although the job will send it");
        }
    };
    let job = async {
        sleep(Duration::from_secs(1)).await;
        let mut exchange = Exchange::new();
        let overflowed = exchange.overflows(&track, &outbound, after(4), 4).await;
        assert!(!overflowed.can_be_adopted());
        let RaceEnd::Overflowed(overflowed) = exchange.stores(overflowed, 3).await else { panic!("nothing came") };
        assert!(overflowed.adopt(&mut exchange.timeline).unwrap_err().latest.is_none());
        assert_eq!(exchange.timeline.to_string(), "1=cancelled@7.0");
    };
    let bodies = async {
        let (first, second) = others.await;
        assert_eq!((body_of(first).await, body_of(second).await), ("ok".into(), "ok".into()));
    };
    tokio::join!(bodies, script, job);
}

#[tokio::test(start_paused = true)]
async fn a_race_that_fails_otherwise_does_not_overflow() {
    let mut track = track(2);
    let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
    let script = async {
        for _ in 0..2 {
            drop(next(&mut upstream).await);
        }
    };
    let (end, ()) = tokio::join!(exchange.race(&track, &outbound, at_last_deadline()), script);
    let RaceEnd::Failed(failed) = end else { panic!("{end:?}") };
    assert_eq!((failed.failure.label(), exchange.timeline.attempts()), ("closed", 2));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_shorter_than_the_setting_counts() {
    let mut track = track(2);
    let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
    let overflow = OverflowPoint::new(Some(Duration::from_secs(20)), Some(Duration::from_secs(3)));
    exchange.overflows(&track, &outbound, overflow, 3).await;
    assert!(is_closed(&mut next(&mut upstream).await).await, "what nobody takes over is cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_while_the_job_is_stored_is_at_hand() {
    let mut track = track(1);
    let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
    let script = async {
        let mut stream = next(&mut upstream).await;
        sleep(Duration::from_secs(31)).await;
        stream.write_all(OK).await.unwrap();
        stream
    };
    let job = async {
        let overflowed = exchange.overflows(&track, &outbound, at_last_deadline(), 30).await;
        let end = exchange.stores(overflowed, 3).await;
        assert_eq!(exchange.start.elapsed().as_secs(), 33, "the job is stored all the same");
        let RaceEnd::Committed(committed) = end else { panic!("{end:?}") };
        assert_eq!(committed.head.body.collect().await.unwrap().to_bytes(), "ok");
    };
    let (_stream, ()) = tokio::join!(script, job);
    assert_eq!(exchange.timeline.to_string(), "1=200@31.0");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_while_the_job_is_stored_cannot_be_adopted_and_is_followed_if_nobody_takes_over() {
    for is_stored in [true, false] {
        let mut track = track(2);
        let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
        let script = async {
            let first = next(&mut upstream).await;
            sleep(Duration::from_secs(6)).await;
            drop(first);
            let second = timeout(Duration::from_secs(60), next(&mut upstream)).await;
            let Ok(mut second) = second else { return None };
            second.write_all(OK).await.unwrap();
            Some(second)
        };
        let job = async {
            let overflowed = exchange.overflows(&track, &outbound, after(5), 5).await;
            let RaceEnd::Overflowed(overflowed) = exchange.stores(overflowed, 3).await else { panic!("nothing came") };
            if is_stored {
                let NoneInFlight { latest } = overflowed.adopt(&mut exchange.timeline).unwrap_err();
                assert_eq!(latest.map(|failure| failure.label()), Some("closed"));
                return;
            }
            assert_eq!(body_of(exchange.goes_on(overflowed).await).await, "ok");
            assert_eq!(exchange.timeline.to_string(), "1=closed@6.0,2=200@0.0");
        };
        let (second, ()) = tokio::join!(script, job);
        assert_eq!(second.is_some(), !is_stored);
    }
}

#[tokio::test(start_paused = true)]
async fn a_race_whose_job_could_not_be_stored_goes_on_under_its_usual_deadlines() {
    // An answer after so many seconds, where there is one.
    for (overflow, answer, expected) in [
        (after(5), Some(29), "1=200@29.0"),
        (after(5), None, "1=timeout@30.0"),
        (at_last_deadline(), None, "1=timeout@33.0"),
    ] {
        let mut track = track(1);
        let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
        let seconds = overflow.after.map_or(30, |after| after.as_secs());
        let script = async {
            let mut stream = next(&mut upstream).await;
            if let Some(seconds) = answer {
                sleep(Duration::from_secs(seconds)).await;
                stream.write_all(OK).await.unwrap();
                return Some(stream);
            }
            assert!(is_closed(&mut stream).await);
            None
        };
        let job = async {
            let overflowed = exchange.overflows(&track, &outbound, overflow, seconds).await;
            let RaceEnd::Overflowed(overflowed) = exchange.stores(overflowed, 3).await else { panic!("nothing came") };
            exchange.goes_on(overflowed).await
        };
        let (_stream, end) = tokio::join!(script, job);
        match end {
            RaceEnd::Committed(committed) if answer.is_some() => drop(committed),
            RaceEnd::Failed(failed) if answer.is_none() => assert_eq!(failed.failure.label(), "timeout"),
            end => panic!("{end:?}"),
        }
        assert_eq!(exchange.timeline.to_string(), expected);
    }
}
