//! Jobs are handed out: in order, and each to one worker.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::fixture::*;
use crate::ids::ExecutionNo;

pub(crate) async fn jobs_are_claimed_in_the_order_of_their_submission<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let other = beside(&place, &store, &limits).await;
    let mut submitted = Vec::new();
    for number in 0..40 {
        let by = if number % 3 == 0 { &other } else { &store };
        submitted.push(submit(by, job(&format!("job {number}"))).await);
    }
    let mut claimed = Vec::new();
    while claimed.len() < submitted.len() {
        let claims = store.claim(7).await.unwrap();
        assert!(!claims.jobs.is_empty(), "{} of 40 were claimed", claimed.len());
        claimed.extend(claims.jobs.iter().map(|job| job.lease.job));
    }
    assert_eq!(claimed, submitted);
}

pub(crate) async fn no_more_are_claimed_than_were_asked_for<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    for name in ["a", "b", "c"] {
        submit(&store, job(name)).await;
    }
    assert_eq!(store.claim(0).await.unwrap().jobs.len(), 0);
    let claims = store.claim(2).await.unwrap();
    assert_eq!(claims.jobs.len(), 2);
    assert!(claims.jobs.iter().all(|job| job.lease.execution == ExecutionNo::new(1) && job.retries == 0));
    assert_eq!((claims.taken_over, claims.parked), (0, 0));
    assert_eq!(store.claim(9).await.unwrap().jobs.len(), 1);
    assert_eq!(store.claim(9).await.unwrap().jobs.len(), 0);
}

pub(crate) async fn many_who_claim_at_once_never_get_the_same_job<P: Place>() {
    const JOBS: usize = 200;
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let other = beside(&place, &store, &limits).await;
    let mut tasks = JoinSet::new();
    for number in 0..JOBS {
        let store = Arc::clone(if number % 2 == 0 { &store } else { &other });
        tasks.spawn(async move {
            submit(&store, job(&format!("job {number}"))).await;
            Vec::new()
        });
    }
    for worker in 0..16 {
        let store = Arc::clone(if worker % 2 == 0 { &store } else { &other });
        tasks.spawn(async move {
            let mut claimed = Vec::new();
            // Until all are there, some claims find nothing: there are far more of them than are needed.
            for _ in 0..JOBS {
                let claims = store.claim(1 + worker % 4).await.unwrap();
                claimed.extend(claims.jobs.into_iter().map(|job| job.lease.job));
            }
            claimed
        });
    }
    let mut claimed: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    claimed.extend(store.claim(JOBS).await.unwrap().jobs.into_iter().map(|job| job.lease.job));
    assert_eq!(claimed.len(), JOBS);
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>().len(), JOBS);
}

pub(crate) async fn nothing_is_due_by_time_where_nothing_waits_for_it<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    assert_eq!(store.claim(1).await.unwrap().next, None);
    let lease = leased(&store, "done").await;
    record(&store, lease, settle(completed(HOUR))).await;
    assert_eq!(store.claim(1).await.unwrap().next, None);
}

pub(crate) async fn a_claim_says_when_the_next_pause_ends<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    for after in [HOUR / 2, HOUR / 4] {
        let lease = leased(&store, "paused").await;
        record(&store, lease, settle(again(after))).await;
    }
    let next = store.claim(1).await.unwrap().next.unwrap();
    assert!(next > Duration::ZERO && next <= HOUR / 4, "{next:?}");
}

pub(crate) async fn a_claim_says_when_the_next_lease_ends<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    leased(&store, "running").await;
    let other = beside(&place, &store, &limits).await;
    let next = other.claim(1).await.unwrap().next.unwrap();
    assert!(next > Duration::ZERO && next <= limits.lease, "{next:?}");
}

pub(crate) async fn jobs_of_another_queue_are_left_alone<P: Place>() {
    let (here, there) = (Limits::default(), Limits { queue: "reports", ..Limits::default() });
    let (place, store) = opened::<P>(&here).await;
    let first = submit(&store, job("here")).await;
    let store = reopened(&place, store, &there).await;
    assert_eq!(store.claim(9).await.unwrap().jobs.len(), 0);
    let second = submit(&store, job("there")).await;
    assert_eq!(store.claim(9).await.unwrap().jobs[0].lease.job, second);
    let store = reopened(&place, store, &here).await;
    let claims = store.claim(9).await.unwrap();
    assert_eq!(claims.jobs.iter().map(|job| job.lease.job).collect::<Vec<_>>(), [first]);
}

pub(crate) async fn what_was_claimed_for_somebody_who_has_gone_is_claimed_again<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let mut left = HashSet::new();
    for number in 0..30 {
        left.insert(submit(&store, job(&format!("job {number}"))).await);
        let mut going = store.claim(1);
        // He goes before the answer comes, or when it is there already and he has not looked.
        if let Ok(claims) = timeout(Duration::ZERO, &mut going).await {
            claims.unwrap().jobs.iter().for_each(|job| assert!(left.remove(&job.lease.job)));
        }
        sleep(Duration::from_micros(number * 200)).await;
        drop(going);
    }
    while !left.is_empty() {
        let claimed = claim(&store).await;
        assert_eq!(claimed.retries, 0);
        assert!(left.remove(&claimed.lease.job));
    }
    let others = store.claim(9).await.unwrap();
    assert_eq!((others.jobs.len(), others.taken_over), (0, 0));
}
