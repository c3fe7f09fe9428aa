//! The routes (contract 3.5): that of the global URL, and those that are named. Each has the variables of its own, and
//! falls back to the global ones.

use std::time::Duration;

use super::store::{Chosen, Limits};
use super::{Listen, attempts, jobs, lanes, upstream};
use crate::answer::Source;
use crate::cache::{CacheKind, CacheSettings, MemorySettings};
use crate::config::ReadFile;
use crate::config::checks;
use crate::config::declare::{self as var, Variable};
use crate::config::parse;
use crate::config::resolve::{Refused, Resolver, Scope, Taken};
use crate::dialect;
use crate::routes::{AnswerSettings, Lane, Lanes, Overflow, OverflowSettings, Oversize, Prefix, RouteSettings};
use crate::size::ByteSize;
use crate::store::StoreKind;
use crate::upstream::BaseUrl;

pub(super) const MAX_BODY: u64 = 1 << 40;

/// What routes are told about the process.
pub(super) struct Process<'a> {
    pub(super) listen: &'a Taken<Listen>,
    pub(super) max_buffered: &'a Taken<ByteSize>,
    pub(super) store: &'a Taken<Chosen>,
    pub(super) limits: &'a Limits,
    pub(super) memory: &'a Taken<MemorySettings>,
    pub(super) read: ReadFile<'a>,
}

impl Process<'_> {
    /// Whether there is a store. One that could not be understood would have been one.
    pub(super) fn has_store(&self) -> bool {
        self.store.as_ref().is_ok_and(|store| store.kind.is_some()) || self.store.is_err()
    }

    /// Whether others reach it too.
    pub(super) fn is_in_redis(&self) -> bool {
        matches!(self.store, Ok(Chosen { kind: Some(StoreKind::Redis { .. }), .. }))
    }
}

/// A route, as far as it could be understood.
pub(in crate::config) struct Resolved {
    /// Whose variables they are.
    pub(in crate::config) scope: Scope,
    pub(in crate::config) prefix: Taken<Prefix>,
    pub(in crate::config) settings: Taken<RouteSettings>,
    /// What of it asks for a store.
    pub(in crate::config) asks: Vec<String>,
}

/// The answers where no route is known, and all routes, that of the global URL first.
pub(super) fn all(r: &mut Resolver, process: &Process) -> (Taken<AnswerSettings>, Vec<Resolved>) {
    let names = r.route_names();
    let global_is_a_route = names.is_empty() || r.is_set(var::UPSTREAM_BASE_URL);
    let scope = if global_is_a_route { Scope::Global } else { Scope::Fallback };
    r.enter(scope.clone());
    let base = if global_is_a_route { r.required(var::UPSTREAM_BASE_URL, base) } else { Err(Refused) };
    let origin = base.as_ref().ok().map(|base| base.origin().clone());
    if !global_is_a_route {
        r.unset(var::UPSTREAM_BASE_URL);
    }
    let prefix = Ok(Prefix::default());
    let (answers, settings, asks) = one(r, process, None, &prefix, base);
    let mut routes = Vec::new();
    if global_is_a_route {
        routes.push(Resolved { scope, prefix, settings, asks });
    }
    for name in names {
        r.enter(Scope::Route { name: name.clone(), same_origin: false });
        let prefix = r.required(var::PREFIX, parse::prefix);
        let base = r.required(var::UPSTREAM_BASE_URL, self::base);
        let same_origin = origin.is_some() && base.as_ref().ok().map(BaseUrl::origin) == origin.as_ref();
        let scope = Scope::Route { name: name.clone(), same_origin };
        r.enter(scope.clone());
        let (_, settings, asks) = one(r, process, Some(name), &prefix, base);
        routes.push(Resolved { scope, prefix, settings, asks });
    }
    r.enter(Scope::Global);
    (answers, routes)
}

fn base(text: &str) -> parse::Parsed<BaseUrl> {
    BaseUrl::parse(text).map_err(|error| error.to_string())
}

