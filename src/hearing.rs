//! Wake-ups that would be for nothing.
//!
//! hyper's channel for a body wakes the connection that fills it whenever a chunk is taken out, be it the last one. So each
//! message of known length would have its connection polled once more, with all that is under way on it, to find that there
//! is nothing to do. Here a connection is polled with a waker of ours, an [`Ear`], which is deaf while this very thread
//! takes the last chunk.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;

/// Whether wake-ups that come from this thread are heard.
enum Hearing {
    Heard,
    Unheard,
    /// This one was woken, and has not heard of it.
    Missed(Waker),
}

thread_local! {
    static HEARING: RefCell<Hearing> = const { RefCell::new(Hearing::Heard) };
}

/// The waker with which a connection is polled that fills bodies. It wakes the task; while [`poll_frame`] takes the last chunk
/// of a body it does not.
#[derive(Debug, Default)]
pub struct Ear(Option<(Waker, Waker)>);

impl Ear {
    /// The ear of this task.
    pub fn of(&mut self, task: &Waker) -> &Waker {
        if self.0.as_ref().is_some_and(|(known, _)| !known.will_wake(task)) {
            self.0 = None;
        }
        &self.0.get_or_insert_with(|| (task.clone(), Arc::new(Deaf(task.clone())).into())).1
    }
}

/// A task that need not hear everything.
struct Deaf(Waker);

impl Wake for Deaf {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let is_heard = HEARING.try_with(|hearing| match &mut *hearing.borrow_mut() {
            Hearing::Heard => true,
            missed => {
                *missed = Hearing::Missed(self.0.clone());
                false
            }
        });
        if is_heard.unwrap_or(true) {
            self.0.wake_by_ref();
        }
    }
}

/// The next frame of a body. Whoever fills it is woken, unless it has all its bytes.
pub fn poll_frame(
    mut body: Pin<&mut Incoming>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    // Where the length is not known nobody knows which chunk is the last.
    if body.size_hint().exact().is_none() {
        return body.poll_frame(cx);
    }
    let _ = HEARING.try_with(|hearing| hearing.replace(Hearing::Unheard));
    let frame = body.as_mut().poll_frame(cx);
    let before = HEARING.try_with(|hearing| hearing.replace(Hearing::Heard));
    if let Ok(Hearing::Missed(sender)) = before
        && !body.is_end_stream()
    {
        sender.wake();
    }
    frame
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use http::{Request, Response};
    use http_body_util::Empty;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// How often the connection was woken by who took the chunks of a request's body: none of them, one, and so on.
    async fn wakes(request: &'static str, chunks: usize) -> Vec<usize> {
        let (mut client, server) = tokio::io::duplex(1024);
        let incoming = Arc::new(Mutex::new(None));
        let service = service_fn(|request: Request<Incoming>| {
            *incoming.lock().unwrap() = Some(request.into_body());
            std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
        });
        let mut connection = std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(server), service));
        client.write_all(request.as_bytes()).await.unwrap();
        let woken = Arc::<Woken>::default();
        let task = Waker::from(Arc::clone(&woken));
        let mut ear = Ear::default();
        let mut counts = Vec::new();
        for _ in 0..chunks {
            assert!(connection.as_mut().poll(&mut Context::from_waker(ear.of(&task))).is_pending());
            let before = woken.0.load(Relaxed);
            let mut body = incoming.lock().unwrap().take().unwrap();
            poll_fn(|cx| poll_frame(Pin::new(&mut body), cx)).await.unwrap().unwrap();
            *incoming.lock().unwrap() = Some(body);
            counts.push(woken.0.load(Relaxed) - before);
        }
        counts
    }

    #[tokio::test]
    async fn who_fills_a_body_is_not_woken_for_its_last_chunk() {
        assert_eq!(wakes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 1).await, [0]);
    }

    #[tokio::test]
    async fn who_has_more_to_give_is_woken_for_each_chunk() {
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(wakes(chunked, 2).await, [1, 1]);
        assert_eq!(wakes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nhello", 1).await, [1]);
    }

    #[test]
    fn a_task_has_one_ear() {
        let (one, other) = (Waker::from(Arc::<Woken>::default()), Waker::from(Arc::<Woken>::default()));
        let mut ear = Ear::default();
        let first = ear.of(&one).clone();
        assert!(ear.of(&one).will_wake(&first));
        assert!(!ear.of(&other).will_wake(&first));
    }
}
