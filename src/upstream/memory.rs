//! Connections in memory, for tests: time can stand still there, and the test is the upstream.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep;

/// Whatever can stand for a socket.
pub(crate) trait MemoryStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> MemoryStream for S {}

type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn MemoryStream>>> + Send>>;

/// What a connect does. It may take its time, fail, or never end: the connector has its clock on it.
#[derive(Clone)]
pub(crate) struct Dial(Arc<dyn Fn() -> Dialling + Send + Sync>);

impl Dial {
    /// A connect that is this future.
    pub(crate) fn new<F, S>(dial: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: MemoryStream + 'static,
    {
        Self(Arc::new(move || {
            let dialling = dial();
            Box::pin(async move { Ok(Box::new(dialling.await?) as Box<dyn MemoryStream>) })
        }))
    }

    /// A connect that takes `delay`, and whoever receives the other ends.
    pub(super) fn to_channel(delay: Duration) -> (Self, UnboundedReceiver<DuplexStream>) {
        let (sender, receiver) = unbounded_channel();
        let dial = move || {
            let sender: UnboundedSender<DuplexStream> = sender.clone();
            async move {
                sleep(delay).await;
                let (ours, theirs) = tokio::io::duplex(64 * 1024);
                sender.send(theirs).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Ok(ours)
            }
        };
        (Self::new(dial), receiver)
    }

    /// Connects.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn MemoryStream>> {
        (self.0)().await
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dial")
    }
}
