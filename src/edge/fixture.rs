//! An edge in front of an upstream in memory, for tests in paused time.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Edge, EdgeSettings};
use crate::body::Quota;
use crate::cache::Cache;
use crate::headers::{Arrival, Forwarded, TrustedProxies};
use crate::race::RetryBudget;
use crate::routes::{AnswerSettings, Route, RouteSettings, Routes};
use crate::shutdown::{Shutdown, Tasks};
use crate::size::ByteSize;
use crate::upstream::Pool;

pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const IDLE: Duration = Duration::from_secs(75);
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
pub(super) const LOCAL: Arrival = Arrival { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), is_tls: false };

/// An edge with one route, and where its upstream's connections arrive.
pub(super) fn edge() -> (Arc<Edge>, UnboundedReceiver<DuplexStream>) {
    edge_with(|_| {})
}

/// The same with something changed about its route.
pub(super) fn edge_with(change: impl FnOnce(&mut RouteSettings)) -> (Arc<Edge>, UnboundedReceiver<DuplexStream>) {
    let mut settings = RouteSettings::for_tests(1, 10);
    settings.policy.header_deadline = Duration::from_secs(300);
    settings.policy.whole_answer_deadline = Duration::from_secs(300);
    change(&mut settings);
    let (pool, upstream) = Pool::in_memory(settings.transport.clone(), Duration::ZERO);
    let budget = RetryBudget::new(settings.budget);
    let settings_of_the_edge = EdgeSettings {
        header_timeout: HEADER_TIMEOUT,
        body_timeout: Duration::from_secs(30),
        write_timeout: WRITE_TIMEOUT,
        idle: IDLE,
        max_connections: 10,
        max_header_bytes: ByteSize::new(128 << 10),
        health_path: Some("/healthz".to_owned()),
        tls: None,
        trusted_proxies: TrustedProxies::default(),
        forwarded: Forwarded::Keep,
        forwarded_jobs: Forwarded::Add,
    };
    let edge = Edge {
        settings: settings_of_the_edge,
        routes: Routes::new([Route::new(settings, pool, budget)]),
        answers: AnswerSettings::for_tests(),
        quota: Quota::new(1 << 30),
        cache: Cache::nothing(),
        queue: None,
        shutdown: Shutdown::default(),
        streams: Tasks::default(),
    };
    (Arc::new(edge), upstream)
}
