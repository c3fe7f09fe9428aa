//! Builds everything, starts it, and stops it in order.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::admin::{self, Admin, Sources};
use crate::body::Quota;
use crate::cache::Cache;
use crate::config::{Listen, Settings, policy_in_words};
use crate::edge::{self, Edge, Tls, TlsError, accept_loop};
use crate::queue::Queue;
use crate::race::RetryBudget;
use crate::routes::{Route, RouteSettings, Routes};
use crate::shutdown::{Shutdown, Tasks};
use crate::store::{Metered, OpenError, Store, StoreSettings};
use crate::time::Human;
use crate::upstream::{Pool, Resolver};

mod storage;

/// After the cut, how long the last answers and events have to leave.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Descriptors that a process needs beside its connections.
const SPARE_DESCRIPTORS: u64 = 64;

/// Why the program could not start.
#[derive(Debug)]
pub enum StartError {
    /// A listener's address cannot be used.
    Listen {
        /// The variables that name it.
        variables: &'static str,
        /// The address.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// TLS towards the upstream cannot be set up.
    Tls(rustls::Error),
    /// The listener's certificate cannot be used.
    Certificate(TlsError),
    /// The store that is asked for cannot be opened.
    Store(OpenError),
    /// The system refuses signal handlers.
    Signals(io::Error),
}

impl StartError {
    /// Whether another environment is what it needs.
    pub fn is_of_the_environment(&self) -> bool {
        matches!(self, Self::Store(_))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { variables, address, source } => {
                write!(f, "cannot listen on {address}: {source}; set {variables} to a free address")
            }
            Self::Tls(source) => write!(f, "TLS cannot be set up: {source}"),
            Self::Certificate(source) => write!(f, "the listener cannot serve TLS: {source}"),
            Self::Store(source) => source.fmt(f),
            Self::Signals(source) => write!(f, "signals cannot be handled: {source}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A program that runs.
#[derive(Debug)]
pub struct App {
    /// Where the proxy listens; none = this process only executes jobs.
    pub address: Option<SocketAddr>,
    shutdown: Shutdown,
    shutdown_timeout: Duration,
    /// The client connections.
    front: Tasks,
    /// What executes jobs.
    jobs: Tasks,
    store: Option<Arc<Metered>>,
    routes: Routes,
}

impl App {
    /// Starts everything that the settings ask for. Must be called inside a runtime.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let shutdown = Shutdown::default();
        let (front, jobs, back) = (Tasks::default(), Tasks::default(), Tasks::default());
        let admin_listener = match &settings.admin {
            Some(listen) => Some(bind(listen, "ADMIN_HOST and ADMIN_PORT (or ADMIN_PORT=off)").await?),
            None => None,
        };
        let store = storage::open(settings.store.as_ref(), &shutdown, &back).await?;
        let listener = if settings.queue.roles.front {
            Some(bind(&settings.listen, "LISTEN_HOST and LISTEN_PORT").await?)
        } else {
            None
        };
        let address = match &listener {
            Some(listener) => {
                let address = listener.local_addr();
                Some(address.map_err(|source| listen_error(&settings.listen, "LISTEN_HOST", source))?)
            }
            None => None,
        };
        let admin_address = admin_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        announce(&settings, address, admin_address);
        raise_open_files(&settings);

        let resolver = Resolver::new(settings.dns_cache);
        let routes = open_routes(settings.routes, &resolver, &shutdown, &back)?;
        let tls = settings.edge.tls.clone().map(Tls::load).transpose().map_err(StartError::Certificate)?;
        if let Some(tls) = &tls {
            back.spawn(Arc::clone(tls).watch(shutdown.clone()));
        }
        let quota = Quota::new(settings.max_buffered.as_usize());
        let any_store = store.clone().map(|store| store as Arc<dyn Store>);
        let cache = Cache::new(settings.cache, any_store.clone(), Arc::clone(&quota), back.clone());
        let queue = any_store.map(|store| {
            let (routes, quota, cache) = (routes.clone(), Arc::clone(&quota), Arc::clone(&cache));
            Queue::new(store, settings.queue, routes, quota, cache, shutdown.clone(), jobs.clone())
        });
        if let Some(queue) = &queue {
            queue.start(&back);
        }
        if let Some(listener) = admin_listener {
            let (health_path, source) = (settings.edge.health_path.clone(), settings.answers.source.clone());
            let sources = Sources {
                routes: routes.clone(),
                quota: Arc::clone(&quota),
                clients: Box::new(connections(&front, &shutdown)),
                certificate: Box::new(expiry(tls.clone())),
                jobs: jobs_to_show(store.as_ref(), queue.as_ref(), settings.store),
            };
            let token = settings.admin_token.clone();
            let admin = Admin { health_path, source, token, shutdown: shutdown.clone(), sources };
            back.spawn(run_admin(listener, Arc::new(admin), back.clone()));
        }
        if let Some(listener) = listener {
            let edge = Edge {
                settings: settings.edge,
                routes: routes.clone(),
                answers: settings.answers,
                quota,
                cache,
                queue,
                shutdown: shutdown.clone(),
                streams: Tasks::default(),
            };
            front.spawn(edge::run(listener, tls, Arc::new(edge), front.clone()));
        }
        let shutdown_timeout = settings.shutdown_timeout;
        Ok(Self { address, shutdown, shutdown_timeout, front, jobs, store, routes })
    }

    /// Runs until SIGTERM or SIGINT, then drains; a second signal cuts at once.
    pub async fn run_until_signalled(self) -> Result<(), StartError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
        let mut signalled = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        signalled().await;
        tokio::select! {
            () = self.stop() => {}
            () = signalled() => {
                tracing::warn!("a second signal: everything is cut");
                self.cut().await;
            }
        }
        Ok(())
    }

    /// Stops taking new work, waits for what runs up to `SHUTDOWN_TIMEOUT_SECONDS`, and cuts the rest.
    pub async fn stop(&self) {
        self.shutdown.drain();
        // The accept loop is one of them, and ends by itself, and so does the worker's.
        let connections = self.front.len().saturating_sub(1);
        let jobs = self.jobs.len().saturating_sub(1);
        tracing::info!(connections, jobs, timeout = %Human(self.shutdown_timeout), "draining: finishing what runs");
        for line in self.routes.iter().flat_map(|route| route.outlooks()) {
            tracing::info!("{line}");
        }
        if tokio::time::timeout(self.shutdown_timeout, self.finished()).await.is_err() {
            let (connections, jobs) = (self.front.len(), self.jobs.len());
            tracing::warn!(connections, jobs, "SHUTDOWN_TIMEOUT_SECONDS is over: the rest is cut");
        }
        self.cut().await;
        tracing::info!("stopped");
    }

    async fn finished(&self) {
        tokio::join!(self.front.finished(), self.jobs.finished());
    }

    async fn cut(&self) {
        self.shutdown.cut();
        // What does not leave in time leaves with the process.
        let _ = tokio::time::timeout(LAST_WORDS, self.finished()).await;
        if let Some(store) = &self.store {
            let _ = tokio::time::timeout(LAST_WORDS, store.close()).await;
        }
    }
}

/// What the admin listener shows of jobs: nothing without a store.
fn jobs_to_show(
    store: Option<&Arc<Metered>>,
    queue: Option<&Arc<Queue>>,
    settings: Option<StoreSettings>,
) -> Option<admin::Jobs> {
    Some(admin::Jobs { queue: Arc::clone(queue?), store: Arc::clone(store?), settings: settings? })
}

/// The routes with their pools. Routes whose pools would be the same share one, and its retry budget.
fn open_routes(
    routes: Vec<RouteSettings>,
    resolver: &Resolver,
    shutdown: &Shutdown,
    tasks: &Tasks,
) -> Result<Routes, StartError> {
    let mut open: Vec<Route> = Vec::with_capacity(routes.len());
    for settings in routes {
        let shared = open.iter().find(|other| other.settings.shares_pool_with(&settings));
        let (pool, budget) = if let Some(other) = shared {
            (Arc::clone(&other.pool), Arc::clone(&other.budget))
        } else {
            let (origin, transport) = (settings.base.origin(), settings.transport.clone());
            let pool = Pool::new(origin, transport, resolver.clone(), tasks.clone()).map_err(StartError::Tls)?;
            tasks.spawn(Arc::clone(&pool).maintain(shutdown.clone()));
            (pool, RetryBudget::new(settings.budget))
        };
        open.push(Route::new(settings, pool, budget));
    }
    Ok(Routes::new(open))
}

/// Counts the client connections. Their accept loop runs as one of them until the process drains.
fn connections(front: &Tasks, shutdown: &Shutdown) -> impl Fn() -> usize + Send + Sync + 'static {
    let (front, shutdown) = (front.clone(), shutdown.clone());
    move || front.len().saturating_sub(usize::from(!shutdown.is_draining()))
}

/// Tells when the certificate in force expires.
fn expiry(tls: Option<Arc<Tls>>) -> impl Fn() -> Option<i64> + Send + Sync + 'static {
    move || tls.as_ref().and_then(|tls| tls.expires())
}

