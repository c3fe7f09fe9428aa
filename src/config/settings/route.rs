//! The routes (contract 3.5): that of the global URL, and those that are named. Each has the variables of its own, and
//! falls back to the global ones.

use std::time::Duration;

use http::HeaderName;
use regex::RegexSet;

use super::{Listen, attempts, upstream};
use crate::answer::Source;
use crate::cache::{CacheKind, CacheSettings};
use crate::config::ReadFile;
use crate::config::checks;
use crate::config::declare::{self as var, Variable};
use crate::config::parse;
use crate::config::resolve::{Refused, Resolver, Scope, Taken};
use crate::dialect;
use crate::job::{JobPolicy, OwnerRule};
use crate::routes::{
    AnswerSettings, Chunked, Lane, Lanes, Overflow, OverflowSettings, Oversize, Prefix, RouteSettings,
};
use crate::size::ByteSize;
use crate::upstream::BaseUrl;

const MAX_BODY: u64 = 1 << 40;

/// What routes are told about the process.
pub(super) struct Process<'a> {
    pub(super) listen: &'a Taken<Listen>,
    pub(super) max_buffered: &'a Taken<ByteSize>,
    pub(super) read: ReadFile<'a>,
}

/// A route, as far as it could be understood.
pub(in crate::config) struct Resolved {
    /// Whose variables they are.
    pub(in crate::config) scope: Scope,
    pub(in crate::config) prefix: Taken<Prefix>,
    pub(in crate::config) settings: Taken<RouteSettings>,
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
    let (answers, settings) = one(r, process, None, &prefix, base);
    let mut routes = Vec::new();
    if global_is_a_route {
        routes.push(Resolved { scope, prefix, settings });
    }
    for name in names {
        r.enter(Scope::Route { name: name.clone(), same_origin: false });
        let prefix = r.required(var::PREFIX, parse::prefix);
        let base = r.required(var::UPSTREAM_BASE_URL, self::base);
        let same_origin = origin.is_some() && base.as_ref().ok().map(BaseUrl::origin) == origin.as_ref();
        let scope = Scope::Route { name: name.clone(), same_origin };
        r.enter(scope.clone());
        let (_, settings) = one(r, process, Some(name), &prefix, base);
        routes.push(Resolved { scope, prefix, settings });
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
) -> (Taken<AnswerSettings>, Taken<RouteSettings>) {
    let key = upstream::key(r);
    let web = upstream::web(r);
    let transport = upstream::transport(r, &base, process.read);
    let policy = attempts::policy(r);
    let budget = attempts::budget(r);
    let hedge_budget_percent = r.count(var::HEDGE_BUDGET_PERCENT, 0..=10_000);
    let stream_idle = idle(r, var::STREAM_IDLE_TIMEOUT_SECONDS);
    let tunnel_idle = idle(r, var::TUNNEL_IDLE_TIMEOUT_SECONDS);
    let max_request_body = r.size(var::MAX_REQUEST_BODY_BYTES, 1..=MAX_BODY);
    let lanes = lanes(r);
    let fates = [("reject", Oversize::Reject), ("stream", Oversize::Stream), ("redirect", Oversize::Redirect)];
    let oversize = r.take(var::OVERSIZE, |text| parse::choice_for_now(text, &fates, &["queue"]));
    let ways = [("buffer", Chunked::Buffer), ("bypass", Chunked::Bypass)];
    let chunked = r.take(var::CHUNKED, |text| parse::choice(text, &ways));

    checks::no_loop(r, process.listen, &base);
    let (source, answers) = answers(r);
    checks::source_is_not_the_key(r, &source, &key);
    checks::body_fits(r, &max_request_body, process.max_buffered);
    let web = checks::web_in_force(r, process.listen, &key, web);
    let route_answers = answers.clone();
    let settings = (|| {
        Ok(RouteSettings {
            name,
            prefix: prefix.clone()?,
            base: base?,
            key: key?,
            web: web?,
            transport: transport?,
            policy: policy?,
            budget: budget?,
            hedge_budget_percent: hedge_budget_percent?,
            lanes: lanes?,
            oversize: oversize?,
            chunked: chunked?,
            overflow: OverflowSettings { overflow: Overflow::Prefer, after: None },
            jobs: jobs(),
            cache: cache(),
            stream_idle: stream_idle?,
            tunnel_idle: tunnel_idle?,
            max_request_body: max_request_body?,
            answers: route_answers?,
        })
    })();
    (answers, settings)
}

/// A time without a byte; none = off.
fn idle(r: &mut Resolver, variable: Variable) -> Taken<Option<Duration>> {
    r.duration_or_zero(variable, "off").map(|idle| Some(idle).filter(|idle| !idle.is_zero()))
}

fn lanes(r: &mut Resolver) -> Taken<Lanes> {
    let choices = [("race", Lane::Race), ("stream", Lane::Stream), ("redirect", Lane::Redirect)];
    let otherwise = r.take(var::LANE, |text| parse::choice_for_now(text, &choices, &["queue", "relay"]));
    let mut list = |variable| r.optional(variable, parse::patterns).map(Option::unwrap_or_default);
    let (stream, redirect, race) = (list(var::STREAM_PATHS), list(var::REDIRECT_PATHS), list(var::RACE_PATHS));
    Ok(Lanes { otherwise: otherwise?, stream: stream?, redirect: redirect?, race: race?, queue: RegexSet::empty() })
}

/// The defaults of section 3.7.
fn jobs() -> JobPolicy {
    JobPolicy {
        timeout: Duration::from_secs(300),
        timeout_max: Duration::from_secs(3600),
        header_deadline: None,
        max_retries: 0,
        retry_delay: None,
        retry_statuses: Vec::new(),
        max_response: ByteSize::new(1 << 30),
        owner: OwnerRule::Credentials,
        retention: Duration::from_secs(3600),
        max_body: ByteSize::new(10 << 20),
    }
}

/// The defaults of section 3.7.
fn cache() -> CacheSettings {
    let excluded = ["x-request-id", "x-forwarded-for", "x-real-ip", "x-forwarded-proto"];
    CacheSettings {
        kind: CacheKind::None,
        ttl: Duration::from_secs(300),
        max_entry: ByteSize::new(8 << 20),
        excluded: excluded.map(HeaderName::from_static).to_vec(),
    }
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
