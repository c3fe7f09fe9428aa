//! Answers that come before the end of their requests, in paused time.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::tests::{begin, client, read_head, text};
use crate::edge::fixture::edge_with;
use crate::routes::{Lane, Lanes};
use crate::shutdown::Tasks;
use crate::size::ByteSize;

/// Sends so much of a body, as the windows allow.
async fn send_all(mut body: SendStream<Bytes>, mut left: usize) -> Result<(), h2::Error> {
    while left > 0 {
        body.reserve_capacity(left);
        let Some(window) = poll_fn(|cx| body.poll_capacity(cx)).await else { return body_reset(&mut body).await };
        let length = window?.min(left);
        left -= length;
        body.send_data(Bytes::from(vec![7; length]), left == 0)?;
    }
    Ok(())
}

async fn body_reset(body: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    Err(poll_fn(|cx| body.poll_reset(cx)).await?.into())
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_end_of_the_request_is_not_followed_by_a_reset() {
    let lanes = [Lane::Race, Lane::Stream];
    for lane in lanes {
        let (edge, mut upstream) = edge_with(|settings| {
            settings.max_request_body = ByteSize::new(100_000);
            settings.lanes = Lanes::always(lane);
        });
        let (mut send, _ended) = client(&edge).await;
        let (response, body) = begin(&mut send, "/upload", false);
        let uploading = Tasks::default();
        let arrived = Arc::new(AtomicBool::new(false));
        let tell = Arc::clone(&arrived);
        uploading.spawn(async move {
            send_all(body, 3_000_000).await.unwrap();
            tell.store(true, Ordering::Relaxed);
        });
        let _upstream = match lane {
            Lane::Stream => {
                let mut stream = upstream.recv().await.unwrap();
                read_head(&mut stream).await;
                stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge").await.unwrap();
                Some(stream)
            }
            _ => None,
        };
        let response = response.await.unwrap();
        assert_eq!(response.status(), 413);
        assert!(text(response).await.unwrap().contains("large"));
        uploading.finished().await;
        assert!(arrived.load(Ordering::Relaxed), "the upload was reset");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_on_sending_behind_its_answer_is_stopped_in_the_end() {
    let (edge, _upstream) = edge_with(|settings| settings.max_request_body = ByteSize::new(100_000));
    let (mut send, _ended) = client(&edge).await;
    let (response, mut body) = begin(&mut send, "/upload", false);
    body.send_data(Bytes::from(vec![7; 60_000]), false).unwrap();
    sleep(Duration::from_secs(1)).await;
    body.send_data(Bytes::from(vec![7; 60_000]), false).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 413);
    let start = Instant::now();
    assert!(text(response).await.unwrap().contains("larger"));
    assert_eq!(poll_fn(|cx| body.poll_reset(cx)).await.unwrap(), Reason::NO_ERROR);
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}
