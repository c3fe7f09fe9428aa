//! Connections to upstreams: how many there are, and that none is left.

use super::Observed;
use crate::client::{get, post};
use crate::expect::assert_relayed;
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, Gate, H2Upstream, answer, raw};

#[test]
fn a_pool_tells_what_is_open_idle_and_waited_for_and_that_nothing_is_left() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("ok"))]);
    let settings = Settings::in_front_of(&upstream)
        .set("UPSTREAM_MAX_CONNECTIONS", 2)
        .set("UPSTREAM_IDLE_SECONDS", "0.4")
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30)
        .set("MAX_BUFFERED_BYTES", "1MiB");
    let observed = Observed::start(settings);
    let page = observed.page();
    let of_this = format!("{{upstream={}}}", upstream.url());
    assert_eq!(page.count(&format!("forebay_pool_connections_limit{of_this}")), 2);
    assert_eq!(page.count("forebay_buffered_limit_bytes"), 1 << 20);
    let mut clients: Vec<_> = (0..3).map(|_| observed.forebay.connect()).collect();
    for client in &mut clients {
        client.send(post("/", "0123456789").bytes());
    }
    let page = observed.wait(&[
        ("forebay_pool_connections_open", 2),
        ("forebay_pool_connections_idle", 0),
        ("forebay_pool_waiting", 1),
        ("forebay_exchanges_in_flight", 3),
        ("forebay_client_connections", 3),
    ]);
    assert!(page.count("forebay_buffered_bytes") >= 30, "{}", page.text);
    gate.open();
    for client in &mut clients {
        assert_relayed(&client.read("POST"), 200, "ok");
    }
    drop(clients);
    let page = observed.wait(&[
        ("forebay_pool_connections_open", 0),
        ("forebay_pool_connections_idle", 0),
        ("forebay_pool_waiting", 0),
        ("forebay_exchanges_in_flight", 0),
        ("forebay_buffered_bytes", 0),
        ("forebay_client_connections", 0),
    ]);
    assert_eq!(page.count("forebay_pool_connect_seconds_count"), 2);
    assert_eq!(page.count("forebay_exchanges_total{outcome=complete}"), 3);
}

#[test]
fn a_connection_that_serves_nobody_is_idle_on_both_protocols() {
    let (one, two) = (FakeUpstream::start(), H2Upstream::start());
    for settings in [Settings::in_front_of(&one), Settings::in_front_of_h2(&two)] {
        let observed = Observed::start(settings);
        assert_eq!(observed.forebay.get("/").status, 200);
        observed.wait(&[("forebay_pool_connections_open", 1), ("forebay_pool_connections_idle", 1)]);
    }
}

#[test]
fn routes_to_one_upstream_share_its_figures() {
    let upstream = FakeUpstream::start();
    let route = |settings: Settings, name: &str, proxy: &str| {
        settings
            .set(&format!("ROUTE_{name}_PREFIX"), format!("/{name}"))
            .set(&format!("ROUTE_{name}_UPSTREAM_BASE_URL"), upstream.url())
            .set(&format!("ROUTE_{name}_OUTBOUND_PROXY"), proxy)
            .set(&format!("ROUTE_{name}_UPSTREAM_MAX_CONNECTIONS"), 3)
    };
    let settings = route(Settings::new(), "A", "off");
    let settings = route(settings, "B", "off");
    let settings = route(settings, "C", "socks5://127.0.0.1:9");
    let observed = Observed::start(settings);
    for path in ["/A", "/B"] {
        assert_relayed(&observed.forebay.ask(&get(path)), 200, "ok");
    }
    let page = observed.wait(&[("forebay_pool_connections_idle", 1)]);
    assert_eq!(page.count("forebay_pool_connections_limit"), 6, "two pools, of which one serves two routes");
    assert_eq!(page.families["forebay_pool_connections_limit"].samples.len(), 1);
    assert_eq!(page.count("forebay_exchanges_total{route=A}"), 1);
}
