//! Exchanges and their attempts: each is counted once, however it ends, and none stays in flight.

use std::time::{Duration, Instant};

use super::{Observed, Page};
use crate::client::{Client, get, post, request};
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::{Settings, free_port};
use crate::upstream::{Behaviour, FakeUpstream, Gate, OnAccept, answer, close, raw, stall};

/// A stream that has begun, and goes on when the gate opens.
fn held_stream(gate: &Gate) -> Behaviour {
    answer(200).chunked_head().then_chunk("begun").then_await(gate).then_chunk("ended").then_last_chunk()
}

/// A client that has read the beginning of its stream.
fn streaming_client(observed: &Observed) -> Client {
    let mut client = observed.forebay.connect();
    client.send(get("/stream").bytes());
    let mut response = client.read_head("GET");
    client.read_body(&mut response, "begun".len());
    client
}

/// What every page must fulfil once nothing is under way.
#[track_caller]
fn assert_balanced(page: &Page, exchanges: u32) {
    assert_eq!(page.count("forebay_exchanges_total"), exchanges, "every exchange has one outcome:\n{}", page.text);
    assert_eq!(page.count("forebay_exchanges_in_flight"), 0, "{}", page.text);
    let heads = ["1xx", "2xx", "3xx", "4xx", "5xx"]
        .map(|class| page.count(&format!("forebay_attempts_total{{outcome={class}}}")));
    assert_eq!(page.count("forebay_time_to_headers_seconds_count"), heads.iter().sum::<u32>(), "{}", page.text);
}

#[test]
fn a_stalled_attempt_that_is_replaced_is_a_rescue() {
    let upstream = FakeUpstream::start();
    upstream.script([stall(), answer(200).body("second").into()]);
    let observed = Observed::in_front_of(&upstream);
    assert_relayed(&observed.forebay.ask(&post("/", "x")), 200, "second");
    assert_relayed(&observed.forebay.get("/"), 200, "second");
    let page = observed.wait(&[("forebay_exchanges_total{outcome=complete}", 2)]);
    for (series, count) in [
        ("forebay_exchanges_rescued_total", 1),
        ("forebay_retries_total", 1),
        ("forebay_retries_refused_total", 0),
        ("forebay_hedges_total", 0),
        ("forebay_hedges_paid_twice_total", 0),
        ("forebay_attempts_total", 3),
        ("forebay_attempts_total{outcome=timeout}", 1),
        ("forebay_attempts_total{outcome=2xx}", 2),
        ("forebay_time_to_headers_seconds_bucket{le=600}", 2),
        ("forebay_clients_left_total", 0),
    ] {
        assert_eq!(page.count(series), count, "{series}\n{}", page.text);
    }
    let of_this_route = format!("forebay_exchanges_total{{route=default,upstream={}}}", upstream.url());
    assert_eq!(page.count(&of_this_route), 2);
    assert_balanced(&page, 2);
}

#[test]
fn time_to_headers_counts_from_the_request_being_written() {
    let upstream = FakeUpstream::start();
    let pause = Duration::from_millis(300);
    upstream.script([raw("").then_pause(pause).then_do(answer(200).body("late"))]);
    let observed = Observed::start(Settings::in_front_of(&upstream).set("LANE", "stream"));
    let mut client = observed.forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
    upstream.wait("the first half", |seen| seen.first().is_some_and(|seen| seen.body == b"x"));
    // The clock cannot run yet.
    std::thread::sleep(Duration::from_millis(1500));
    let begin = Instant::now();
    client.send("y");
    assert_relayed(&client.read("POST"), 200, "late");
    let within = begin.elapsed().as_secs_f64();
    let page = observed.wait(&[("forebay_time_to_headers_seconds_count", 1)]);
    let seconds = page.sum("forebay_time_to_headers_seconds_sum");
    assert!(seconds >= pause.as_secs_f64() - 0.01 && seconds <= within, "{seconds} of {within}\n{}", page.text);
    assert_eq!(page.count("forebay_time_to_headers_seconds_bucket{le=0.25}"), 0, "{}", page.text);
}

#[test]
fn a_retry_that_the_budget_refuses_is_counted_as_refused() {
    let upstream = FakeUpstream::start();
    upstream.script([close()]);
    let settings = Settings::in_front_of(&upstream).set("RETRY_BUDGET_PERCENT", 0).set("RETRY_BUDGET_MIN", 0);
    let observed = Observed::start(settings);
    assert_error(&observed.forebay.get("/"), 502, "upstream_request_error");
    let page = observed.wait(&[("forebay_exchanges_total{outcome=upstream_request_error}", 1)]);
    assert_eq!((page.count("forebay_retries_refused_total"), page.count("forebay_retries_total")), (1, 0));
    assert_eq!(page.count("forebay_attempts_total{outcome=closed}"), 1);
    assert_eq!(page.count("forebay_hedges_refused_total"), 0);
    assert_balanced(&page, 1);
}

