//! How an upstream is reached.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::OutboundProxy;

/// Limits and trust of the connections to one upstream. Routes whose origin, roots and proxy are the same share a pool.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// `UPSTREAM_HTTP2`.
    pub http2: Http2,
    /// `UPSTREAM_MAX_CONNECTIONS`.
    pub max_connections: usize,
    /// `UPSTREAM_IDLE_SECONDS`: how long an idle connection is kept.
    pub idle: Duration,
    /// `UPSTREAM_CA_FILE`: trusted beside the system's roots.
    pub extra_roots: Arc<Vec<CertificateDer<'static>>>,
    /// `OUTBOUND_PROXY`, or what the environment's variables say for this upstream; none = directly.
    pub proxy: Option<OutboundProxy>,
}

/// `UPSTREAM_HTTP2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2 {
    /// As ALPN says on https, never on http.
    Auto,
    /// Never.
    Off,
    /// Always, without asking (RFC 9113 §3.3).
    PriorKnowledge,
}

/// How long one attempt may take on its way to a written request. Each counts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `POOL_TIMEOUT_SECONDS`: waiting for a free connection.
    pub pool: Duration,
    /// `CONNECT_TIMEOUT_SECONDS`: DNS, TCP, proxy and TLS together.
    pub connect: Duration,
    /// `WRITE_TIMEOUT_SECONDS`: no progress while sending the request.
    pub write: Duration,
}

#[cfg(test)]
impl TransportSettings {
    /// What most tests want: HTTP/1, directly.
    pub(crate) fn for_tests(max_connections: usize) -> Self {
        Self {
            http2: Http2::Off,
            max_connections,
            idle: Duration::from_secs(60),
            extra_roots: Arc::default(),
            proxy: None,
        }
    }
}

#[cfg(test)]
impl Timeouts {
    /// The defaults of the contract.
    pub(crate) fn for_tests() -> Self {
        Self { pool: Duration::from_secs(10), connect: Duration::from_secs(10), write: Duration::from_secs(30) }
    }
}
