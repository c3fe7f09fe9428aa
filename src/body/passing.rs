//! A request body that is sent as it comes, and so only once.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Instant;

use super::Beginning;
use crate::time::LazyDeadline;

/// A body that passes from the client to one upstream without being kept. Clones share it: whoever polls takes bytes
/// away from all others.
#[derive(Clone)]
pub struct Passing(Arc<Mutex<State>>);

/// Why a passing body ended before its end. It is the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFault {
    /// The client sent nothing for so long (`CLIENT_BODY_TIMEOUT_SECONDS`).
    Stalled(Duration),
    /// The body is malformed, or ended early.
    Broken,
}

impl fmt::Display for ClientFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stalled(_) => "the client stopped sending its request body",
            Self::Broken => "the client's request body broke off",
        })
    }
}

impl Error for ClientFault {}

struct State {
    /// Read already, in an attempt to keep the whole body.
    beginning: Beginning,
    /// None once it was left.
    rest: Option<UnsyncBoxBody<Bytes, ()>>,
    length: Option<u64>,
    progress: Duration,
    clock: LazyDeadline,
    is_touched: bool,
    has_ended: bool,
    fault: Option<ClientFault>,
}

impl Passing {
    /// A body of which nothing was read but `beginning`. `progress` is how long the client may send nothing.
    pub fn new<B>(beginning: Beginning, rest: B, progress: Duration) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let (is_touched, has_ended) = (!beginning.is_empty(), beginning.is_empty() && rest.is_end_stream());
        let length = rest.size_hint().exact().filter(|_| !is_touched);
        let (rest, clock) = (Some(rest.map_err(|_| ()).boxed_unsync()), LazyDeadline::default());
        Self(Arc::new(Mutex::new(State {
            beginning,
            rest,
            length,
            progress,
            clock,
            is_touched,
            has_ended,
            fault: None,
        })))
    }

    /// Its length in bytes, where the client announced it.
    pub fn length(&self) -> Option<u64> {
        self.state().length
    }

    /// Whether a byte of it was taken from the client: then the request cannot be sent again.
    pub fn is_touched(&self) -> bool {
        self.state().is_touched
    }

    /// Whether all of it was taken, or there never was any.
    pub fn has_ended(&self) -> bool {
        self.state().has_ended
    }

    /// What the client did wrong, if it did.
    pub fn fault(&self) -> Option<ClientFault> {
        self.state().fault
    }

    /// The next frame. None is the end, and an error is the client's; both stay so.
    pub fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        self.state().poll_frame(cx)
    }

    /// Lets go of what the client has not sent yet: nobody waits for it any more. To whoever still polls it stays pending,
    /// because an end would look like the end of the request.
    pub fn leave(&self) {
        let rest = self.state().rest.take();
        drop(rest);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        if let Some(fault) = self.fault {
            return Poll::Ready(Some(Err(fault)));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        if let Some(chunk) = self.beginning.next() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let Some(rest) = &mut self.rest else { return Poll::Pending };
        match Pin::new(&mut *rest).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.clock.clear();
                self.is_touched = true;
                self.has_ended = rest.is_end_stream();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(()))) => self.failed(ClientFault::Broken),
            Poll::Ready(None) => {
                self.has_ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                if self.clock.at().is_none() {
                    self.clock.set(Instant::now() + self.progress);
                }
                match self.clock.poll(cx) {
                    Poll::Ready(()) => self.failed(ClientFault::Stalled(self.progress)),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn failed(&mut self, fault: ClientFault) -> Poll<Option<Result<Frame<Bytes>, ClientFault>>> {
        self.fault = Some(fault);
        Poll::Ready(Some(Err(fault)))
    }
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Passing")
            .field("length", &state.length)
            .field("is_touched", &state.is_touched)
            .finish_non_exhaustive()
    }
}

/// The body of a request on its way to an upstream.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Kept whole: every attempt sends the same bytes.
    Kept(super::Snapshot),
    /// Sent as it comes, once.
    Passing(Passing),
}

impl Default for Payload {
    fn default() -> Self {
        Self::Kept(super::Snapshot::default())
    }
}

impl Payload {
    /// Whether another attempt can send it from its beginning.
    pub fn can_be_sent(&self) -> bool {
        match self {
            Self::Kept(_) => true,
            Self::Passing(passing) => !passing.is_touched(),
        }
    }

    /// Whether nothing of it is left with the client.
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Kept(_) => true,
            Self::Passing(passing) => passing.has_ended(),
        }
    }

    /// Lets go of what is left with the client.
    pub fn leave(&self) {
        if let Self::Passing(passing) = self {
            passing.leave();
        }
    }

    /// Whether HTTP/1.1 can frame it by chunks alone: its length is unknown, or something follows it.
    pub fn needs_chunks(&self) -> bool {
        match self {
            Self::Kept(snapshot) => snapshot.trailers().is_some(),
            Self::Passing(passing) => passing.length().is_none(),
        }
    }

    /// What the client did wrong while it passed, if it did.
    pub fn fault(&self) -> Option<ClientFault> {
        match self {
            Self::Kept(_) => None,
            Self::Passing(passing) => passing.fault(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::channel::Channel;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_touched_by_its_first_byte_and_ends_once() {
        let (mut sender, body) = Channel::<Bytes, ()>::new(2);
        let passing = Passing::new(Beginning::default(), body, Duration::from_secs(30));
        assert!(!passing.is_touched() && passing.length().is_none());
        sender.send_data(Bytes::from_static(b"x")).await.unwrap();
        let frame = poll_fn(|cx| passing.poll_frame(cx)).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "x");
        assert!(passing.is_touched());
        drop(sender);
        assert!(poll_fn(|cx| passing.poll_frame(cx)).await.is_none());
        assert!(poll_fn(|cx| passing.poll_frame(cx)).await.is_none() && passing.has_ended());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_left_is_let_go_and_never_looks_like_an_end() {
        let (mut sender, body) = Channel::<Bytes, ()>::new(2);
        let passing = Passing::new(Beginning::default(), body, Duration::from_secs(30));
        passing.leave();
        assert!(sender.send_data(Bytes::from_static(b"x")).await.is_err());
        assert!(tokio::time::timeout(Duration::from_secs(3600), poll_fn(|cx| passing.poll_frame(cx))).await.is_err());
        assert!(!passing.has_ended() && passing.fault().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_at_fault_after_its_time() {
        let (_sender, body) = Channel::<Bytes, ()>::new(2);
        let passing = Passing::new(Beginning::default(), body, Duration::from_secs(30));
        let start = Instant::now();
        let end = poll_fn(|cx| passing.poll_frame(cx)).await;
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(end.unwrap().unwrap_err(), ClientFault::Stalled(Duration::from_secs(30)));
        assert_eq!(passing.fault(), Some(ClientFault::Stalled(Duration::from_secs(30))));
        assert!(!passing.is_touched());
    }
}
