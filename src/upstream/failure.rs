//! Why one try ended without response headers.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::body::ClientFault;

/// A failure of one attempt: whose fault it was, and whether the upstream may have seen something of the request.
///
/// Everything before a *complete* response head is a failure; nothing after it is.
#[derive(Debug)]
pub enum Failure {
    /// No connection became free (`POOL_TIMEOUT_SECONDS`).
    PoolTimeout(Duration),
    /// No connection could be made in time (`CONNECT_TIMEOUT_SECONDS`).
    ConnectTimeout(Duration),
    /// No connection could be made.
    Connect(ConnectStage, Box<dyn Error + Send + Sync>),
    /// The upstream took nothing of the request for so long (`WRITE_TIMEOUT_SECONDS`).
    WriteTimeout(Duration),
    /// The request was written, and no complete head came before the header deadline.
    HeaderTimeout(Duration),
    /// The request body was sent as it came, and the client did not send all of it.
    Client(ClientFault),
    /// The connection ended, or what came on it was no response head.
    Broken(Breach, Trace, Box<dyn Error + Send + Sync>),
}

/// How far a connect came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectStage {
    /// The name did not resolve.
    Dns,
    /// The connection was refused, or its network is unreachable.
    Tcp,
    /// `OUTBOUND_PROXY` refused, or could not be reached.
    Proxy,
    /// The TLS handshake failed, the certificate above all.
    Tls,
    /// This process, or the whole machine, may open no further socket.
    OpenFiles,
}

/// How a connection failed that stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// It was closed.
    Closed,
    /// It was reset.
    Reset,
    /// What came was no response head.
    Malformed,
    /// The upstream said that it did not process the request: a refused stream, or one above GOAWAY's last id
    /// (RFC 9113 §8.7). Nor did it see a request that was never sent because of it.
    Unprocessed,
}

/// What one request left on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The connection was taken from the pool.
    pub reused: bool,
    /// Bytes of this request that were handed to the connection; on HTTP/2 without what frames them.
    pub written: u64,
    /// Bytes that came back. On HTTP/2, of a connection that others use too, only what ended the request counts.
    pub read: u64,
}

impl Failure {
    /// Whether a byte of the request may have reached the upstream: if not, any request may be repeated.
    pub fn may_have_reached(&self) -> bool {
        match self {
            Self::PoolTimeout(_) | Self::ConnectTimeout(_) | Self::Connect(..) => false,
            Self::WriteTimeout(_) | Self::HeaderTimeout(_) | Self::Client(_) => true,
            Self::Broken(breach, trace, _) => *breach != Breach::Unprocessed && trace.written > 0,
        }
    }

    /// Whether there was a connection, and it failed.
    pub fn had_connection(&self) -> bool {
        match self {
            Self::PoolTimeout(_) | Self::ConnectTimeout(_) | Self::Connect(..) => false,
            Self::WriteTimeout(_) | Self::HeaderTimeout(_) | Self::Client(_) | Self::Broken(..) => true,
        }
    }

    /// Whether a pooled connection simply was not there any more (RFC 9112 §9.3.1): it had been used before and ended
    /// without a single byte of response. A request that the upstream did not process is the same.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Broken(Breach::Closed | Breach::Reset, trace, _) => trace.reused && trace.read == 0,
            Self::Broken(Breach::Unprocessed, ..) => true,
            Self::Broken(Breach::Malformed, ..)
            | Self::PoolTimeout(_)
            | Self::ConnectTimeout(_)
            | Self::Connect(..)
            | Self::WriteTimeout(_)
            | Self::HeaderTimeout(_)
            | Self::Client(_) => false,
        }
    }

    /// One word for logs, timelines and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::PoolTimeout(_) => "pool_timeout",
            Self::ConnectTimeout(_) => "connect_timeout",
            Self::Connect(ConnectStage::Dns, _) => "dns",
            Self::Connect(ConnectStage::Tcp, _) => "refused",
            Self::Connect(ConnectStage::Proxy, _) => "proxy",
            Self::Connect(ConnectStage::Tls, _) => "tls",
            Self::Connect(ConnectStage::OpenFiles, _) => "open_files",
            Self::WriteTimeout(_) => "write_timeout",
            Self::HeaderTimeout(_) => "timeout",
            Self::Client(_) => "client",
            Self::Broken(Breach::Closed, ..) => "closed",
            Self::Broken(Breach::Reset, ..) => "reset",
            Self::Broken(Breach::Malformed, ..) => "malformed",
            Self::Broken(Breach::Unprocessed, ..) => "refused_stream",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())?;
        let mut cause: Option<&(dyn Error + 'static)> = match self {
            Self::Connect(_, source) | Self::Broken(_, _, source) => Some(source.as_ref()),
            Self::Client(fault) => Some(fault),
            Self::PoolTimeout(_) | Self::ConnectTimeout(_) | Self::WriteTimeout(_) | Self::HeaderTimeout(_) => None,
        };
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(breach: Breach, reused: bool, written: u64, read: u64) -> Failure {
        Failure::Broken(breach, Trace { reused, written, read }, "x".into())
    }

    #[test]
    fn only_a_reused_connection_that_died_unread_is_stale() {
        assert!(broken(Breach::Closed, true, 10, 0).is_stale());
        assert!(broken(Breach::Reset, true, 0, 0).is_stale());
        for failure in [
            broken(Breach::Closed, false, 10, 0),
            broken(Breach::Reset, true, 10, 1),
            broken(Breach::Malformed, true, 10, 0),
            Failure::HeaderTimeout(Duration::ZERO),
            Failure::Client(ClientFault::Broken),
        ] {
            assert!(!failure.is_stale(), "{failure:?}");
        }
    }

    #[test]
    fn what_the_upstream_did_not_process_is_replaced_and_reached_nobody_however_much_was_written() {
        for reused in [false, true] {
            let failure = broken(Breach::Unprocessed, reused, 10, 13);
            assert!(failure.is_stale() && !failure.may_have_reached() && failure.had_connection());
        }
    }

    #[test]
    fn a_connect_that_failed_reached_nobody() {
        for failure in [
            Failure::PoolTimeout(Duration::ZERO),
            Failure::ConnectTimeout(Duration::ZERO),
            Failure::Connect(ConnectStage::Tls, "x".into()),
            broken(Breach::Closed, true, 0, 0),
        ] {
            assert!(!failure.may_have_reached(), "{failure:?}");
        }
        for failure in [
            Failure::WriteTimeout(Duration::ZERO),
            Failure::HeaderTimeout(Duration::ZERO),
            broken(Breach::Closed, false, 1, 0),
        ] {
            assert!(failure.may_have_reached(), "{failure:?}");
        }
    }
}
