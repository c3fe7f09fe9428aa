//! The settings of a process: the rooms' own types, filled from the environment.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use super::checks::{self, routes::Ours};
use super::declare as var;
use super::parse;
use super::problem::Problem;
use super::resolve::{Effective, Resolver, Taken};
use super::{ReadFile, memory, raw};
use crate::cache::MemorySettings;
use crate::edge::EdgeSettings;
use crate::headers::{Forwarded, TrustedProxies};
use crate::queue::QueueSettings;
use crate::routes::{AnswerSettings, RouteSettings};
use crate::secret::Secret;
use crate::size::ByteSize;
use crate::store::StoreSettings;
use crate::telemetry::{LogFormat, LogSettings};

mod attempts;
mod jobs;
mod lanes;
mod ordered;
mod route;
mod store;
mod tls;
mod upstream;

pub(super) use route::Resolved;

/// Everything that configuration says.
#[derive(Clone)]
pub struct Settings {
    /// `LISTEN_HOST`, `LISTEN_PORT`: the proxy.
    pub listen: Listen,
    /// `ADMIN_HOST`, `ADMIN_PORT`: health, metrics and jobs; none = off.
    pub admin: Option<Listen>,
    /// `ADMIN_TOKEN`: what jobs on the admin listener ask for; none = loopback alone.
    pub admin_token: Option<Secret<String>>,
    /// `LOG_LEVEL`, `LOG_FORMAT`.
    pub log: LogSettings,
    /// Section 3.4: the client side.
    pub edge: EdgeSettings,
    /// Section 3.7: where jobs, their answers and what is cached live; none = `STORE=off`.
    pub store: Option<StoreSettings>,
    /// What asks for a store, as it would be set (`LANE=queue`, `ROUTE_A_QUEUE_PATHS`): with none of these, one that cannot
    /// be opened need not stop the start.
    pub store_asked_by: Vec<String>,
    /// Section 3.7: what this process does with jobs, and where clients find them.
    pub queue: QueueSettings,
    /// Section 3.7: what the memory of this process may hold of answers.
    pub cache: MemorySettings,
    /// Sections 3.2, 3.3, 3.6, 3.7 and 3.8, for each route. That of the global `UPSTREAM_BASE_URL`, if any, is the first.
    pub routes: Vec<RouteSettings>,
    /// Section 3.8, where no route is known.
    pub answers: AnswerSettings,
    /// `DNS_CACHE_SECONDS`: addresses are resolved again after this.
    pub dns_cache: Duration,
    /// `MAX_BUFFERED_BYTES`: all buffered bodies together.
    pub max_buffered: ByteSize,
    /// `SHUTDOWN_TIMEOUT_SECONDS`: from the signal to the cut.
    pub shutdown_timeout: Duration,
    /// What is allowed but may not be meant; to be logged at start. Never contains a secret.
    pub warnings: Vec<String>,
    /// Every variable as it is in force, in the order of listings; then, for each route, what it sets itself. Never
    /// contains a secret.
    pub effective: Vec<Effective>,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// An address without brackets, or a host name, in lower case.
    pub host: String,
    /// A port; 0 = the system picks a free one.
    pub port: u16,
}

const MAX_CONNECTIONS: usize = 1_000_000;
/// hyper's parser needs at least this much room.
const MIN_HEAD: u64 = 8 << 10;
const MAX_HEAD: u64 = 16 << 20;
const MOST_BUFFERED: u64 = 1 << 30;
const MAX_STORED: u64 = 1 << 50;

