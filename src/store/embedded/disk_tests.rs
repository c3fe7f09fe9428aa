//! A disk that is full, slow or locked, what is left on it, and what a restart finds there.

use std::fs;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, StatementStatus, ffi};
use tokio::task::JoinSet;

use super::desk::{Outcome, Trouble};
use super::fixture::Folder;
use super::{Desk, EmbeddedStore};
use crate::ids::{ExecutionNo, JobId};
use crate::job::{Idempotency, Lease, Title};
use crate::store::suite::Limits;
use crate::store::{Batch, NewBody, NewJob, PIECE, Retried, Settle, Standing, Start, Store, StoreError, Submitted};

const HOUR: Duration = Duration::from_secs(3600);

fn job(request: &'static str) -> NewJob {
    NewJob {
        id: JobId::random(),
        title: Title::new("default", "POST", "/x"),
        owner: None,
        request: request.into(),
        body: NewBody::Inline(Bytes::new()),
        idempotency: None,
        start: Start::Queued,
        retention: HOUR,
    }
}

async fn opened() -> (Folder, Arc<EmbeddedStore>) {
    let folder = Folder::new();
    let store = folder.try_open(&Limits::default()).await.unwrap();
    (folder, Arc::new(store))
}

/// Claims the only job.
async fn claimed(store: &EmbeddedStore) -> Lease {
    let mut claims = store.claim(9).await.unwrap();
    assert_eq!(claims.jobs.len(), 1);
    claims.jobs.remove(0).lease
}

/// Something the writing clerk is busy with, until the sender is used or dropped.
fn occupied(store: &Arc<EmbeddedStore>) -> mpsc::Sender<()> {
    let (release, until) = mpsc::channel::<()>();
    let (store, begun) = (Arc::clone(store), mpsc::channel::<()>());
    tokio::spawn(async move {
        let _ = store
            .writing
            .ask(move |_| {
                let _ = (begun.0.send(()), until.recv());
                Ok(())
            })
            .await;
    });
    // The clerk is a thread of its own, but the task has to get there first.
    tokio::task::block_in_place(|| begun.1.recv().unwrap());
    release
}

async fn pages(store: &EmbeddedStore, most: Option<u32>) -> u32 {
    let set = move |desk: &Desk| -> Outcome<u32> {
        let pages: u32 = desk.sql.query_row("PRAGMA page_count", [], |row| row.get(0))?;
        let most = most.map_or(1 << 30, |spare| pages + spare);
        Ok(desk.sql.query_row(&format!("PRAGMA max_page_count = {most}"), [], |row| row.get(0))?)
    };
    store.writing.ask(set).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_does_not_undo_what_was_asked_for_at_the_same_time() {
    let (_folder, store) = opened().await;
    store.submit(job("the first")).await.unwrap();
    // Room for the small ones, but not for the large one.
    pages(&store, Some(40)).await;
    let release = occupied(&store);
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            if number == 10 {
                let piece = Bytes::from(vec![7; PIECE]);
                assert_eq!(store.put_body(JobId::random(), 0, piece).await, Err(StoreError::Full));
            } else {
                assert_eq!(store.submit(job("small")).await, Ok(Submitted::Accepted(None)));
            }
        });
    }
    // Until they stand in line: all in one group, after that with which the clerk is busy.
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(release);
    tasks.join_all().await;
    assert_eq!(store.counts().await.unwrap().queued, 20);
    // The disk has room again.
    pages(&store, None).await;
    assert_eq!(store.put_body(JobId::random(), 0, vec![7; PIECE].into()).await, Ok(()));
}

