//! `/metrics`: what Prometheus scrapes.
//!
//! What is counted on the way is read from its counters; what somebody else knows anyway – a pool, the quota, the
//! certificate – is asked at the time of the scrape.

mod jobs;
mod page;
mod process;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::jobs::Jobs;
use crate::body::Quota;
use crate::cache::CacheKind;
use crate::routes::{Route, Routes};
use crate::stats::{Buckets, CLIENT_GONE, CacheStats, Counter, RouteStats};
use crate::upstream::Pool;
use page::{Page, Sample};
pub use table::{Kind, METRICS, Metric, readme_table};

/// The `Content-Type` of the page.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The route and the upstream of requests that have none: no route matches, or they were refused before that was asked.
const UNROUTED: &str = "none";

/// Where the figures are.
pub struct Sources {
    /// The routes, with their counters and pools.
    pub routes: Routes,
    /// What buffered bodies are taken from.
    pub quota: Arc<Quota>,
    /// How many client connections are open.
    pub clients: Box<dyn Fn() -> usize + Send + Sync>,
    /// When the listener's certificate expires, in seconds since 1970; none without TLS.
    pub certificate: Box<dyn Fn() -> Option<i64> + Send + Sync>,
    /// Jobs and their store; none = there is no store.
    pub jobs: Option<Jobs>,
}

/// One route, and what it is called.
struct Row<'a> {
    route: String,
    upstream: String,
    /// Whether anything of its answers is kept.
    is_cached: bool,
    stats: &'a RouteStats,
}

impl Row<'_> {
    fn labels(&self) -> Vec<&str> {
        vec![&self.route, &self.upstream]
    }

    fn outcome<'a>(&'a self, outcome: &'a str) -> Vec<&'a str> {
        vec![&self.route, &self.upstream, outcome]
    }
}

/// All pools of one upstream together: those of different proxies or roots differ for nobody who looks from outside.
#[derive(Default)]
struct Pools {
    open: usize,
    idle: usize,
    waiting: usize,
    limit: usize,
    connects: Buckets,
}

impl Sources {
    /// The page, as it is now. A store that does not answer makes it shorter, not late. Cancel-safe.
    pub(super) async fn page(&self) -> String {
        let counts = match &self.jobs {
            Some(jobs) => jobs.counts_at_once().await,
            None => None,
        };
        let mut page = Page::default();
        page.add(&table::BUILD_INFO, [Sample::new([env!("CARGO_PKG_VERSION")], 1.0)]);
        page.add(&table::CLIENT_CONNECTIONS, [Sample::count([], (self.clients)())]);
        page.add(&table::BUFFERED_BYTES, [Sample::count([], self.quota.used())]);
        page.add(&table::BUFFERED_LIMIT_BYTES, [Sample::count([], self.quota.limit())]);
        let expiry = (self.certificate)().and_then(|expiry| u64::try_from(expiry).ok());
        page.add(&table::CERTIFICATE_EXPIRY, expiry.map(|expiry| Sample::count([], expiry)));
        self.add_routes(&mut page);
        self.add_pools(&mut page);
        if let Some(jobs) = &self.jobs {
            jobs::add_to(&mut page, jobs, counts.as_ref());
        }
        process::add_to(&mut page);
        page.text()
    }

