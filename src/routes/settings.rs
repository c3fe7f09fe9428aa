//! What configuration says about one route.

use std::time::Duration;

use http::HeaderName;

use super::{Chunked, Lanes, Oversize, Prefix};
use crate::answer::Source;
use crate::cache::CacheSettings;
use crate::dialect;
use crate::headers::{ApiKey, WebPageRule};
use crate::job::JobPolicy;
use crate::race::{BudgetSettings, Policy};
use crate::size::ByteSize;
use crate::upstream::{BaseUrl, TransportSettings};

/// Everything that configuration says about one route.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// `<NAME>` of `ROUTE_<NAME>_PREFIX`; none for the route of the global `UPSTREAM_BASE_URL`.
    pub name: Option<String>,
    /// `ROUTE_<NAME>_PREFIX`: stripped from the path.
    pub prefix: Prefix,
    /// `UPSTREAM_BASE_URL`.
    pub base: BaseUrl,
    /// `UPSTREAM_API_KEY_HEADER`: a credential of clients, whether a key replaces it or not.
    pub key_header: HeaderName,
    /// `UPSTREAM_API_KEY…`.
    pub key: Option<ApiKey>,
    /// `ALLOWED_HOSTS`, `ALLOWED_ORIGINS`, where they are in force: with a key, on a loopback listener.
    pub web: Option<WebPageRule>,
    /// How its upstream is reached.
    pub transport: TransportSettings,
    /// How its attempts are raced.
    pub policy: Policy,
    /// `RETRY_BUDGET_PERCENT`, `RETRY_BUDGET_MIN`.
    pub budget: BudgetSettings,
    /// `HEDGE_BUDGET_PERCENT`.
    pub hedge_budget_percent: u32,
    /// `LANE` and the lists of paths.
    pub lanes: Lanes,
    /// `OVERSIZE` on the lane `race`: a body above `MAX_REQUEST_BODY_BYTES`.
    pub oversize: Oversize,
    /// `OVERSIZE` on the lane `queue`, where it has another default: a body above `QUEUE_MAX_BODY_BYTES`.
    pub queue_oversize: Oversize,
    /// `CHUNKED`.
    pub chunked: Chunked,
    /// `OVERFLOW`, `OVERFLOW_AFTER_SECONDS`.
    pub overflow: OverflowSettings,
    /// What its jobs may take.
    pub jobs: JobPolicy,
    /// What of its answers is kept.
    pub cache: CacheSettings,
    /// `STREAM_IDLE_TIMEOUT_SECONDS`; none = off.
    pub stream_idle: Option<Duration>,
    /// `TUNNEL_IDLE_TIMEOUT_SECONDS`; none = off.
    pub tunnel_idle: Option<Duration>,
    /// `MAX_REQUEST_BODY_BYTES`.
    pub max_request_body: ByteSize,
    /// Section 3.8.
    pub answers: AnswerSettings,
}

/// When a race may become a job (contract 3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverflowSettings {
    /// `OVERFLOW`.
    pub overflow: Overflow,
    /// `OVERFLOW_AFTER_SECONDS`; none = when the last attempt misses its header deadline.
    pub after: Option<Duration>,
}

/// `OVERFLOW`: which races may become jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// None, and `Prefer` is ignored.
    Off,
    /// Those whose client asks for it, with `Prefer: respond-async, wait=N`.
    Prefer,
    /// All whose body can be stored.
    Always,
}

/// What forebay's own answers look like (contract 3.8).
#[derive(Clone, Debug)]
pub struct AnswerSettings {
    /// `DIALECT`, `CODEX_FINAL_STATUS`.
    pub dialect: dialect::Settings,
    /// `SOURCE_HEADER`.
    pub source: Source,
    /// `TIMELINE`.
    pub timeline: bool,
}

impl RouteSettings {
    /// Whether connections of the one route can serve the other: same origin, same trust, same proxy.
    pub fn shares_pool_with(&self, other: &Self) -> bool {
        self.base.origin() == other.base.origin()
            && self.transport.extra_roots == other.transport.extra_roots
            && self.transport.proxy == other.transport.proxy
    }
}

#[cfg(test)]
impl RouteSettings {
    /// One route for everything, with the defaults of the contract but for pauses, clocks of streams and HTTP/2.
    pub(crate) fn for_tests(max_attempts: u32, max_connections: usize) -> Self {
        Self {
            name: None,
            prefix: Prefix::default(),
            base: BaseUrl::parse("http://upstream.test").unwrap(),
            key_header: http::header::AUTHORIZATION,
            key: None,
            web: None,
            transport: TransportSettings::for_tests(max_connections),
            policy: Policy::for_tests(max_attempts),
            budget: BudgetSettings { percent: 100, min: 10 },
            hedge_budget_percent: 10,
            lanes: Lanes::always(super::Lane::Race),
            oversize: Oversize::Reject,
            queue_oversize: Oversize::Stream,
            chunked: Chunked::Buffer,
            overflow: OverflowSettings { overflow: Overflow::Prefer, after: None },
            jobs: JobPolicy::for_tests(),
            cache: CacheSettings::for_tests(),
            stream_idle: None,
            tunnel_idle: None,
            max_request_body: ByteSize::new(1 << 20),
            answers: AnswerSettings::for_tests(),
        }
    }
}

#[cfg(test)]
impl AnswerSettings {
    /// The defaults of the contract.
    pub(crate) fn for_tests() -> Self {
        let source = Source {
            name: HeaderName::from_static("x-forebay-source"),
            value: http::HeaderValue::from_static("forebay"),
        };
        let dialect = dialect::Settings { auto: true, codex_final_status: Some(http::StatusCode::BAD_REQUEST) };
        Self { dialect, source, timeline: false }
    }
}
