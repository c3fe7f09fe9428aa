//! The settings of a process: the rooms' own types, filled from the environment.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::checks;
use super::declare as var;
use super::parse::{self, Parsed};
use super::problem::Problem;
use super::resolve::{Effective, Resolver, Taken};
use super::{ReadFile, memory, raw};
use crate::dialect;
use crate::edge::EdgeSettings;
use crate::headers::{ApiKey, Forwarded, TrustedProxies, WebPageRule};
use crate::race::{Backoff, BudgetSettings, Policy, Retry};
use crate::routes::{AnswerSettings, Chunked, Lane, Lanes, Oversize, Prefix, RouteSettings};
use crate::secret::Secret;
use crate::size::ByteSize;
use crate::telemetry::{LogFormat, LogSettings};
use crate::upstream::{BaseUrl, Http2, Timeouts, TransportSettings};

/// Everything that configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `LISTEN_HOST`, `LISTEN_PORT`: the proxy.
    pub listen: Listen,
    /// `ADMIN_HOST`, `ADMIN_PORT`: health and metrics; none = off.
    pub admin: Option<Listen>,
    /// `LOG_LEVEL`, `LOG_FORMAT`.
    pub log: LogSettings,
    /// Section 3.4: the client side.
    pub edge: EdgeSettings,
    /// Sections 3.2, 3.3, 3.6 and 3.8, for each route.
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
    /// Every variable as it is in force, in the order of listings. Never contains a secret.
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
const MAX_BODY: u64 = 1 << 40;
/// hyper's parser needs at least this much room.
const MIN_HEAD: u64 = 8 << 10;
const MAX_HEAD: u64 = 16 << 20;
const MOST_BUFFERED: u64 = 1 << 30;

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
        let mut gathered = raw::gather(vars, read);
        let proxies = std::mem::take(&mut gathered.proxies);
        let r = &mut Resolver::new(gathered);

        let listen = listen(r);
        let admin = admin(r);
        let log = log(r);
        let edge = edge(r);
        let base = r.required(var::UPSTREAM_BASE_URL, |text| BaseUrl::parse(text).map_err(|error| error.to_string()));
        let key = key(r);
        let web = web(r);
        let transport = transport(r, read);
        let policy = policy(r);
        let budget = budget(r);
        let stream_idle = r.duration_or_zero(var::STREAM_IDLE_TIMEOUT_SECONDS, "off");
        let max_request_body = r.size(var::MAX_REQUEST_BODY_BYTES, 1..=MAX_BODY);
        let dialect = dialect(r);
        let source = r.take(var::SOURCE_HEADER, parse::source);
        let timeline = r.take(var::TIMELINE, parse::boolean);
        let dns_cache = r.duration(var::DNS_CACHE_SECONDS);
        let max_buffered = max_buffered(r, read);
        let shutdown_timeout = r.duration(var::SHUTDOWN_TIMEOUT_SECONDS);

        checks::listeners(r, &listen, &admin);
        checks::no_loop(r, &listen, &base);
        checks::source_is_not_the_key(r, &source, &key);
        checks::body_fits(r, &max_request_body, &max_buffered);
        checks::proxies(r, &proxies, &base);
        let web = checks::web_in_force(r, &listen, &key, web);

        let settings = (|| {
            let answers = AnswerSettings { dialect: dialect?, source: source?, timeline: timeline? };
            Ok::<_, super::resolve::Refused>(Self {
                listen: listen?,
                admin: admin?,
                log: log?,
                edge: edge?,
                routes: vec![RouteSettings {
                    name: None,
                    prefix: Prefix::default(),
                    base: base?,
                    key: key?,
                    web: web?,
                    transport: transport?,
                    policy: policy?,
                    budget: budget?,
                    stream_idle: stream_idle.map(|idle| Some(idle).filter(|idle| !idle.is_zero()))?,
                    tunnel_idle: Some(Duration::from_secs(3600)),
                    hedge_budget_percent: 10,
                    lanes: Lanes::always(Lane::Race),
                    oversize: Oversize::Reject,
                    chunked: Chunked::Buffer,
                    max_request_body: max_request_body?,
                    answers: answers.clone(),
                }],
                answers,
                dns_cache: dns_cache?,
                max_buffered: max_buffered?,
                shutdown_timeout: shutdown_timeout?,
                warnings: Vec::new(),
                effective: Vec::new(),
            })
        })();
        // A refused value has left its problem; other problems refuse no value.
        match settings {
            Ok(settings) if r.problems.is_empty() => {
                let (warnings, effective) = r.finish();
                Ok(Self { warnings, effective, ..settings })
            }
            _ => Err(r.refuse()),
        }
    }
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

