//! Any bytes of an HTTP/2 client: the connection ends, nothing is left of it, and what the client gets is HTTP/2.
//!
//! An input is a header – what the client does – and then either steps, which are frames that are mostly right, pauses and
//! raw bytes (see `client`), or raw bytes alone. The upstream has no room, so what comes back is forebay's own: health,
//! redirects, refusals, and 504 once a request has waited.

#![no_main]

mod answers;
mod client;
#[path = "../frames.rs"]
mod frames;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use forebay::body::Quota;
use forebay::cache::Cache;
use forebay::config::{Settings, render_problems};
use forebay::edge::{self, Edge};
use forebay::headers::Arrival;
use forebay::race::RetryBudget;
use forebay::routes::{Route, Routes};
use forebay::shutdown::{Shutdown, Tasks};
use forebay::upstream::{Pool, Resolver};
use libfuzzer_sys::fuzz_target;
use tokio::time::{sleep, timeout};

use client::Client;

const ARRIVAL: Arrival = Arrival { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), is_tls: false };
/// More than all clocks of a connection, one behind the other, from the client's last byte on.
const ALL_CLOCKS: Duration = Duration::from_secs(10 + 30 + 10 + 60 + 75 + 2 * 20 + 10);
/// Longer than an exchange needs to notice that its connection has ended.
const SOON: Duration = Duration::from_secs(10);

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let environment = [
        ("UPSTREAM_BASE_URL", "http://upstream.test/base"),
        ("UPSTREAM_MAX_ATTEMPTS", "1"),
        ("MAX_REQUEST_BODY_BYTES", "1000"),
        ("REDIRECT_PATHS", "^/r"),
        ("STREAM_PATHS", "^/s"),
        ("MAX_HEADER_BYTES", "8KiB"),
    ];
    let environment = environment.map(|(name, value)| (name.into(), value.into()));
    Settings::from_env(environment).unwrap_or_else(|problems| panic!("{}", render_problems(&problems)))
});

static POOL: LazyLock<Arc<Pool>> = LazyLock::new(|| {
    let settings = &SETTINGS.routes[0];
    let mut transport = settings.transport.clone();
    transport.max_connections = 0;
    let resolver = Resolver::new(Duration::from_secs(30));
    Pool::new(settings.base.origin(), transport, resolver, Tasks::default()).expect("no TLS")
});

fn new_edge() -> Arc<Edge> {
    let settings = SETTINGS.routes[0].clone();
    let budget = RetryBudget::new(settings.budget);
    Arc::new(Edge {
        settings: SETTINGS.edge.clone(),
        routes: Routes::new([Route::new(settings, Arc::clone(&POOL), budget)]),
        answers: SETTINGS.answers.clone(),
        // Less than two bodies of the largest kind.
        quota: Quota::new(1500),
        cache: Cache::nothing(),
        queue: None,
        shutdown: Shutdown::default(),
        streams: Tasks::default(),
    })
}

/// h2 asserts, in builds like this one, that a connection is not dropped while streams are on it. forebay drops those
/// of clients that do not go (https://github.com/hyperium/h2/issues/907): that alone is no finding.
fn forgive_h2() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let text = info.payload().downcast_ref::<&str>();
        if text.is_none_or(|text| *text != "assertion failed: !self.has_streams()") {
            report(info);
        }
    }));
}

fuzz_target!(init: forgive_h2(), |data: &[u8]| {
    let Some((&manner, rest)) = data.split_first() else { return };
    let client = Client::read(manner, rest);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O").block_on(async {
        let edge = new_edge();
        let (ours, theirs) = tokio::io::duplex(client.room());
        let serve = tokio::spawn(edge::serve(Arc::clone(&edge), theirs, ARRIVAL));
        let heard = tokio::spawn(client.clone().run(ours, edge.shutdown.clone()));
        let ended = timeout(client.pauses() + ALL_CLOCKS, serve).await;
        assert!(ended.is_ok(), "the connection never ends: {client:?}");
        let heard = heard.await.expect("it does not panic");

        // The exchanges are tasks of their own.
        if timeout(SOON, edge.streams.finished()).await.is_err() {
            panic!("{} exchanges outlive their connection: {client:?}", edge.streams.len());
        }
        sleep(Duration::from_millis(1)).await;
        assert_eq!(edge.quota.used(), 0, "the memory of a body is lost: {client:?}");
        answers::check(&client, &heard);
    });
});
