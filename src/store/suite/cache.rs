//! Answers are kept for a while, if there is room.

use super::fixture::*;
use crate::size::ByteSize;

pub(crate) async fn an_entry_is_there_under_its_own_key<P: Place>() {
    let limits = Limits::default();
    let (place, store) = opened::<P>(&limits).await;
    let other = beside(&place, &store, &limits).await;
    assert_eq!(store.cached([1; 32]).await, Ok(None));
    store.cache([1; 32], pattern(0, 100_000), HOUR).await.unwrap();
    store.cache([2; 32], "two".into(), HOUR).await.unwrap();
    assert_eq!(other.cached([1; 32]).await, Ok(Some(pattern(0, 100_000))));
    assert_eq!(other.cached([2; 32]).await, Ok(Some("two".into())));
    assert_eq!(other.cached([3; 32]).await, Ok(None));
}

pub(crate) async fn an_entry_replaces_the_one_before_it<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    store.cache([1; 32], "old one".into(), HOUR).await.unwrap();
    let before = counts(&store).await.bytes;
    store.cache([1; 32], "new one".into(), HOUR).await.unwrap();
    assert_eq!(store.cached([1; 32]).await, Ok(Some("new one".into())));
    assert_eq!(counts(&store).await.bytes, before);
}

pub(crate) async fn an_entry_is_gone_when_its_time_is_over<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let empty = counts(&store).await.bytes;
    store.cache([1; 32], "brief".into(), SHORT).await.unwrap();
    store.cache([2; 32], "long".into(), HOUR).await.unwrap();
    eventually(async || store.cached([1; 32]).await.unwrap().is_none().then_some(())).await;
    swept(&store).await;
    assert_eq!(store.cached([2; 32]).await, Ok(Some("long".into())));
    assert!(counts(&store).await.bytes > empty);
}

pub(crate) async fn an_entry_that_has_no_room_is_dropped<P: Place>() {
    let (_place, store) = opened::<P>(&Limits { max_bytes: ByteSize::new(100_000), ..Limits::default() }).await;
    store.cache([1; 32], pattern(0, 1000), HOUR).await.unwrap();
    assert_eq!(store.cache([2; 32], pattern(0, 100_000), HOUR).await, Ok(()));
    assert_eq!(store.cached([2; 32]).await, Ok(None));
    assert!(counts(&store).await.bytes <= 100_000);
    submit(&store, job("still")).await;
}
