//! What the clocks of an HTTP/2 connection let pass and what they end, in paused time.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::tests::{FOREVER, PREFACE, SETTINGS, connect, get, read_head};
use crate::edge::fixture::{HEADER_TIMEOUT, IDLE, WRITE_TIMEOUT, edge};
use crate::shutdown::Tasks;

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_taken_away_does_not_keep_its_connection_from_being_idle() {
    let (edge, mut upstream) = edge();
    let (stream, served) = connect(&edge);
    let (mut send, connection) =
        h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    Tasks::default().spawn(async {
        let _ = connection.await;
    });
    let hoarded = get(&mut send, "/hoarded");
    let mut stream = upstream.recv().await.unwrap();
    read_head(&mut stream).await;
    let start = Instant::now();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na beginning").await.unwrap();
    let _hoarded = hoarded.await.unwrap();
    let end = timeout(FOREVER, stream.read(&mut [0])).await.expect("the upstream is held for ever");
    assert_eq!(end.unwrap_or(0), 0);
    let took = start.elapsed();
    assert!(took >= WRITE_TIMEOUT && took <= WRITE_TIMEOUT * 2, "the upstream is let go after {took:?}");
    timeout(FOREVER, served.finished()).await.expect("the connection is held for ever");
    assert!(start.elapsed() <= took + IDLE + Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn frames_that_are_each_completed_in_time_have_no_clock_together() {
    let (edge, _upstream) = edge();
    let (mut stream, served) = connect(&edge);
    // A request that is answered at once, so that the first head has come; then PINGs, and each write ends within one.
    let block = [&[0x82, 0x86, 0x41, 1, b'a', 0x44, 8][..], b"/healthz"].concat();
    let request = [&[0, 0, 15, 1, 5, 0, 0, 0, 1][..], &block].concat();
    let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    stream.write_all(&[PREFACE, SETTINGS, &request, &ping[..5]].concat()).await.unwrap();
    for _ in 0..6 {
        sleep(HEADER_TIMEOUT / 2).await;
        stream.write_all(&[&ping[5..], &ping[..5]].concat()).await.unwrap();
    }
    assert!(!served.is_empty(), "the connection was closed");
    // The last one is never completed.
    timeout(HEADER_TIMEOUT + Duration::from_secs(3), served.finished()).await.expect("half a frame has no clock");
}