#[test]
fn attempts_that_are_used_up_are_refused_by_no_budget() {
    let upstream = FakeUpstream::refusing();
    let observed = Observed::in_front_of(&upstream);
    assert_error(&observed.forebay.get("/"), 502, "upstream_request_error");
    let page = observed.wait(&[("forebay_exchanges_total", 1)]);
    assert_eq!((page.count("forebay_retries_refused_total"), page.count("forebay_retries_total")), (0, 2));
    assert_eq!(page.count("forebay_attempts_total{outcome=refused}"), 3);
    assert_eq!(page.count("forebay_exchanges_rescued_total"), 0);
    assert_eq!(page.count("forebay_pool_connect_seconds_count"), 0, "none of them came to stand");
    assert_balanced(&page, 1);
}

#[test]
fn a_free_replacement_is_an_attempt_and_no_retry() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).body("kept").into(), close(), answer(200).body("fresh").into()]);
    let observed = Observed::in_front_of(&upstream);
    assert_relayed(&observed.forebay.get("/"), 200, "kept");
    assert_relayed(&observed.forebay.get("/"), 200, "fresh");
    let page = observed.wait(&[("forebay_exchanges_total{outcome=complete}", 2)]);
    assert_eq!((page.count("forebay_attempts_total{outcome=closed}"), page.count("forebay_attempts_total")), (1, 3));
    assert_eq!((page.count("forebay_retries_total"), page.count("forebay_exchanges_rescued_total")), (0, 0));
    assert_balanced(&page, 2);
}

#[test]
fn a_stream_that_stalls_and_one_that_breaks_are_told_apart() {
    let upstream = FakeUpstream::start();
    let begun = || answer(200).chunked_head().then_chunk("begun");
    upstream.script([begun().then_stall(), begun().then_close()]);
    let observed = Observed::start(Settings::in_front_of(&upstream).set("STREAM_IDLE_TIMEOUT_SECONDS", "0.3"));
    for _ in 0..2 {
        assert!(!observed.forebay.get("/").is_complete());
    }
    let page = observed.wait(&[("forebay_exchanges_total", 2)]);
    assert_eq!(page.count("forebay_stream_stalls_total"), 1);
    assert_eq!(page.count("forebay_exchanges_total{outcome=upstream_stalled}"), 1);
    assert_eq!(page.count("forebay_exchanges_total{outcome=upstream_broken}"), 1);
    assert_balanced(&page, 2);
}

#[test]
fn a_client_that_leaves_is_counted_and_not_in_flight_any_more() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    let observed = Observed::start(Settings::in_front_of(&upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 60));
    let left = |count| [("forebay_clients_left_total", count), ("forebay_exchanges_in_flight", 0)];

    // Before headers, …
    upstream.script([stall()]);
    let mut client = observed.forebay.connect();
    client.send(post("/", "x").bytes());
    upstream.wait_seen(1);
    observed.wait(&[("forebay_exchanges_in_flight", 1), ("forebay_attempts_total", 0)]);
    client.reset();
    observed.wait(&left(1));

    // … during the response, …
    upstream.script([held_stream(&gate)]);
    let client = streaming_client(&observed);
    observed.wait(&[("forebay_exchanges_in_flight", 1)]);
    client.reset();
    observed.wait(&left(2));

    // … during the request, whose end is missing then, …
    let mut client = observed.forebay.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx");
    observed.wait(&[("forebay_exchanges_in_flight", 1)]);
    client.reset();
    observed.wait(&[("forebay_exchanges_total{outcome=bad_request}", 1), ("forebay_exchanges_in_flight", 0)]);

    // … and on a stream of HTTP/2.
    upstream.script([stall()]);
    let mut client = observed.forebay.connect_h2();
    let stream = client.send(&post("/", "x"));
    observed.wait(&[("forebay_exchanges_in_flight", 1)]);
    client.reset(stream, 8);
    let page = observed.wait(&left(3));
    assert_eq!(page.count("forebay_attempts_total{outcome=cancelled}"), 2, "{}", page.text);
    assert_eq!(page.count("forebay_exchanges_total{outcome=client_gone}"), 3);
    assert_eq!(page.count("forebay_hedges_paid_twice_total"), 0, "nobody else answered");
    assert_balanced(&page, 4);
    observed.wait(&[("forebay_buffered_bytes", 0)]);
}

