//! How tunnels end, and what keeps them open.

use std::thread;
use std::time::{Duration, Instant};

use super::{handshake, switch, tunnel};
use crate::client::{Client, Cut, get};
use crate::expect::{NOISE, assert_relayed};
use crate::forebay::{Forebay, Settings};
use crate::upstream::{FakeUpstream, Gate, answer};

fn forebay_for(upstream: &FakeUpstream) -> Forebay {
    Settings::in_front_of(upstream).start()
}

#[test]
fn a_client_that_leaves_takes_its_upstream_connection_along() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_send("hello").then_stall()]);
    let forebay = forebay_for(&upstream);
    let ways: [fn(Client); 2] = [drop, Client::reset];
    for leave in ways {
        upstream.forget();
        let mut client = tunnel(&forebay);
        assert_eq!(client.take(5), b"hello");
        leave(client);
        upstream.wait("the end of the tunnel", |seen| seen[0].aborted.is_some());
        upstream.wait_all_closed();
    }
}

#[test]
fn an_upstream_that_leaves_takes_its_client_along() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    upstream.script([switch().then_send("bye").then_close()]);
    let mut client = tunnel(&forebay);
    assert_eq!(client.take_rest(), (b"bye".to_vec(), Cut::Fin));
    let gate = Gate::new();
    upstream.script([switch().then_send("bye").then_await(&gate).then_reset()]);
    let mut client = tunnel(&forebay);
    assert_eq!(client.take(3), b"bye");
    gate.open();
    assert!(client.is_closed());
}

#[test]
fn each_side_may_end_before_the_other() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    upstream.script([switch().then_take_bytes().then_send("last words").then_close()]);
    let mut client = tunnel(&forebay);
    client.send("question");
    client.end_sending();
    assert_eq!(client.take_rest(), (b"last words".to_vec(), Cut::Fin));
    assert_eq!(upstream.seen()[0].tunnelled, b"question");

    upstream.forget();
    upstream.script([switch().then_send("first").then_end_sending().then_take_bytes()]);
    let mut client = tunnel(&forebay);
    assert_eq!(client.take_rest(), (b"first".to_vec(), Cut::Fin));
    client.send("still here");
    upstream.wait("what came after the FIN", |seen| seen[0].tunnelled == b"still here");
    drop(client);
    upstream.wait_all_closed();
}

#[test]
fn what_is_sent_right_behind_the_handshake_arrives() {
    let upstream = FakeUpstream::start();
    // In one packet with the switch, more than one read takes.
    let greeting = "g".repeat(100_000);
    upstream.script([switch().then_send(&greeting).then_echo_bytes()]);
    let forebay = forebay_for(&upstream);
    let mut client = forebay.connect();
    let early = "e".repeat(100_000);
    client.send([handshake("/").bytes().as_slice(), early.as_bytes()].concat());
    assert_eq!(client.read_switch().status, 101);
    assert_eq!(client.take(200_000), [greeting, early].concat().into_bytes());
}

#[test]
fn a_connection_that_was_a_tunnel_is_never_used_again() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_send("bye").then_close(), answer(200).body("ok").into()]);
    let forebay = forebay_for(&upstream);
    tunnel(&forebay).take_rest();
    assert_relayed(&forebay.get("/next"), 200, "ok");
    // Nor is one of the pool used for a tunnel's second life.
    upstream.script([switch().then_echo_bytes()]);
    let mut client = tunnel(&forebay);
    client.send("x");
    assert_eq!(client.take(1), b"x");
    let seen = upstream.seen();
    assert_ne!(seen[0].connection, seen[1].connection);
    assert_ne!(seen[1].connection, seen[2].connection, "a tunnel has a connection of its own: {seen:#?}");
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_closed() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_echo_bytes()]);
    let forebay = Settings::in_front_of(&upstream).set("TUNNEL_IDLE_TIMEOUT_SECONDS", "0.6").start();
    let begin = Instant::now();
    let mut client = tunnel(&forebay);
    client.send("hello");
    assert_eq!(client.take(5), b"hello");
    assert!(client.is_closed());
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(600) && took < Duration::from_millis(600) + NOISE, "{took:?}");
    upstream.wait_all_closed();
}

