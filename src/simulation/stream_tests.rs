//! The streams are as bad as they say.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::journal::{Journal, Side};
use super::stream::{Stream, Wire, pair};

const LATENCY: Duration = Duration::from_millis(40);
const WIRE: Wire = Wire { room: 10, latency: LATENCY, slice: 3, resets_lose: true };

fn ends(wire: Wire) -> (Stream, Stream) {
    pair(wire, &Journal::new(), [Side::Client(0), Side::ProxyToClient(0)])
}

#[tokio::test(start_paused = true)]
async fn bytes_are_on_their_way_for_the_latency_and_come_in_slices() {
    let (mut one, mut other) = ends(WIRE);
    let start = Instant::now();
    one.write_all(b"12345").await.unwrap();
    let mut buf = [0; 10];
    assert_eq!(other.read(&mut buf).await.unwrap(), 3);
    assert_eq!(other.read(&mut buf).await.unwrap(), 2);
    assert_eq!(start.elapsed(), LATENCY);
    drop(one);
    assert_eq!(other.read(&mut buf).await.unwrap(), 0);
    assert_eq!(start.elapsed(), LATENCY * 2);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_room_is_on_its_way() {
    let (mut one, mut other) = ends(WIRE);
    let written = tokio::spawn(async move { one.write_all(&[7; 20]).await });
    sleep(Duration::from_secs(1)).await;
    assert!(!written.is_finished());
    other.read_exact(&mut [0; 20]).await.unwrap();
    written.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_with_unread_bytes_resets_and_the_reset_takes_along_what_came_before() {
    for resets_lose in [true, false] {
        let (mut one, mut other) = ends(Wire { resets_lose, ..WIRE });
        one.write_all(b"ask").await.unwrap();
        other.write_all(b"ans").await.unwrap();
        drop(other);
        sleep(LATENCY).await;
        let mut buf = [0; 10];
        if !resets_lose {
            assert_eq!(one.read(&mut buf).await.unwrap(), 3);
        }
        assert_eq!(one.read(&mut buf).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(one.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_to_somebody_who_has_left_resets() {
    let (mut one, mut other) = ends(WIRE);
    other.write_all(b"ans").await.unwrap();
    drop(other);
    one.write_all(b"ask").await.expect("it cannot know yet");
    sleep(LATENCY).await;
    assert_eq!(one.read(&mut [0; 10]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_known_when_it_has_arrived() {
    let (one, mut other) = ends(WIRE);
    let handle = one.handle();
    let start = Instant::now();
    let known = tokio::spawn(async move { handle.ended().await });
    sleep(Duration::from_secs(1)).await;
    other.shutdown().await.unwrap();
    known.await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(1) + LATENCY);
}
