//! One connection to an upstream, with hyper's client on it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::failure::{ConnectStage, Failure};
use super::pool::Slot;
use super::sending::SendBody;
use super::transport::Stream;
use super::wire::{Gauge, Wire};
use crate::hearing::Ear;
use crate::shutdown::Tasks;

/// `MAX_HEADER_BYTES` is for clients; an upstream's head may be this long. The wire sees to the number of its fields.
pub(super) const MAX_HEAD_BYTES: usize = 256 * 1024;

/// A connection. Dropping it closes the socket, whatever is under way on it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<SendBody>,
    pub(super) gauge: Arc<Gauge>,
    /// When it is too old for another exchange.
    pub(super) expires: Instant,
    driver: AbortHandle,
}

impl Connection {
    /// Puts hyper's client on a stream and runs it in the background.
    ///
    /// The slot lives as long as the socket. This is the one place where hyper's defaults for upstreams are decided: limits
    /// of the head are ours, so is the room it may buffer in, and nothing is retried. `may_switch` allows another protocol
    /// to take the connection over.
    pub(super) async fn open(
        stream: Stream,
        slot: Slot,
        tasks: &Tasks,
        age: Duration,
        may_switch: bool,
    ) -> Result<Self, Failure> {
        let gauge = Gauge::new();
        let wire = TokioIo::new(Wire::new(stream, Arc::clone(&gauge), slot));
        let (sender, connection) = Builder::new()
            .max_header_size(MAX_HEAD_BYTES)
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake::<_, SendBody>(wire)
            .await
            .map_err(|error| Failure::Connect(ConnectStage::Tcp, error.into()))?;
        // Every request on it hears of its own end; there is nobody else to tell.
        let driver = if may_switch {
            tasks.spawn(Unheard::new(connection.with_upgrades()))
        } else {
            tasks.spawn(Unheard::new(connection))
        };
        Ok(Self { sender, gauge, expires: Instant::now() + age, driver })
    }

    /// Whether a request can be sent now.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until a request can be sent; false when that will never be.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }
}

/// A future of whose end nobody wants to hear. An async block around it would be twice as large.
struct Unheard<F> {
    future: F,
    ear: Ear,
}

impl<F> Unheard<F> {
    fn new(future: F) -> Self {
        Self { future, ear: Ear::default() }
    }
}

impl<F: Future + Unpin> Future for Unheard<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { future, ear } = self.get_mut();
        Pin::new(future).poll(&mut Context::from_waker(ear.of(cx.waker()))).map(drop)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