impl Settings {
    /// Reads an environment, usually `std::env::vars_os()`, and the files it names.
    ///
    /// Errors: everything that is wrong, at once.
    pub fn from_env(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, Vec<Problem>> {
        Self::resolve(vars, &|path| std::fs::read(path))
    }

    /// The same with somebody else's files.
    pub(super) fn resolve(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        read: ReadFile,
    ) -> Result<Self, Vec<Problem>> {
        let r = &mut Resolver::new(raw::gather(vars, read));

        let listen = listen(r);
        let admin = admin(r);
        let admin_token = r.optional(var::ADMIN_TOKEN, parse::credential);
        let log = log(r);
        let edge = edge(r, read);
        let dns_cache = r.duration(var::DNS_CACHE_SECONDS);
        let max_buffered = max_buffered(r, read);
        let shutdown_timeout = r.duration(var::SHUTDOWN_TIMEOUT_SECONDS);
        checks::listeners(r, &listen, &admin);
        checks::token_is_plausible(r, &admin);

        let jobs_path = r.take(var::JOBS_PATH, parse::prefix_below_root);
        let chosen = store::chosen(r);
        let queue = store::queue(r, &jobs_path);
        let limits = store::limits(r, &chosen);
        let memory = store::memory(r);
        let asked_by_process = store::asked_by_process(r, &chosen, &queue);

        let process = route::Process {
            listen: &listen,
            max_buffered: &max_buffered,
            store: &chosen,
            limits: &limits,
            memory: &memory,
            read,
        };
        let (answers, routes) = route::all(r, &process);
        let health = edge.as_ref().ok().and_then(|edge| edge.health_path.as_deref());
        let ours = Ours { jobs: jobs_path.as_ref().ok(), health };
        checks::routes::ours_are_apart(r, &ours);
        checks::routes::prefixes(r, &routes, &ours);
        checks::routes::pools(r, &routes);

        let store_asked_by = asked_by(asked_by_process, &routes);
        let lease = queue.as_ref().map(|queue| queue.lease).map_err(|refused| *refused);
        let store = store::settings(chosen, limits, lease, !store_asked_by.is_empty());
        let settings = (|| {
            Ok::<_, super::resolve::Refused>(Self {
                listen: listen?,
                admin: admin?,
                admin_token: admin_token?.map(Secret::new),
                log: log?,
                edge: edge?,
                store: store?,
                store_asked_by,
                queue: queue?,
                cache: memory?,
                routes: routes.into_iter().map(|route| route.settings).collect::<Result<_, _>>()?,
                answers: answers?,
                dns_cache: dns_cache?,
                max_buffered: max_buffered?,
                shutdown_timeout: shutdown_timeout?,
                warnings: Vec::new(),
                effective: Vec::new(),
            })
        })();
        // A refused value has left its problem; other problems refuse no value.
        match settings {
            Ok(settings) if !r.has_problems() => {
                let (warnings, effective) = r.finish();
                Ok(Self { warnings, effective, ..settings })
            }
            _ => Err(r.refuse()),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // All but the token, and what is in force, which says the same again.
        f.debug_struct("Settings")
            .field("listen", &self.listen)
            .field("admin", &self.admin)
            .field("log", &self.log)
            .field("edge", &self.edge)
            .field("store", &self.store)
            .field("store_asked_by", &self.store_asked_by)
            .field("queue", &self.queue)
            .field("cache", &self.cache)
            .field("routes", &self.routes)
            .field("answers", &self.answers)
            .field("dns_cache", &self.dns_cache)
            .field("max_buffered", &self.max_buffered)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// What asks for a store, each once.
fn asked_by(process: Vec<String>, routes: &[Resolved]) -> Vec<String> {
    let mut asked_by = process;
    for name in routes.iter().flat_map(|route| &route.asks) {
        if !asked_by.contains(name) {
            asked_by.push(name.clone());
        }
    }
    asked_by
}

fn listen(r: &mut Resolver) -> Taken<Listen> {
    let host = r.take(var::LISTEN_HOST, parse::bind_host);
    let port = r.take(var::LISTEN_PORT, parse::port);
    Ok(Listen { host: host?, port: port? })
}

fn admin(r: &mut Resolver) -> Taken<Option<Listen>> {
    let host = r.take(var::ADMIN_HOST, parse::bind_host);
    let port = r.take(var::ADMIN_PORT, parse::port_or_off);
    let host = host?;
    Ok(port?.map(|port| Listen { host, port }))
}

fn log(r: &mut Resolver) -> Taken<LogSettings> {
    let filter = r.take(var::LOG_LEVEL, parse::filter);
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let format = r.take(var::LOG_FORMAT, |text| parse::choice(text, &formats));
    Ok(LogSettings { filter: filter?, format: format? })
}

fn edge(r: &mut Resolver, read: ReadFile) -> Taken<EdgeSettings> {
    let header_timeout = r.duration(var::CLIENT_HEADER_TIMEOUT_SECONDS);
    let body_timeout = r.duration(var::CLIENT_BODY_TIMEOUT_SECONDS);
    let write_timeout = r.duration(var::CLIENT_WRITE_TIMEOUT_SECONDS);
    let idle = r.duration(var::CLIENT_IDLE_SECONDS);
    let max_connections = r.count(var::MAX_CLIENT_CONNECTIONS, 1..=MAX_CONNECTIONS);
    let max_header_bytes = r.size(var::MAX_HEADER_BYTES, MIN_HEAD..=MAX_HEAD);
    let health_path = r.take(var::HEALTH_PATH, parse::path_or_off);
    let tls = tls::files(r, read);
    let trusted_proxies = r.optional(var::TRUSTED_PROXIES, parse::networks);
    let rules = [("keep", Forwarded::Keep), ("add", Forwarded::Add), ("strip", Forwarded::Strip)];
    let forwarded = r.optional(var::FORWARDED_HEADERS, |text| parse::choice(text, &rules));
    let forwarded = forwarded?;
    Ok(EdgeSettings {
        header_timeout: header_timeout?,
        body_timeout: body_timeout?,
        write_timeout: write_timeout?,
        idle: idle?,
        max_connections: max_connections?,
        max_header_bytes: max_header_bytes?,
        health_path: health_path?,
        tls: tls?,
        trusted_proxies: TrustedProxies(trusted_proxies?.unwrap_or_default()),
        forwarded: forwarded.unwrap_or(Forwarded::Keep),
        forwarded_jobs: forwarded.unwrap_or(Forwarded::Add),
    })
}

fn max_buffered(r: &mut Resolver, read: ReadFile) -> Taken<ByteSize> {
    let quarter = memory::limit(read).map(|limit| (limit / 4).max(1)).filter(|quarter| *quarter < MOST_BUFFERED);
    match quarter.map(ByteSize::new) {
        Some(quarter) if !r.is_set(var::MAX_BUFFERED_BYTES) => {
            Ok(r.derive(var::MAX_BUFFERED_BYTES, quarter, "a quarter of the memory limit"))
        }
        _ => r.size(var::MAX_BUFFERED_BYTES, 1..=u64::MAX),
    }
}

#[cfg(test)]
mod address_tests;
#[cfg(test)]
mod job_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod route_tests;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
pub(super) mod tests;