#[test]
fn a_byte_in_either_direction_keeps_a_tunnel_open() {
    let upstream = FakeUpstream::start();
    let mut drip = switch();
    for _ in 0..10 {
        drip = drip.then_send("x").then_pause(Duration::from_millis(200));
    }
    upstream.script([drip.then_close(), switch().then_take_bytes()]);
    let forebay = Settings::in_front_of(&upstream).set("TUNNEL_IDLE_TIMEOUT_SECONDS", "1.5").start();
    assert_eq!(tunnel(&forebay).take_rest().0.len(), 10, "bytes for the client keep it open");
    let mut client = tunnel(&forebay);
    for _ in 0..10 {
        client.send("x");
        thread::sleep(Duration::from_millis(200));
    }
    upstream.wait("every byte of the client", |seen| seen[1].tunnelled.len() == 10);
}

#[test]
fn other_clocks_do_not_count_in_a_tunnel() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_echo_bytes()]);
    let mut settings = Settings::in_front_of(&upstream).set("TUNNEL_IDLE_TIMEOUT_SECONDS", 0);
    for name in [
        "RESPONSE_HEADER_TIMEOUT_SECONDS",
        "STREAM_IDLE_TIMEOUT_SECONDS",
        "CLIENT_IDLE_SECONDS",
        "CLIENT_HEADER_TIMEOUT_SECONDS",
        "CLIENT_BODY_TIMEOUT_SECONDS",
        "CLIENT_WRITE_TIMEOUT_SECONDS",
        "UPSTREAM_IDLE_SECONDS",
    ] {
        settings = settings.set(name, "0.5");
    }
    let forebay = settings.start();
    let mut client = tunnel(&forebay);
    thread::sleep(Duration::from_millis(1500));
    client.send("hello");
    assert_eq!(client.take(5), b"hello");
}

#[test]
fn a_slow_reader_stops_the_other_side_and_costs_no_memory() {
    let upstream = FakeUpstream::start();
    let total = 128 << 20;
    upstream.script([switch().then_flood(total)]);
    let forebay = forebay_for(&upstream);
    let before = forebay.memory();
    let mut client = forebay.connect().with_small_window();
    assert_eq!(client.upgrade(&handshake("/")).status, 101);
    thread::sleep(Duration::from_millis(700));
    assert!(upstream.seen()[0].flooded < total);
    assert!(forebay.memory() < before + (32 << 20), "{} bytes more", forebay.memory() - before);
    assert_eq!(client.take(100_000).len(), 100_000);
    drop(client);
    upstream.wait("the end of the flood", |seen| seen[0].aborted.is_some());
}

#[test]
fn a_tunnel_is_finished_while_nothing_new_is_accepted() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_echo_bytes()]);
    let mut forebay = forebay_for(&upstream);
    let mut client = tunnel(&forebay);
    forebay.terminate();
    forebay.wait_until_it_refuses();
    client.send("still here");
    assert_eq!(client.take(10), b"still here");
    assert!(forebay.is_running());
    drop(client);
    assert_eq!(forebay.wait_for_end().code(), Some(0));
}

#[test]
fn at_the_end_of_the_shutdown_time_tunnels_are_cut() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_echo_bytes()]);
    for (time, signals) in [("0.6", 1), ("300", 2)] {
        let mut forebay = Settings::in_front_of(&upstream).set("SHUTDOWN_TIMEOUT_SECONDS", time).start();
        let mut client = tunnel(&forebay);
        client.send("x");
        assert_eq!(client.take(1), b"x");
        forebay.terminate();
        forebay.wait_until_it_refuses();
        if signals == 2 {
            thread::sleep(Duration::from_millis(100));
            forebay.terminate();
        }
        assert!(client.is_closed());
        let status = forebay.wait_for_end();
        assert!(signals == 2 || status.code() == Some(0), "{status:?}");
        upstream.wait_all_closed();
    }
}

#[test]
fn a_hundred_tunnels_run_side_by_side() {
    let upstream = FakeUpstream::start();
    upstream.script([switch().then_echo_bytes()]);
    let forebay = forebay_for(&upstream);
    let mut clients: Vec<Client> = (0..100).map(|_| tunnel(&forebay)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("{number:03}"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.take(3), format!("{number:03}").into_bytes());
    }
    assert_eq!(forebay.ask(&get("/healthz")).status, 200);
    drop(clients);
    upstream.wait_all_closed();
}
