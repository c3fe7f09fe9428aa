//! One new connection to an origin: DNS, TCP with happy eyeballs, a proxy perhaps, TLS.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_rustls::{DefaultServerNameResolver, HttpsConnector, ResolveServerName};
use rustls::pki_types::InvalidDnsNameError;
use rustls::{ClientConfig, RootCertStore};
use tower_service::Service;

use super::dial::{Dialer, ProxyError};
use super::failure::{ConnectStage, Failure};
#[cfg(test)]
use super::memory::Dial;
use super::resolve::{DnsError, Resolver};
use super::stages::{Stage, Stages};
use super::transport::Stream;
use super::{Http2, Origin, TransportSettings};
use crate::trust;

/// Opens connections to one origin.
#[derive(Debug)]
pub(super) enum Connector {
    Network(Network),
    /// Tests drive the engine over streams in memory, where time can stand still.
    #[cfg(test)]
    Memory(Memory),
}

/// What is to be spoken on a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speak {
    /// What `UPSTREAM_HTTP2` says.
    AsSet,
    /// HTTP/1.1, which alone can be left for another protocol.
    Http1,
}

/// Connections over the network.
pub(super) struct Network {
    dialer: Dialer,
    target: Uri,
    http2: Http2,
    /// ALPN offers what `UPSTREAM_HTTP2` says…
    tls: Arc<ClientConfig>,
    /// …or HTTP/1.1 alone. Both resume the same sessions.
    tls_http1: Arc<ClientConfig>,
    server_name: Arc<dyn ResolveServerName + Send + Sync>,
    stages: Stages,
}

impl Connector {
    /// A connector for an origin. Fails when TLS cannot be set up.
    pub(super) fn new(
        origin: &Origin,
        settings: &TransportSettings,
        resolver: Resolver,
        stages: Stages,
    ) -> Result<Self, rustls::Error> {
        let roots = Arc::new(if origin.is_https() { trusted_roots(settings) } else { RootCertStore::empty() });
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls_http1 = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&roots))
            .with_no_client_auth();
        stages.watch_certificates(&mut tls_http1, roots);
        tls_http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut tls = tls_http1.clone();
        match settings.http2 {
            Http2::Auto => tls.alpn_protocols.insert(0, b"h2".to_vec()),
            Http2::PriorKnowledge => tls.alpn_protocols = vec![b"h2".to_vec()],
            Http2::Off => {}
        }
        Ok(Self::Network(Network {
            dialer: Dialer::new(resolver, settings.proxy.clone(), stages.clone()),
            target: origin.uri(),
            http2: settings.http2,
            tls: Arc::new(tls),
            tls_http1: Arc::new(tls_http1),
            server_name: Arc::new(DefaultServerNameResolver::default()),
            stages,
        }))
    }

    /// Opens a connection, within `timeout`, and tells whether HTTP/2 is spoken on it. Dropping the future gives the connect
    /// up.
    pub(super) async fn connect(&self, timeout: Duration, speak: Speak) -> Result<(Stream, bool), Failure> {
        match self {
            Self::Network(network) => {
                let connect = tokio::time::timeout(timeout, network.connect(timeout, speak)).await;
                connect.unwrap_or(Err(Failure::ConnectTimeout(timeout)))
            }
            #[cfg(test)]
            Self::Memory(memory) => memory.connect(timeout, speak).await,
        }
    }
}

