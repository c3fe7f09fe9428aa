//! A response body while it passes: its idle clock, its last event, and a report of how it ended.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::answer::Breakage;
use crate::dialect::{Dialect, EventBoundary};
use crate::shutdown::Shutdown;
use crate::time::LazyDeadline;

/// How a response body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its last byte.
    Complete,
    /// The client went away, or stopped reading.
    ClientGone,
    /// Before its end; the client was told as well as its protocol allows.
    Broken(Breakage),
}

/// Hears how a body ended. Called once, also when the body is dropped.
pub trait Report {
    /// The body ended so, after so many bytes.
    fn ended(&mut self, end: End, bytes: u64);
}

/// What a body is watched for.
#[derive(Clone, Debug)]
pub struct Watch {
    /// `STREAM_IDLE_TIMEOUT_SECONDS`.
    pub idle: Option<Duration>,
    /// The client's dialect where a last event may be sent: a `text/event-stream` without `Content-Encoding` and
    /// `Content-Length`. Elsewhere the connection is cut.
    pub events: Option<Dialect>,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// The response ended before its end. As the error of a body it makes hyper cut the connection without the final
/// chunk, which is how a client can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenOff(pub Breakage);

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Error for BrokenOff {}

/// A clock that fires later than this was not polled when it was due: the client was not ready to read, and the time it
/// took is not the upstream's.
const UNATTENDED: Duration = Duration::from_secs(1);

/// A body on its way to the client.
pub struct Watched<B: Body<Data = Bytes>, R: Report> {
    /// None once the body has ended.
    body: Option<B>,
    watch: Watch,
    silence: LazyDeadline,
    boundary: EventBoundary,
    bytes: u64,
    report: R,
}

impl<B: Body<Data = Bytes>, R: Report> Watched<B, R> {
    /// Watches a body. `timer` is any that nobody else uses meanwhile.
    pub fn new(body: B, watch: Watch, mut timer: LazyDeadline, report: R) -> Self {
        // What it was set to is another's.
        timer.clear();
        let boundary = EventBoundary::default();
        Self { body: Some(body), watch, silence: timer, boundary, bytes: 0, report }
    }

    /// The timer, for whoever comes next. Without it the body is watched with one of its own.
    pub fn take_timer(&mut self) -> LazyDeadline {
        std::mem::take(&mut self.silence)
    }

    fn end(&mut self, end: End) {
        if self.body.take().is_some() {
            self.report.ended(end, self.bytes);
        }
    }

    /// Ends the response early: with a last event where the dialect has one and no event is torn, else with an error.
    fn break_off(&mut self, breakage: Breakage) -> Result<Frame<Bytes>, BrokenOff> {
        self.end(End::Broken(breakage));
        let dialect = self.watch.events.filter(|_| self.boundary.is_between_events());
        match dialect.and_then(|dialect| dialect.last_event(breakage.as_str(), breakage.message())) {
            Some(event) => Ok(Frame::data(event)),
            None => Err(BrokenOff(breakage)),
        }
    }

