//! What is stored is gone, in part or altogether, or there is no room for it, or it is not for this version.

use std::sync::Arc;

use super::RedisStore;
use super::fixture::*;
use super::keys::Keys;
use crate::ids::JobId;
use crate::job::Status;
use crate::size::ByteSize;
use crate::store::suite::Limits;
use crate::store::{Batch, NewBody, NewJob, PIECE, Retried, Settle, Standing, Start, Store, StoreError, Submitted};

/// A store on the shared server, and the names of its keys.
async fn opened() -> (Arc<RedisStore>, Keys, &'static Server) {
    let (server, prefix) = (Server::shared(), new_prefix());
    let store = open(&server.url(), &prefix, &no_limits());
    answering(&store).await;
    (store, Keys::new(&prefix, "default").unwrap(), server)
}

/// Claims what there is: nothing.
async fn nothing_is_claimed(store: &RedisStore) {
    assert_eq!(store.claim(9).await.unwrap().jobs.len(), 0);
}

#[tokio::test]
async fn a_flushed_store_is_an_empty_one() {
    let server = Server::start(&[]);
    let store = open(&server.url(), "p:", &no_limits());
    answering(&store).await;
    let lease = leased(&store).await;
    let waiting = job();
    store.submit(waiting.clone()).await.unwrap();
    server.ask::<()>(&["FLUSHALL"]);
    server.ask::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(store.renew(vec![lease]).await, Ok(vec![]));
    assert_eq!(store.record(lease, result()).await, Ok(Standing::Lost));
    assert_eq!(store.status(waiting.id).await, Ok(None));
    assert!(store.read(lease.job, 0, PIECE).await.unwrap().is_none());
    assert_eq!(store.delete(waiting.id).await, Ok(false));
    assert_eq!(store.retry(waiting.id).await, Ok(Retried::Unknown));
    nothing_is_claimed(&store).await;
    assert_eq!(store.counts().await.unwrap(), crate::store::Counts::default());
    let again = leased(&store).await;
    assert!(again.fence > lease.fence);
    // The mark of the format is back as well.
    let format: String = server.ask(&["HGET", "p:{default}:meta", "format"]);
    assert_eq!(format, super::keys::FORMAT);
}

#[tokio::test]
async fn a_job_that_was_evicted_is_forgotten_wherever_it_stood() {
    let (store, keys, server) = opened().await;
    let empty = store.counts().await.unwrap();
    let evict = |job: JobId| server.ask::<()>(&["DEL", &keys.job(job)]);
    let waiting = job();
    store.submit(waiting.clone()).await.unwrap();
    evict(waiting.id);
    nothing_is_claimed(&store).await;
    let lease = leased(&store).await;
    evict(lease.job);
    assert_eq!(store.record(lease, result()).await, Ok(Standing::Lost));
    assert_eq!(store.renew(vec![lease]).await, Ok(vec![]));
    // Its lease runs out.
    server.ask::<()>(&["ZADD", &format!("{}leases", keys.base()), "1", &lease.job.to_string()]);
    let paused = leased(&store).await;
    let again = Settle::Again { error: "response_broken: test".into(), after: HOUR };
    store.record(paused, Batch { settle: Some(again), ..Batch::default() }).await.unwrap();
    evict(paused.job);
    server.ask::<()>(&["ZADD", &format!("{}delayed", keys.base()), "1", &paused.job.to_string()]);
    nothing_is_claimed(&store).await;
    assert_eq!(store.counts().await.unwrap(), empty);
    assert_eq!(store.list(None, None, 9).await, Ok(vec![]));
}

#[tokio::test]
async fn a_finished_job_that_redis_removed_first_is_swept_all_the_same() {
    let (store, keys, server) = opened().await;
    let empty = store.counts().await.unwrap();
    let lease = leased(&store).await;
    store.record(lease, result()).await.unwrap();
    server.ask::<()>(&["DEL", &keys.job(lease.job)]);
    server.ask::<()>(&["ZADD", &format!("{}expiry", keys.base()), "1", &lease.job.to_string()]);
    assert_eq!(store.sweep().await, Ok(false));
    assert_eq!(store.counts().await.unwrap(), empty);
}

