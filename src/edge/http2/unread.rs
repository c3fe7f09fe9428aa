//! What is left of a request that was answered before its end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::time::LazyDeadline;

/// So long it is read. After that a client that is still sending has its stream reset.
const LINGER: Duration = Duration::from_secs(2);

/// The rest of a request, read and dropped.
pub(super) struct Unread {
    /// None once it has ended, or took too long.
    rest: Option<Incoming>,
    patience: LazyDeadline,
}

impl Unread {
    pub(super) fn new(rest: Incoming) -> Self {
        let mut patience = LazyDeadline::default();
        patience.set(Instant::now() + LINGER);
        Self { rest: Some(rest), patience }
    }

    /// Reads what is there; ready when nothing more is read.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(rest) = &mut self.rest {
            match Pin::new(rest).poll_frame(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => self.rest = None,
                Poll::Pending if self.patience.poll(cx).is_ready() => self.rest = None,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}
