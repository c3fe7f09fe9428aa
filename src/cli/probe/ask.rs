//! One question to an upstream: a GET that changes nothing and costs nothing, sent the way clients' requests are sent.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::header::{ACCEPT, LOCATION, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Limited};
use memchr::memmem;
use tokio::time::{Instant, timeout};

use crate::body::Payload;
use crate::edge::EdgeSettings;
use crate::headers::Arrival;
use crate::race::{self, Course, Expectation, HedgeBudget, Mode, Policy, RaceEnd, RetryBudget, Timeline};
use crate::routes::{Onward, RouteSettings, outbound};
use crate::time::LazyDeadline;
use crate::upstream::{Failure, Outbound, Pool, ResponseBody};

/// A list of models is far shorter. What is longer is not read to its end, and its connection is given up.
const MOST_BYTES: usize = 1 << 20;

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    /// When the head was complete.
    pub(super) at: Instant,
    /// Where a redirect leads: scheme, host and port.
    pub(super) leads_to: Option<String>,
    /// An https server says that this was http.
    pub(super) is_for_https: bool,
    /// The body ended, and the connection could serve again.
    pub(super) is_whole: bool,
}

/// What is asked for a route: the list of models where there may be one, otherwise the base URL itself. It has the route's
/// key. None where the base URL is too long to be asked for.
pub(super) fn question(edge: &EdgeSettings, route: &RouteSettings) -> Option<Outbound> {
    let rest = match route.base.path() {
        base if base.ends_with("/v1") => "/models",
        // Whether the key is taken is seen only where a key is asked for.
        "" if route.key.is_some() => "/v1/models",
        _ => "/",
    };
    let path = if route.prefix.is_root() { rest.to_owned() } else { format!("{}{rest}", route.prefix) };
    let target = PathAndQuery::try_from(path).ok()?;
    let onward = Onward::new(route, &target, &[]).ok()?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(Uri::from(target))
        .header(ACCEPT, "*/*")
        .header(USER_AGENT, concat!("forebay-probe/", env!("CARGO_PKG_VERSION")));
    let (parts, ()) = request.body(()).ok()?.into_parts();
    let arrival = Arrival { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), is_tls: false };
    Some(outbound(route, edge.hop(arrival), parts, onward, Payload::default()))
}

/// Asks once, under the clocks of the route's policy.
pub(super) async fn ask(pool: &Arc<Pool>, route: &RouteSettings, question: &Outbound) -> Result<Answer, Failure> {
    let policy = Policy { max_attempts: 1, hedge_after: None, ..route.policy.clone() };
    let (budget, hedge_budget) = (RetryBudget::new(route.budget), HedgeBudget::new(route.hedge_budget_percent));
    let course = Course { pool, policy: &policy, mode: Mode::Race, budget: &budget, hedge_budget: &hedge_budget };
    let (mut timer, mut timeline) = (LazyDeadline::default(), Timeline::default());
    let end = race::run(course, question, Expectation::EarlyHead, &mut timer, &mut timeline).await;
    let at = Instant::now();
    let head = match end {
        RaceEnd::Committed(committed) => committed.head,
        RaceEnd::Failed(failed) => return Err(failed.failure),
    };
    let (status, version) = (head.parts.status, head.parts.version);
    let leads_to = leads_to(&head.parts.headers).filter(|_| status.is_redirection());
    let body = timeout(policy.header_deadline, read(head.body)).await.ok().flatten();
    let is_for_https =
        status == StatusCode::BAD_REQUEST && body.as_ref().is_some_and(|body| memmem::find(body, b"HTTPS").is_some());
    Ok(Answer { status, version, at, leads_to, is_for_https, is_whole: body.is_some() })
}

async fn read(body: ResponseBody) -> Option<bytes::Bytes> {
    Limited::new(body, MOST_BYTES).collect().await.ok().map(http_body_util::Collected::to_bytes)
}

/// Without path and query, which may hold anything, and without a user.
fn leads_to(headers: &HeaderMap) -> Option<String> {
    let location: Uri = headers.get(LOCATION)?.to_str().ok()?.parse().ok()?;
    let (scheme, host) = (location.scheme_str()?, location.host()?);
    Some(location.port().map_or_else(|| format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn asked(variables: &[(&str, &str)]) -> Outbound {
        let settings = Settings::from_env(variables.iter().map(|(name, value)| (name.into(), value.into()))).unwrap();
        question(&settings.edge, settings.routes.last().unwrap()).unwrap()
    }

    #[test]
    fn the_list_of_models_is_asked_for_where_there_may_be_one() {
        for (url, key, target) in [
            ("https://api.example/v1", None, "/v1/models"),
            ("https://api.example/openai/v1/", None, "/openai/v1/models"),
            ("https://api.example", Some("sk-1"), "/v1/models"),
            ("https://api.example", None, "/"),
            ("https://api.example/bucket", Some("sk-1"), "/bucket/"),
        ] {
            let key = key.map(|key| ("UPSTREAM_API_KEY", key));
            let outbound = asked(&[&[("UPSTREAM_BASE_URL", url)][..], key.as_slice()].concat());
            assert_eq!((outbound.method.as_str(), outbound.target.to_string().as_str()), ("GET", target), "{url}");
            assert_eq!(outbound.headers["host"], "api.example");
            assert_eq!(outbound.headers.contains_key("authorization"), key.is_some());
        }
    }

    #[test]
    fn a_routes_prefix_is_not_in_the_question_and_its_key_is() {
        let outbound = asked(&[
            ("ROUTE_A_PREFIX", "/a/b"),
            ("ROUTE_A_UPSTREAM_BASE_URL", "http://a.example/v1"),
            ("ROUTE_A_UPSTREAM_API_KEY", "k"),
            ("ROUTE_A_UPSTREAM_API_KEY_HEADER", "x-api-key"),
            ("ROUTE_A_UPSTREAM_API_KEY_PREFIX", ""),
        ]);
        assert_eq!(outbound.target, "/v1/models");
        assert_eq!(outbound.headers["x-api-key"], "k");
        assert!(!outbound.headers.contains_key("content-length"));
    }

    #[test]
    fn of_a_redirect_only_the_origin_is_told() {
        let location = |value: &'static str| leads_to(&HeaderMap::from_iter([(LOCATION, value.parse().unwrap())]));
        assert_eq!(location("https://u:p@b.example:8443/x?key=1").as_deref(), Some("https://b.example:8443"));
        assert_eq!(location("https://b.example/x#y").as_deref(), Some("https://b.example"));
        assert_eq!(location("/elsewhere"), None);
    }
}