fn edge(r: &mut Resolver) -> Taken<EdgeSettings> {
    let header_timeout = r.duration(var::CLIENT_HEADER_TIMEOUT_SECONDS);
    let body_timeout = r.duration(var::CLIENT_BODY_TIMEOUT_SECONDS);
    let write_timeout = r.duration(var::CLIENT_WRITE_TIMEOUT_SECONDS);
    let idle = r.duration(var::CLIENT_IDLE_SECONDS);
    let max_connections = r.count(var::MAX_CLIENT_CONNECTIONS, 1..=MAX_CONNECTIONS);
    let max_header_bytes = r.size(var::MAX_HEADER_BYTES, MIN_HEAD..=MAX_HEAD);
    let health_path = r.take(var::HEALTH_PATH, parse::path_or_off);
    Ok(EdgeSettings {
        header_timeout: header_timeout?,
        body_timeout: body_timeout?,
        write_timeout: write_timeout?,
        idle: idle?,
        max_connections: max_connections?,
        max_header_bytes: max_header_bytes?,
        health_path: health_path?,
        tls: None,
        trusted_proxies: TrustedProxies::default(),
        forwarded: Forwarded::Keep,
    })
}

fn key(r: &mut Resolver) -> Taken<Option<ApiKey>> {
    let header = r.take(var::UPSTREAM_API_KEY_HEADER, parse::header_name);
    let prefix = r.take(var::UPSTREAM_API_KEY_PREFIX, |text| match parse::header_value(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("must be of visible ASCII and blanks".into()),
    });
    let key = r.optional(var::UPSTREAM_API_KEY, |text| {
        if text.trim() != text {
            return Err("must not begin or end with white space".into());
        }
        match parse::header_value(text) {
            Some(_) => Ok(text.to_owned()),
            None => Err("contains a character that cannot be sent in a header".into()),
        }
    });
    let (header, prefix, key) = (header?, prefix?, key?);
    checks::key_is_plausible(r, &header, &prefix, key.as_deref());
    let Some(key) = key else { return Ok(None) };
    let Some(mut value) = parse::header_value(&format!("{prefix}{key}")) else {
        // Both parts could be sent, so the whole can.
        r.problem(var::UPSTREAM_API_KEY, "cannot be sent in a header");
        return Err(super::resolve::Refused);
    };
    value.set_sensitive(true);
    Ok(Some(ApiKey { header, value: Secret::new(value) }))
}

fn web(r: &mut Resolver) -> Taken<WebPageRule> {
    let hosts = r.optional(var::ALLOWED_HOSTS, parse::hosts);
    let origins = r.optional(var::ALLOWED_ORIGINS, parse::origins);
    Ok(WebPageRule { hosts: hosts?.unwrap_or_default(), origins: origins?.unwrap_or_default() })
}

fn transport(r: &mut Resolver, read: ReadFile) -> Taken<TransportSettings> {
    let max_connections = r.count(var::UPSTREAM_MAX_CONNECTIONS, 1..=MAX_CONNECTIONS);
    let idle = r.duration(var::UPSTREAM_IDLE_SECONDS);
    let extra_roots = r.optional(var::UPSTREAM_CA_FILE, |path| roots(path, read));
    Ok(TransportSettings {
        http2: Http2::Off,
        max_connections: max_connections?,
        idle: idle?,
        extra_roots: Arc::new(extra_roots?.unwrap_or_default()),
        proxy: None,
    })
}

fn roots(path: &str, read: ReadFile) -> Parsed<Vec<CertificateDer<'static>>> {
    let bytes = read(Path::new(path)).map_err(|error| format!("cannot be read: {error}"))?;
    let roots: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|_| "is not a PEM file that can be read to its end")?;
    if roots.is_empty() {
        return Err("contains no certificate in PEM form".into());
    }
    for (i, root) in roots.iter().enumerate() {
        let usable = RootCertStore::empty().add(root.clone());
        usable.map_err(|_| format!("contains a certificate that cannot be a root (number {})", i + 1))?;
    }
    Ok(roots)
}

fn policy(r: &mut Resolver) -> Taken<Policy> {
    let header_deadline = r.duration(var::RESPONSE_HEADER_TIMEOUT_SECONDS);
    let follows = r.is_set(var::RESPONSE_HEADER_TIMEOUT_SECONDS);
    let whole_answer_deadline = match header_deadline {
        Ok(deadline) if follows && !r.is_set(var::NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS) => {
            let variable = var::NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS;
            Ok(r.derive(variable, deadline, &crate::time::Human(deadline), "as RESPONSE_HEADER_TIMEOUT_SECONDS"))
        }
        _ => r.duration(var::NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS),
    };
    let max_attempts = r.count(var::UPSTREAM_MAX_ATTEMPTS, 1..=100);
    let backoff = backoff(r);
    let choices = [("all", Retry::All), ("safe", Retry::Safe)];
    let retry = r.take(var::RETRY, |text| parse::choice(text, &choices));
    let timeouts = timeouts(r);
    Ok(Policy {
        header_deadline: header_deadline?,
        whole_answer_deadline: whole_answer_deadline?,
        max_attempts: max_attempts?,
        backoff: backoff?,
        retry: retry?,
        retry_statuses: Vec::new(),
        hedge_after: None,
        timeouts: timeouts?,
    })
}

