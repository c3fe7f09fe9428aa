//! Every variable, declared once: its name, default and help. All that is read or printed comes from this table.

use std::fmt;

use serde::Deserialize;

/// One environment variable of this version.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name, upper case.
    pub name: &'static str,
    /// The group it is listed under.
    pub section: Section,
    /// The default as it would be written; empty = unset.
    pub default: &'static str,
    /// What a reader is told instead of the bare default, where that is not the whole truth.
    pub default_in_words: Option<&'static str>,
    /// A value that is accepted, for error messages.
    pub example: &'static str,
    /// One line: what it does, and in which unit.
    pub help: &'static str,
    /// Whether its value may be seen.
    pub sight: Sight,
    /// It holds for the whole process, never for one route.
    pub process: bool,
    /// An empty value is a value: it does not mean "unset".
    pub empty_is_a_value: bool,
    read: fn(&Raw) -> Option<&str>,
}

/// Whether the value of a variable may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// By everyone.
    Open,
    /// It is a URL or a list of them: not where it contains what may be a password or a key.
    Url,
    /// It is the path of a file that holds a secret: only where it is surely a path, and not the secret itself.
    KeyFile,
    /// Never. `<NAME>_FILE` may name a file that holds it.
    Secret,
}

/// The groups that variables are listed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Where the process listens, and what it logs.
    Listeners,
    /// Where the upstream is, and how it is reached.
    Upstream,
    /// How attempts are raced.
    Attempts,
    /// How the requests of a path are served.
    Lanes,
    /// Where jobs, their answers and what is cached live, and what this process does with them.
    Store,
    /// What becomes of a request that is a job.
    Jobs,
    /// Which answers are given again.
    Cache,
    /// Further upstreams, below a path each.
    Routes,
    /// What a client may do.
    Client,
    /// What forebay's own answers look like.
    Answers,
}

impl Section {
    /// All sections, in the order of listings.
    pub const ALL: [Self; 10] = [
        Self::Listeners,
        Self::Upstream,
        Self::Attempts,
        Self::Lanes,
        Self::Store,
        Self::Jobs,
        Self::Cache,
        Self::Routes,
        Self::Client,
        Self::Answers,
    ];

    /// Those whose variables can be set for one route alone, but for the ones marked as the process's.
    pub(super) const OF_ROUTES: [Self; 6] =
        [Self::Upstream, Self::Attempts, Self::Lanes, Self::Jobs, Self::Cache, Self::Answers];

    /// The variables of this section, in the order of listings.
    pub fn variables(self) -> impl Iterator<Item = &'static Variable> {
        VARIABLES.iter().chain([&PREFIX]).filter(move |v| v.section == self)
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listeners => "Listeners and logs",
            Self::Upstream => "Upstream and credentials",
            Self::Attempts => "Attempts",
            Self::Lanes => "Lanes",
            Self::Store => "Store and queue",
            Self::Jobs => "Jobs",
            Self::Cache => "Cache",
            Self::Routes => "Routes",
            Self::Client => "Client side",
            Self::Answers => "Answers",
        })
    }
}

impl Variable {
    const BASE: Self = Self {
        name: "",
        section: Section::Listeners,
        default: "",
        default_in_words: None,
        example: "",
        help: "",
        sight: Sight::Open,
        process: false,
        empty_is_a_value: false,
        read: |_| None,
    };

    /// The text that was set for it, if any.
    pub(super) fn of(self, raw: &Raw) -> Option<&str> {
        (self.read)(raw)
    }

    /// Whether its value is never shown, and may come from a file.
    pub fn is_secret(self) -> bool {
        self.sight == Sight::Secret
    }

    /// Whether nothing works without it (or without routes).
    pub fn is_required(self) -> bool {
        self.name == UPSTREAM_BASE_URL.name
    }

    /// Whether it can be set for one route alone, as `ROUTE_<NAME>_<VARIABLE>`.
    pub(super) fn per_route(self) -> bool {
        let section_is_of_routes = self.section == Section::Routes || Section::OF_ROUTES.contains(&self.section);
        section_is_of_routes && !self.process
    }