    fn add_routes(&self, page: &mut Page) {
        let routed = self.routes.iter().map(|route| Row {
            route: name(route),
            upstream: route.settings.base.origin().to_string(),
            is_cached: route.settings.cache.kind != CacheKind::None,
            stats: route.stats.as_ref(),
        });
        let mut rows: Vec<_> = routed.collect();
        rows.sort_by(|a, b| a.route.cmp(&b.route));
        let attempting = rows.len();
        let (route, upstream) = (UNROUTED.to_owned(), UNROUTED.to_owned());
        rows.push(Row { route, upstream, is_cached: false, stats: self.routes.unrouted() });
        page.add(
            &table::EXCHANGES,
            rows.iter().flat_map(|row| {
                row.stats.exchanges.all().into_iter().map(|(outcome, count)| Sample::count(row.outcome(outcome), count))
            }),
        );
        page.add(
            &table::EXCHANGES_IN_FLIGHT,
            rows.iter().map(|row| Sample::count(row.labels(), row.stats.in_flight.get())),
        );
        page.add(
            &table::CLIENTS_LEFT,
            rows.iter().map(|row| Sample::count(row.labels(), row.stats.exchanges.of(CLIENT_GONE))),
        );
        // Without a route there is no attempt.
        rows.truncate(attempting);
        page.add(
            &table::ATTEMPTS,
            rows.iter().flat_map(|row| {
                row.stats.attempts.all().into_iter().map(|(outcome, count)| Sample::count(row.outcome(outcome), count))
            }),
        );
        page.add(
            &table::TIME_TO_HEADERS,
            rows.iter().map(|row| Sample::buckets(row.labels(), row.stats.time_to_headers.buckets())),
        );
        let mut add = |metric, counter: fn(&RouteStats) -> &Counter| {
            page.add(metric, rows.iter().map(|row| Sample::count(row.labels(), counter(row.stats).get())));
        };
        add(&table::RESCUED, |stats| &stats.rescued);
        add(&table::RETRIES, |stats| &stats.retries);
        add(&table::RETRIES_REFUSED, |stats| &stats.retries_refused);
        add(&table::HEDGES, |stats| &stats.hedges);
        add(&table::HEDGES_REFUSED, |stats| &stats.hedges_refused);
        add(&table::PAID_TWICE, |stats| &stats.paid_twice);
        add(&table::ADOPTED, |stats| &stats.adopted);
        add(&table::STREAM_STALLS, |stats| &stats.stream_stalls);
        rows.retain(|row| row.is_cached);
        let mut add = |metric, counter: fn(&CacheStats) -> &Counter| {
            page.add(metric, rows.iter().map(|row| Sample::count(row.labels(), counter(&row.stats.cache).get())));
        };
        add(&table::CACHE_HITS, |stats| &stats.hits);
        add(&table::CACHE_SHARED, |stats| &stats.shared);
        add(&table::CACHE_MISSES, |stats| &stats.misses);
        add(&table::CACHE_BYPASSED, |stats| &stats.bypassed);
        add(&table::CACHE_STORED, |stats| &stats.stored);
    }

    fn add_pools(&self, page: &mut Page) {
        let mut seen: Vec<&Arc<Pool>> = Vec::new();
        let mut upstreams: BTreeMap<String, Pools> = BTreeMap::new();
        for route in self.routes.iter() {
            if seen.iter().any(|pool| Arc::ptr_eq(pool, &route.pool)) {
                continue;
            }
            seen.push(&route.pool);
            let (holdings, sum) =
                (route.pool.holdings(), upstreams.entry(route.settings.base.origin().to_string()).or_default());
            sum.open += holdings.open;
            sum.idle += holdings.idle;
            sum.waiting += holdings.waiting;
            sum.limit = sum.limit.saturating_add(route.pool.settings().max_connections);
            sum.connects.add(&route.pool.connect_time().buckets());
        }
        let mut add = |metric, figure: fn(&Pools) -> usize| {
            page.add(metric, upstreams.iter().map(|(name, pools)| Sample::count([name.as_str()], figure(pools))));
        };
        add(&table::POOL_OPEN, |pools| pools.open);
        add(&table::POOL_IDLE, |pools| pools.idle);
        add(&table::POOL_LIMIT, |pools| pools.limit);
        add(&table::POOL_WAITING, |pools| pools.waiting);
        let connects = upstreams.iter().map(|(name, pools)| Sample::buckets([name.as_str()], pools.connects.clone()));
        page.add(&table::POOL_CONNECT, connects);
    }
}