fn timeouts(r: &mut Resolver) -> Taken<Timeouts> {
    let connect = r.duration(var::CONNECT_TIMEOUT_SECONDS);
    let write = r.duration(var::WRITE_TIMEOUT_SECONDS);
    let pool = r.duration(var::POOL_TIMEOUT_SECONDS);
    Ok(Timeouts { pool: pool?, connect: connect?, write: write? })
}

/// Both set and the maximum smaller than the first pause: a contradiction. Otherwise what is set moves the default.
fn backoff(r: &mut Resolver) -> Taken<Backoff> {
    let (first_set, max_set) = (r.is_set(var::RETRY_BACKOFF_SECONDS), r.is_set(var::RETRY_BACKOFF_MAX_SECONDS));
    let default_first = parse::duration(var::RETRY_BACKOFF_SECONDS.default);
    let default_max = parse::duration(var::RETRY_BACKOFF_MAX_SECONDS.default);
    match (first_set, max_set) {
        (true, false) => {
            let first = r.duration_or_zero(var::RETRY_BACKOFF_SECONDS, "none");
            let raised = first.ok().filter(|first| default_max.as_ref().is_ok_and(|max| first > max));
            let max = match raised {
                Some(max) => {
                    let shown = crate::time::Human(max);
                    Ok(r.derive(var::RETRY_BACKOFF_MAX_SECONDS, max, &shown, "as RETRY_BACKOFF_SECONDS"))
                }
                None => r.duration(var::RETRY_BACKOFF_MAX_SECONDS),
            };
            Ok(Backoff { first: first?, max: max? })
        }
        (false, true) => {
            let max = r.duration(var::RETRY_BACKOFF_MAX_SECONDS);
            let lowered = max.ok().filter(|max| default_first.as_ref().is_ok_and(|first| max < first));
            let first = match lowered {
                Some(first) => {
                    let shown = crate::time::Human(first);
                    Ok(r.derive(var::RETRY_BACKOFF_SECONDS, first, &shown, "as RETRY_BACKOFF_MAX_SECONDS"))
                }
                None => r.duration_or_zero(var::RETRY_BACKOFF_SECONDS, "none"),
            };
            Ok(Backoff { first: first?, max: max? })
        }
        _ => {
            let first = r.duration_or_zero(var::RETRY_BACKOFF_SECONDS, "none");
            let max = r.duration(var::RETRY_BACKOFF_MAX_SECONDS);
            let (first, max) = (first?, max?);
            if max < first {
                r.problem(var::RETRY_BACKOFF_MAX_SECONDS, "must not be less than RETRY_BACKOFF_SECONDS");
                return Err(super::resolve::Refused);
            }
            Ok(Backoff { first, max })
        }
    }
}

fn budget(r: &mut Resolver) -> Taken<BudgetSettings> {
    let percent = r.count(var::RETRY_BUDGET_PERCENT, 0..=10_000);
    let min = r.count(var::RETRY_BUDGET_MIN, 0..=MAX_CONNECTIONS);
    Ok(BudgetSettings { percent: percent?, min: min? })
}

fn dialect(r: &mut Resolver) -> Taken<dialect::Settings> {
    let auto = r.take(var::DIALECT, |text| parse::choice(text, &[("auto", true), ("plain", false)]));
    let codex_final_status = r.take(var::CODEX_FINAL_STATUS, parse::status_or_off);
    Ok(dialect::Settings { auto: auto?, codex_final_status: codex_final_status? })
}

fn max_buffered(r: &mut Resolver, read: ReadFile) -> Taken<ByteSize> {
    let quarter = memory::limit(read).map(|limit| (limit / 4).max(1)).filter(|quarter| *quarter < MOST_BUFFERED);
    match quarter.map(ByteSize::new) {
        Some(quarter) if !r.is_set(var::MAX_BUFFERED_BYTES) => {
            Ok(r.derive(var::MAX_BUFFERED_BYTES, quarter, &quarter, "a quarter of the memory limit"))
        }
        _ => r.size(var::MAX_BUFFERED_BYTES, 1..=u64::MAX),
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(super) mod tests;
