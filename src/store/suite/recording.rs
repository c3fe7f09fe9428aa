//! A result is written: by whoever holds the lease, each byte once.

use super::fixture::*;
use crate::ids::ExecutionNo;
use crate::job::Status;
use crate::store::{Batch, Settle};

pub(crate) async fn what_is_recorded_can_be_read_before_it_is_complete<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let reader = beside(&place, &store, &limits).await;
    let lease = leased(&store, "followed").await;
    let empty = page(&reader, lease.job, 0).await;
    assert_eq!((empty.head, empty.length, empty.end), (None, 0, None));
    record(&store, lease, head("head")).await;
    let begun = page(&reader, lease.job, 0).await;
    assert_eq!((begun.head, begun.length, begun.end), (Some("head".into()), 0, None));
    let mut written = String::new();
    for text in ["one, ", "two, ", "", "three"] {
        record(&store, lease, data(written.len() as u64, text)).await;
        written.push_str(text);
        assert_eq!(content(&reader, lease.job, 0).await, written.as_bytes());
    }
    record(&store, lease, settle(completed(HOUR))).await;
    let whole = page(&reader, lease.job, 0).await;
    assert_eq!((whole.head, whole.length, whole.end), (Some("head".into()), 15, Some("end".into())));
    assert_eq!((whole.record.status, whole.record.executions), (Status::Completed, ExecutionNo::new(1)));
    assert_eq!(whole.data.concat(), b"one, two, three");
}

pub(crate) async fn a_recording_is_written_in_one_batch_as_well<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let lease = leased(&store, "short").await;
    let batch = Batch {
        head: Some("head".into()),
        at: 0,
        data: vec!["a".into(), "".into(), "bc".into()],
        settle: Some(completed(HOUR)),
    };
    record(&store, lease, batch).await;
    let page = page(&store, lease.job, 0).await;
    assert_eq!((page.head, page.length, page.end), (Some("head".into()), 3, Some("end".into())));
    assert_eq!(page.data.concat(), b"abc");
}

pub(crate) async fn a_batch_that_is_sent_again_is_written_once<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let lease = leased(&store, "doubled").await;
    let batches = [
        Batch { data: vec!["one ".into()], ..head("head") },
        data(4, "two "),
        Batch { data: vec!["th".into(), "ree".into()], at: 8, ..Batch::default() },
        Batch { settle: Some(completed(HOUR)), ..data(13, " end") },
    ];
    for batch in &batches {
        record(&store, lease, batch.clone()).await;
        let before = counts(&store).await;
        record(&store, lease, batch.clone()).await;
        assert_eq!(counts(&store).await, before);
    }
    let page = page(&store, lease.job, 0).await;
    assert_eq!((page.head, page.length, page.end), (Some("head".into()), 17, Some("end".into())));
    assert_eq!(page.data.concat(), b"one two three end");
}

pub(crate) async fn a_batch_that_would_leave_a_hole_is_not_written<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let lease = leased(&store, "gap").await;
    record(&store, lease, Batch { data: vec!["one".into()], ..head("head") }).await;
    refused(&store, lease, Batch { settle: Some(completed(HOUR)), ..data(4, "three") }).await;
    assert_eq!(status(&store, lease.job).await, Some(Status::Running));
    assert_eq!(content(&store, lease.job, 0).await, b"one");
    record(&store, lease, data(3, "two")).await;
    assert_eq!(content(&store, lease.job, 0).await, b"onetwo");
}

pub(crate) async fn a_settled_job_takes_no_more<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    for (end, status_then) in [
        (completed(HOUR), Status::Completed),
        (failed(HOUR), Status::Failed),
        (again(HOUR), Status::Running),
        (Settle::HandedBack, Status::Queued),
    ] {
        let lease = leased(&store, "settled").await;
        record(&store, lease, Batch { data: vec!["all".into()], ..head("head") }).await;
        record(&store, lease, settle(end)).await;
        let length = page(&store, lease.job, 0).await.length;
        refused(&store, lease, data(length, "more")).await;
        assert_eq!(store.renew(vec![lease]).await, Ok(vec![]));
        assert_eq!(page(&store, lease.job, 0).await.length, length);
        assert_eq!(status(&store, lease.job).await, Some(status_then));
    }
}

pub(crate) async fn a_lease_of_a_deleted_job_writes_nothing<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let empty = counts(&store).await;
    let lease = leased(&store, "deleted").await;
    record(&store, lease, head("head")).await;
    assert_eq!(store.delete(lease.job).await, Ok(true));
    refused(&store, lease, data(0, "late")).await;
    refused(&store, lease, Batch { settle: Some(completed(HOUR)), ..head("late") }).await;
    assert_eq!(store.renew(vec![lease]).await, Ok(vec![]));
    assert_eq!(store.status(lease.job).await, Ok(None));
    assert_eq!(counts(&store).await, empty);
}

pub(crate) async fn what_was_recorded_is_there_after_the_store_was_closed<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let lease = leased(&store, "kept").await;
    record(&store, lease, Batch { data: vec![pattern(0, 100_000)], ..head("head") }).await;
    record(&store, lease, Batch { settle: Some(completed(HOUR)), ..data(100_000, "!") }).await;
    let store = reopened(&place, store, &limits).await;
    let page = page(&store, lease.job, 100_000).await;
    assert_eq!((page.head, page.length, page.end), (Some("head".into()), 100_001, Some("end".into())));
    assert_eq!(page.data.concat(), b"!");
    assert_eq!(content(&store, lease.job, 0).await[..100_000], pattern(0, 100_000));
}
