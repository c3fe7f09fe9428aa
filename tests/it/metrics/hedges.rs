//! Hedges: how many, what the budget refused, and what was paid for twice.

use super::Observed;
use crate::client::post;
use crate::expect::assert_relayed;
use crate::forebay::Settings;
use crate::upstream::{FakeUpstream, Gate, answer, raw, stall};

fn hedging(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream)
        .set("HEDGE_AFTER_SECONDS", "0.3")
        .set("HEDGE_BUDGET_PERCENT", 100)
        .set("UPSTREAM_MAX_ATTEMPTS", 2)
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30)
}

#[test]
fn a_hedge_that_wins_over_a_request_that_was_written_is_paid_twice() {
    let upstream = FakeUpstream::start();
    upstream.script([stall(), answer(200).body("hedge").into()]);
    let observed = Observed::start(hedging(&upstream));
    assert_relayed(&observed.forebay.ask(&post("/", "x")), 200, "hedge");
    let page = observed.wait(&[("forebay_exchanges_total{outcome=complete}", 1)]);
    for (series, count) in [
        ("forebay_hedges_total", 1),
        ("forebay_hedges_refused_total", 0),
        ("forebay_hedges_paid_twice_total", 1),
        ("forebay_exchanges_rescued_total", 1),
        ("forebay_retries_total", 0),
        ("forebay_attempts_total{outcome=2xx}", 1),
        ("forebay_attempts_total{outcome=cancelled}", 1),
        ("forebay_time_to_headers_seconds_count", 1),
    ] {
        assert_eq!(page.count(series), count, "{series}\n{}", page.text);
    }
}

#[test]
fn a_hedge_that_never_had_a_connection_cost_nothing() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("first"))]);
    let observed = Observed::start(hedging(&upstream).set("UPSTREAM_MAX_CONNECTIONS", 1));
    let mut client = observed.forebay.connect();
    client.send(post("/", "x").bytes());
    observed.wait(&[("forebay_hedges_total", 1), ("forebay_pool_waiting", 1)]);
    gate.open();
    assert_relayed(&client.read("POST"), 200, "first");
    let page = observed.wait(&[("forebay_exchanges_total{outcome=complete}", 1), ("forebay_pool_waiting", 0)]);
    assert_eq!((page.count("forebay_hedges_paid_twice_total"), page.count("forebay_exchanges_rescued_total")), (0, 0));
    assert_eq!(page.count("forebay_attempts_total{outcome=cancelled}"), 1);
}

#[test]
fn a_hedge_that_the_budget_refuses_is_counted_as_refused() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("first"))]);
    // One a second is allowed in any case: of ten at once that is not all.
    let observed = Observed::start(hedging(&upstream).set("HEDGE_BUDGET_PERCENT", 0));
    let mut clients: Vec<_> = (0..10).map(|_| observed.forebay.connect()).collect();
    for client in &mut clients {
        client.send(post("/", "x").bytes());
    }
    let asked = |page: &super::Page| page.count("forebay_hedges_total") + page.count("forebay_hedges_refused_total");
    let page = super::Page::wait(observed.admin, "ten hedges to be asked for", |page| asked(page) == 10);
    assert!(page.count("forebay_hedges_refused_total") > 0, "{}", page.text);
    assert_eq!(page.count("forebay_retries_refused_total"), 0);
    gate.open();
    for client in &mut clients {
        assert_relayed(&client.read("POST"), 200, "first");
    }
    observed.wait(&[("forebay_exchanges_in_flight", 0), ("forebay_exchanges_total{outcome=complete}", 10)]);
}
