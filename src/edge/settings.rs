//! What the edge is told by configuration.

use std::path::PathBuf;
use std::time::Duration;

use crate::headers::{Arrival, Forwarded, TrustedProxies};
use crate::routes::Hop;
use crate::size::ByteSize;

/// Section 3.4: what a client may do, and for how long it may do nothing.
#[derive(Clone, Debug)]
pub struct EdgeSettings {
    /// `CLIENT_HEADER_TIMEOUT_SECONDS`: the first request from accept to its complete head, later ones from their first byte.
    pub header_timeout: Duration,
    /// `CLIENT_BODY_TIMEOUT_SECONDS`: no progress of a request body.
    pub body_timeout: Duration,
    /// `CLIENT_WRITE_TIMEOUT_SECONDS`: a client that reads nothing while data waits.
    pub write_timeout: Duration,
    /// `CLIENT_IDLE_SECONDS`: between two requests.
    pub idle: Duration,
    /// `MAX_CLIENT_CONNECTIONS`: beyond it new connections wait in the backlog.
    pub max_connections: usize,
    /// `MAX_HEADER_BYTES`: a request head.
    pub max_header_bytes: ByteSize,
    /// `HEALTH_PATH`; none = not answered on the proxy listener.
    pub health_path: Option<String>,
    /// `TLS_CERT_FILE`, `TLS_KEY_FILE`; none = plain HTTP.
    pub tls: Option<TlsFiles>,
    /// `TRUSTED_PROXIES`.
    pub trusted_proxies: TrustedProxies,
    /// `FORWARDED_HEADERS` on the race and stream lanes.
    pub forwarded: Forwarded,
    /// `FORWARDED_HEADERS` for jobs, at submit.
    pub forwarded_jobs: Forwarded,
}

impl EdgeSettings {
    /// The hop that ends here, for a request that arrived so on the race or the stream lane.
    pub fn hop(&self, arrival: Arrival) -> Hop<'_> {
        Hop { arrival, forwarded: self.forwarded, trusted: &self.trusted_proxies }
    }

    /// The same for a request that becomes a job.
    pub fn job_hop(&self, arrival: Arrival) -> Hop<'_> {
        Hop { forwarded: self.forwarded_jobs, ..self.hop(arrival) }
    }
}

/// Where the certificate of the listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub cert: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}
