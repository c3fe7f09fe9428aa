//! Names that belong to the contract but not to this version: refused where ignoring them would change what happens.

/// A variable of the contract that this version does not have.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotYet {
    pub(super) name: &'static str,
    pub(super) accepts: Accepts,
    /// Its value is never shown, and `<NAME>_FILE` is one of its names.
    pub(super) secret: bool,
}

/// Which values of it can be accepted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Accepts {
    /// None: whoever sets it relies on something that would not happen.
    Nothing,
    /// Those that say what this version does anyway.
    Only(&'static [&'static str]),
    /// All, with a warning: it tunes something that is not there, and nobody is worse off.
    Tuning,
}

use Accepts::{Nothing, Only, Tuning};

/// The contract's other names.
pub(super) static NOT_YET: &[NotYet] = &[
    // 3.1
    secret("ADMIN_TOKEN", Nothing),
    // 3.6
    plain("QUEUE_PATHS", Nothing),
    plain("OVERFLOW", Only(&["off", "prefer"])),
    plain("OVERFLOW_AFTER_SECONDS", Tuning),
    // 3.7
    plain("STORE", Only(&["off"])),
    secret("REDIS_URL", Nothing),
    plain("DATA_DIR", Tuning),
    plain("STORE_MAX_BYTES", Tuning),
    plain("ROLES", Only(&["front"])),
    plain("JOBS_PATH", Tuning),
    plain("QUEUE_NAME", Tuning),
    plain("QUEUE_CONCURRENCY", Tuning),
    plain("QUEUE_MAX_DEPTH", Tuning),
    plain("QUEUE_MAX_BODY_BYTES", Tuning),
    plain("JOB_TIMEOUT_SECONDS", Tuning),
    plain("JOB_TIMEOUT_MAX_SECONDS", Tuning),
    plain("JOB_RESPONSE_HEADER_TIMEOUT_SECONDS", Tuning),
    plain("JOB_MAX_RETRIES", Tuning),
    plain("JOB_RETRY_DELAY_SECONDS", Tuning),
    plain("JOB_RETRY_STATUSES", Tuning),
    plain("JOB_MAX_RESPONSE_BYTES", Tuning),
    plain("JOB_OWNER", Tuning),
    plain("JOB_RETENTION_SECONDS", Tuning),
    plain("JOB_LEASE_SECONDS", Tuning),
    plain("CACHE", Only(&["none"])),
    plain("CACHE_TTL_SECONDS", Tuning),
    plain("CACHE_MAX_ENTRIES", Tuning),
    plain("CACHE_MAX_BYTES", Tuning),
    plain("CACHE_MAX_ENTRY_BYTES", Tuning),
    plain("CACHE_KEY_PREFIX", Tuning),
    plain("CACHE_KEY_EXCLUDE_HEADERS", Tuning),
    plain("CACHE_SHARED", Tuning),
];

/// The names of these that a route could not have for itself.
static PROCESS_WIDE: &[&str] = &[
    "ADMIN_TOKEN",
    "STORE",
    "REDIS_URL",
    "DATA_DIR",
    "STORE_MAX_BYTES",
    "ROLES",
    "JOBS_PATH",
    "QUEUE_NAME",
    "QUEUE_CONCURRENCY",
    "QUEUE_MAX_DEPTH",
    "JOB_LEASE_SECONDS",
    "CACHE_MAX_ENTRIES",
    "CACHE_MAX_BYTES",
    "CACHE_KEY_PREFIX",
];

const fn plain(name: &'static str, accepts: Accepts) -> NotYet {
    NotYet { name, accepts, secret: false }
}

const fn secret(name: &'static str, accepts: Accepts) -> NotYet {
    NotYet { name, accepts, secret: true }
}

/// Whether a value can be accepted, and with what to say about it.
pub(super) enum Verdict {
    Fine,
    Warn(String),
    Refuse(String),
}

impl NotYet {
    /// Whether a route can have it for itself.
    pub(super) fn per_route(&self) -> bool {
        !PROCESS_WIDE.contains(&self.name)
    }

    /// `name` is the one that was set: its own, or that of a route.
    pub(super) fn judge(&self, name: &str, value: &str) -> Verdict {
        let value = value.trim();
        match self.accepts {
            Nothing => Verdict::Refuse("is not available in this version".into()),
            Only(values) if values.iter().any(|v| v.eq_ignore_ascii_case(value)) => Verdict::Fine,
            Only(values) => Verdict::Refuse(format!("is not available in this version, only {}", values.join(" or "))),
            Tuning => Verdict::Warn(format!("{name} has no effect in this version")),
        }
    }
}
