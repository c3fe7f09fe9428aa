//! A server that is away, hangs, or comes back as another: calls fail, and nothing else does.

use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::timeout;

use super::RedisStore;
use super::fixture::*;
use crate::store::{Settle, Standing, Store, StoreError, Topic};

async fn opened(server: &Server) -> std::sync::Arc<RedisStore> {
    let store = open(&server.url(), &new_prefix(), &no_limits());
    answering(&store).await;
    store
}

/// A call that cannot be answered.
async fn unanswered(store: &RedisStore) {
    assert!(matches!(store.submit(job()).await, Err(StoreError::Unavailable(_))));
}

/// Asks until it is so.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never came to pass that {what}");
}

#[tokio::test]
async fn a_store_is_opened_while_the_server_is_away_and_answers_once_it_is_there() {
    let mut server = Server::start(&[]);
    server.kill();
    let store = open(&server.url(), &new_prefix(), &no_limits());
    unanswered(&store).await;
    assert!(store.warnings().await.unwrap().is_empty());
    server.run();
    answering(&store).await;
    leased(&store).await;
}

#[tokio::test]
async fn a_restart_loses_nothing_that_was_accepted() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = opened(&server).await;
    let lease = leased(&store).await;
    let waiting = job();
    store.submit(waiting.clone()).await.unwrap();
    server.kill();
    unanswered(&store).await;
    server.run();
    answering(&store).await;
    // Scripts are forgotten by a restart; leases are not.
    assert_eq!(store.record(lease, result()).await, Ok(Standing::Held));
    let page = store.read(lease.job, 0, 99).await.unwrap().unwrap();
    assert_eq!((page.data.concat(), page.end), (b"data".to_vec(), Some("end".into())));
    assert_eq!(store.claim(9).await.unwrap().jobs[0].lease.job, waiting.id);
}

#[tokio::test]
async fn no_call_waits_for_a_server_that_hangs_and_all_are_answered_when_it_goes_on() {
    let server = Server::start(&[]);
    let store = opened(&server).await;
    let lease = leased(&store).await;
    server.hang();
    // Each of these ends although the server does not go on.
    unanswered(&store).await;
    assert!(store.status(lease.job).await.is_err() && store.ping().await.is_err());
    assert!(store.renew(vec![lease]).await.is_err());
    server.go_on();
    answering(&store).await;
    assert_eq!(store.record(lease, result()).await, Ok(Standing::Held));
}

#[tokio::test]
async fn what_was_claimed_by_a_call_without_an_answer_is_given_to_the_next_one() {
    let server = Server::start(&[]);
    let store = opened(&server).await;
    let jobs = [job(), job()];
    for job in &jobs {
        store.submit(job.clone()).await.unwrap();
    }
    // The server knows the script.
    assert_eq!(store.claim(0).await.unwrap().jobs.len(), 0);
    // It reaches the server, which carries it out when it goes on.
    server.hang();
    assert!(store.claim(1).await.is_err());
    server.go_on();
    answering(&store).await;
    let claims = store.claim(2).await.unwrap();
    let claimed: Vec<_> = claims.jobs.iter().map(|job| (job.lease.job, job.lease.execution.get())).collect();
    assert_eq!(claimed, [(jobs[0].id, 1), (jobs[1].id, 1)]);
    for job in claims.jobs {
        assert_eq!(store.record(job.lease, result()).await, Ok(Standing::Held));
    }
}

#[tokio::test]
async fn what_a_dropped_claim_took_is_handed_back_where_there_is_no_use_for_it() {
    let store = opened(Server::shared()).await;
    for _ in 0..3 {
        store.submit(job()).await.unwrap();
    }
    // The server knows the script.
    assert_eq!(store.claim(0).await.unwrap().jobs.len(), 0);
    // Sent, carried out, and dropped before anybody looks at the answer.
    let mut claim = store.claim(3);
    assert!(claim.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let is_carried_out = async || store.counts().await.unwrap().running == 3;
    eventually("the claim is carried out", is_carried_out).await;
    drop(claim);
    let claims = store.claim(1).await.unwrap();
    assert_eq!((claims.jobs.len(), claims.taken_over), (1, 0));
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running), (2, 1));
    let rest = store.claim(9).await.unwrap().jobs;
    assert_eq!(rest.len(), 2);
    for job in rest.into_iter().chain(claims.jobs) {
        assert_eq!(store.record(job.lease, result()).await, Ok(Standing::Held));
    }
}

#[tokio::test]
async fn news_is_heard_again_after_an_outage_and_everybody_who_waits_is_told_to_look() {
    let mut server = Server::start(&[]);
    let prefix = new_prefix();
    let [store, other] = [(); 2].map(|()| open(&server.url(), &prefix, &no_limits()));
    let mut queue = store.changes().watch(Topic::Queue);
    let mut is_heard = async || timeout(Duration::from_millis(500), queue.changed()).await.is_ok();
    eventually("another's job is heard of", async || other.submit(job()).await.is_ok() && is_heard().await).await;
    // From here on nobody does anything.
    while is_heard().await {}
    server.kill();
    server.run();
    eventually("the restart is heard of", &mut is_heard).await;
    while is_heard().await {}
    // The connection is asked every two seconds whether it is there, and has two seconds to answer: on a slow machine this
    // may take more than one silence.
    eventually("the end of a silence is heard of", async || {
        server.hang();
        tokio::time::sleep(Duration::from_secs(5)).await;
        server.go_on();
        for _ in 0..10 {
            if is_heard().await {
                return true;
            }
        }
        false
    })
    .await;
}

#[tokio::test]
async fn a_server_that_becomes_a_replica_is_left_until_it_is_none() {
    let (server, master) = (Server::start(&[]), Server::start(&[]));
    let store = opened(&server).await;
    let lease = leased(&store).await;
    server.ask::<()>(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    unanswered(&store).await;
    unanswered(&store).await;
    server.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    answering(&store).await;
    // The other one had nothing, and so has this one now, or not yet.
    assert!(store.record(lease, result()).await.is_ok());
    leased(&store).await;
}

#[tokio::test]
async fn a_closed_store_answers_nothing_and_keeps_no_connection() {
    let server = Server::start(&[]);
    let store = opened(&server).await;
    store.close().await.unwrap();
    unanswered(&store).await;
    server.until("there is no client left", |server| {
        let clients: String = server.ask(&["CLIENT", "LIST"]);
        clients.lines().count() == 1
    });
}

#[tokio::test]
async fn a_job_is_handed_back_and_executed_again_across_a_restart() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = opened(&server).await;
    let lease = leased(&store).await;
    let back = crate::store::Batch { settle: Some(Settle::HandedBack), ..Default::default() };
    assert_eq!(store.record(lease, back).await, Ok(Standing::Held));
    server.kill();
    server.run();
    answering(&store).await;
    let again = store.claim(1).await.unwrap().jobs.remove(0).lease;
    assert_eq!((again.job, again.execution.get()), (lease.job, 2));
    assert!(again.fence > lease.fence);
    assert_eq!(store.record(lease, result()).await, Ok(Standing::Lost));
}