#[tokio::test]
async fn every_key_of_a_finished_job_is_removed_by_redis_itself_in_the_end() {
    let (store, keys, server) = opened().await;
    let mut new = job();
    new.idempotency = Some(crate::job::Idempotency { scope: [1; 32], fingerprint: [2; 32] });
    store.submit(new.clone()).await.unwrap();
    let lease = store.claim(1).await.unwrap().jobs[0].lease;
    let data = vec![vec![7; 2 * PIECE + 1].into()];
    store.record(lease, Batch { data, ..result() }).await.unwrap();
    let names: Vec<String> = server.ask(&["KEYS", &format!("{}*{}*", keys.base(), new.id)]);
    let mut kinds: Vec<_> = names.iter().map(|name| &name[keys.base().len()..name.len() - 37]).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["job", "segments", "tail"]);
    let key: Vec<String> = server.ask(&["KEYS", &format!("{}key:*", keys.base())]);
    for name in names.iter().chain(&key) {
        let left: i64 = server.ask(&["PTTL", name]);
        assert!(left > i64::try_from(HOUR.as_millis()).unwrap(), "{name}: {left} ms");
    }
    assert_eq!(key.len(), 1);
}

#[tokio::test]
async fn a_body_or_a_recording_with_a_hole_is_not_there() {
    let (store, keys, server) = opened().await;
    let new = NewJob { body: NewBody::Pieces { count: 1, length: 5 }, ..job() };
    store.put_body(new.id, 0, "piece".into()).await.unwrap();
    store.submit(new.clone()).await.unwrap();
    server.ask::<()>(&["DEL", &keys.body(new.id)]);
    let lease = store.claim(1).await.unwrap().jobs[0].lease;
    assert_eq!(store.body(new.id, 0).await, Ok(None));
    let lost = Settle::Failed { error: "lost: its body is gone".into(), retention: HOUR };
    store.record(lease, Batch { settle: Some(lost), ..Batch::default() }).await.unwrap();
    assert_eq!(store.retry(new.id).await, Ok(Retried::Lost));

    let lease = leased(&store).await;
    store.record(lease, Batch { data: vec![vec![7; PIECE + 1].into()], ..result() }).await.unwrap();
    server.ask::<()>(&["DEL", &format!("{}segments:{}", keys.base(), lease.job)]);
    assert!(store.read(lease.job, 0, PIECE).await.unwrap().is_none());
    server.ask::<()>(&["DEL", &format!("{}tail:{}", keys.base(), lease.job)]);
    assert!(store.read(lease.job, PIECE as u64, PIECE).await.unwrap().is_none());
}

#[tokio::test]
async fn pieces_that_no_job_follows_are_swept_when_their_time_is_over() {
    let (store, keys, server) = opened().await;
    let empty = store.counts().await.unwrap();
    let (abandoned, followed) = (job(), NewJob { body: NewBody::Pieces { count: 1, length: 5 }, ..job() });
    for id in [abandoned.id, followed.id] {
        store.put_body(id, 0, "piece".into()).await.unwrap();
    }
    store.submit(followed.clone()).await.unwrap();
    let expiry = format!("{}expiry", keys.base());
    let waiting: Vec<String> = server.ask(&["ZRANGE", &expiry, "0", "-1"]);
    assert_eq!(waiting, [abandoned.id.to_string()]);
    server.ask::<()>(&["ZADD", &expiry, "1", &abandoned.id.to_string()]);
    store.sweep().await.unwrap();
    assert_eq!(store.body(abandoned.id, 0).await, Ok(None));
    assert_eq!(store.body(followed.id, 0).await, Ok(Some("piece".into())));
    store.delete(followed.id).await.unwrap();
    assert_eq!(store.counts().await.unwrap(), empty);
}

