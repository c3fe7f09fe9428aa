//! The driver: deadlines, replacements and the free one, in paused time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::track::{BODY, OK, body_of, outbound, race, read_request, track};
use super::{RaceEnd, Timeline};
use crate::upstream::Failure;

#[tokio::test(start_paused = true)]
async fn a_stalled_attempt_is_replaced_at_its_deadline_and_its_connection_is_closed() {
    let mut track = track(2);
    let mut upstream = track.take_upstream();
    let outbound = outbound(b"hello").await;
    let mut timeline = Timeline::default();
    let start = Instant::now();
    let script = async {
        let mut first = upstream.recv().await.unwrap();
        let seen = read_request(&mut first, 5).await;
        let mut second = upstream.recv().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(first.read(&mut [0]).await.unwrap(), 0, "the abandoned connection is closed");
        assert_eq!(read_request(&mut second, 5).await, seen, "the replay is the same request");
        second.write_all(OK).await.unwrap();
        second
    };
    let (end, _second) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert_eq!(body_of(end).await, "ok");
    assert_eq!((timeline.attempts(), timeline.to_string()), (2, "1=timeout@30.0,2=200@0.0".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_does_not_eat_the_header_deadline_as_long_as_it_moves() {
    let mut track = track(1);
    let outbound = outbound(&BODY).await;
    let mut timeline = Timeline::default();
    let start = Instant::now();
    let mut upstream = track.take_upstream();
    let script = async {
        let mut stream = upstream.recv().await.unwrap();
        let mut buf = vec![0; 40_000];
        let mut left = BODY.len();
        while left > 0 {
            sleep(Duration::from_secs(10)).await;
            left = left.saturating_sub(stream.read(&mut buf).await.unwrap());
        }
        // Up to two reads ago the last byte was taken by the stream's own buffer: that is when the deadline began.
        sleep(Duration::from_secs(5)).await;
        stream.write_all(OK).await.unwrap();
        stream
    };
    let (end, _stream) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert!(start.elapsed() > Duration::from_secs(90));
    assert_eq!(body_of(end).await, "ok");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_takes_nothing_is_given_up_after_the_write_timeout() {
    let mut track = track(1);
    let outbound = outbound(&BODY).await;
    let start = Instant::now();
    let end = race(&track, &outbound, &mut Timeline::default()).await;
    assert!(matches!(end, RaceEnd::Failed(failed) if matches!(failed.failure, Failure::WriteTimeout(_))));
    assert_eq!(start.elapsed().as_secs(), 30);
    assert!(track.upstream.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn single_bytes_of_a_head_do_not_extend_the_deadline() {
    let mut track = track(1);
    let outbound = outbound(b"").await;
    let mut upstream = track.take_upstream();
    let start = Instant::now();
    let script = async {
        let mut stream = upstream.recv().await.unwrap();
        for byte in b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n".iter().cycle() {
            sleep(Duration::from_secs(1)).await;
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    let mut timeline = Timeline::default();
    let (end, ()) = tokio::join!(race(&track, &outbound, &mut timeline), script);
    assert!(matches!(end, RaceEnd::Failed(failed) if matches!(failed.failure, Failure::HeaderTimeout(_))));
    assert_eq!(start.elapsed().as_secs(), 31);
}

#[tokio::test(start_paused = true)]
async fn a_pooled_connection_that_was_closed_meanwhile_costs_no_attempt() {
    let mut track = track(1);
    let outbound = outbound(b"hello").await;
    let mut upstream = track.take_upstream();
    let script = async {
        let mut first = upstream.recv().await.unwrap();
        read_request(&mut first, 5).await;
        first.write_all(OK).await.unwrap();
        read_request(&mut first, 5).await;
        drop(first);
        let mut second = upstream.recv().await.unwrap();
        read_request(&mut second, 5).await;
        second.write_all(OK).await.unwrap();
        second
    };
    let exchanges = async {
        assert_eq!(body_of(race(&track, &outbound, &mut Timeline::default()).await).await, "ok");
        tokio::task::yield_now().await;
        let mut timeline = Timeline::default();
        assert_eq!(body_of(race(&track, &outbound, &mut timeline).await).await, "ok");
        timeline
    };
    let (timeline, _second) = tokio::join!(exchanges, script);
    assert_eq!((timeline.attempts(), timeline.to_string()), (1, "1=closed@0.0,1=200@0.0".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_room_waits_for_the_pool_timeout_and_no_longer() {
    let track = track(1);
    let outbound = outbound(b"").await;
    let start = Instant::now();
    let (mut first, mut second, mut third) = <(Timeline, Timeline, Timeline)>::default();
    let held = async {
        tokio::select! {
            _ = async { tokio::join!(race(&track, &outbound, &mut first), race(&track, &outbound, &mut second)) } => {}
            () = sleep(Duration::from_secs(20)) => {}
        }
    };
    let late = async {
        sleep(Duration::from_secs(1)).await;
        let end = race(&track, &outbound, &mut third).await;
        assert!(matches!(end, RaceEnd::Failed(failed) if matches!(failed.failure, Failure::PoolTimeout(_))));
        assert_eq!(start.elapsed().as_secs(), 11);
    };
    tokio::join!(held, late);
    tokio::task::yield_now().await;
    assert_eq!(track.pool.open(), 0, "every socket is closed when its exchange is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_head_during_the_upload_commits_and_nothing_more_is_sent() {
    let mut track = track(2);
    let outbound = outbound(&BODY).await;
    let mut upstream = track.take_upstream();
    let script = async {
        let mut stream = upstream.recv().await.unwrap();
        read_request(&mut stream, 1).await;
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        let mut taken = Vec::new();
        stream.read_to_end(&mut taken).await.unwrap();
        assert!(taken.len() < BODY.len(), "the upload went on after the answer");
    };
    let exchange = async {
        let end = race(&track, &outbound, &mut Timeline::default()).await;
        assert_eq!(body_of(end).await, "no");
    };
    tokio::join!(exchange, script);
}
