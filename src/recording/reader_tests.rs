//! What a reader promises, over a store in memory and in paused time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};

use super::{Reader, Unread};
use crate::job::{StoredEnd, StoredHead};
use crate::store::single::Single;
use crate::store::{Batch, PIECE, Settle, Standing, Store};

async fn write(store: &Single, at: u64, data: &'static [u8], is_last: bool) {
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("1"))]);
    write_to(store, at, data, is_last.then_some(StoredEnd { trailers })).await;
}

async fn write_to(store: &Single, at: u64, data: &'static [u8], end: Option<StoredEnd>) {
    let head = StoredHead { status: StatusCode::OK, headers: HeaderMap::new() };
    let retention = Duration::from_secs(3600);
    let settle = end.map(|end| Settle::Completed { end: end.encode().into(), retention });
    let head = (at == 0).then(|| head.encode().into());
    let data = vec![Bytes::from_static(data)];
    assert_eq!(store.record(store.lease(), Batch { head, at, data, settle }).await, Ok(Standing::Held));
}

async fn open(store: &Arc<Single>, from: u64) -> Reader {
    let page = store.read(store.lease().job, from, PIECE).await.unwrap().unwrap();
    Reader::new(Arc::clone(store) as _, from, page).unwrap()
}

/// The next so many bytes, in whatever pieces they come.
async fn take(reader: &mut Reader, bytes: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    while taken.len() < bytes {
        taken.extend_from_slice(&reader.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_is_read_at_once_and_what_comes_then_as_it_comes() {
    let store = Single::new();
    write(&store, 0, b"0123456789", false).await;
    store.reads_at_most(3);
    let start = Instant::now();
    let mut reader = open(&store, 1).await;
    assert_eq!(take(&mut reader, 9).await, b"123456789");
    assert_eq!(start.elapsed(), Duration::ZERO, "what is there is not waited for");
    let writer = async {
        sleep(Duration::from_millis(10)).await;
        write(&store, 10, b"abcdefg", false).await;
    };
    let (read, ()) = tokio::join!(take(&mut reader, 7), writer);
    assert_eq!(read, b"abcdefg");
    assert_eq!(start.elapsed(), Duration::from_millis(10), "news is enough");
    write(&store, 17, b"end", true).await;
    let rest = reader.collect().await.unwrap();
    assert_eq!(rest.trailers().map(HeaderMap::len), Some(1));
    assert_eq!(rest.to_bytes(), "end");
}

#[tokio::test(start_paused = true)]
async fn a_complete_recording_has_a_length_and_ends_with_it() {
    let store = Single::new();
    write_to(&store, 0, b"0123456789", Some(StoredEnd::default())).await;
    store.reads_at_most(4);
    for from in [0, 3, 10] {
        let reader = open(&store, from).await;
        assert_eq!(http_body::Body::size_hint(&reader).exact(), Some(10 - from));
        let read = reader.collect().await.unwrap().to_bytes();
        assert_eq!(read, b"0123456789"[usize::try_from(from).unwrap()..]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_while_delays_and_one_that_stays_away_ends_it() {
    let store = Single::new();
    write(&store, 0, b"01", false).await;
    let mut reader = open(&store, 2).await;
    store.is_away_for(3);
    let writer = async {
        sleep(Duration::from_secs(10)).await;
        write(&store, 2, b"23", false).await;
    };
    let (read, ()) = tokio::join!(take(&mut reader, 2), writer);
    assert_eq!(read, b"23");
    store.is_away_for(u32::MAX);
    assert!(matches!(reader.frame().await, Some(Err(Unread::Store(_)))));
    assert!(reader.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn when_the_job_runs_again_its_readers_are_cut_and_never_spliced() {
    let store = Single::new();
    write(&store, 0, b"01", false).await;
    for begins_at_once in [false, true] {
        let mut reader = open(&store, 0).await;
        assert_eq!(take(&mut reader, 2).await, b"01");
        store.runs_again();
        if begins_at_once {
            write(&store, 0, b"01234", false).await;
        }
        store.tell();
        assert!(matches!(reader.frame().await, Some(Err(Unread::Over))));
        assert!(reader.frame().await.is_none());
        write(&store, 0, b"01", false).await;
    }
}
