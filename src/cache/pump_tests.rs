//! How an answer is told to several, to its good or bad end.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};

use super::Look;
use super::fixture::{Stage, Upstream, answer, is_pending, map, next, read, run, settle};
use super::flight::WINDOW;
use crate::size::ByteSize;

const CHUNK: usize = 10_000;

/// How many chunks an upstream can send until it has to wait.
async fn sent(upstream: &mut Upstream) -> usize {
    let mut sent = 0;
    while let Ok(result) = timeout(Duration::from_millis(10), upstream.send_data(vec![0; CHUNK].into())).await {
        result.unwrap();
        sent += 1;
    }
    sent
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_breaks_off_breaks_off_for_all() {
    let stage = Stage::new();
    let (mut upstream, answer) = answer(&[]);
    let leader = run(stage.lead().await, answer).await;
    let follower = stage.hit().await;
    upstream.send_data("half".into()).await.unwrap();
    settle().await;
    upstream.abort(std::io::Error::other("reset"));
    assert_eq!(read(leader).await, Err("half".into()));
    assert_eq!(read(follower).await, Err("half".into()));
    assert!(matches!(stage.look(&[]).await, Look::Lead(_)), "it is not kept");
}

#[tokio::test(start_paused = true)]
async fn who_has_told_his_client_nothing_yet_is_not_hurt_by_a_break() {
    let stage = Stage::new();
    let lead = stage.lead().await;
    let mut follower = pin!(stage.look(&[]));
    assert!(is_pending(&mut follower));
    let (upstream, answer) = answer(&[]);
    let leader = run(lead, answer).await;
    upstream.abort(std::io::Error::other("reset"));
    assert_eq!(read(leader).await, Err(Bytes::new()));
    assert!(matches!(follower.await, Look::Lead(_)), "he takes over");
}

#[tokio::test(start_paused = true)]
async fn trailers_reach_all_and_are_kept() {
    let stage = Stage::new();
    let (mut upstream, answer) = answer(&[("trailer", "x-sum")]);
    let leader = run(stage.lead().await, answer).await;
    upstream.send_data("body".into()).await.unwrap();
    upstream.send_trailers(map(&[("x-sum", "4")])).await.unwrap();
    drop(upstream);
    settle().await;
    let kept = stage.hit().await;
    assert_eq!(kept.headers(), &map(&[("trailer", "x-sum")]), "announced for HTTP/1.1");
    assert_eq!(kept.body().size_hint().exact(), None, "and so sent in chunks");
    let (leader, kept) = (leader.into_body().collect().await.unwrap(), kept.into_body().collect().await.unwrap());
    for collected in [leader, kept] {
        assert_eq!(collected.trailers(), Some(&map(&[("x-sum", "4")])));
        assert_eq!(collected.to_bytes(), "body");
    }
}

#[tokio::test(start_paused = true)]
async fn while_it_may_be_kept_nobody_is_slowed_by_another() {
    let stage = Stage::new();
    let (mut upstream, answer) = answer(&[]);
    let leader = run(stage.lead().await, answer).await;
    let slow = stage.hit().await;
    for _ in 0..10 {
        upstream.send_data(vec![0; CHUNK].into()).await.unwrap();
    }
    drop(upstream);
    assert_eq!(read(leader).await.unwrap().len(), 10 * CHUNK);
    assert_eq!(read(slow).await.unwrap().len(), 10 * CHUNK);
    assert!(matches!(stage.look(&[]).await, Look::Hit(_)));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_is_told_to_those_who_are_there_in_bounded_memory_and_not_kept() {
    let mut stage = Stage::new();
    let max = 2 * WINDOW;
    stage.settings.max_entry = ByteSize::new(max);
    let (mut upstream, response) = answer(&[]);
    let mut leader = run(stage.lead().await, response).await;
    let mut follower = stage.hit().await;
    let first = sent(&mut upstream).await;
    let most = usize::try_from(max).unwrap() / CHUNK;
    assert!((most..most + 4).contains(&first), "{first} chunks");
    let Look::Lead(other) = stage.look(&[]).await else { panic!("it can still be joined") };
    drop(other);
    // One of the two reads: the other one still holds all of it.
    let mut total = 0;
    while total < (first - 1) * CHUNK {
        total += next(&mut leader).await.unwrap().len();
    }
    assert_eq!(sent(&mut upstream).await, 0);
    assert!(stage.quota.used() > 0);
    let mut behind = 0;
    while behind < total {
        behind += next(&mut follower).await.unwrap().len();
    }
    let more = sent(&mut upstream).await;
    assert!((1..most).contains(&more), "{more} chunks");
    assert_eq!(stage.quota.used(), 0, "what was kept is gone");
    let reading = (read(leader), read(follower));
    drop(upstream);
    let (one, two) = tokio::join!(reading.0, reading.1);
    assert_eq!((total + one.unwrap().len()) % CHUNK, 0);
    assert_eq!((behind + two.unwrap().len()) % CHUNK, 0);
    settle().await;
    assert!(matches!(stage.look(&[]).await, Look::Lead(_)));
    assert_eq!(stage.stats.cache.stored.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_while_others_wait_is_left_behind() {
    let mut stage = Stage::new();
    stage.settings.max_entry = ByteSize::new(1);
    let (mut upstream, response) = answer(&[]);
    let mut leader = run(stage.lead().await, response).await;
    let mut stuck = stage.hit().await;
    let mut got = 0;
    let start = Instant::now();
    let reading = async {
        while let Some(data) = next(&mut leader).await {
            got += data.len();
        }
    };
    let writing = async {
        for _ in 0..100 {
            upstream.send_data(vec![0; CHUNK].into()).await.unwrap();
        }
        drop(upstream);
    };
    tokio::join!(reading, writing);
    assert_eq!((got, start.elapsed().as_secs()), (100 * CHUNK, 30));
    assert!(stuck.body_mut().frame().await.unwrap().is_err());
    assert!(stuck.body_mut().frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn who_is_slow_alone_takes_the_time_that_his_own_clocks_give_him() {
    let mut stage = Stage::new();
    stage.settings.max_entry = ByteSize::new(1);
    let (mut upstream, response) = answer(&[]);
    let leader = run(stage.lead().await, response).await;
    let first = sent(&mut upstream).await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    drop(upstream);
    assert_eq!(read(leader).await.unwrap().len(), first * CHUNK);
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_who_goes_on_in_time_is_not_left_behind() {
    let mut stage = Stage::new();
    stage.settings.max_entry = ByteSize::new(1);
    let (mut upstream, response) = answer(&[]);
    let leader = run(stage.lead().await, response).await;
    let slow = stage.hit().await;
    let slowly = async {
        let (mut slow, mut got) = (slow, 0);
        while let Some(data) = {
            tokio::time::sleep(Duration::from_secs(20)).await;
            next(&mut slow).await
        } {
            got += data.len();
        }
        got
    };
    let writing = async {
        for _ in 0..60 {
            upstream.send_data(vec![0; CHUNK].into()).await.unwrap();
        }
        drop(upstream);
    };
    let (fast, slow, ()) = tokio::join!(read(leader), slowly, writing);
    assert_eq!((fast.unwrap().len(), slow), (60 * CHUNK, 60 * CHUNK));
}

#[tokio::test(start_paused = true)]
async fn an_announced_length_is_announced_to_all() {
    let stage = Stage::new();
    let response = http::Response::new(http_body_util::Full::new(Bytes::from_static(b"12345")));
    let ((), leader) = stage.lead().await.run(async { ((), Ok::<_, ()>(response)) }).await;
    let leader = leader.unwrap();
    assert_eq!(leader.body().size_hint().exact(), Some(5));
    let mut follower = stage.hit().await;
    assert_eq!(follower.body().size_hint().exact(), Some(5));
    assert_eq!(next(&mut follower).await, Some("12345".into()));
    assert!(follower.body().is_end_stream(), "with its last byte, as hyper asks");
    drop(follower);
    assert_eq!(read(leader).await, Ok("12345".into()));
}

/// A body that knows which chunk is its last, and must not be asked for another.
struct Counted(Option<Bytes>);

impl Body for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.take().map_or(Poll::Pending, |data| Poll::Ready(Some(Ok(Frame::data(data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |data| data.len() as u64))
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_byte_of_a_known_length_is_the_end() {
    let stage = Stage::new();
    let response = http::Response::new(Counted(Some("last".into())));
    let ((), leader) = stage.lead().await.run(async { ((), Ok::<_, ()>(response)) }).await;
    let mut leader = leader.unwrap();
    assert_eq!(next(&mut leader).await, Some("last".into()));
    assert!(leader.body().is_end_stream());
    // As hyper does it then.
    drop(leader);
    settle().await;
    assert_eq!(read(stage.hit().await).await, Ok("last".into()));
    assert!(stage.tasks.is_empty());
}