async fn bind(listen: &Listen, variables: &'static str) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind((listen.host.as_str(), listen.port)).await;
    bound.map_err(|source| listen_error(listen, variables, source))
}

fn listen_error(listen: &Listen, variables: &'static str, source: io::Error) -> StartError {
    StartError::Listen { variables, address: format!("{}:{}", listen.host, listen.port), source }
}

async fn run_admin(listener: TcpListener, admin: Arc<Admin>, tasks: Tasks) {
    // Open until the very end: that the process is draining is what it has to tell.
    let until = admin.shutdown.cutting();
    accept_loop(listener, admin::MAX_CONNECTIONS, until, |stream, peer, permit| {
        let admin = Arc::clone(&admin);
        tasks.spawn(async move {
            admin::serve(stream, peer.ip(), admin).await;
            drop(permit);
        });
    })
    .await;
}

/// The start-up line, one for each route where there are several, and what the operator should know.
fn announce(settings: &Settings, address: Option<SocketAddr>, admin: Option<SocketAddr>) {
    let admin = admin.map_or_else(|| "off".to_owned(), |address| format!("http://{address}"));
    let scheme = if settings.edge.tls.is_some() { "https" } else { "http" };
    let (version, routes) = (env!("CARGO_PKG_VERSION"), settings.routes.len());
    let listens = match address {
        Some(address) => format!("forebay {version} listens on {scheme}://{address}"),
        None => format!("forebay {version} executes jobs, and listens for no clients"),
    };
    if let [route] = &settings.routes[..] {
        tracing::info!(
            upstream = %route.base,
            prefix = %route.prefix,
            proxy = %proxy_in_words(route),
            policy = %policy_in_words(&route.policy),
            %admin,
            "{listens}"
        );
    } else {
        tracing::info!(routes, %admin, "{listens}");
        for route in &settings.routes {
            tracing::info!(
                upstream = %route.base,
                proxy = %proxy_in_words(route),
                policy = %policy_in_words(&route.policy),
                "route {} serves {}",
                route.name.as_deref().unwrap_or("of UPSTREAM_BASE_URL"),
                route.prefix
            );
        }
    }
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
}

/// The proxy on the way to a route's upstream, without credentials.
fn proxy_in_words(route: &RouteSettings) -> String {
    route.transport.proxy.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
}

/// Raises the soft limit of open files to the hard one, and says so when that is too low.
fn raise_open_files(settings: &Settings) {
    let is_first = |i: usize, route: &RouteSettings| !settings.routes[..i].iter().any(|r| r.shares_pool_with(route));
    let pools = settings.routes.iter().enumerate().filter(|(i, route)| is_first(*i, route));
    let upstreams: usize = pools.map(|(_, route)| route.transport.max_connections).sum();
    let connections = settings.edge.max_connections + upstreams + admin::MAX_CONNECTIONS;
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(SPARE_DESCRIPTORS);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < wanted => tracing::warn!(
            "at most {limit} files can be open, and MAX_CLIENT_CONNECTIONS and UPSTREAM_MAX_CONNECTIONS together may need \
             {wanted}: raise the hard limit (ulimit -Hn, LimitNOFILE=), or lower them"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be read"),
    }
}
