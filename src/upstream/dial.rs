//! A way for bytes to an upstream: TCP, directly or through `OUTBOUND_PROXY`.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::handshake::{self, Destination, Host};
use super::proxy::{OutboundProxy, ProxyKind};
use super::resolve::Resolver;
use super::stages::{Stage, Stages};

/// TCP keepalive of upstream connections: a peer that vanished without a word is noticed within minutes.
const KEEPALIVE: Duration = Duration::from_secs(60);

type BoxError = Box<dyn Error + Send + Sync>;

/// Connects to whatever it is called with.
#[derive(Clone)]
pub(super) struct Dialer {
    tcp: HttpConnector<Resolver>,
    resolver: Resolver,
    proxy: Option<Arc<OutboundProxy>>,
    stages: Stages,
}

/// The proxy could not be reached, or refused.
#[derive(Debug)]
pub(super) struct ProxyError(BoxError);

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the outbound proxy refused, or could not be reached")
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

impl Dialer {
    pub(super) fn new(resolver: Resolver, proxy: Option<OutboundProxy>, stages: Stages) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(resolver.clone());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        Self { tcp, resolver, proxy: proxy.map(Arc::new), stages }
    }

    /// One that shares so much time among the addresses of a name: a dead one leaves the next its part.
    pub(super) fn within(&self, timeout: Duration) -> Self {
        let mut this = self.clone();
        this.tcp.set_connect_timeout(Some(timeout));
        this
    }

    async fn dial(mut self, target: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let Some(proxy) = self.proxy.take() else { return self.connect(target).await };
        // Resolved before the proxy is asked for anything: a name that does not resolve is not its fault.
        let destination = self.destination(proxy.kind(), &target).await?;
        let stream = self.connect(proxy.uri()).await.map_err(ProxyError)?;
        let mut stream = stream.into_inner();
        let credentials = proxy.credentials();
        match proxy.kind() {
            ProxyKind::Connect => handshake::connect(&mut stream, &destination, credentials).await,
            ProxyKind::Socks5 | ProxyKind::Socks5h => handshake::socks5(&mut stream, &destination, credentials).await,
        }
        .map_err(|error| ProxyError(error.into()))?;
        self.stages.reached(|| Some(Stage::Tunnel));
        Ok(TokioIo::new(stream))
    }

    async fn connect(&mut self, target: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let stream = self.tcp.call(target).await?;
        self.stages.reached(|| stream.inner().peer_addr().ok().map(Stage::Tcp));
        Ok(stream)
    }

    async fn destination(&self, kind: ProxyKind, target: &Uri) -> Result<Destination, BoxError> {
        let default_port = if target.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        let port = target.port_u16().unwrap_or(default_port);
        let name = target.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let host = match name.parse::<IpAddr>() {
            Ok(ip) => Host::Address(ip),
            Err(_) if kind == ProxyKind::Socks5 => {
                let addresses = self.resolver.clone().resolve(name.to_owned()).await?;
                // Nobody tells whether the proxy has IPv6, and nearly all have IPv4.
                let best = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
                Host::Address(best.ok_or("the name has no address")?.ip())
            }
            Err(_) => Host::Name(name.to_owned()),
        };
        Ok(Destination { host, port })
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        Box::pin(self.clone().dial(target))
    }
}
