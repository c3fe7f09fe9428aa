//! What configuration says about one route.

use std::time::Duration;

use crate::answer::Source;
use crate::dialect;
use crate::headers::{ApiKey, WebPageRule};
use crate::race::{BudgetSettings, Policy};
use crate::size::ByteSize;
use crate::upstream::{BaseUrl, TransportSettings};

/// Everything that configuration says about one route.
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// `UPSTREAM_BASE_URL`.
    pub base: BaseUrl,
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
    /// `STREAM_IDLE_TIMEOUT_SECONDS`; none = off.
    pub stream_idle: Option<Duration>,
    /// `MAX_REQUEST_BODY_BYTES`.
    pub max_request_body: ByteSize,
    /// `DIALECT`, `CODEX_FINAL_STATUS`.
    pub dialect: dialect::Settings,
    /// `SOURCE_HEADER`.
    pub source: Source,
    /// `TIMELINE`.
    pub timeline: bool,
}
