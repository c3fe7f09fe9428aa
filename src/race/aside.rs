//! The look into a request: as it lies, or decoded aside on a thread that may take its time.

use http::Method;
use http::header::HeaderMap;
use tokio::sync::Semaphore;

use super::Expectation;
use super::coding::{decoded, is_coded};
use super::json::{Malformed, ObjectScanner, Said};
use super::look::{with_body, without_body};
use crate::body::Snapshot;

/// How many coded bodies are looked into at once. Each needs memory for what is decoded.
static ROOM: Semaphore = Semaphore::const_new(4);
/// So many bytes are read before others have their turn: 10 µs for pictures, and a millisecond for whatever is dearest.
const AT_ONCE: usize = 256 * 1024;

/// Which header deadline a request has (contract 3.3, "Which deadline"). A body in a coding that cannot be taken off is
/// given the time that it may need.
///
/// Cancel-safe: dropping the future drops the answer. A look that was begun aside goes on to its end.
pub async fn look(method: &Method, path: &str, headers: &HeaderMap, body: &Snapshot) -> Expectation {
    if let Some(expectation) = without_body(method, path, headers) {
        return expectation;
    }
    if !is_coded(headers) {
        return with_body(path, said(body).await.unwrap_or_default());
    }
    match said_aside(&ROOM, headers, body).await {
        Some(said) => with_body(path, said),
        None => Expectation::WholeAnswer,
    }
}

/// What a body says, read where it lies.
async fn said(body: &Snapshot) -> Result<Said, Malformed> {
    let mut scanner = ObjectScanner::default();
    let mut read = 0;
    for piece in body.pieces().iter().flat_map(|piece| piece.chunks(AT_ONCE)) {
        if read + piece.len() > AT_ONCE {
            tokio::task::yield_now().await;
            read = 0;
        }
        scanner.feed(piece)?;
        read += piece.len();
    }
    scanner.finish()
}

/// What a coded body says, however short it is: a few bytes may stand for as much as is decoded at most. None if it is
/// unreadable.
async fn said_aside(room: &'static Semaphore, headers: &HeaderMap, body: &Snapshot) -> Option<Said> {
    if body.is_empty() {
        return Some(Said::default());
    }
    // Nobody closes it.
    let room = room.acquire().await;
    let (headers, body) = (headers.clone(), body.clone());
    let read = move || {
        let _room = room;
        let whole = match body.pieces() {
            [only] => only.clone(),
            several => several.concat().into(),
        };
        let body = decoded(&headers, whole)?;
        let mut scanner = ObjectScanner::default();
        Some(scanner.feed(&body).and_then(|()| scanner.finish()).unwrap_or_default())
    };
    // An error means that the process is ending, or that a decoder broke.
    tokio::task::spawn_blocking(read).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::Full;

    use super::super::coding::tests as coding_tests;
    use super::*;
    use crate::body::{Collected, Limits, Quota};
    use crate::time::LazyDeadline;

    async fn snapshot(text: Vec<u8>) -> Snapshot {
        let quota: Arc<Quota> = Quota::new(1 << 30);
        let limits = Limits { max: 1 << 30, progress: Duration::from_secs(1) };
        let mut full = Full::new(Bytes::from(text));
        let collected = Snapshot::collect(&mut full, limits, &quota, &mut LazyDeadline::default()).await;
        let Ok(Collected::Whole(body)) = collected else { panic!() };
        body
    }

    fn question(padding: usize) -> Vec<u8> {
        format!(r#"{{"input":"{}","model":"m","stream":false}}"#, " ".repeat(padding)).into_bytes()
    }

    #[tokio::test]
    async fn a_look_into_a_long_body_lets_others_have_their_turn() {
        for (padding, turns) in [(0, 1), (AT_ONCE / 2, 1), (AT_ONCE, 2), (3 * AT_ONCE, 4)] {
            let body = snapshot(question(padding)).await;
            let mut said = pin!(said(&body));
            let mut cx = Context::from_waker(Waker::noop());
            let found = std::iter::repeat_with(|| said.as_mut().poll(&mut cx)).enumerate();
            let (pending, found) = found.take(turns).last().unwrap();
            assert_eq!(pending + 1, turns);
            assert_eq!(found, Poll::Ready(Ok(Said { stream: Some(false), has_model: true })), "{padding}");
        }
    }

    #[tokio::test]
    async fn coded_bodies_are_read_aside_where_there_is_room() {
        static ROOM: Semaphore = Semaphore::const_new(1);
        let (headers, body) = (coding_tests::header(&["gzip"]), coding_tests::encode("gzip", &question(100)));
        let body = snapshot(body).await;
        let taken = ROOM.acquire().await.unwrap();
        let mut found = pin!(said_aside(&ROOM, &headers, &body));
        assert!(found.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(taken);
        assert_eq!(found.await, Some(Said { stream: Some(false), has_model: true }));
        assert_eq!(said_aside(&ROOM, &headers, &snapshot(question(1)).await).await, None, "it is no gzip");
        assert_eq!(ROOM.available_permits(), 1, "room is given back");
    }
}
