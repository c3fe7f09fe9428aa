//! Who leads, who follows, and who goes on alone.

use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::oneshot;

use super::fixture::{Answer, Stage, answer, fail, hit_of, is_pending, lead_of, map, next, read, run, settle};
use super::{AnswerBody, CacheKind, Look};
use crate::body::{Beginning, Passing, Payload};
use crate::size::ByteSize;

#[tokio::test]
async fn what_was_asked_for_once_is_given_again_without_the_upstream() {
    let stage = Stage::new();
    stage.fill(b"hello").await;
    for _ in 0..2 {
        let response = stage.hit().await;
        assert_eq!(response.body().size_hint().exact(), Some(5));
        assert_eq!(read(response).await, Ok("hello".into()));
    }
    assert!(matches!(stage.look(&[("x-tenant", "b")]).await, Look::Lead(_)), "that is another question");
    let stats = &stage.stats.cache;
    let seen = (stats.hits.get(), stats.shared.get(), stats.misses.get(), stats.stored.get(), stats.bypassed.get());
    assert_eq!(seen, (2, 0, 2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn all_who_ask_at_once_read_one_answer_while_it_is_written() {
    let stage = Stage::new();
    let lead = stage.lead().await;
    let mut early = pin!(stage.look(&[]));
    assert!(is_pending(&mut early), "it waits for the leader's head");
    let (mut upstream, answer) = answer(&[("x-up", "1")]);
    let mut leader = run(lead, answer).await;
    let mut early = hit_of(early.await);
    assert_eq!(early.headers(), &map(&[("x-up", "1")]));
    upstream.send_data("one".into()).await.unwrap();
    assert_eq!((next(&mut leader).await, next(&mut early).await), (Some("one".into()), Some("one".into())));
    upstream.send_data("two".into()).await.unwrap();
    settle().await;
    let mut late = stage.hit().await;
    assert_eq!(next(&mut late).await, Some("onetwo".into()), "from the first byte on");
    upstream.send_data("three".into()).await.unwrap();
    drop(upstream);
    assert_eq!(read(leader).await, Ok("twothree".into()));
    assert_eq!(read(early).await, Ok("twothree".into()));
    assert_eq!(read(late).await, Ok("three".into()));
    assert_eq!(stage.stats.cache.shared.get(), 2);
    assert_eq!(read(stage.hit().await).await, Ok("onetwothree".into()));
}

#[tokio::test(start_paused = true)]
async fn there_is_no_moment_at_which_a_complete_answer_cannot_be_found() {
    let stage = Stage::new();
    let (mut upstream, answer) = answer(&[]);
    let mut leader = run(stage.lead().await, answer).await;
    upstream.send_data("all".into()).await.unwrap();
    drop(upstream);
    assert_eq!(next(&mut leader).await, Some("all".into()));
    assert!(leader.body_mut().frame().await.is_none());
    assert_eq!(read(stage.hit().await).await, Ok("all".into()));
    assert!(leader.body().is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_leader_who_leaves_before_the_head_goes_on_for_those_who_follow() {
    let stage = Stage::new();
    let lead = stage.lead().await;
    let (head, work) = oneshot::channel::<Answer>();
    let mut leading = Box::pin(lead.run(async move { ((), Ok::<_, io::Error>(work.await.unwrap())) }));
    assert!(is_pending(&mut leading));
    let mut follower = pin!(stage.look(&[]));
    assert!(is_pending(&mut follower));
    drop(leading);
    let (mut upstream, answer) = answer(&[]);
    head.send(answer).expect("the work was dropped");
    let follower = hit_of(follower.await);
    upstream.send_data("late".into()).await.unwrap();
    drop(upstream);
    assert_eq!(read(follower).await, Ok("late".into()));
    assert_eq!(read(stage.hit().await).await, Ok("late".into()));
}

#[tokio::test(start_paused = true)]
async fn with_the_last_who_waits_for_a_head_the_work_ends() {
    let stage = Stage::new();
    for is_followed in [false, true] {
        let (alive, mut work) = oneshot::channel::<()>();
        let lead = stage.lead().await;
        let mut leading = Box::pin(lead.run(async move {
            let _alive = alive;
            pending::<((), Result<Answer, ()>)>().await
        }));
        assert!(is_pending(&mut leading));
        let mut follower = Box::pin(stage.look(&[]));
        if is_followed {
            assert!(is_pending(&mut follower));
        }
        drop(leading);
        settle().await;
        assert_eq!(is_pending(&mut work), is_followed);
        drop(follower);
        settle().await;
        if is_followed {
            assert!(work.await.is_err(), "it is dropped");
        }
        assert!(stage.tasks.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_on_for_those_who_follow_and_dropped_with_the_last_of_them() {
    let stage = Stage::new();
    let (mut upstream, answer) = answer(&[]);
    let leader = run(stage.lead().await, answer).await;
    let mut follower = stage.hit().await;
    drop(leader);
    upstream.send_data("on".into()).await.unwrap();
    assert_eq!(next(&mut follower).await, Some("on".into()));
    drop(follower);
    settle().await;
    assert!(upstream.send_data("and on".into()).await.is_err(), "the upstream is left");
    assert!(stage.tasks.is_empty());
    assert!(matches!(stage.look(&[]).await, Look::Lead(_)), "half an answer is none");
}

#[tokio::test(start_paused = true)]
async fn if_the_leader_has_nothing_one_takes_over_and_the_others_follow_him() {
    let stage = Stage::new();
    let lead = stage.lead().await;
    let mut followers: Vec<_> = (0..3).map(|_| Box::pin(stage.look(&[]))).collect();
    assert!(followers.iter_mut().all(is_pending));
    fail(lead).await;
    let second = lead_of(followers.remove(1).await);
    assert!(followers.iter_mut().all(is_pending));
    let (mut upstream, answer) = answer(&[]);
    let second = run(second, answer).await;
    upstream.send_data("yes".into()).await.unwrap();
    drop(upstream);
    assert_eq!(read(second).await, Ok("yes".into()));
    for follower in followers {
        assert_eq!(read(hit_of(follower.await)).await, Ok("yes".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_more_than_two_leaders() {
    let stage = Stage::new();
    let lead = stage.lead().await;
    let mut followers: Vec<_> = (0..3).map(|_| Box::pin(stage.look(&[]))).collect();
    assert!(followers.iter_mut().all(is_pending));
    // Dropped without having asked.
    drop(lead);
    let second = lead_of(followers.remove(0).await);
    assert!(followers.iter_mut().all(is_pending));
    fail(second).await;
    for follower in followers {
        assert!(matches!(follower.await, Look::Alone));
    }
}

#[tokio::test(start_paused = true)]
async fn if_the_answer_is_for_one_alone_the_others_go_on_alone() {
    let stage = Stage::new();
    let lead = stage.lead().await;
    let mut follower = pin!(stage.look(&[]));
    assert!(is_pending(&mut follower));
    let (mut upstream, answer) = answer(&[("set-cookie", "sid=1")]);
    let leader = run(lead, answer).await;
    assert!(matches!(leader.body(), AnswerBody::Own(_)));
    assert_eq!(leader.headers()["set-cookie"], "sid=1");
    assert!(matches!(follower.await, Look::Alone));
    upstream.send_data("mine".into()).await.unwrap();
    drop(upstream);
    assert_eq!(read(leader).await, Ok("mine".into()));
    assert!(matches!(stage.look(&[]).await, Look::Lead(_)), "it is not kept");
    assert!(stage.tasks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cookie_is_for_the_leader_alone_and_its_answer_for_all_who_have_his_key() {
    let stage = Stage::new();
    let alice = [("authorization", "Bearer a")];
    let lead = lead_of(stage.look(&alice).await);
    let mut follower = pin!(stage.look(&alice));
    assert!(is_pending(&mut follower));
    let (upstream, answer) = answer(&[("set-cookie", "sid=1"), ("x-up", "1")]);
    let leader = run(lead, answer).await;
    let follower = hit_of(follower.await);
    drop(upstream);
    assert!(leader.headers().contains_key("set-cookie"));
    assert_eq!(follower.headers(), &map(&[("x-up", "1")]));
    assert_eq!(read(leader).await, Ok(Bytes::new()));
    settle().await;
    assert_eq!(hit_of(stage.look(&alice).await).headers(), &map(&[("x-up", "1")]));
    assert!(matches!(stage.look(&[("authorization", "Bearer b")]).await, Look::Lead(_)));
}

#[tokio::test(start_paused = true)]
async fn who_wants_it_fresh_asks_anew_and_renews_what_is_kept() {
    let stage = Stage::new();
    stage.fill(b"old").await;
    let fresh = [("cache-control", "no-cache")];
    let (mut upstream, response) = answer(&[]);
    let leader = run(lead_of(stage.look(&fresh).await), response).await;
    assert_eq!(read(stage.hit().await).await, Ok("old".into()), "others take what is there");
    upstream.send_data("new".into()).await.unwrap();
    drop(upstream);
    assert_eq!(read(leader).await, Ok("new".into()));
    settle().await;
    assert_eq!(read(stage.hit().await).await, Ok("new".into()));
    assert_eq!(stage.stats.cache.bypassed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_asked_for_earlier_does_not_replace_a_newer_one() {
    let stage = Stage::new();
    let (mut slow, response) = answer(&[]);
    let earlier = run(stage.lead().await, response).await;
    let (mut fast, response) = answer(&[]);
    let later = run(lead_of(stage.look(&[("pragma", "no-cache")]).await), response).await;
    fast.send_data("new".into()).await.unwrap();
    drop(fast);
    assert_eq!(read(later).await, Ok("new".into()));
    slow.send_data("old".into()).await.unwrap();
    drop(slow);
    assert_eq!(read(earlier).await, Ok("old".into()));
    settle().await;
    assert_eq!(read(stage.hit().await).await, Ok("new".into()));
}

#[tokio::test]
async fn who_wants_nothing_kept_goes_alone() {
    let stage = Stage::new();
    stage.fill(b"there").await;
    assert!(matches!(stage.look(&[("cache-control", "no-store")]).await, Look::Alone));
    assert_eq!(stage.stats.cache.bypassed.get(), 1);
}

#[tokio::test]
async fn a_body_that_is_not_kept_and_a_route_without_a_cache_are_none_of_its_business() {
    let mut stage = Stage::new();
    let (_upstream, answer) = answer(&[]);
    let passing = Passing::new(Beginning::default(), answer.into_body(), Duration::from_secs(1));
    assert!(matches!(stage.look_with(&[], Payload::Passing(passing)).await, Look::Off));
    stage.settings.kind = CacheKind::None;
    assert!(matches!(stage.look(&[]).await, Look::Off));
    assert_eq!(stage.stats.cache.misses.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_body_has_ended_with_its_head() {
    let stage = Stage::new();
    let (upstream, mut answer) = answer(&[("content-length", "7")]);
    drop(upstream);
    answer.headers_mut().remove("transfer-encoding");
    let empty = answer.map(|_| http_body_util::Empty::<Bytes>::new());
    let ((), leader) = stage.lead().await.run(async { ((), Ok::<_, ()>(empty)) }).await;
    let leader = leader.unwrap();
    settle().await;
    assert!(leader.body().is_end_stream());
    let again = stage.hit().await;
    assert!(again.body().is_end_stream());
    assert_eq!(again.headers(), &map(&[("content-length", "7")]), "as it is with HEAD");
}

#[tokio::test(start_paused = true)]
async fn the_quota_of_buffered_bodies_bounds_what_is_kept_while_it_comes() {
    let mut stage = Stage::new();
    stage.settings.max_entry = ByteSize::new(1 << 30);
    let mut requests = stage.quota.hold();
    requests.grow(stage.quota.limit() / 2).unwrap();
    stage.fill(b"passed on").await;
    assert!(matches!(stage.look(&[]).await, Look::Lead(_)), "nothing could be kept of it");
    drop(requests);
    stage.fill(b"kept").await;
    assert_eq!(stage.quota.used(), 0, "all is given back");
    assert!(Arc::strong_count(&stage.quota) > 1);
    stage.hit().await;
}