    /// Whether the upstream has been silent for too long.
    fn is_stalled(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(idle) = self.watch.idle else { return false };
        let due = if let Some(due) = self.silence.at() {
            due
        } else {
            let due = Instant::now() + idle;
            self.silence.set(due);
            due
        };
        if self.silence.poll(cx).is_pending() {
            return false;
        }
        if due.elapsed() < UNATTENDED {
            return true;
        }
        self.silence.set(Instant::now() + idle);
        self.silence.poll(cx).is_ready()
    }
}

impl<B, R> Body for Watched<B, R>
where
    B: Body<Data = Bytes> + Unpin,
    R: Report + Unpin,
{
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if this.watch.shutdown.is_cut() {
            return Poll::Ready(Some(this.break_off(Breakage::ShuttingDown)));
        }
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.silence.clear();
                if let Some(chunk) = frame.data_ref() {
                    this.bytes += chunk.len() as u64;
                    this.boundary.follow(chunk);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.end(End::Complete);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(this.break_off(Breakage::Broken))),
            Poll::Pending if this.is_stalled(cx) => Poll::Ready(Some(this.break_off(Breakage::Stalled))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body<Data = Bytes>, R: Report> Drop for Watched<B, R> {
    fn drop(&mut self) {
        // hyper drops a body of known length with its last byte, without asking for an end.
        let complete = self.body.as_ref().is_some_and(Body::is_end_stream);
        self.end(if complete { End::Complete } else { End::ClientGone });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http_body_util::{BodyExt, channel::Channel};

    use super::*;

    type Sent = http_body_util::channel::Sender<Bytes, BrokenOff>;
    type Passing = Watched<Channel<Bytes, BrokenOff>, Ends>;

    #[derive(Clone, Default)]
    struct Ends(Arc<Mutex<Vec<(End, u64)>>>);

    impl Report for Ends {
        fn ended(&mut self, end: End, bytes: u64) {
            self.0.lock().unwrap().push((end, bytes));
        }
    }

    fn watched(events: Option<Dialect>) -> (Sent, Passing, Ends) {
        let (sender, body) = Channel::new(4);
        let ends = Ends::default();
        let watch = Watch { idle: Some(Duration::from_secs(240)), events, shutdown: Shutdown::default() };
        (sender, Watched::new(body, watch, LazyDeadline::default(), ends.clone()), ends)
    }

    async fn next(body: &mut (impl Body<Data = Bytes, Error = BrokenOff> + Unpin)) -> Option<Result<Bytes, BrokenOff>> {
        Some(body.frame().await?.map(|frame| frame.into_data().unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn silence_of_the_upstream_ends_an_event_stream_with_the_dialects_last_event() {
        let (mut sender, mut body, ends) = watched(Some(Dialect::OpenAi));
        sender.send_data(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
        assert_eq!(next(&mut body).await, Some(Ok(Bytes::from_static(b"data: 1\n\n"))));
        let start = Instant::now();
        let last = next(&mut body).await.unwrap().unwrap();
        assert_eq!(start.elapsed().as_secs(), 240);
        assert!(last.starts_with(b"data: {\"error\":") && last.ends_with(b"\n\n"));
        assert_eq!(next(&mut body).await, None);
        assert_eq!(*ends.0.lock().unwrap(), [(End::Broken(Breakage::Stalled), 9)]);
    }

    #[tokio::test(start_paused = true)]
    async fn inside_an_event_and_without_a_dialect_the_response_is_cut() {
        for (events, chunk) in
            [(Some(Dialect::OpenAi), &b"data: 1"[..]), (Some(Dialect::Plain), b"x\n\n"), (None, b"x\n\n")]
        {
            let (mut sender, mut body, _) = watched(events);
            sender.send_data(Bytes::from_static(chunk)).await.unwrap();
            assert!(next(&mut body).await.unwrap().is_ok());
            assert_eq!(next(&mut body).await, Some(Err(BrokenOff(Breakage::Stalled))));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_client_did_not_read_is_not_the_upstreams() {
        let (mut sender, mut body, _) = watched(None);
        assert!(std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await.is_pending());
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert!(std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await.is_pending());
        sender.send_data(Bytes::from_static(b"x")).await.unwrap();
        assert!(next(&mut body).await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_broken_upstream_is_an_error_and_not_an_end() {
        let (sender, mut body, ends) = watched(None);
        sender.abort(BrokenOff(Breakage::Broken));
        assert_eq!(next(&mut body).await, Some(Err(BrokenOff(Breakage::Broken))));
        drop(body);
        assert_eq!(*ends.0.lock().unwrap(), [(End::Broken(Breakage::Broken), 0)]);
    }

    #[tokio::test]
    async fn a_body_that_is_dropped_early_reports_that_the_client_is_gone() {
        let (_sender, body, ends) = watched(None);
        drop(body);
        assert_eq!(*ends.0.lock().unwrap(), [(End::ClientGone, 0)]);
    }

    #[tokio::test]
    async fn a_cut_ends_what_is_under_way() {
        let (_sender, mut body, ends) = watched(Some(Dialect::Codex));
        body.watch.shutdown.cut();
        assert!(next(&mut body).await.unwrap().unwrap().starts_with(b"event: response.failed\n"));
        assert_eq!(next(&mut body).await, None);
        assert_eq!(*ends.0.lock().unwrap(), [(End::Broken(Breakage::ShuttingDown), 0)]);
    }
}