/// What a route is called here. One whose own name is a word of ours keeps its prefix.
fn name(route: &Route) -> String {
    match route.settings.name.as_deref() {
        Some(name @ ("default" | UNROUTED)) => format!("ROUTE_{name}"),
        _ => route.label().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::ids::JobId;
    use crate::race::RetryBudget;
    use crate::routes::{Prefix, RouteSettings};
    use crate::store::empty::Empty;
    use crate::store::{Store, StoreError};
    use crate::upstream::BaseUrl;

    /// A route with this name, to this upstream, over a pool of its own.
    fn route(name: Option<&str>, upstream: &str, connections: usize) -> Route {
        let mut settings = RouteSettings::for_tests(2, connections);
        settings.name = name.map(str::to_owned);
        settings.prefix = Prefix::new(&format!("/{}", name.unwrap_or_default()));
        settings.base = BaseUrl::parse(upstream).unwrap();
        let (pool, _) = Pool::in_memory(settings.transport.clone(), Duration::ZERO);
        let budget = RetryBudget::new(settings.budget);
        Route::new(settings, pool, budget)
    }

    fn sources(routes: impl IntoIterator<Item = Route>) -> Sources {
        let (routes, quota) = (Routes::new(routes), Quota::new(1000));
        let (clients, certificate) = (Box::new(|| 7), Box::new(|| Some(2_000_000_000)));
        Sources { routes, quota, clients, certificate, jobs: None }
    }

    fn has(page: &str, line: &str) {
        assert!(page.lines().any(|found| found == line), "no line {line} in\n{page}");
    }

    #[tokio::test]
    async fn everything_in_the_table_is_on_the_page_in_its_order_and_nothing_else() {
        let mut cached = route(None, "http://upstream.test", 1);
        cached.settings.cache.kind = CacheKind::Memory;
        let mut sources = sources([cached]);
        sources.jobs = Some(Jobs::in_store(Arc::new(Empty::default())));
        let page = sources.page().await;
        let families: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let expected: Vec<_> =
            METRICS.iter().map(|metric| format!("{} {}", metric.name, metric.kind.as_str())).collect();
        assert_eq!(families, expected);
        has(&page, "forebay_client_connections 7");
        has(&page, "forebay_tls_certificate_expiry_timestamp_seconds 2000000000");
        has(&page, &format!("forebay_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")));
    }

    #[tokio::test]
    async fn pools_of_one_upstream_are_shown_as_one() {
        let routes = [
            route(Some("A"), "https://one.test/base", 3),
            route(Some("B"), "https://one.test", 4),
            route(Some("C"), "https://two.test", 5),
        ];
        routes[0].pool.connect_time().observe(Duration::from_millis(20));
        routes[1].pool.connect_time().observe(Duration::from_millis(200));
        let page = sources(routes).page().await;
        has(&page, "forebay_pool_connections_limit{upstream=\"https://one.test\"} 7");
        has(&page, "forebay_pool_connections_limit{upstream=\"https://two.test\"} 5");
        has(&page, "forebay_pool_connect_seconds_count{upstream=\"https://one.test\"} 2");
        has(&page, "forebay_pool_connect_seconds_bucket{upstream=\"https://one.test\",le=\"0.1\"} 1");
        has(&page, "forebay_exchanges_in_flight{route=\"A\",upstream=\"https://one.test\"} 0");
    }

    #[tokio::test]
    async fn no_series_appears_twice_whatever_routes_are_called() {
        let names = [None, Some("default"), Some("none"), Some("DEFAULT")];
        let page = sources(names.map(|name| route(name, "http://none", 1))).page().await;
        let series: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
        let series: Vec<_> = series.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        let distinct: BTreeSet<_> = series.iter().collect();
        assert_eq!(distinct.len(), series.len());
    }

    #[tokio::test]
    async fn what_has_happened_to_a_route_is_shown_under_its_name() {
        let route = route(None, "http://upstream.test", 1);
        route.stats.exchanges.count("no_such_common_code");
        route.stats.answered("2xx", Duration::from_millis(300), Some(Duration::from_secs(30)));
        route.stats.hedges.count();
        let sources = sources([route]);
        sources.routes.unrouted().exchanges.count("bad_request");
        let page = sources.page().await;
        let labels = "route=\"default\",upstream=\"http://upstream.test\"";
        has(&page, &format!("forebay_exchanges_total{{{labels},outcome=\"no_such_common_code\"}} 1"));
        has(&page, &format!("forebay_exchanges_total{{{labels},outcome=\"complete\"}} 0"));
        has(&page, &format!("forebay_attempts_total{{{labels},outcome=\"2xx\"}} 1"));
        has(&page, &format!("forebay_time_to_headers_seconds_bucket{{{labels},le=\"0.25\"}} 0"));
        has(&page, &format!("forebay_time_to_headers_seconds_bucket{{{labels},le=\"0.5\"}} 1"));
        has(&page, &format!("forebay_time_to_headers_seconds_sum{{{labels}}} 0.3"));
        has(&page, &format!("forebay_hedges_total{{{labels}}} 1"));
        has(&page, "forebay_exchanges_total{route=\"none\",upstream=\"none\",outcome=\"bad_request\"} 1");
        assert!(!page.contains("forebay_attempts_total{route=\"none\""), "without a route there is no attempt");
    }

    #[tokio::test]
    async fn a_cache_is_shown_where_there_is_one() {
        let routes = ["A", "B"].map(|name| route(Some(name), "http://upstream.test", 1));
        let [mut cached, plain] = routes;
        cached.settings.cache.kind = CacheKind::Store;
        cached.stats.cache.hits.add(2);
        cached.stats.cache.shared.count();
        let page = sources([cached, plain]).page().await;
        let labels = "{route=\"A\",upstream=\"http://upstream.test\"}";
        for (name, count) in [("hits", 2), ("shared", 1), ("misses", 0), ("bypassed", 0), ("stored", 0)] {
            has(&page, &format!("forebay_cache_{name}_total{labels} {count}"));
            assert!(!page.contains(&format!("forebay_cache_{name}_total{{route=\"B\"")), "{page}");
        }
    }

    #[tokio::test]
    async fn what_became_of_jobs_is_shown_by_queue() {
        let mut sources = sources([]);
        let jobs = Jobs::in_store(Arc::new(Empty::default()));
        jobs.store.retry(JobId::random()).await.unwrap();
        let stats = jobs.queue.stats();
        stats.submitted.add(3);
        stats.parked.count();
        stats.executions.count("completed");
        stats.executions.count("handed_back");
        sources.jobs = Some(jobs);
        let page = sources.page().await;
        for line in [
            "forebay_jobs{queue=\"test\",state=\"queued\"} 0",
            "forebay_jobs{queue=\"test\",state=\"waiting\"} 0",
            "forebay_jobs_queued_limit{queue=\"test\"} 10",
            "forebay_jobs_oldest_queued_seconds{queue=\"test\"} 0",
            "forebay_job_executions_in_flight{queue=\"test\"} 0",
            "forebay_job_executions_total{queue=\"test\",outcome=\"completed\"} 1",
            "forebay_job_executions_total{queue=\"test\",outcome=\"failed\"} 0",
            "forebay_job_executions_total{queue=\"test\",outcome=\"handed_back\"} 1",
            "forebay_jobs_submitted_total{queue=\"test\"} 3",
            "forebay_jobs_parked_total{queue=\"test\"} 1",
            "forebay_store_up 1",
            "forebay_store_bytes 0",
            "forebay_store_limit_bytes 1000",
            "forebay_store_operation_seconds_count{operation=\"retry\"} 1",
            "forebay_store_operation_seconds_count{operation=\"counts\"} 1",
            "forebay_store_errors_total{operation=\"counts\"} 0",
            "forebay_store_refusals_total{limit=\"bytes\"} 0",
        ] {
            has(&page, line);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_or_hangs_leaves_out_what_it_holds_and_nothing_else() {
        let empty = Arc::new(Empty::default());
        let mut sources = sources([]);
        sources.jobs = Some(Jobs::in_store(empty.clone()));
        empty.fails_with(Some(StoreError::Unavailable("gone".into())));
        let failing = sources.page().await;
        has(&failing, "forebay_store_errors_total{operation=\"counts\"} 1");
        empty.hangs();
        for page in [failing, sources.page().await] {
            has(&page, "forebay_store_up 0");
            has(&page, "forebay_store_limit_bytes 1000");
            has(&page, "forebay_jobs_submitted_total{queue=\"test\"} 0");
            has(&page, "forebay_client_connections 7");
            for absent in ["forebay_jobs{", "forebay_jobs_oldest", "forebay_store_bytes"] {
                assert!(!page.contains(absent), "{page}");
            }
        }
    }
}
