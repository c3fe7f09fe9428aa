//! `Mode::Once`, driven: a body that passes and is not kept.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::channel::{Channel, Sender};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::track::{OK, Track, body_of, outbound, race, read_request, track};
use super::{HedgeBudget, Mode, RaceEnd, Timeline, Why};
use crate::body::{Beginning, ClientFault, Passing, Payload};
use crate::upstream::{Failure, Outbound};

/// Everything that would be repeated in a race.
fn once(max_attempts: u32) -> Track {
    let mut track = track(max_attempts);
    track.mode = Mode::Once;
    track.hedge_budget = HedgeBudget::new(100);
    track.policy.hedge_after = Some(Duration::from_secs(5));
    track.policy.retry_statuses = vec![StatusCode::SERVICE_UNAVAILABLE];
    track
}

/// A request whose body comes from the other end of a channel. The client may be silent for so long.
async fn passing(patience: Duration) -> (Outbound, Sender<Bytes, ()>) {
    let (sender, body) = Channel::<Bytes, ()>::new(4);
    let mut outbound = outbound(b"").await;
    outbound.headers.insert("content-length", HeaderValue::from_static("5"));
    outbound.body = Payload::Passing(Passing::new(Beginning::default(), body, patience));
    (outbound, sender)
}

#[tokio::test(start_paused = true)]
async fn a_missed_deadline_is_the_end_even_without_a_body() {
    let mut track = once(3);
    let mut outbound = outbound(b"").await;
    outbound.method = Method::GET;
    let (mut upstream, mut timeline, start) = (track.take_upstream(), Timeline::default(), Instant::now());
    let end = race(&track, &outbound, &mut timeline).await;
    assert_eq!(start.elapsed().as_secs(), 30);
    let RaceEnd::Failed(failed) = end else { panic!("{end:?}") };
    assert!(matches!((failed.failure, failed.why), (Failure::HeaderTimeout(_), Why::Once)));
    assert_eq!(timeline.attempts(), 1);
    assert!(upstream.recv().await.is_some() && upstream.try_recv().is_err(), "one connection, and no hedge");
}

#[tokio::test(start_paused = true)]
async fn a_listed_status_passes() {
    let mut track = once(3);
    let (mut upstream, outbound, mut timeline) = (track.take_upstream(), outbound(b"hello").await, Timeline::default());
    let script = async {
        let mut stream = upstream.recv().await.unwrap();
        read_request(&mut stream, 5).await;
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy").await.unwrap();
        stream
    };
    let (end, _stream) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(body_of(end).await, "busy");
    assert_eq!(timeline.attempts(), 1);
    assert!(track.hedge_budget.hedge(), "the one of this second");
    assert!(!track.hedge_budget.hedge(), "what is never hedged earns no share");
}

#[tokio::test(start_paused = true)]
async fn what_reached_nobody_is_repeated_while_the_body_is_untouched() {
    let mut track = once(2);
    let (mut upstream, pool) = (track.take_upstream(), std::sync::Arc::clone(&track.pool));
    let (outbound, mut client) = passing(Duration::from_secs(30)).await;
    // Nobody gets a connection for as long as two others hold all there are: the first attempt waits in vain.
    let mut idle = once(1);
    idle.pool = pool;
    let held = async {
        let (first, second) = (outbound_get().await, outbound_get().await);
        let (mut one, mut two) = <(Timeline, Timeline)>::default();
        tokio::select! {
            _ = async { tokio::join!(race(&idle, &first, &mut one), race(&idle, &second, &mut two)) } => {}
            () = sleep(Duration::from_secs(12)) => {}
        }
    };
    let script = async {
        let mut streams = vec![upstream.recv().await.unwrap(), upstream.recv().await.unwrap()];
        let mut stream = upstream.recv().await.unwrap();
        client.send_data(Bytes::from_static(b"hello")).await.unwrap();
        drop(client);
        read_request(&mut stream, 5).await;
        stream.write_all(OK).await.unwrap();
        streams.push(stream);
        streams
    };
    let late = async {
        sleep(Duration::from_secs(1)).await;
        let mut timeline = Timeline::default();
        let end = race(&track, &outbound, &mut timeline).await;
        assert_eq!(body_of(end).await, "ok");
        assert_eq!(timeline.to_string(), "1=pool_timeout@10.0,2=200@1.0");
    };
    tokio::join!(held, late, script);
}

async fn outbound_get() -> Outbound {
    Outbound { method: Method::GET, ..outbound(b"").await }
}

#[tokio::test(start_paused = true)]
async fn a_stale_connection_is_replaced_only_while_the_body_is_untouched() {
    for is_touched in [false, true] {
        let mut track = once(1);
        let mut upstream = track.take_upstream();
        let script = async {
            let mut first = upstream.recv().await.unwrap();
            read_request(&mut first, 5).await;
            first.write_all(OK).await.unwrap();
            read_request(&mut first, if is_touched { 2 } else { 0 }).await;
            drop(first);
            let second = upstream.recv();
            let Ok(Some(mut second)) = tokio::time::timeout(Duration::from_secs(9), second).await else { return None };
            read_request(&mut second, 5).await;
            second.write_all(OK).await.unwrap();
            Some(second)
        };
        let exchanges = async {
            let kept = outbound(b"hello").await;
            assert_eq!(body_of(race(&track, &kept, &mut Timeline::default()).await).await, "ok");
            tokio::task::yield_now().await;
            let (outbound, mut client) = passing(Duration::from_secs(30)).await;
            let client = async move {
                if is_touched {
                    client.send_data(Bytes::from_static(b"he")).await.unwrap();
                    sleep(Duration::from_secs(9)).await;
                } else {
                    sleep(Duration::from_secs(2)).await;
                    client.send_data(Bytes::from_static(b"hello")).await.unwrap();
                }
            };
            let mut timeline = Timeline::default();
            let (end, ()) = tokio::join!(race(&track, &outbound, &mut timeline), client);
            (end, timeline)
        };
        let ((end, timeline), second) = tokio::join!(exchanges, script);
        assert_eq!((timeline.attempts(), second.is_some()), (1, !is_touched), "{timeline}");
        assert_eq!(matches!(end, RaceEnd::Committed(_)), !is_touched, "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_ends_the_race_at_once() {
    let mut track = once(3);
    let (mut upstream, mut timeline) = (track.take_upstream(), Timeline::default());
    let (outbound, mut client) = passing(Duration::from_secs(20)).await;
    let start = Instant::now();
    let script = async {
        let mut stream = upstream.recv().await.unwrap();
        client.send_data(Bytes::from_static(b"he")).await.unwrap();
        read_request(&mut stream, 2).await;
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the request that never ends is cut");
        (client, stream)
    };
    let (end, _open) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(start.elapsed().as_secs(), 20);
    let RaceEnd::Failed(failed) = end else { panic!("{end:?}") };
    assert_eq!((failed.why, timeline.attempts()), (Why::Client, 1));
    assert_eq!(outbound.body.fault(), Some(ClientFault::Stalled(Duration::from_secs(20))));
}