#[tokio::test]
async fn more_is_swept_than_one_call_removes() {
    let (store, ..) = opened().await;
    for number in 0..=100 {
        let mut key = [0; 32];
        key[0] = number;
        store.cache(key, "brief".into(), std::time::Duration::from_millis(1)).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert_eq!(store.sweep().await, Ok(true));
    assert_eq!(store.sweep().await, Ok(false));
    assert_eq!(store.counts().await.unwrap().bytes, 0);
}

#[tokio::test]
async fn a_server_without_memory_takes_nothing_new_and_lets_what_runs_end() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let store = open(&server.url(), "p:", &no_limits());
    answering(&store).await;
    let (lease, failing) = (leased(&store).await, leased(&store).await);
    let (queued, head) = (job(), Batch { settle: None, ..result() });
    store.submit(queued.clone()).await.unwrap();
    store.record(lease, head.clone()).await.unwrap();
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(store.submit(job()).await, Err(StoreError::Full));
    assert_eq!(store.submit(NewJob { start: Start::Adopted, ..job() }).await, Err(StoreError::Full));
    assert_eq!(store.put_body(JobId::random(), 0, "piece".into()).await, Err(StoreError::Full));
    assert_eq!(store.record(failing, head).await, Err(StoreError::Full));
    assert_eq!(
        store.record(lease, Batch { at: 4, data: vec!["more".into()], ..Batch::default() }).await,
        Err(StoreError::Full)
    );
    assert_eq!(store.cache([1; 32], "entry".into(), HOUR).await, Ok(()));
    // What runs goes on, and what waits is begun.
    assert_eq!(store.renew(vec![lease, failing]).await, Ok(vec![lease, failing]));
    let claims = store.claim(9).await.unwrap();
    assert_eq!(claims.jobs[0].lease.job, queued.id);
    for (lease, settle) in [
        (lease, Settle::Completed { end: "end".into(), retention: HOUR }),
        (failing, Settle::Failed { error: "response_broken: test".into(), retention: HOUR }),
        (claims.jobs[0].lease, Settle::HandedBack),
    ] {
        assert_eq!(store.record(lease, Batch { settle: Some(settle), ..Batch::default() }).await, Ok(Standing::Held));
    }
    let again = store.claim(9).await.unwrap().jobs[0].lease;
    let pause = Settle::Again { error: "response_broken: test".into(), after: HOUR };
    assert_eq!(store.record(again, Batch { settle: Some(pause), ..Batch::default() }).await, Ok(Standing::Held));
    assert_eq!(store.status(lease.job).await.unwrap().unwrap().status, Status::Completed);
    assert_eq!(store.delete(lease.job).await, Ok(true));
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(store.submit(job()).await, Ok(Submitted::Accepted(None)));
}

#[tokio::test]
async fn a_newer_format_is_refused_in_words_and_left_alone() {
    let (store, keys, server) = opened().await;
    let lease = leased(&store).await;
    server.ask::<()>(&["HSET", &keys.meta(), "format", "2"]);
    let is_refused = |error: StoreError| matches!(error, StoreError::Unavailable(words) if words.contains("format 2") && words.contains("newer version"));
    // By who is there already…
    assert!(is_refused(store.submit(job()).await.unwrap_err()));
    assert!(is_refused(store.claim(1).await.unwrap_err()));
    assert!(is_refused(store.record(lease, result()).await.unwrap_err()));
    assert!(is_refused(store.delete(lease.job).await.unwrap_err()));
    assert!(is_refused(store.sweep().await.unwrap_err()));
    // …and by who comes then.
    let prefix = keys.base().strip_suffix("{default}:").unwrap();
    let late = open(&server.url(), prefix, &no_limits());
    assert!(is_refused(late.ping().await.unwrap_err()));
    server.ask::<()>(&["HSET", &keys.meta(), "format", "1"]);
    answering(&late).await;
    assert_eq!(late.record(lease, result()).await, Ok(Standing::Held));
}

/// Claims all there is, by calls that each say whether there is more. Answers how many each took.
async fn claimed_at_once(store: &RedisStore) -> Vec<usize> {
    let mut counts = Vec::new();
    loop {
        let claims = store.claim(1000).await.unwrap();
        counts.push(claims.jobs.len());
        if claims.next != Some(std::time::Duration::ZERO) {
            return counts;
        }
    }
}

#[tokio::test]
async fn a_claim_hands_out_about_a_mebibyte_at_once_and_says_that_there_is_more() {
    let (store, ..) = opened().await;
    let large = NewBody::Inline(vec![7; crate::store::INLINE].into());
    for _ in 0..40 {
        store.submit(NewJob { body: large.clone(), ..job() }).await.unwrap();
    }
    let counts = claimed_at_once(&store).await;
    assert_eq!((counts.len(), counts.iter().sum()), (3, 40), "{counts:?}");
}

#[tokio::test]
async fn a_claim_hands_out_a_hundred_jobs_at_once_and_says_that_there_is_more() {
    let (store, ..) = opened().await;
    for _ in 0..250 {
        store.submit(job()).await.unwrap();
    }
    assert_eq!(claimed_at_once(&store).await, [100, 100, 50]);
}

#[tokio::test]
async fn room_is_counted_over_all_processes() {
    let (server, prefix) = (Server::shared(), new_prefix());
    let limits = Limits { max_bytes: ByteSize::new(3000), ..Limits::default() };
    let stores = [open(&server.url(), &prefix, &limits), open(&server.url(), &prefix, &limits)];
    let new = || NewJob { body: NewBody::Inline(vec![7; 800].into()), ..job() };
    assert_eq!(stores[0].submit(new()).await, Ok(Submitted::Accepted(None)));
    assert_eq!(stores[1].submit(new()).await, Ok(Submitted::Accepted(None)));
    for store in stores {
        assert_eq!(store.submit(new()).await, Err(StoreError::Full));
    }
}
