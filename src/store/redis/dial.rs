//! One new connection to a server: TCP or a socket of this machine, TLS perhaps, and the greeting.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::failure::Failure;
use super::url::{Credentials, Endpoint, RedisUrl};

/// After this long without a byte, the system asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Opens connections.
pub(super) struct Dialer {
    tls: Option<TlsConnector>,
    credentials: Option<Credentials>,
    database: i64,
}

/// Where to.
#[derive(Clone, Copy, Debug)]
pub(super) enum To<'a> {
    Server(&'a Endpoint),
    Socket(&'a Path),
    /// A Sentinel has no databases, and often no password although its servers have one.
    Sentinel(&'a Endpoint, WithPassword),
}

/// Whether to tell a Sentinel the password of the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WithPassword {
    Yes,
    No,
}

/// A connection, to which commands are given.
pub(super) struct Dialled {
    pub(super) connection: MultiplexedConnection,
    /// Moves its bytes, and ends when it does. Dropped, it closes the connection.
    pub(super) driver: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Hears what a server says without being asked.
pub(super) type Listener = Arc<dyn AsyncPushSender>;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Dialer {
    /// For the servers of this URL. Fails when TLS cannot be set up.
    pub(super) fn new(url: &RedisUrl, roots: impl FnOnce() -> RootCertStore) -> Result<Self, rustls::Error> {
        let tls = if url.is_tls { Some(TlsConnector::from(Arc::new(tls(roots())?))) } else { None };
        Ok(Self { tls, credentials: url.credentials.clone(), database: url.database })
    }

    /// Connects. What the server pushes goes to the listener; only a connection that has one speaks RESP3. Has no time
    /// limit of its own. Cancel-safe.
    pub(super) async fn dial(&self, to: To<'_>, listener: Option<Listener>) -> Result<Dialled, Failure> {
        let at_place = |error: io::Error| Failure::Gone(format!("{to}: {error}"));
        let stream: Box<dyn Stream> = match to {
            To::Server(endpoint) | To::Sentinel(endpoint, _) => self.over_network(endpoint).await.map_err(at_place)?,
            To::Socket(path) => Box::new(UnixStream::connect(path).await.map_err(at_place)?),
        };
        let mut greeting = RedisConnectionInfo::default().set_lib_name("forebay", env!("CARGO_PKG_VERSION"));
        let (credentials, database) = match to {
            To::Sentinel(_, WithPassword::No) => (None, 0),
            To::Sentinel(_, WithPassword::Yes) => (self.credentials.as_ref(), 0),
            To::Server(_) | To::Socket(_) => (self.credentials.as_ref(), self.database),
        };
        greeting = greeting.set_db(database);
        if let Some(Credentials { user, password }) = credentials {
            if let Some(user) = user {
                greeting = greeting.set_username(user);
            }
            greeting = greeting.set_password(password.as_ref().map_or("", |password| password.expose()));
        }
        // Who waits for an answer has a clock of his own.
        let mut config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        if let Some(listener) = listener {
            greeting = greeting.set_protocol(ProtocolVersion::RESP3);
            config = config.set_push_sender(listener);
        }
        let connected = MultiplexedConnection::new_with_config(&greeting, stream, config).await;
        let (connection, driver) = connected.map_err(|error| Failure::Gone(format!("{to}: {error}")))?;
        Ok(Dialled { connection, driver: Box::pin(driver) })
    }

    async fn over_network(&self, endpoint: &Endpoint) -> io::Result<Box<dyn Stream>> {
        let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        tcp.set_nodelay(true)?;
        SockRef::from(&tcp).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE))?;
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, tcp).await?))
    }
}

/// One memory of sessions for all connections.
fn tls(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl fmt::Display for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(endpoint) => endpoint.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
            Self::Sentinel(endpoint, _) => write!(f, "Sentinel {endpoint}"),
        }
    }
}