#[tokio::test]
async fn a_full_disk_is_a_full_store_for_what_needs_room_alone() {
    let (_folder, store) = opened().await;
    let full = |_: &Desk| -> Outcome<()> {
        let error = ffi::Error { code: ErrorCode::DiskFull, extended_code: ffi::SQLITE_FULL };
        Err(Trouble::Failed(rusqlite::Error::SqliteFailure(error, None)))
    };
    assert_eq!(store.writing.ask_for_room(full).await, Err(StoreError::Full));
    assert!(matches!(store.writing.ask(full).await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.ping().await, Ok(()));
}

#[tokio::test]
async fn a_fault_of_the_program_ends_its_own_call_alone() {
    let (_folder, store) = opened().await;
    let panics = store.writing.ask::<(), _>(|_| panic!("a test"));
    assert!(matches!(panics.await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.submit(job("after it")).await, Ok(Submitted::Accepted(None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_keeps_nobody_waiting_and_what_nobody_waits_for_is_not_done() {
    let (_folder, store) = opened().await;
    let known = job("before");
    store.submit(known.clone()).await.unwrap();
    let release = occupied(&store);
    let late = job("meanwhile");
    assert!(matches!(store.submit(late.clone()).await, Err(StoreError::Unavailable(_))));
    assert!(store.status(known.id).await.unwrap().is_some(), "who only reads does not notice");
    drop(release);
    assert_eq!(store.submit(job("after")).await, Ok(Submitted::Accepted(None)));
    assert_eq!(store.status(late.id).await, Ok(None));
    assert_eq!(store.counts().await.unwrap().queued, 2);
}

#[tokio::test]
async fn a_database_that_another_has_locked_is_unavailable_until_it_is_free() {
    let (folder, store) = opened().await;
    let other = Connection::open(folder.path().join("store.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(store.submit(job("meanwhile")).await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.counts().await.unwrap().queued, 0);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.submit(job("after")).await, Ok(Submitted::Accepted(None)));
    assert_eq!(store.counts().await.unwrap().queued, 1);
}

#[tokio::test]
async fn what_was_erased_is_in_no_file_any_more() {
    let (folder, store) = opened().await;
    let is_found = || {
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        files.filter(|bytes| bytes.windows(9).any(|window| window == b"sk-secret")).count() > 0
    };
    store.submit(job("authorization: sk-secret")).await.unwrap();
    let lease = claimed(&store).await;
    assert!(is_found());
    let settle = Some(Settle::Completed { end: Bytes::new(), retention: HOUR });
    store.record(lease, Batch { head: Some("head".into()), settle, ..Batch::default() }).await.unwrap();
    while store.sweep().await.unwrap() {}
    assert!(!is_found());
}

#[tokio::test]
async fn no_query_is_planned_again_because_its_limit_is_another() {
    let (_folder, store) = opened().await;
    let planned_again = |desk: &Desk| -> Outcome<i32> {
        let mut query = desk.sql.prepare_cached("SELECT id FROM jobs WHERE kept_until <= ?1 LIMIT ?2")?;
        for limit in 1..9 {
            assert_eq!(query.query_map([limit, limit], |_| Ok(()))?.count(), 0);
        }
        Ok(query.get_status(StatementStatus::RePrepare))
    };
    assert_eq!(store.writing.ask(planned_again).await, Ok(0));
    assert_eq!(store.reading.ask(planned_again).await, Ok(0));
}

#[tokio::test]
async fn a_body_that_no_job_followed_is_dropped_after_its_time() {
    let (_folder, store) = opened().await;
    let (followed, abandoned) = (job("followed"), JobId::random());
    for id in [followed.id, abandoned] {
        store.put_body(id, 0, vec![7; PIECE].into()).await.unwrap();
        store.put_body(id, 1, "end".into()).await.unwrap();
    }
    let body = NewBody::Pieces { count: 2, length: PIECE as u64 + 3 };
    store.submit(NewJob { body: body.clone(), ..followed.clone() }).await.unwrap();
    while store.sweep().await.unwrap() {}
    let before = store.counts().await.unwrap().bytes;
    store.writing.ask(|desk| Ok(desk.run("UPDATE rolls SET put = 1 WHERE put IS NOT NULL", [])?)).await.unwrap();
    while store.sweep().await.unwrap() {}
    assert_eq!(store.counts().await.unwrap().bytes, before - PIECE as u64 - 3);
    assert_eq!(store.body(followed.id, 1).await, Ok(Some("end".into())));
    // Too late: a job whose body is not there is not taken.
    let late = NewJob { id: abandoned, body, ..job("late") };
    assert!(matches!(store.submit(late).await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.status(abandoned).await, Ok(None));
}

#[tokio::test]
async fn what_is_large_is_removed_bit_by_bit_and_the_file_becomes_small_again() {
    let (folder, store) = opened().await;
    let lease = match store.submit(NewJob { start: Start::Adopted, ..job("large") }).await {
        Ok(Submitted::Accepted(Some(lease))) => lease,
        other => panic!("{other:?}"),
    };
    let empty = store.counts().await.unwrap().bytes;
    for number in 0..24 {
        let data = vec![Bytes::from(vec![7; 1 << 20])];
        let batch = Batch { at: number << 20, data, ..Batch::default() };
        assert_eq!(store.record(lease, batch).await, Ok(Standing::Held));
    }
    assert_eq!(
        store.record(lease, Batch { settle: Some(Settle::HandedBack), ..Batch::default() }).await,
        Ok(Standing::Held)
    );
    assert_eq!(store.counts().await.unwrap().bytes, empty, "it counts no more");
    let pieces = async || {
        let count = |desk: &Desk| Ok(desk.find("SELECT count(*) FROM pieces", [], |row| row.get::<_, u32>(0))?);
        store.writing.ask(count).await.unwrap()
    };
    let before = pieces().await.unwrap();
    assert_eq!(store.sweep().await, Ok(true));
    let after = pieces().await.unwrap();
    assert!(after > 0 && after < before, "from {before} to {after}");
    while store.sweep().await.unwrap() {}
    assert_eq!(pieces().await, Some(0));
    let length = |name| fs::metadata(folder.path().join(name)).unwrap().len();
    assert!(length("store.db") < 20 << 20, "{}", length("store.db"));
    assert_eq!(length("store.db-wal"), 0);
}

#[tokio::test]
async fn a_job_whose_time_is_over_is_gone_before_it_is_swept() {
    let (_folder, store) = opened().await;
    let key = Idempotency { scope: [1; 32], fingerprint: [1; 32] };
    let keyed = || NewJob { idempotency: Some(key), ..job("keyed") };
    let first = keyed();
    store.submit(first.clone()).await.unwrap();
    let lease = claimed(&store).await;
    let settle = Some(Settle::Failed { error: "lost: a test".into(), retention: Duration::ZERO });
    store.record(lease, Batch { settle, ..Batch::default() }).await.unwrap();
    assert_eq!(store.counts().await.unwrap().failed, 1);
    assert_eq!(store.status(first.id).await, Ok(None));
    assert!(store.read(first.id, 0, PIECE).await.unwrap().is_none());
    assert_eq!(store.list(None, None, 9).await, Ok(vec![]));
    assert_eq!(store.retry(first.id).await, Ok(Retried::Unknown));
    assert_eq!(store.submit(keyed()).await, Ok(Submitted::Accepted(None)));
    assert_eq!(store.delete(first.id).await, Ok(false));
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.failed, counts.queued), (0, 1));
}

#[tokio::test]
async fn a_job_whose_process_ended_is_taken_over_at_once_but_only_the_first_time() {
    let limits = Limits { lease: HOUR, ..Limits::default() };
    let (folder, store) = opened().await;
    let id = job("interrupted");
    store.submit(id.clone()).await.unwrap();
    claimed(&store).await;
    store.close().await.unwrap();
    let store = folder.try_open(&limits).await.unwrap();
    let lease = claimed(&store).await;
    assert_eq!((lease.job, lease.execution), (id.id, ExecutionNo::new(2)));
    // Set too far ahead by a clock that has been set right in the meantime.
    store.writing.ask(|desk| Ok(desk.run("UPDATE jobs SET leased_until = leased_until * 2", [])?)).await.unwrap();
    store.close().await.unwrap();
    let store = folder.try_open(&limits).await.unwrap();
    let claims = store.claim(1).await.unwrap();
    assert_eq!((claims.jobs.len(), claims.taken_over), (0, 0));
    assert!(claims.next.unwrap() <= HOUR);
}
