//! How an upstream is reached.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

/// Limits and trust of the connections to one upstream.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// `CONNECT_TIMEOUT_SECONDS`: DNS, TCP and TLS together.
    pub connect_timeout: Duration,
    /// `WRITE_TIMEOUT_SECONDS`: no progress while sending the request.
    pub write_timeout: Duration,
    /// `POOL_TIMEOUT_SECONDS`: waiting for a free connection.
    pub pool_timeout: Duration,
    /// `UPSTREAM_MAX_CONNECTIONS`.
    pub max_connections: usize,
    /// `UPSTREAM_IDLE_SECONDS`: how long an idle connection is kept.
    pub idle: Duration,
    /// `UPSTREAM_CA_FILE`: trusted beside the system's roots.
    pub extra_roots: Arc<Vec<CertificateDer<'static>>>,
}
