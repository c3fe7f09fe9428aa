//! Adoption, driven: an attempt that outlives its exchange.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::track::{
    BODY, Exchange, OK, Track, after, at_last_deadline, body_of, is_closed, next, outbound, race, read_request, track,
};
use super::{Adopted, BudgetSettings, RaceEnd, RetryBudget, Timeline};
use crate::upstream::{Failure, Outbound};

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nbusy";

/// What the adopted attempt has for the job.
async fn result(mut adopted: Adopted<'_>) -> (Result<String, Failure>, String) {
    let head = match adopted.head().await {
        Ok(head) => Ok(String::from_utf8(head.body.collect().await.unwrap().to_bytes().into()).unwrap()),
        Err(failed) => Err(failed.failure),
    };
    (head, adopted.timeline().to_string())
}

#[tokio::test(start_paused = true)]
async fn the_attempt_in_flight_is_adopted_and_outlives_its_deadline_on_the_same_connection() {
    let mut track = track(2);
    let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
    let script = async {
        let mut stream = next(&mut upstream).await;
        sleep(Duration::from_secs(500)).await;
        stream.write_all(OK).await.unwrap();
        (stream, upstream.try_recv())
    };
    let job = async {
        let overflowed = exchange.overflows(&track, &outbound, after(20), 20).await;
        assert!(overflowed.can_be_adopted());
        let RaceEnd::Overflowed(overflowed) = exchange.stores(overflowed, 2).await else { panic!("nothing came") };
        let adopted = overflowed.adopt(&mut exchange.timeline).unwrap();
        assert_eq!((exchange.timeline.to_string(), exchange.timeline.attempts()), ("1=adopted@22.0".to_owned(), 1));
        assert_eq!(track.budget.in_use(), (0, 0), "it is no exchange that waits any more");
        let (head, timeline) = result(adopted).await;
        assert_eq!((head.unwrap(), timeline), ("ok".to_owned(), "1=200@500.0".to_owned()));
    };
    let ((_stream, another), ()) = tokio::join!(script, job);
    assert!(another.is_err(), "the upstream saw one request");
}

