//! The task that reads an answer for all who share it, and keeps it when it is complete.
//!
//! It lives as long as somebody follows: with nobody left it is over, and the upstream's body with it, which ends the
//! attempt. It does not belong to the client whose request it was.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::Instant;

use super::entry::Entry;
use super::flight::{Flight, Outlook, Pushed};
use super::single_flight::Duty;
use crate::time::LazyDeadline;

/// How long one reader may take nothing of an answer that is too long to be kept while others wait for him.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells an answer to all who have a seat, to its end. Returns it whole if it may be kept.
///
/// Dropping the future breaks the answer off for all, with the duty.
pub(super) async fn pump<B>(duty: &Duty, mut body: B) -> Option<Entry>
where
    B: Body<Data = Bytes> + Unpin,
{
    let flight = &duty.flight;
    let mut patience = Patience::default();
    let mut has_ended = body.is_end_stream();
    if has_ended {
        flight.complete(HeaderMap::new());
    }
    while !has_ended {
        match poll_fn(|cx| poll_next(flight, &mut body, &mut patience, cx)).await {
            Next::Frame(frame) => match frame.into_data() {
                Ok(chunk) => {
                    has_ended = body.is_end_stream();
                    if flight.push(chunk, has_ended) == Pushed::Passed {
                        duty.close();
                    }
                }
                Err(frame) => {
                    flight.complete(frame.into_trailers().unwrap_or_default());
                    has_ended = true;
                }
            },
            Next::End => {
                flight.complete(HeaderMap::new());
                has_ended = true;
            }
            Next::Broken => {
                duty.close();
                flight.fail();
                return None;
            }
            Next::Abandoned => return None,
        }
    }
    // The connection is free for others while the answer is put away.
    drop(body);
    let (head, pieces, trailers) = flight.whole()?;
    Some(Entry::new(Arc::unwrap_or_clone(head), &pieces, trailers))
}

enum Next {
    Frame(Frame<Bytes>),
    End,
    Broken,
    Abandoned,
}

fn poll_next<B>(flight: &Flight, body: &mut B, patience: &mut Patience, cx: &mut Context<'_>) -> Poll<Next>
where
    B: Body<Data = Bytes> + Unpin,
{
    loop {
        match flight.look_around(cx) {
            Outlook::Abandoned => return Poll::Ready(Next::Abandoned),
            Outlook::Clear => {
                patience.clear();
                return Pin::new(body).poll_frame(cx).map(|frame| match frame {
                    Some(Ok(frame)) => Next::Frame(frame),
                    Some(Err(_)) => Next::Broken,
                    None => Next::End,
                });
            }
            Outlook::Full { slowest, is_waited_for } => {
                ready!(patience.poll_with(slowest, is_waited_for, cx));
                flight.leave_behind(slowest);
            }
        }
    }
}

/// For how long one has been waited for who takes nothing.
#[derive(Default)]
struct Patience {
    slowest: Option<u64>,
    clock: LazyDeadline,
}

impl Patience {
    fn clear(&mut self) {
        self.slowest = None;
        self.clock.clear();
    }

    /// Ready once the others have waited long enough for the one who is at this byte.
    fn poll_with(&mut self, slowest: u64, is_waited_for: bool, cx: &mut Context<'_>) -> Poll<()> {
        if !is_waited_for {
            // His own client has clocks of its own.
            self.clear();
            return Poll::Pending;
        }
        if self.slowest.replace(slowest) != Some(slowest) {
            self.clock.set(Instant::now() + PATIENCE);
        }
        self.clock.poll(cx).map(|()| self.clear())
    }
}
