//! What a writer promises, over a body in memory and in paused time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::channel::{Channel, Sender};
use tokio::time::{advance, sleep, timeout};

use super::{Unwritten, Writer};
use crate::job::StoredHead;
use crate::store::PIECE;
use crate::store::single::Single;

const HOUR: Duration = Duration::from_secs(3600);
/// Much longer than bytes are gathered, and than a lost answer is waited out.
const A_MOMENT: Duration = Duration::from_secs(1);

type Body = Channel<Bytes, std::io::Error>;

fn writer(store: &Arc<Single>, most: u64) -> Writer {
    let head = StoredHead { status: StatusCode::OK, headers: HeaderMap::new() };
    let lease = store.lease();
    Writer::new(Arc::clone(store) as _, lease, &head, most)
}

fn body() -> (Sender<Bytes, std::io::Error>, Body) {
    Channel::new(1)
}

async fn send(sender: &mut Sender<Bytes, std::io::Error>, data: &'static str) {
    sender.send_data(Bytes::from_static(data.as_bytes())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_written_together_and_nothing_waits_for_the_next_byte() {
    let store = Single::new();
    let (mut sender, body) = body();
    let upstream = async {
        sleep(A_MOMENT).await;
        assert!(store.has_head(), "a head waits for no body");
        for data in ["a", "b", "c"] {
            send(&mut sender, data).await;
        }
        sleep(A_MOMENT).await;
        assert_eq!(store.recorded(), (b"abc".to_vec(), false));
        send(&mut sender, "d").await;
        sleep(A_MOMENT).await;
        assert_eq!(store.recorded(), (b"abcd".to_vec(), false));
        let fields = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("1"))]);
        sender.send_trailers(fields).await.unwrap();
        drop(sender);
    };
    let (written, ()) = tokio::join!(writer(&store, 100).write(body, HOUR), upstream);
    assert!(written.is_ok(), "{written:?}");
    assert_eq!(store.recorded(), (b"abcd".to_vec(), true));
    assert_eq!(store.writes(), [(0, 0), (0, 3), (3, 1), (4, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_short_response_is_one_write_with_its_head_and_its_end() {
    let store = Single::new();
    let body = http_body_util::Full::new(Bytes::from_static(b"all of it"));
    writer(&store, 9).write(body, HOUR).await.unwrap();
    assert_eq!(store.recorded(), (b"all of it".to_vec(), true));
    assert_eq!(store.writes(), [(0, 9)]);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_sent_again_to_the_same_place() {
    let store = Single::new();
    let (mut sender, body) = body();
    let upstream = async {
        send(&mut sender, "first ").await;
        sleep(A_MOMENT).await;
        store.is_away_for(2);
        send(&mut sender, "second").await;
        sleep(A_MOMENT).await;
        store.is_away_for(1);
        drop(sender);
    };
    let (written, ()) = tokio::join!(writer(&store, 100).write(body, HOUR), upstream);
    assert!(written.is_ok(), "{written:?}");
    assert_eq!(store.recorded(), (b"first second".to_vec(), true));
    assert_eq!(store.writes(), [(0, 6), (6, 6), (6, 6), (6, 6), (12, 0), (12, 0)]);
}

#[tokio::test(start_paused = true)]
async fn while_a_write_takes_its_time_the_upstream_has_to_wait() {
    let store = Single::new();
    store.writes_take(HOUR);
    let (mut sender, body) = body();
    let mut sent = 0;
    let upstream = async {
        while timeout(A_MOMENT, sender.send_data(Bytes::from(vec![0; PIECE]))).await.is_ok() {
            sent += 1;
            assert!(sent < 100, "a slow store is no reason to keep everything");
        }
    };
    tokio::select! {
        written = writer(&store, u64::MAX).write(body, HOUR) => panic!("{written:?}"),
        () = upstream => {}
    }
    // One on its way into the store, four that wait, and one in the channel.
    assert_eq!(sent, 6);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_too_large_broken_or_anothers_is_not_completed() {
    let (store, text) = (Single::new(), Bytes::from_static(b"12345"));
    let written = writer(&store, 4).write(http_body_util::Full::new(text.clone()), HOUR).await;
    assert!(matches!(written, Err(Unwritten::TooLarge)), "{written:?}");

    let (mut sender, body) = body();
    let upstream = async move {
        send(&mut sender, "half").await;
        sender.abort(std::io::ErrorKind::ConnectionReset.into());
        advance(A_MOMENT).await;
    };
    let (written, ()) = tokio::join!(writer(&store, 100).write(body, HOUR), upstream);
    assert!(matches!(written, Err(Unwritten::Broken(_))), "{written:?}");

    store.has_taken_the_lease();
    let written = writer(&store, 100).write(http_body_util::Full::<Bytes>::new(text), HOUR).await;
    assert!(matches!(written, Err(Unwritten::Lost)), "{written:?}");
    assert!(!store.recorded().1);
}

#[tokio::test(start_paused = true)]
async fn a_body_without_a_byte_has_a_recording_too() {
    let store = Single::new();
    let body = http_body_util::Empty::<Bytes>::new();
    let written: Result<(), Unwritten> = writer(&store, 0).write(body, HOUR).await;
    assert!(written.is_ok(), "{written:?}");
    assert!(store.has_head());
    assert_eq!(store.recorded(), (Vec::new(), true));
}
