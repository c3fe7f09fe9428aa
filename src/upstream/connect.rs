//! One new connection to an origin: DNS, TCP with happy eyeballs, TLS.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_service::Service;

use super::failure::{ConnectStage, Failure};
use super::resolve::{DnsError, Resolver};
use super::{Origin, TransportSettings};

/// TCP keepalive of upstream connections: a peer that vanished without a word is noticed within minutes.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Opens connections to one origin.
#[derive(Clone, Debug)]
pub(super) enum Connector {
    Network {
        https: HttpsConnector<HttpConnector<Resolver>>,
        target: Uri,
    },
    /// Tests drive the engine over streams in memory, where time can stand still.
    #[cfg(test)]
    Memory(super::memory::Dial),
}

impl Connector {
    /// A connector for an origin. Fails when TLS cannot be set up.
    pub(super) fn new(
        origin: &Origin,
        settings: &TransportSettings,
        resolver: Resolver,
    ) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new_with_resolver(resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        let roots = if origin.is_https() { trusted_roots(settings) } else { RootCertStore::empty() };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Ok(Self::Network { https, target: origin.uri() })
    }

    /// Opens a connection, within `timeout`. Dropping the future gives the connect up.
    pub(super) async fn connect(&self, timeout: Duration) -> Result<Stream, Failure> {
        match self {
            Self::Network { https, target } => {
                let connect = https.clone().call(target.clone());
                match tokio::time::timeout(timeout, connect).await {
                    Ok(Ok(stream)) => Ok(Stream::from(stream)),
                    Ok(Err(error)) => Err(classify(error, timeout)),
                    Err(_) => Err(Failure::ConnectTimeout(timeout)),
                }
            }
            #[cfg(test)]
            Self::Memory(dial) => match tokio::time::timeout(timeout, dial.connect()).await {
                Ok(Ok(stream)) => Ok(Stream::Memory(stream)),
                Ok(Err(error)) => Err(Failure::Connect(ConnectStage::Tcp, error.into())),
                Err(_) => Err(Failure::ConnectTimeout(timeout)),
            },
        }
    }
}

fn classify(error: Box<dyn Error + Send + Sync>, timeout: Duration) -> Failure {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error.as_ref());
    let mut stage = ConnectStage::Tcp;
    while let Some(error) = cause {
        if error.is::<DnsError>() {
            stage = ConnectStage::Dns;
        } else if error.is::<rustls::Error>() {
            stage = ConnectStage::Tls;
        } else if let Some(io) = error.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::TimedOut {
                return Failure::ConnectTimeout(timeout);
            }
            // io::Error hides its inner error from source().
            if io.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>) {
                stage = ConnectStage::Tls;
            }
        }
        cause = error.source();
    }
    Failure::Connect(stage, error)
}

/// The system's roots (`SSL_CERT_FILE` honoured), Mozilla's where there are none, and those of `UPSTREAM_CA_FILE`.
fn trusted_roots(settings: &TransportSettings) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a trusted root of the system cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots.add_parsable_certificates(settings.extra_roots.iter().cloned());
    roots
}

type TlsStream = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// A connection to an upstream. Plain ones lose the layers that only TLS needs.
pub(super) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
    #[cfg(test)]
    Memory(Box<dyn super::memory::MemoryStream>),
}

impl From<MaybeHttpsStream<TokioIo<TcpStream>>> for Stream {
    fn from(stream: MaybeHttpsStream<TokioIo<TcpStream>>) -> Self {
        match stream {
            MaybeHttpsStream::Http(tcp) => Self::Tcp(tcp.into_inner()),
            tls @ MaybeHttpsStream::Https(_) => Self::Tls(Box::new(TokioIo::new(tls))),
        }
    }
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Tls(boxed) => {
                let $stream = boxed.as_mut();
                $call
            }
            #[cfg(test)]
            Stream::Memory($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            #[cfg(test)]
            Self::Memory(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
