//! The bed on which a proxy is measured: an upstream that answers from memory, clients that check every byte count, and
//! the proxy's process between them, on a core of its own.
//!
//! Upstream and clients share one thread, speak HTTP/1.1 and HTTP/2 (prior knowledge), and are written to cost little:
//! what they leave of their core decides how busy the proxy can be kept.

pub mod client;
pub mod cores;
pub mod exchange;
pub mod forebay;
pub mod process;
pub mod upstream;
pub mod usage;
pub mod wire;

use std::io;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

/// Runs a measurement on this thread. SIGINT and SIGTERM drop it, and with it the proxies that it started.
///
/// # Errors
///
/// Its own; that it was interrupted; that there is no runtime.
pub fn run<T>(measurement: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            outcome = measurement => outcome,
            _ = interrupt.recv() => Err(io::ErrorKind::Interrupted.into()),
            _ = terminate.recv() => Err(io::ErrorKind::Interrupted.into()),
        }
    })
}

/// Which HTTP is spoken on a connection. HTTP/2 is spoken at once, without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, one exchange after the other.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}
