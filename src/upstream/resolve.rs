//! Names into addresses, remembered for a while.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::{Instant, timeout};
use tower_service::Service;

/// How long a lookup may take while addresses from before are known. Without any it may take the whole connect timeout.
const PATIENCE_WITH_STALE: Duration = Duration::from_secs(2);
/// How soon a lookup that failed is tried again while a stale address serves.
const RETRY_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long a failure answers those who waited for the same lookup, instead of each trying in turn.
const SHARED_FAILURE: Duration = Duration::from_millis(100);
/// getaddrinfo blocks a thread each; more at once only wait for each other. (A lookup that was given up still has its
/// thread until the system's resolver gives up, too.)
const MAX_LOOKUPS: usize = 16;

/// The system's resolver behind a cache: one lookup at a time for each name, and a stale address serves while resolving
/// fails. Cheap to clone; all clones share the cache.
#[derive(Clone, Debug)]
pub struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ttl: Duration,
    lookups: Semaphore,
    /// The lock of a name is held while it is looked up, so everyone else waits for that lookup.
    names: Mutex<HashMap<String, Arc<AsyncMutex<Entry>>>>,
}

#[derive(Debug, Default)]
struct Entry {
    known: Option<Known>,
    failed: Option<(Instant, io::ErrorKind)>,
}

#[derive(Debug)]
struct Known {
    addresses: Vec<SocketAddr>,
    fresh_until: Instant,
}

/// A name that does not resolve.
#[derive(Debug)]
pub struct DnsError(io::Error);

impl std::fmt::Display for DnsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name does not resolve")
    }
}

impl std::error::Error for DnsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl Resolver {
    /// `DNS_CACHE_SECONDS`.
    pub fn new(ttl: Duration) -> Self {
        Self(Arc::new(Inner { ttl, lookups: Semaphore::new(MAX_LOOKUPS), names: Mutex::default() }))
    }

    /// One that knows this name.
    #[cfg(test)]
    pub(crate) fn known(name: &str, addresses: Vec<SocketAddr>) -> Self {
        let this = Self::new(Duration::from_secs(3600));
        let known = Some(Known { addresses, fresh_until: Instant::now() + this.0.ttl });
        let entry = Arc::new(AsyncMutex::new(Entry { known, failed: None }));
        this.0.names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), entry);
        this
    }

    /// The addresses of a name, with port 0. Cancel-safe: a lookup that was given up is made again.
    pub async fn resolve(self, name: String) -> Result<Vec<SocketAddr>, DnsError> {
        let lookup = || async {
            // The semaphore is never closed.
            let _permit = self.0.lookups.acquire().await;
            Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.collect())
        };
        self.cached(&name, lookup).await
    }

    async fn cached<F, L>(&self, name: &str, lookup: L) -> Result<Vec<SocketAddr>, DnsError>
    where
        L: FnOnce() -> F,
        F: Future<Output = io::Result<Vec<SocketAddr>>>,
    {
        let entry = {
            let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(names.entry(name.to_owned()).or_default())
        };
        let mut entry = entry.lock().await;
        let now = Instant::now();
        if let Some(known) = entry.known.as_ref().filter(|known| now < known.fresh_until) {
            return Ok(known.addresses.clone());
        }
        if let Some((at, kind)) = entry.failed
            && now < at + SHARED_FAILURE
        {
            return Err(DnsError(kind.into()));
        }
        let patience = if entry.known.is_some() { PATIENCE_WITH_STALE } else { Duration::MAX };
        let found = timeout(patience, lookup()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let error = match found {
            Ok(addresses) if !addresses.is_empty() => {
                let known = Known { addresses: addresses.clone(), fresh_until: Instant::now() + self.0.ttl };
                *entry = Entry { known: Some(known), failed: None };
                return Ok(addresses);
            }
            Ok(_) => io::ErrorKind::NotFound.into(),
            Err(error) => error,
        };
        if let Some(stale) = &mut entry.known {
            tracing::warn!(host = name, %error, "resolving failed, an older address serves on");
            stale.fresh_until = Instant::now() + RETRY_AFTER_FAILURE;
            return Ok(stale.addresses.clone());
        }
        entry.failed = Some((Instant::now(), error.kind()));
        Err(DnsError(error))
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = DnsError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DnsError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DnsError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let lookup = self.clone().resolve(name.as_str().to_owned());
        Box::pin(async move { Ok(lookup.await?.into_iter()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Vec<SocketAddr> {
        vec![SocketAddr::from(([192, 0, 2, last], 0))]
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_remembered_for_its_time_and_asked_for_again_after_it() {
        let resolver = Resolver::new(Duration::from_secs(30));
        assert_eq!(resolver.cached("a", || async { Ok(address(1)) }).await.unwrap(), address(1));
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(resolver.cached("a", || async { Ok(address(2)) }).await.unwrap(), address(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(resolver.cached("a", || async { Ok(address(2)) }).await.unwrap(), address(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_address_serves_while_resolving_fails_or_hangs() {
        let resolver = Resolver::new(Duration::from_secs(30));
        resolver.cached("a", || async { Ok(address(1)) }).await.unwrap();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(resolver.cached("a", || async { Err(io::ErrorKind::NotFound.into()) }).await.unwrap(), address(1));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(resolver.cached("a", std::future::pending).await.unwrap(), address(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_never_resolved_is_an_error_and_soon_asked_for_again() {
        let resolver = Resolver::new(Duration::from_secs(30));
        assert!(resolver.cached("a", || async { Err(io::ErrorKind::NotFound.into()) }).await.is_err());
        assert!(resolver.cached("a", || async { Ok(address(1)) }).await.is_err(), "those who waited share the failure");
        tokio::time::advance(Duration::from_millis(101)).await;
        assert!(resolver.cached("a", || async { Ok(Vec::new()) }).await.is_err());
        tokio::time::advance(Duration::from_millis(101)).await;
        assert_eq!(resolver.cached("a", || async { Ok(address(1)) }).await.unwrap(), address(1));
    }
}