impl Network {
    async fn connect(&self, timeout: Duration, speak: Speak) -> Result<(Stream, bool), Failure> {
        let tls = if speak == Speak::AsSet { &self.tls } else { &self.tls_http1 };
        // Made anew for each connect, from parts that are shared: the time for each address depends on this call's.
        let dialer = self.dialer.within(timeout);
        let mut https = HttpsConnector::new(dialer, Arc::clone(tls), false, Arc::clone(&self.server_name));
        let stream = https.call(self.target.clone()).await.map_err(|error| classify(error, timeout))?;
        let stream = Stream::from(stream);
        self.stages.reached(|| {
            let tls = stream.tls()?;
            let cipher = tls.negotiated_cipher_suite().map(|suite| suite.suite());
            let alpn = tls.alpn_protocol().map(<[u8]>::to_vec);
            Some(Stage::Tls { version: tls.protocol_version(), cipher, alpn })
        });
        let is_http2 = speak == Speak::AsSet
            && match self.http2 {
                Http2::Auto => stream.has_negotiated_http2(),
                Http2::PriorKnowledge => true,
                Http2::Off => false,
            };
        Ok((stream, is_http2))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("target", &self.target).field("http2", &self.http2).finish_non_exhaustive()
    }
}

/// Which stage failed: the outermost that is named in the chain of causes.
fn classify(error: Box<dyn Error + Send + Sync>, timeout: Duration) -> Failure {
    // hyper-rustls wraps what a handshake fails with, whatever it is, in an io::Error, and passes on what the dialer says as
    // it is, which never is one. (io::Error hides what it wraps from source().)
    let is_of_handshake = error.downcast_ref::<io::Error>().is_some_and(|io| io.get_ref().is_some());
    let mut cause: Option<&(dyn Error + 'static)> = Some(error.as_ref());
    let mut stage = is_of_handshake.then_some(ConnectStage::Tls);
    while let Some(error) = cause {
        if error.is::<ProxyError>() {
            stage.get_or_insert(ConnectStage::Proxy);
        } else if error.is::<DnsError>() {
            stage.get_or_insert(ConnectStage::Dns);
        } else if error.is::<InvalidDnsNameError>() {
            stage.get_or_insert(ConnectStage::Tls);
        } else if let Some(io) = error.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::TimedOut {
                return Failure::ConnectTimeout(timeout);
            }
            if is_about_open_files(io) {
                stage = Some(ConnectStage::OpenFiles);
            }
        }
        cause = error.source();
    }
    Failure::Connect(stage.unwrap_or(ConnectStage::Tcp), error)
}

/// Whether this process, or the whole machine, may open no further file or socket.
fn is_about_open_files(error: &io::Error) -> bool {
    // The standard library has no name for them; these are the numbers of every Unix.
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Whom the process trusts, and the roots of `UPSTREAM_CA_FILE`.
fn trusted_roots(settings: &TransportSettings) -> RootCertStore {
    let mut roots = trust::roots();
    roots.add_parsable_certificates(settings.extra_roots.iter().cloned());
    roots
}

/// Connections over streams in memory.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Memory {
    dial: Dial,
    http2: std::sync::atomic::AtomicBool,
}

#[cfg(test)]
impl Connector {
    pub(super) fn dialling(settings: &TransportSettings, dial: Dial) -> Self {
        Self::Memory(Memory { dial, http2: (settings.http2 != Http2::Off).into() })
    }

    pub(super) fn negotiate_http2(&self, http2: bool) {
        if let Self::Memory(memory) = self {
            memory.http2.store(http2, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
impl Memory {
    async fn connect(&self, timeout: Duration, speak: Speak) -> Result<(Stream, bool), Failure> {
        let is_http2 = speak == Speak::AsSet && self.http2.load(std::sync::atomic::Ordering::Relaxed);
        match tokio::time::timeout(timeout, self.dial.connect()).await {
            Ok(Ok(stream)) => Ok((Stream::Memory(stream), is_http2)),
            Ok(Err(error)) => Err(Failure::Connect(ConnectStage::Tcp, error.into())),
            Err(_) => Err(Failure::ConnectTimeout(timeout)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_a_free_file_does_not_blame_the_upstream() {
        for (number, stage) in [(24, ConnectStage::OpenFiles), (23, ConnectStage::OpenFiles), (111, ConnectStage::Tcp)]
        {
            let failure = classify(io::Error::from_raw_os_error(number).into(), Duration::ZERO);
            assert!(matches!(failure, Failure::Connect(of, _) if of == stage), "{failure:?}");
            assert!(!failure.may_have_reached());
        }
    }
}
