//! Any routes and any targets: the route, the lane, the fence and the upstream's target are those of the contract (3.5,
//! 3.6), by a reading of it that shares no code with the edge. The same target on HTTP/2 has the same answer.
//!
//! An input is text. One route a line: prefix, base URL, then words: `stream`, `redirect` or `race` for the lane, the same
//! with `:` and a pattern for its list. Behind an empty line one target a line, in origin form or as `http://`.

#![no_main]

#[allow(dead_code)] // the rest is for `http2`
#[path = "../frames.rs"]
mod frames;
mod reference;
mod wire;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use forebay::body::{Payload, Quota};
use forebay::cache::Cache;
use forebay::config::Settings;
use forebay::edge::{Edge, guard};
use forebay::headers::Arrival;
use forebay::race::RetryBudget;
use forebay::routes::{Lane, Onward, Route, Routes, outbound};
use forebay::shutdown::{Shutdown, Tasks};
use forebay::upstream::{BaseUrl, Pool, Resolver, TransportSettings};
use http::Request;
use libfuzzer_sys::{Corpus, fuzz_target};

use reference::{Fate, Reference, Target};

const ARRIVAL: Arrival = Arrival { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), is_tls: false };
const MANY_ROUTES: usize = 8;
const MANY_TARGETS: usize = 8;

/// Nobody is ever connected to: there is no room.
static POOL: LazyLock<Arc<Pool>> = LazyLock::new(|| {
    let environment = [("UPSTREAM_BASE_URL".into(), "http://upstream.test".into())];
    let settings = Settings::from_env(environment).unwrap_or_else(|_| panic!("these are settings"));
    let transport = TransportSettings { max_connections: 0, ..settings.routes[0].transport.clone() };
    let origin = BaseUrl::parse("http://upstream.test").expect("a URL");
    let resolver = Resolver::new(Duration::from_secs(30));
    Pool::new(origin.origin(), transport, resolver, Tasks::default()).expect("no TLS")
});

fuzz_target!(|data: &[u8]| -> Corpus {
    let mut lines = data.split(|byte| *byte == b'\n');
    let routes: Vec<&[u8]> = lines.by_ref().take_while(|line| !line.is_empty()).take(MANY_ROUTES).collect();
    let Some((settings, references)) = configured(&routes) else { return Corpus::Reject };
    let edge = edge(settings);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O").block_on(async {
        for line in lines.filter(|line| !line.is_empty()).take(MANY_TARGETS) {
            let Some(target) = Target::read(line) else { continue };
            let fate = reference::fate(&references, &target);
            directly(&edge, &target, &fate);
            wire::over_http1(&edge, &target, &fate).await;
            wire::over_http2(&edge, &target, &fate).await;
        }
    });
    Corpus::Keep
});

/// The settings that configuration makes of it, and what the reference makes of it. None if they are refused.
fn configured(lines: &[&[u8]]) -> Option<(Settings, Vec<Reference>)> {
    let fixed = [("UPSTREAM_MAX_ATTEMPTS", "1"), ("POOL_TIMEOUT_SECONDS", "0.01"), ("MAX_BUFFERED_BYTES", "64MiB")];
    let mut environment: Vec<(String, String)> = fixed.map(|(name, value)| (name.into(), value.into())).into();
    let mut references = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        // A comma would be the list's.
        let line = std::str::from_utf8(line).ok()?.replace(',', ".");
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let [prefix, base, words @ ..] = &words[..] else { return None };
        let mut reference = Reference::new(prefix, base);
        for word in words {
            reference.read(word)?;
        }
        let mut set = |name: &str, value: String| environment.push((format!("ROUTE_R{i}_{name}"), value));
        set("PREFIX", (*prefix).to_owned());
        set("UPSTREAM_BASE_URL", (*base).to_owned());
        set("LANE", reference.lane.to_owned());
        for (name, list) in ["STREAM_PATHS", "REDIRECT_PATHS", "RACE_PATHS"].into_iter().zip(&reference.lists) {
            set(name, list.iter().map(regex::Regex::as_str).collect::<Vec<_>>().join(","));
        }
        references.push(reference);
    }
    let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into()));
    Some((Settings::from_env(environment).ok()?, references))
}

fn edge(settings: Settings) -> Arc<Edge> {
    let routes = settings.routes.into_iter().map(|settings| {
        let budget = RetryBudget::new(settings.budget);
        Route::new(settings, Arc::clone(&POOL), budget)
    });
    Arc::new(Edge {
        routes: Routes::new(routes),
        settings: settings.edge,
        answers: settings.answers,
        quota: Quota::new(1 << 20),
        cache: Cache::nothing(),
        queue: None,
        shutdown: Shutdown::default(),
        streams: Tasks::default(),
    })
}

/// The same target as a URL, in which some characters have to be percent-encoded (RFC 3986 appendix A).
fn url_of(base: &str, target: &[u8]) -> Vec<u8> {
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    let mut url = base_origin(base).as_bytes().to_vec();
    for &byte in target {
        if may_stand(byte) { url.push(byte) } else { url.extend_from_slice(format!("%{byte:02X}").as_bytes()) }
    }
    url
}

/// What would be sent: exactly that target, to exactly that host.
fn directly(edge: &Edge, target: &Target, fate: &Fate) {
    let Fate::Served { lane, base, target: expected } = fate else { return };
    // A `"` in the query is carried beside the target: the socket sees to that, see `wire`.
    if target.has_quoted_query() {
        return;
    }
    let Ok(request) = Request::get(&target.sent[..]).header("host", target.host.as_str()).body(()) else {
        panic!("http refuses {:?}", target.shown());
    };
    let (parts, ()) = request.into_parts();
    let asked = guard(&parts, edge.settings.max_header_bytes).unwrap_or_else(|_| panic!("refused: {}", target.shown()));
    let route = edge.routes.find(asked.path()).unwrap_or_else(|| panic!("no route: {}", target.shown()));
    assert_eq!(route.settings.base.to_string(), *base, "another route: {}", target.shown());
    assert_eq!(route.settings.lanes.of(asked.path()), *lane, "another lane: {}", target.shown());
    let onward = Onward::new(&route.settings, &asked, &[]).unwrap_or_else(|_| panic!("too long: {}", target.shown()));
    let location = onward.location(&route.settings.base).unwrap_or_else(|| panic!("no field: {}", target.shown()));
    assert_eq!(location.as_bytes(), url_of(base, expected), "{}", target.shown());
    let sent = outbound(&route.settings, edge.settings.hop(ARRIVAL), parts, onward, Payload::default());
    assert!(sent.target.authority().is_none() && sent.target.scheme().is_none(), "{:?}", sent.target);
    assert_eq!(sent.target.to_string().as_bytes(), &expected[..], "{}", target.shown());
    assert_eq!(sent.headers.get_all("host").iter().collect::<Vec<_>>(), [route.settings.base.host()]);
}

/// Scheme and authority of a base URL.
fn base_origin(base: &str) -> &str {
    let authority = base.find("://").map_or(0, |at| at + 3);
    base[authority..].find('/').map_or(base, |path| &base[..authority + path])
}

/// What a lane answers here: a redirect, or that the pool has no room.
fn status(lane: Lane) -> u16 {
    if lane == Lane::Redirect { 307 } else { 504 }
}