    /// What stands behind `ROUTE_<NAME>_` where it is set for one route.
    pub(super) fn stem(self) -> &'static str {
        self.name.strip_prefix(ROUTE_NAME).unwrap_or(self.name)
    }

    /// Its name where it is set for one route.
    pub(super) fn of_route(self, route: &str) -> String {
        format!("ROUTE_{route}_{}", self.stem())
    }

    /// The default as listings show it.
    pub fn shown_default(self) -> &'static str {
        match self.default_in_words {
            Some(words) => words,
            None if self.default.is_empty() => "unset",
            None => self.default,
        }
    }
}

/// How the names of all variables of a route begin.
const ROUTE_NAME: &str = "ROUTE_<NAME>_";

/// The one variable that only routes have. It is listed with the others, but no environment has it by this name.
pub(super) const PREFIX: Variable = Variable {
    name: "ROUTE_<NAME>_PREFIX",
    section: Section::Routes,
    default_in_words: Some("no routes"),
    example: "/api",
    help: "path prefix of the route NAME (letters and digits); it is stripped from the path",
    read: |raw| raw.prefix.as_deref(),
    ..Variable::BASE
};

/// The variables that can be set for one route.
pub(super) fn of_routes() -> impl Iterator<Item = &'static Variable> {
    [&PREFIX].into_iter().chain(VARIABLES).filter(|v| v.per_route())
}

/// Makes, of each entry: a field of [`Raw`] (envy lower-cases names, hence the second spelling), a constant of the
/// variable's name, and a line of [`VARIABLES`].
macro_rules! variables {
    ($($section:ident { $($name:ident $field:ident { $($key:ident: $value:expr),* $(,)? })* })*) => {
        /// What the environment says, word for word; absent = not set.
        #[derive(Clone, Default, Deserialize)]
        #[serde(default)]
        pub(super) struct Raw {
            prefix: Option<String>,
            $($($field: Option<String>,)*)*
        }

        $($(
            #[doc = concat!("`", stringify!($name), "`")]
            pub(super) const $name: Variable = Variable {
                name: stringify!($name),
                section: Section::$section,
                read: |raw| raw.$field.as_deref(),
                $($key: $value,)*
                ..Variable::BASE
            };
        )*)*

        /// Every variable of this version, in the order of listings.
        pub static VARIABLES: &[Variable] = &[$($($name,)*)*];
    };
}

