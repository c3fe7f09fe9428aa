//! The metrics that there are. (p)
//!
//! Names and units are as Prometheus' own guide has them: a prefix, base units, `_total` behind what only grows.

use std::fmt::Write;

/// A metric, as it is shown and documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The names of its labels, in the order of their values.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while the process lives.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl Kind {
    /// Its word in the text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

const NONE: &[&str] = &[];
const UPSTREAM: &[&str] = &["upstream"];
const ROUTE: &[&str] = &["route", "upstream"];
const OUTCOME: &[&str] = &["route", "upstream", "outcome"];
const QUEUE: &[&str] = &["queue"];
const STATE: &[&str] = &["queue", "state"];
const EXECUTION: &[&str] = &["queue", "outcome"];
const OPERATION: &[&str] = &["operation"];
const LIMIT: &[&str] = &["limit"];

macro_rules! metrics {
    ($($id:ident: $kind:ident $labels:ident $name:literal $help:literal)*) => {
        $(pub(super) const $id: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: $labels, help: $help };)*

        /// All that `/metrics` may show, in its order.
        pub const METRICS: &[Metric] = &[$($id),*];
    };
}

const VERSION: &[&str] = &["version"];

metrics! {
    BUILD_INFO: Gauge VERSION "forebay_build_info"
        "Always 1; the label tells the version that runs."
    CLIENT_CONNECTIONS: Gauge NONE "forebay_client_connections"
        "Client connections that are open on the proxy listener."
    BUFFERED_BYTES: Gauge NONE "forebay_buffered_bytes"
        "Bytes of request bodies that are held for replay."
    BUFFERED_LIMIT_BYTES: Gauge NONE "forebay_buffered_limit_bytes"
        "MAX_BUFFERED_BYTES: above it requests are answered with 503."
    CERTIFICATE_EXPIRY: Gauge NONE "forebay_tls_certificate_expiry_timestamp_seconds"
        "When the certificate of the proxy listener expires, in seconds since 1970; only with TLS_CERT_FILE."
    EXCHANGES: Counter OUTCOME "forebay_exchanges_total"
        "Exchanges that have ended, by outcome as in their log lines; health checks are none."
    EXCHANGES_IN_FLIGHT: Gauge ROUTE "forebay_exchanges_in_flight"
        "Exchanges whose response has not ended, tunnels among them."
    CLIENTS_LEFT: Counter ROUTE "forebay_clients_left_total"
        "Exchanges that ended because the client went away or stopped reading."
    ATTEMPTS: Counter OUTCOME "forebay_attempts_total"
        "Attempts that have ended, by the class of the status or the failure, as in the timeline; free replacements are counted too."
    TIME_TO_HEADERS: Histogram ROUTE "forebay_time_to_headers_seconds"
        "Of attempts that had a response head: from the request being written completely to the head."
    RESCUED: Counter ROUTE "forebay_exchanges_rescued_total"
        "Exchanges that were answered with the head of a later attempt than the first."
    RETRIES: Counter ROUTE "forebay_retries_total"
        "Attempts that were started after another had failed."
    RETRIES_REFUSED: Counter ROUTE "forebay_retries_refused_total"
        "Retries that RETRY_BUDGET_PERCENT and RETRY_BUDGET_MIN did not allow."
    HEDGES: Counter ROUTE "forebay_hedges_total"
        "Attempts that were started beside another."
    HEDGES_REFUSED: Counter ROUTE "forebay_hedges_refused_total"
        "Hedges that HEDGE_BUDGET_PERCENT did not allow."
    PAID_TWICE: Counter ROUTE "forebay_hedges_paid_twice_total"
        "Attempts that were dropped in favour of another after their request was written: the upstream may have charged for both."
    ADOPTED: Counter ROUTE "forebay_attempts_adopted_total"
        "Attempts that outlived their exchange and went on as the execution of a job."
    STREAM_STALLS: Counter ROUTE "forebay_stream_stalls_total"
        "Responses that were ended because the upstream fell silent after headers (STREAM_IDLE_TIMEOUT_SECONDS)."
    CACHE_HITS: Counter ROUTE "forebay_cache_hits_total"
        "Requests that were given an answer that was there already, or that another one had asked for just then; only with CACHE, like the next four."
    CACHE_SHARED: Counter ROUTE "forebay_cache_shared_total"
        "The latter alone: hits that shared one request to the upstream."
    CACHE_MISSES: Counter ROUTE "forebay_cache_misses_total"
        "Requests that the upstream was asked for, those that are counted next among them."
    CACHE_BYPASSED: Counter ROUTE "forebay_cache_bypassed_total"
        "Requests that wanted nothing that was there already, or nothing kept (Cache-Control: no-cache, no-store)."
    CACHE_STORED: Counter ROUTE "forebay_cache_stored_total"
        "Answers that were kept."
    POOL_OPEN: Gauge UPSTREAM "forebay_pool_connections_open"
        "Connections to the upstream that are open or being opened."
    POOL_IDLE: Gauge UPSTREAM "forebay_pool_connections_idle"
        "Connections to the upstream that serve nobody and may serve the next."
    POOL_LIMIT: Gauge UPSTREAM "forebay_pool_connections_limit"
        "UPSTREAM_MAX_CONNECTIONS."
    POOL_WAITING: Gauge UPSTREAM "forebay_pool_waiting"
        "Attempts that wait for a connection."
    POOL_CONNECT: Histogram UPSTREAM "forebay_pool_connect_seconds"
        "How long new connections took that came to stand: DNS, TCP, proxy and TLS together."
    JOBS: Gauge STATE "forebay_jobs"
        "Jobs that the store holds, by state: queued, running, waiting (for a repeat), completed or failed (and kept)."
    JOBS_QUEUED_LIMIT: Gauge QUEUE "forebay_jobs_queued_limit"
        "QUEUE_MAX_DEPTH: with so many queued jobs no further one is taken."
    JOBS_OLDEST: Gauge QUEUE "forebay_jobs_oldest_queued_seconds"
        "How long ago the oldest queued job was submitted; 0 if none is queued."
    JOB_EXECUTIONS_IN_FLIGHT: Gauge QUEUE "forebay_job_executions_in_flight"
        "Jobs that this process executes."
    JOB_EXECUTIONS: Counter EXECUTION "forebay_job_executions_total"
        "Executions that have ended here, by outcome as in their log lines."
    JOBS_SUBMITTED: Counter QUEUE "forebay_jobs_submitted_total"
        "Jobs that were stored by this process, those that it began itself (forebay_attempts_adopted_total) among them."
    JOBS_REPEATED: Counter QUEUE "forebay_jobs_repeated_total"
        "Executions that failed here and are repeated (JOB_MAX_RETRIES)."
    JOBS_TAKEN_OVER: Counter QUEUE "forebay_jobs_taken_over_total"
        "Jobs that were taken back from a worker that fell silent (JOB_LEASE_SECONDS)."
    JOBS_PARKED: Counter QUEUE "forebay_jobs_parked_total"
        "Jobs that were parked as failed because three workers stopped while they executed them (poisoned)."
    STORE_UP: Gauge NONE "forebay_store_up"
        "Whether the store has answered this scrape: 1 or 0."
    STORE_BYTES: Gauge NONE "forebay_store_bytes"
        "Bytes of requests, recordings and cached answers that the store holds."
    STORE_LIMIT_BYTES: Gauge NONE "forebay_store_limit_bytes"
        "STORE_MAX_BYTES: beyond it no job is taken."
    STORE_OPERATIONS: Histogram OPERATION "forebay_store_operation_seconds"
        "How long the store took for what this process asked of it and it answered."
    STORE_ERRORS: Counter OPERATION "forebay_store_errors_total"
        "What this process asked of the store and it did not answer."
    STORE_REFUSALS: Counter LIMIT "forebay_store_refusals_total"
        "What the store refused: depth is QUEUE_MAX_DEPTH, bytes is STORE_MAX_BYTES."
    CPU: Counter NONE "process_cpu_seconds_total"
        "CPU time of the process, of user and system together."
    OPEN_FDS: Gauge NONE "process_open_fds"
        "Open file descriptors."
    MAX_FDS: Gauge NONE "process_max_fds"
        "The limit of open file descriptors."
    VIRTUAL_MEMORY: Gauge NONE "process_virtual_memory_bytes"
        "Virtual memory."
    RESIDENT_MEMORY: Gauge NONE "process_resident_memory_bytes"
        "Resident memory."
    START_TIME: Gauge NONE "process_start_time_seconds"
        "When the process started, in seconds since 1970."
}

/// The table of the README.
pub fn readme_table() -> String {
    let mut table = "| name | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for Metric { name, kind, labels, help } in METRICS {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(table, "| `{name}` | {} | {} | {help} |", kind.as_str(), labels.join(", "));
    }
    table
}