#[tokio::test(start_paused = true)]
async fn of_two_in_flight_the_oldest_is_adopted_and_the_other_is_closed() {
    let mut track = track(3);
    track.policy.hedge_after = Some(Duration::from_secs(5));
    let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
    let script = async {
        let mut first = next(&mut upstream).await;
        let mut second = next(&mut upstream).await;
        assert!(is_closed(&mut second).await);
        first.write_all(OK).await.unwrap();
        first
    };
    let job = async {
        let overflowed = exchange.overflows(&track, &outbound, after(8), 8).await;
        let adopted = overflowed.adopt(&mut exchange.timeline).unwrap();
        assert_eq!(exchange.timeline.to_string(), "1=adopted@8.0,2=cancelled@3.0");
        assert_eq!(exchange.timeline.stats().paid_twice.get(), 1);
        assert_eq!(result(adopted).await.0.unwrap(), "ok");
    };
    let (_first, ()) = tokio::join!(script, job);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_held_gives_way_to_the_attempt_that_is_adopted() {
    let mut track = track(2);
    track.policy.hedge_after = Some(Duration::from_secs(5));
    let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
    let script = async {
        let mut first = next(&mut upstream).await;
        let mut second = next(&mut upstream).await;
        first.write_all(BUSY).await.unwrap();
        assert!(is_closed(&mut first).await);
        second.write_all(BUSY).await.unwrap();
        second.write_all(&[b'.'; 96]).await.unwrap();
        second
    };
    let job = async {
        let overflowed = exchange.overflows(&track, &outbound, after(8), 8).await;
        let adopted = overflowed.adopt(&mut exchange.timeline).unwrap();
        assert_eq!(exchange.timeline.to_string(), "1=503@5.0,2=adopted@3.0");
        assert!(result(adopted).await.0.unwrap().starts_with("busy"), "any answer is a result");
    };
    let (_second, ()) = tokio::join!(script, job);
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_is_not_dropped_at_its_deadline_but_can_be_adopted() {
    // Because all attempts are used up, or because the budget allows no other.
    for (max_attempts, min, seconds, expected) in
        [(2, 10, 60, "1=timeout@30.0,2=adopted@30.0"), (3, 0, 30, "1=adopted@30.0")]
    {
        let mut track = track(max_attempts);
        track.budget = RetryBudget::new(BudgetSettings { percent: 0, min });
        let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
        let script = async {
            let mut last = next(&mut upstream).await;
            if seconds > 30 {
                last = next(&mut upstream).await;
            }
            sleep(Duration::from_secs(100)).await;
            last.write_all(OK).await.unwrap();
            last
        };
        let job = async {
            let overflowed = exchange.overflows(&track, &outbound, at_last_deadline(), seconds).await;
            let adopted = overflowed.adopt(&mut exchange.timeline).unwrap();
            assert_eq!(exchange.timeline.to_string(), expected);
            let stats = exchange.timeline.stats();
            assert_eq!((stats.retries_refused.get(), stats.hedges_refused.get()), (u64::from(min == 0), 0));
            assert_eq!(stats.adopted.get(), 1);
            assert_eq!(result(adopted).await.0.unwrap(), "ok");
        };
        let (_last, ()) = tokio::join!(script, job);
    }
}

#[tokio::test(start_paused = true)]
async fn an_adopted_attempt_that_fails_says_why_and_is_not_followed() {
    let mut track = track(3);
    let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
    let script = async {
        let stream = next(&mut upstream).await;
        sleep(Duration::from_secs(100)).await;
        drop(stream);
        upstream.recv().await
    };
    let job = async {
        let overflowed = exchange.overflows(&track, &outbound, after(5), 5).await;
        let (head, timeline) = result(overflowed.adopt(&mut exchange.timeline).unwrap()).await;
        assert_eq!((head.unwrap_err().label(), timeline), ("closed", "1=closed@100.0".to_owned()));
        drop(track);
    };
    let (another, ()) = tokio::join!(script, job);
    assert!(another.is_none());
}

#[tokio::test(start_paused = true)]
async fn the_clock_for_writing_holds_for_an_adopted_attempt() {
    let track = track(1);
    let (outbound, mut exchange) = (outbound(&BODY).await, Exchange::new());
    let overflowed = exchange.overflows(&track, &outbound, after(5), 5).await;
    let (head, _) = result(overflowed.adopt(&mut exchange.timeline).unwrap()).await;
    assert_eq!(head.unwrap_err().label(), "write_timeout");
    assert_eq!(exchange.start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_pooled_connection_that_dies_under_an_adopted_attempt_is_replaced() {
    let mut track = track(1);
    let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
    let script = async {
        let mut first = next(&mut upstream).await;
        first.write_all(OK).await.unwrap();
        read_request(&mut first, 5).await;
        sleep(Duration::from_secs(9)).await;
        drop(first);
        let mut second = next(&mut upstream).await;
        second.write_all(OK).await.unwrap();
        second
    };
    let job = async {
        assert_eq!(body_of(race(&track, &outbound, &mut Timeline::default()).await).await, "ok");
        tokio::task::yield_now().await;
        let overflowed = exchange.overflows(&track, &outbound, after(5), 5).await;
        let (head, timeline) = result(overflowed.adopt(&mut exchange.timeline).unwrap()).await;
        assert_eq!((head.unwrap(), timeline), ("ok".to_owned(), "1=closed@9.0,1=200@0.0".to_owned()));
        assert_eq!(exchange.timeline.stats().retries.get(), 0, "it is no further attempt");
    };
    let (_second, ()) = tokio::join!(script, job);
}

/// What owns all that a race borrows, in a task of its own: the race, the job if there is one, and its result. `client` is
/// the way back to the exchange, and tells when that is gone.
async fn task(track: Track, outbound: Outbound, mut client: oneshot::Sender<String>) -> Option<String> {
    let mut exchange = Exchange::new();
    let end = tokio::select! {
        biased;
        () = client.closed() => return None,
        end = exchange.race(&track, &outbound, after(5)) => end,
    };
    let end = match end {
        RaceEnd::Overflowed(overflowed) => exchange.stores(overflowed, 1).await,
        end => end,
    };
    let RaceEnd::Overflowed(overflowed) = end else { panic!("{end:?}") };
    let adopted = overflowed.adopt(&mut exchange.timeline).unwrap();
    // That nobody hears it is no reason to stop: the job is stored.
    let _ = client.send(format!("202: {}", exchange.timeline));
    result(adopted).await.0.ok()
}

#[tokio::test(start_paused = true)]
async fn in_a_task_of_its_own_an_attempt_outlives_its_client_once_it_is_adopted() {
    for (leaves_after, has_result) in [(3, false), (60, true)] {
        let mut track = track(1);
        let (mut upstream, outbound) = (track.take_upstream(), outbound(b"hello").await);
        let (sender, mut client) = oneshot::channel();
        let task = tokio::spawn(task(track, outbound, sender));
        let mut stream = next(&mut upstream).await;
        sleep(Duration::from_secs(leaves_after)).await;
        let answer = client.try_recv();
        drop(client);
        assert_eq!(answer.ok(), has_result.then(|| "202: 1=adopted@6.0".to_owned()));
        if has_result {
            stream.write_all(OK).await.unwrap();
        } else {
            assert!(is_closed(&mut stream).await);
        }
        assert_eq!(task.await.unwrap(), has_result.then(|| "ok".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_adopted_attempt_that_is_dropped_is_closed_and_counted_as_cancelled() {
    let mut track = track(1);
    let (mut upstream, outbound, mut exchange) = (track.take_upstream(), outbound(b"hello").await, Exchange::new());
    let overflowed = exchange.overflows(&track, &outbound, after(5), 5).await;
    let mut adopted = overflowed.adopt(&mut exchange.timeline).unwrap();
    // Waiting for its head can be broken off, and begun again.
    for _ in 0..2 {
        assert!(timeout(Duration::from_secs(50), adopted.head()).await.is_err());
    }
    assert_eq!(adopted.timeline().to_string(), "1=cancelled@105.0", "as it would end now");
    let mut stream = next(&mut upstream).await;
    drop(adopted);
    assert!(is_closed(&mut stream).await);
    assert_eq!(exchange.timeline.stats().attempts.of("cancelled"), 1);
}