variables! {
    Listeners {
        LISTEN_HOST listen_host {
            default: "127.0.0.1", example: "0.0.0.0",
            help: "address or host name the proxy listens on; 0.0.0.0 in the container image",
        }
        LISTEN_PORT listen_port {
            default: "8788", example: "8788",
            help: "port the proxy listens on; 0 picks a free one, which is logged",
        }
        TLS_CERT_FILE tls_cert_file {
            default: "", example: "/etc/forebay/tls.crt",
            help: "serve HTTPS with this chain (PEM; ALPN h2, http/1.1); read again when it changes",
        }
        TLS_KEY_FILE tls_key_file {
            default: "", example: "/etc/forebay/tls.key", sight: Sight::KeyFile,
            help: "the private key of TLS_CERT_FILE (PEM)",
        }
        ADMIN_HOST admin_host {
            default: "127.0.0.1", example: "0.0.0.0",
            help: "address or host name of the admin listener (health, metrics, jobs)",
        }
        ADMIN_PORT admin_port {
            default: "8789", example: "8789",
            help: "port of the admin listener; off = no admin listener",
        }
        ADMIN_TOKEN admin_token {
            default: "", example: "a-long-random-word", sight: Sight::Secret,
            help: "what jobs on the admin listener ask for (Authorization: Bearer); unset = loopback alone",
        }
        HEALTH_PATH health_path {
            default: "/healthz", example: "/healthz",
            help: "also answered on the proxy listener (GET, HEAD); off = not answered there",
        }
        LOG_LEVEL log_level {
            default: "INFO", example: "INFO",
            help: "DEBUG, INFO, WARNING, ERROR, or a filter such as info,forebay=debug",
        }
        LOG_FORMAT log_format {
            default: "text", example: "json",
            help: "text or json",
        }
    }
    Upstream {
        UPSTREAM_BASE_URL upstream_base_url {
            default: "", default_in_words: Some("required unless routes are given"), example: "https://api.openai.com", sight: Sight::Url,
            help: "http:// or https://, may carry a base path; path and query of clients are appended to it",
        }
        UPSTREAM_API_KEY upstream_api_key {
            default: "", example: "sk-...", sight: Sight::Secret,
            help: "replaces the client's credentials; when unset, they pass unchanged",
        }
        UPSTREAM_API_KEY_HEADER upstream_api_key_header {
            default: "Authorization", example: "api-key",
            help: "the request header that carries the key",
        }
        UPSTREAM_API_KEY_PREFIX upstream_api_key_prefix {
            default: "Bearer ", example: "\"Bearer \"", empty_is_a_value: true,
            help: "put before the key; its trailing space counts, and empty means none",
        }
        ALLOWED_HOSTS allowed_hosts {
            default: "", default_in_words: Some("loopback names"), example: "gate.example,gate.example:8080",
            help: "further Host names that may use the key when the proxy listens on loopback",
        }
        ALLOWED_ORIGINS allowed_origins {
            default: "", default_in_words: Some("none"), example: "https://app.example", sight: Sight::Url,
            help: "origins of web pages that may use the key when the proxy listens on loopback",
        }
        UPSTREAM_HTTP2 upstream_http2 {
            default: "auto", example: "off",
            help: "auto: HTTP/2 where an https upstream agrees to it (ALPN); off; prior-knowledge",
        }
        UPSTREAM_CA_FILE upstream_ca_file {
            default: "", example: "/etc/ssl/company-ca.pem",
            help: "PEM file with roots that are trusted beside the system's (SSL_CERT_FILE is honoured)",
        }
        OUTBOUND_PROXY outbound_proxy {
            default: "env", example: "socks5h://user:password@proxy.example:1080", sight: Sight::Secret,
            help: "env: as HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY say; off; socks5[h]:// or http://",
        }
        UPSTREAM_MAX_CONNECTIONS upstream_max_connections {
            default: "10000", example: "10000",
            help: "connections to the upstream; a request that finds none free waits POOL_TIMEOUT_SECONDS",
        }
        UPSTREAM_IDLE_SECONDS upstream_idle_seconds {
            default: "60", example: "60",
            help: "how long an idle connection to the upstream is kept",
        }
        DNS_CACHE_SECONDS dns_cache_seconds {
            default: "30", example: "30", process: true,
            help: "addresses are resolved again after this; an old one serves while resolving fails",
        }
    }
    Attempts {
        RESPONSE_HEADER_TIMEOUT_SECONDS response_header_timeout_seconds {
            default: "30", example: "30s",
            help: "header deadline of one attempt, counted from the request being written completely",
        }
        NONSTREAM_RESPONSE_HEADER_TIMEOUT_SECONDS nonstream_response_header_timeout_seconds {
            default: "290", example: "290s",
            default_in_words: Some("290, or RESPONSE_HEADER_TIMEOUT_SECONDS if set"),
            help: "header deadline of a generation that does not stream: its head comes with the whole answer",
        }
        UPSTREAM_MAX_ATTEMPTS upstream_max_attempts {
            default: "2", example: "2",
            help: "attempts in total, the first included",
        }
        RETRY_BACKOFF_SECONDS retry_backoff_seconds {
            default: "0.25", example: "250ms",
            help: "pause before a further attempt, doubled each time, with 20 % jitter; 0 = none",
        }
        RETRY_BACKOFF_MAX_SECONDS retry_backoff_max_seconds {
            default: "5", example: "5s",
            help: "no pause is longer than this (before jitter)",
        }
        RETRY retry {
            default: "all", example: "safe",
            help: "all: any method before headers; safe: sent bytes repeat only idempotent or keyed requests",
        }
        RETRY_STATUSES retry_statuses {
            default: "", default_in_words: Some("none"), example: "502,503,529",
            help: "answers with these statuses (400 to 599) are failed attempts while attempts are left",
        }
        RETRY_BUDGET_PERCENT retry_budget_percent {
            default: "100", example: "100",
            help: "further attempts at once, as a share of the exchanges that wait for headers",
        }
        RETRY_BUDGET_MIN retry_budget_min {
            default: "10", example: "10",
            help: "further attempts at once that are always allowed",
        }
        HEDGE_AFTER_SECONDS hedge_after_seconds {
            default: "", default_in_words: Some("never"), example: "5s",
            help: "starts the next attempt after this, while the earlier one stays in the race",
        }
        HEDGE_BUDGET_PERCENT hedge_budget_percent {
            default: "10", example: "10",
            help: "hedges as a share of the exchanges of ten seconds (at least one a second)",
        }
        CONNECT_TIMEOUT_SECONDS connect_timeout_seconds {
            default: "10", example: "10s",
            help: "DNS, TCP, proxy and TLS together",
        }
        WRITE_TIMEOUT_SECONDS write_timeout_seconds {
            default: "30", example: "30s",
            help: "no progress while sending the request",
        }
        POOL_TIMEOUT_SECONDS pool_timeout_seconds {
            default: "10", example: "10s",
            help: "waiting for a free connection",
        }
        STREAM_IDLE_TIMEOUT_SECONDS stream_idle_timeout_seconds {
            default: "240", example: "4m",
            help: "no byte from the upstream after headers while the client is ready to read; 0 = off",
        }
        TUNNEL_IDLE_TIMEOUT_SECONDS tunnel_idle_timeout_seconds {
            default: "3600", example: "1h",
            help: "no byte in either direction of an upgraded connection; 0 = off",
        }
        MAX_REQUEST_BODY_BYTES max_request_body_bytes {
            default: "33554432", example: "32MiB",
            help: "the largest request body that is buffered; for a larger one OVERSIZE says what happens",
        }
        MAX_BUFFERED_BYTES max_buffered_bytes {
            default: "1GiB", example: "1GiB", process: true,
            default_in_words: Some("1GiB, or a quarter of the memory limit if that is less"),
            help: "all buffered bodies together; beyond it 503 with Retry-After",
        }
        OVERSIZE oversize {
            default: "", default_in_words: Some("reject; on the lane queue stream"), example: "stream",
            help: "a larger body: reject (413), stream (no retry), queue (a job), redirect (307)",
        }
        CHUNKED chunked {
            default: "buffer", example: "bypass",
            help: "a body of unknown length: buffer, or bypass (streamed, or as OVERSIZE says)",
        }
    }
    Lanes {
        LANE lane {
            default: "race", example: "stream",
            help: "race (buffered, retried), stream (neither), queue (202 and a job), redirect (307)",
        }
        STREAM_PATHS stream_paths {
            default: "", default_in_words: Some("none"), example: "^/v1/files,^/upload",
            help: "regular expressions (unanchored) on the path as sent: these take the lane stream",
        }
        REDIRECT_PATHS redirect_paths {
            default: "", default_in_words: Some("none"), example: "^/downloads/",
            help: "these take the lane redirect, unless STREAM_PATHS has them",
        }
        RACE_PATHS race_paths {
            default: "", default_in_words: Some("none"), example: "^/v1/responses",
            help: "these take the lane race, unless one of the lists above has them",
        }
        QUEUE_PATHS queue_paths {
            default: "", default_in_words: Some("none"), example: "^/api/reports,^/api/exports",
            help: "these take the lane queue, unless one of the lists above has them",
        }
        OVERFLOW overflow {
            default: "prefer", example: "always",
            help: "races that become jobs: off, prefer (Prefer: respond-async, wait=N asks for it), always",
        }
        OVERFLOW_AFTER_SECONDS overflow_after_seconds {
            default: "", default_in_words: Some("when the last attempt misses its header deadline"), example: "90s",
            help: "a race becomes a job after this, with its attempt; wait=N counts if smaller",
        }
    }
    Store {
        STORE store {
            default: "auto", example: "embedded",
            help: "embedded, redis, off; auto: redis where REDIS_URL is set, else embedded",
        }
        REDIS_URL redis_url {
            default: "", example: "redis://127.0.0.1:6379/0", sight: Sight::Secret,
            help: "redis:// or rediss://, redis+sentinel://, redis+cluster:// (with TLS rediss+...)",
        }
        DATA_DIR data_dir {
            default: "./forebay-data", example: "/var/lib/forebay",
            help: "folder of the embedded store, made if it is not there; for one process alone",
        }
        STORE_MAX_BYTES store_max_bytes {
            default: "", default_in_words: Some("10GiB embedded, 1GiB in Redis"), example: "10GiB",
            help: "requests, recordings and cache together; beyond it 503 with Retry-After",
        }
        CACHE_KEY_PREFIX cache_key_prefix {
            default: "forebay:", example: "forebay:",
            help: "how every key in Redis begins",
        }
        ROLES roles {
            default: "front,worker", example: "front,worker",
            help: "front (serves clients), worker (executes jobs), or both; one alone needs Redis",
        }
        JOBS_PATH jobs_path {
            default: "/__jobs", example: "/__jobs",
            help: "where clients find their jobs; everything below it is forebay's",
        }
        QUEUE_NAME queue_name {
            default: "default", example: "reports",
            help: "letters, digits, - _ . : several queues can share one Redis",
        }
        QUEUE_CONCURRENCY queue_concurrency {
            default: "10", example: "10",
            help: "jobs that this process executes at once",
        }
        QUEUE_MAX_DEPTH queue_max_depth {
            default: "100000", example: "100000",
            help: "jobs that may wait; beyond it 503 with Retry-After",
        }
        JOB_LEASE_SECONDS job_lease_seconds {
            default: "30", example: "30s",
            help: "a worker that is silent for so long loses its job to another",
        }
    }
    Jobs {
        QUEUE_MAX_BODY_BYTES queue_max_body_bytes {
            default: "10MiB", example: "64MiB",
            help: "the largest body of a job; for a larger one OVERSIZE says what happens",
        }
        JOB_TIMEOUT_SECONDS job_timeout_seconds {
            default: "300", example: "5m",
            help: "one execution of a job; a request may say otherwise with X-Forebay-Timeout",
        }
        JOB_TIMEOUT_MAX_SECONDS job_timeout_max_seconds {
            default: "3600", example: "1h",
            help: "the most that X-Forebay-Timeout may ask for",
        }
        JOB_RESPONSE_HEADER_TIMEOUT_SECONDS job_response_header_timeout_seconds {
            default: "", default_in_words: Some("none"), example: "60s",
            help: "header deadline of a job's attempts, which are then replaced as in a race",
        }
        JOB_MAX_RETRIES job_max_retries {
            default: "0", example: "3",
            help: "further executions where the transport failed; any answer is a result",
        }
        JOB_RETRY_DELAY_SECONDS job_retry_delay_seconds {
            default: "0", example: "10s",
            help: "pause before each further execution; 0 = n^4 seconds (1, 16, 81, 256 ...)",
        }
        JOB_RETRY_STATUSES job_retry_statuses {
            default: "", default_in_words: Some("none"), example: "429,503",
            help: "answers with these statuses (400 to 599) are failures while retries are left",
        }
        JOB_MAX_RESPONSE_BYTES job_max_response_bytes {
            default: "1GiB", example: "1GiB",
            help: "a longer answer fails the job",
        }
        JOB_OWNER job_owner {
            default: "credentials", example: "anyone",
            help: "who may see a job: credentials (who presents the same), or anyone who knows its id",
        }
        JOB_RETENTION_SECONDS job_retention_seconds {
            default: "3600", example: "1h",
            help: "how long a finished job can be fetched",
        }
    }
    Cache {
        CACHE cache {
            default: "none", example: "memory",
            help: "none, memory (of this process), store (shared; redis is another word for it)",
        }
        CACHE_TTL_SECONDS cache_ttl_seconds {
            default: "300", example: "5m",
            help: "how long an answer is given again",
        }
        CACHE_MAX_ENTRIES cache_max_entries {
            default: "10000", example: "10000", process: true,
            help: "answers in memory; the least recently used goes first",
        }
        CACHE_MAX_BYTES cache_max_bytes {
            default: "256MiB", example: "256MiB", process: true,
            help: "all answers in memory together",
        }
        CACHE_MAX_ENTRY_BYTES cache_max_entry_bytes {
            default: "8MiB", example: "8MiB",
            help: "larger answers are not cached",
        }
        CACHE_KEY_EXCLUDE_HEADERS cache_key_exclude_headers {
            default: "X-Request-ID,X-Forwarded-For,X-Real-IP,X-Forwarded-Proto", example: "X-Request-ID,X-Trace-ID",
            help: "request headers that do not tell two requests apart; replaces the whole list",
        }
        CACHE_SHARED cache_shared {
            default: "false", example: "true",
            help: "true: that list may name credentials, so that clients see each other's answers",
        }
    }
    Client {
        CLIENT_HEADER_TIMEOUT_SECONDS client_header_timeout_seconds {
            default: "10", example: "10s",
            help: "from accept (later: from its first byte) to a complete request head",
        }
        CLIENT_BODY_TIMEOUT_SECONDS client_body_timeout_seconds {
            default: "30", example: "30s",
            help: "no progress of a request body",
        }
        CLIENT_WRITE_TIMEOUT_SECONDS client_write_timeout_seconds {
            default: "60", example: "60s",
            help: "a client that reads nothing while data waits",
        }
        CLIENT_IDLE_SECONDS client_idle_seconds {
            default: "75", example: "75s",
            help: "how long a connection of a client may wait between two requests",
        }
        MAX_CLIENT_CONNECTIONS max_client_connections {
            default: "10000", example: "10000",
            help: "connections of clients; beyond it new ones wait in the backlog",
        }
        MAX_HEADER_BYTES max_header_bytes {
            default: "64KiB", example: "64KiB",
            help: "the largest request head, 8KiB to 16MiB",
        }
        TRUSTED_PROXIES trusted_proxies {
            default: "", default_in_words: Some("none"), example: "10.0.0.0/8,192.168.1.7",
            help: "addresses and networks whose X-Forwarded-* is believed",
        }
        FORWARDED_HEADERS forwarded_headers {
            default: "", default_in_words: Some("keep; for jobs add"), example: "add",
            help: "X-Forwarded-*, X-Real-IP: keep (as sent), add (from the connection), strip",
        }
        SHUTDOWN_TIMEOUT_SECONDS shutdown_timeout_seconds {
            default: "300", example: "5m",
            help: "how long requests under way may take after SIGTERM; a second signal cuts at once",
        }
    }
    Answers {
        SOURCE_HEADER source_header {
            default: "X-Forebay-Source: forebay", example: "\"X-Proxq-Source: proxq\"",
            help: "header name and value on answers that forebay itself made",
        }
        DIALECT dialect {
            default: "auto", example: "plain",
            help: "auto: answers suit the client (Codex, OpenAI, Anthropic); plain: the same for all",
        }
        CODEX_FINAL_STATUS codex_final_status {
            default: "400", example: "400",
            help: "what Codex gets when the deadlines are used up, 400 to 599; off = 504 as for others",
        }
        TIMELINE timeline {
            default: "false", example: "true",
            help: "adds X-Forebay-Timeline: what became of each attempt, and when",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_reads_the_field_that_envy_fills_for_its_name() {
        for variable in VARIABLES {
            let raw: Raw = envy::from_iter([(variable.name.to_owned(), "here".to_owned())]).unwrap();
            assert_eq!(variable.of(&raw), Some("here"), "{}", variable.name);
            let set = VARIABLES.iter().filter(|v| v.of(&raw).is_some()).count();
            assert_eq!(set, 1, "{}", variable.name);
        }
    }

    #[test]
    fn names_are_unique_and_every_variable_has_help_and_an_example() {
        for (i, variable) in VARIABLES.iter().enumerate() {
            assert!(VARIABLES[..i].iter().all(|v| v.name != variable.name), "{}", variable.name);
            assert!(!variable.help.is_empty() && !variable.example.is_empty(), "{}", variable.name);
        }
        assert_eq!(Section::ALL.iter().flat_map(|s| s.variables()).count(), VARIABLES.len() + 1);
    }
}
