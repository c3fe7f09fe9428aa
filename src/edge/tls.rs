//! HTTPS for clients: a certificate that is read again when its files change.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::TlsFiles;
use super::certificate::{self, Unusable};
use super::validity;
use crate::shutdown::Shutdown;

/// How often the files are looked at. Two calls of stat: cheap enough to follow a renewal within moments.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why the listener cannot serve TLS. Never contains anything of the key.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// The files hold nothing that can be used.
    Unusable(Unusable),
    /// TLS itself cannot be set up.
    Setup(rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => write!(f, "{} cannot be read: {error}", path.display()),
            Self::Unusable(unusable) => write!(f, "{unusable}"),
            Self::Setup(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for TlsError {}

/// What the client chose (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpn {
    Http2,
    Http1,
    /// It did not say.
    None,
}

/// The TLS side of the listener.
pub struct Tls {
    files: TlsFiles,
    certificate: Arc<Certificate>,
    acceptor: TlsAcceptor,
}

/// The certificate in force.
#[derive(Debug)]
struct Certificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// What tells one version of a file from another without reading it.
type Version = Option<(u64, i64, i64, u64)>;

impl Tls {
    /// Reads the files. Fails when they cannot be used.
    pub fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let certificate = Arc::new(Certificate(RwLock::new(Arc::new(read(&files)?))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Tickets, so that sessions are resumed without memory per client. No early data: it can be replayed.
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Setup)?;
        Ok(Arc::new(Self { files, certificate, acceptor: TlsAcceptor::from(Arc::new(config)) }))
    }

    /// Until when the certificate in force is valid, in seconds since 1970.
    pub fn expires(&self) -> Option<i64> {
        let certified = self.certificate.0.read().unwrap_or_else(PoisonError::into_inner);
        validity::not_after(certified.cert.first()?)
    }

    /// The handshake. Has no clock of its own.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<(TlsStream<S>, Alpn)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(stream).await?;
        let alpn = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Alpn::Http2,
            Some(_) => Alpn::Http1,
            None => Alpn::None,
        };
        Ok((stream, alpn))
    }

    /// Follows the files until the process drains. What is new and cannot be used changes nothing, and is logged once.
    pub async fn watch(self: Arc<Self>, shutdown: Shutdown) {
        let mut draining = std::pin::pin!(shutdown.draining());
        let mut seen = self.versions();
        while tokio::time::timeout(LOOK_EVERY, draining.as_mut()).await.is_err() {
            let now = self.versions();
            if now == seen {
                continue;
            }
            seen = now;
            match read(&self.files) {
                Ok(key) => {
                    *self.certificate.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                    tracing::info!("the TLS certificate was read again");
                }
                Err(error) => {
                    tracing::warn!(%error, "the new TLS certificate cannot be used, the old one stays in force");
                }
            }
        }
    }

    fn versions(&self) -> [Version; 2] {
        [&self.files.cert, &self.files.key].map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let contents = |path: &Path| fs::read(path).map_err(|error| TlsError::Unreadable(path.to_owned(), error));
    let (cert, key) = (contents(&files.cert)?, contents(&files.key)?);
    let certified = certificate::chain(&cert)
        .and_then(|chain| certificate::private_key(&key).map(|key| (chain, key)))
        .and_then(|(chain, key)| certificate::certified(chain, key));
    certified.map_err(TlsError::Unusable)
}