#[test]
fn a_tunnel_is_in_flight_until_it_ends() {
    let upstream = FakeUpstream::start();
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    upstream.script([raw(head).then_send("hello").then_stall()]);
    let observed = Observed::start(Settings::in_front_of(&upstream).set("TUNNEL_IDLE_TIMEOUT_SECONDS", "0.4"));
    let handshake = get("/").field("Connection", "Upgrade").field("Upgrade", "websocket");
    let handshake =
        handshake.field("Sec-WebSocket-Version", "13").field("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let mut client = observed.forebay.connect();
    assert_eq!(client.upgrade(&handshake).status, 101);
    assert_eq!(client.take(5), b"hello");
    assert!(client.is_closed());
    let page = observed.wait(&[("forebay_exchanges_total", 1), ("forebay_exchanges_in_flight", 0)]);
    assert_eq!(page.count("forebay_attempts_total{outcome=1xx}"), 1);
    assert_eq!(page.count("forebay_stream_stalls_total"), 0, "an idle tunnel is no stream that stalls");
    assert_balanced(&page, 1);

    let mut client = observed.forebay.connect();
    assert_eq!(client.upgrade(&handshake).status, 101);
    drop(client);
    let page = observed.wait(&[("forebay_exchanges_total", 2)]);
    assert_balanced(&page, 2);
}

#[test]
fn what_has_no_route_is_counted_under_none() {
    let upstream = FakeUpstream::start();
    let settings = Settings::new()
        .set("ROUTE_FILES_PREFIX", "/files")
        .set("ROUTE_FILES_UPSTREAM_BASE_URL", format!("{}/base", upstream.url()))
        .set("ROUTE_FILES_UPSTREAM_API_KEY", "sk-SECRET")
        .set("ROUTE_B_PREFIX", "/b")
        .set("ROUTE_B_UPSTREAM_BASE_URL", upstream.url());
    let observed = Observed::start(settings);
    assert_relayed(&observed.forebay.ask(&get("/files/PATH?QUERY").host("localhost")), 200, "ok");
    assert_error(&observed.forebay.get("/elsewhere"), 502, "no_route");
    let mut client = observed.forebay.connect();
    client.send("GET / HTTP/1.1\r\nHost : a\r\n\r\n");
    assert_error(&client.read("GET"), 400, "bad_request");
    let page = observed.wait(&[("forebay_exchanges_total", 3)]);
    let none = "route=none,upstream=none";
    assert_eq!(page.count(&format!("forebay_exchanges_total{{{none},outcome=no_route}}")), 1);
    assert_eq!(page.count(&format!("forebay_exchanges_total{{{none},outcome=bad_request}}")), 1);
    let files = format!("route=FILES,upstream={}", upstream.url());
    assert_eq!(page.count(&format!("forebay_exchanges_total{{{files},outcome=complete}}")), 1);
    assert_eq!(page.count("forebay_exchanges_total{route=B}"), 0);
    assert!(page.text.contains("route=\"B\""), "a route is there before anything happens on it");
    for secret in ["PATH", "QUERY", "SECRET", "/base", "elsewhere"] {
        assert!(!page.text.contains(secret), "{secret}\n{}", page.text);
    }
    assert_balanced(&page, 3);
}

#[test]
fn a_health_check_is_no_exchange() {
    let upstream = FakeUpstream::start();
    let observed = Observed::in_front_of(&upstream);
    for _ in 0..3 {
        assert_eq!(observed.forebay.get("/healthz").status, 200);
    }
    assert_relayed(&observed.forebay.get("/"), 200, "ok");
    assert_eq!(observed.forebay.ask(&request("HEAD", "/healthz")).status, 200);
    let page = observed.wait(&[("forebay_exchanges_total{outcome=complete}", 1)]);
    assert_balanced(&page, 1);
}

#[test]
fn figures_are_to_be_had_while_the_process_drains() {
    let upstream = FakeUpstream::start();
    let (first, second, admin) = (Gate::new(), Gate::new(), free_port());
    upstream.script([held_stream(&first), held_stream(&second)]);
    let settings = Settings::in_front_of(&upstream).set("ADMIN_PORT", admin);
    let mut observed = Observed { forebay: settings.start(), admin };
    let (_one, _two) = (streaming_client(&observed), streaming_client(&observed));
    observed.wait(&[("forebay_exchanges_in_flight", 2), ("forebay_client_connections", 2)]);
    observed.forebay.terminate();
    observed.forebay.wait_until_it_refuses();
    first.open();
    let page = observed.wait(&[("forebay_exchanges_in_flight", 1), ("forebay_client_connections", 1)]);
    assert_eq!(page.count("forebay_exchanges_total{outcome=complete}"), 1);
    second.open();
    assert_eq!(observed.forebay.wait_for_end().code(), Some(0));
}

#[test]
fn a_connection_that_waits_in_vain_is_no_attempt_that_reached_anybody() {
    let upstream = FakeUpstream::start();
    upstream.on_accept([OnAccept::Close]);
    let observed = Observed::in_front_of(&upstream);
    assert_relayed(&observed.forebay.get("/"), 200, "ok");
    let page = observed.wait(&[("forebay_exchanges_total{outcome=complete}", 1)]);
    assert_eq!((page.count("forebay_attempts_total"), page.count("forebay_exchanges_rescued_total")), (2, 1));
    assert_eq!(page.count("forebay_pool_connect_seconds_count"), 2);
    assert_balanced(&page, 1);
}
