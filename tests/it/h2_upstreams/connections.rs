//! How many connections there are, and how long.

use super::patient;
use crate::client::get;
use crate::expect::{A_WHILE, assert_error, assert_relayed, attempts};
use crate::upstream::h2::{Options, Play, reply};
use crate::upstream::{Gate, H2Upstream};

/// Every answer waits for the gate.
fn held(upstream: &H2Upstream, gate: &Gate) {
    let gate = gate.clone();
    upstream.answer_with(move |seen, _| Play::new().then_await(&gate).then_do(reply(200).body(seen.path())));
}

#[test]
fn many_streams_share_a_connection() {
    let upstream = H2Upstream::start();
    let gate = Gate::new();
    held(&upstream, &gate);
    let forebay = patient(&upstream).start();
    // The first brings the connection about.
    let mut clients: Vec<_> = (0..40).map(|_| forebay.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(get(format!("/{number}")).bytes());
        if number == 0 {
            upstream.wait_seen(1);
        }
    }
    upstream.wait_seen(40);
    assert_eq!(upstream.accepted(), 1);
    gate.open();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_relayed(&client.read("GET"), 200, format!("/{number}"));
    }
}

#[test]
fn when_a_connection_is_full_there_is_another() {
    let upstream = H2Upstream::start_with(&Options { max_streams: Some(5), ..Options::default() });
    let gate = Gate::new();
    held(&upstream, &gate);
    let forebay = patient(&upstream).start();
    let mut clients: Vec<_> = (0..20).map(|_| forebay.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(get(format!("/{number}")).bytes());
    }
    upstream.wait_seen(20);
    assert!(upstream.most_streams() <= 5 && upstream.accepted() >= 4, "{} connections", upstream.accepted());
    gate.open();
    for (number, client) in clients.iter_mut().enumerate() {
        let response = client.read("GET");
        assert_relayed(&response, 200, format!("/{number}"));
        assert_eq!(attempts(&response), Some(1));
    }
}

#[test]
fn when_all_are_full_one_waits_for_the_pool_timeout() {
    let upstream = H2Upstream::start_with(&Options { max_streams: Some(2), ..Options::default() });
    let gate = Gate::new();
    held(&upstream, &gate);
    let settings = patient(&upstream).set("UPSTREAM_MAX_CONNECTIONS", 1).set("UPSTREAM_MAX_ATTEMPTS", 1);
    let forebay = settings.clone().set("POOL_TIMEOUT_SECONDS", "0.5").start();
    let mut holders: Vec<_> = (0..2).map(|_| forebay.connect()).collect();
    for client in &mut holders {
        client.send(get("/held").bytes());
    }
    upstream.wait_seen(2);
    let response = forebay.get("/waiting");
    assert_error(&response, 504, "upstream_timeout");
    assert_eq!(attempts(&response), Some(1));
    assert_eq!(upstream.accepted(), 1);
    gate.open();
    for client in &mut holders {
        assert_relayed(&client.read("GET"), 200, "/held");
    }
    assert_relayed(&forebay.get("/afterwards"), 200, "/afterwards");
}

#[test]
fn who_waits_for_a_stream_gets_it_when_one_is_free() {
    let upstream = H2Upstream::start_with(&Options { max_streams: Some(1), ..Options::default() });
    let gate = Gate::new();
    upstream.answer_with({
        let gate = gate.clone();
        move |seen, _| match seen.path().as_str() {
            // Its body is still under way: a stream is not free before its answer has ended.
            "/holder" => reply(200).open().then_data("x").then_await(&gate).then_end(),
            path => reply(200).body(path).into(),
        }
    });
    let settings = patient(&upstream).set("UPSTREAM_MAX_CONNECTIONS", 1).set("POOL_TIMEOUT_SECONDS", 30);
    let forebay = settings.start();
    let mut holder = forebay.connect();
    holder.send(get("/holder").bytes());
    let mut response = holder.read_head("GET");
    let mut waiting = forebay.connect();
    waiting.send(get("/waiting").bytes());
    upstream.assert_no_more_than(1, A_WHILE);
    gate.open();
    holder.read_rest(&mut response);
    assert_relayed(&response, 200, "x");
    assert_relayed(&waiting.read("GET"), 200, "/waiting");
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let upstream = H2Upstream::start();
    let gate = Gate::new();
    held(&upstream, &gate);
    let forebay = patient(&upstream).set("UPSTREAM_IDLE_SECONDS", "0.5").start();
    let mut client = forebay.connect();
    client.send(get("/").bytes());
    upstream.wait_seen(1);
    std::thread::sleep(std::time::Duration::from_millis(1300));
    gate.open();
    assert_relayed(&client.read("GET"), 200, "/");
    upstream.wait_all_closed();
    assert_relayed(&forebay.get("/again"), 200, "/again");
    assert_eq!(upstream.accepted(), 2);
}

#[test]
fn the_first_client_that_leaves_does_not_take_the_connect_from_the_others() {
    let upstream = H2Upstream::start();
    let forebay = patient(&upstream).start();
    for _ in 0..20 {
        let mut leaving = forebay.connect();
        let mut staying = forebay.connect();
        leaving.send(get("/leaving").bytes());
        staying.send(get("/staying").bytes());
        leaving.reset();
        let response = staying.read("GET");
        assert_relayed(&response, 200, "ok");
        assert_eq!(attempts(&response), Some(1));
    }
}

#[test]
fn without_work_the_shutdown_does_not_wait_for_upstream_connections() {
    let upstream = H2Upstream::start();
    let mut forebay = patient(&upstream).set("SHUTDOWN_TIMEOUT_SECONDS", 60).start();
    assert_relayed(&forebay.get("/"), 200, "ok");
    assert_eq!(upstream.open(), 1);
    forebay.terminate();
    assert_eq!(forebay.wait_for_end().code(), Some(0));
    upstream.wait_all_closed();
}