fn one(
    r: &mut Resolver,
    process: &Process,
    name: Option<String>,
    prefix: &Taken<Prefix>,
    base: Taken<BaseUrl>,
) -> (Taken<AnswerSettings>, Taken<RouteSettings>, Vec<String>) {
    let (key_header, key) = upstream::key(r);
    let web = upstream::web(r);
    let transport = upstream::transport(r, &base, process.read);
    let policy = attempts::policy(r);
    let budget = attempts::budget(r);
    let hedge_budget_percent = r.count(var::HEDGE_BUDGET_PERCENT, 0..=10_000);
    let stream_idle = idle(r, var::STREAM_IDLE_TIMEOUT_SECONDS);
    let tunnel_idle = idle(r, var::TUNNEL_IDLE_TIMEOUT_SECONDS);
    let max_request_body = r.size(var::MAX_REQUEST_BODY_BYTES, 1..=MAX_BODY);
    let lanes = lanes::lanes(r);
    let oversize = lanes::oversize(r);
    let chunked = lanes::chunked(r);
    let overflow = lanes::overflow(r, process.has_store(), &lanes);
    let jobs = jobs::jobs(r, process);
    let cache = jobs::cache(r, process, &key_header, &lanes);

    let asks = asks(r, process.store, &lanes, oversize, &overflow, &cache);
    let tells_clients_apart = !asks.is_empty() || cache.as_ref().is_ok_and(|cache| cache.kind != CacheKind::None);
    checks::key_header_is_plausible(r, &key, process.has_store(), tells_clients_apart);
    checks::store::oversize_fits(r, oversize, &max_request_body, &jobs);
    checks::no_loop(r, process.listen, &base);
    let (source, answers) = answers(r);
    checks::source_is_not_the_key(r, &source, &key);
    checks::body_fits(r, &max_request_body, process.max_buffered);
    let web = checks::web_in_force(r, process.listen, &key, web);
    let route_answers = answers.clone();
    let settings = (|| {
        let (oversize, queue_oversize) = oversize?;
        Ok(RouteSettings {
            name,
            prefix: prefix.clone()?,
            base: base?,
            key_header: key_header?,
            key: key?,
            web: web?,
            transport: transport?,
            policy: policy?,
            budget: budget?,
            hedge_budget_percent: hedge_budget_percent?,
            lanes: lanes?,
            oversize,
            queue_oversize,
            chunked: chunked?,
            overflow: overflow?,
            jobs: jobs?,
            cache: cache?,
            stream_idle: stream_idle?,
            tunnel_idle: tunnel_idle?,
            max_request_body: max_request_body?,
            answers: route_answers?,
        })
    })();
    (answers, settings, asks)
}

/// What of a route cannot be without a store.
fn asks(
    r: &mut Resolver,
    store: &Taken<Chosen>,
    lanes: &Taken<Lanes>,
    oversize: Taken<(Oversize, Oversize)>,
    overflow: &Taken<OverflowSettings>,
    cache: &Taken<CacheSettings>,
) -> Vec<String> {
    let Ok(store) = store else { return Vec::new() };
    [
        (var::LANE, "=queue", lanes.as_ref().is_ok_and(|lanes| lanes.otherwise == Lane::Queue)),
        (var::QUEUE_PATHS, "", lanes.as_ref().is_ok_and(|lanes| !lanes.queue.is_empty())),
        (var::OVERSIZE, "=queue", oversize.is_ok_and(|(raced, _)| raced == Oversize::Queue)),
        (var::OVERFLOW, "=always", overflow.is_ok_and(|overflow| overflow.overflow == Overflow::Always)),
        (var::CACHE, "=store", cache.as_ref().is_ok_and(|cache| cache.kind == CacheKind::Store)),
    ]
    .into_iter()
    .filter(|(_, _, does)| *does)
    .filter_map(|(variable, word, _)| checks::store::asks(r, store.kind.as_ref(), variable, word))
    .collect()
}

/// A time without a byte; none = off.
fn idle(r: &mut Resolver, variable: Variable) -> Taken<Option<Duration>> {
    r.duration_or_zero(variable, "off").map(|idle| Some(idle).filter(|idle| !idle.is_zero()))
}

/// Section 3.8.
fn answers(r: &mut Resolver) -> (Taken<Source>, Taken<AnswerSettings>) {
    let auto = r.take(var::DIALECT, |text| parse::choice(text, &[("auto", true), ("plain", false)]));
    let codex_final_status = r.take(var::CODEX_FINAL_STATUS, parse::status_or_off);
    let source = r.take(var::SOURCE_HEADER, parse::source);
    let timeline = r.take(var::TIMELINE, parse::boolean);
    let answers = (|| {
        let dialect = dialect::Settings { auto: auto?, codex_final_status: codex_final_status? };
        Ok(AnswerSettings { dialect, source: source.clone()?, timeline: timeline? })
    })();
    (source, answers)
}
