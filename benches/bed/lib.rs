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
pub mod wire;

/// Which HTTP is spoken on a connection. HTTP/2 is spoken at once, without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, one exchange after the other.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}
