//! SIGTERM and SIGINT (3.4): what runs is finished, within limits.

use std::time::{Duration, Instant};

use crate::client::{Client, get, post};
use crate::expect::{NOISE, assert_error, assert_relayed};
use crate::forebay::{Forebay, Settings, free_port};
use crate::upstream::{Behaviour, FakeUpstream, Gate, PATIENCE, answer, raw, stall};

fn patient(upstream: &FakeUpstream) -> Settings {
    Settings::in_front_of(upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 60).set("UPSTREAM_MAX_ATTEMPTS", 1)
}

/// A stream of events that goes on when the gate opens.
fn held_stream(gate: &Gate) -> Behaviour {
    let head = answer(200).field("Content-Type", "text/event-stream").chunked_head();
    head.then_chunk("data: 1\n\n").then_await(gate).then_chunk("data: 2\n\n").then_last_chunk()
}

/// A client that has read the first event of its stream.
fn streaming_client(forebay: &Forebay, target: &str) -> (Client, crate::client::Response) {
    let mut client = forebay.connect();
    client.send(get(target).bytes());
    let mut response = client.read_head("GET");
    client.read_body(&mut response, "data: 1\n\n".len());
    assert_eq!(response.text(), "data: 1\n\n");
    (client, response)
}

#[test]
fn without_work_it_ends_at_once() {
    for interrupt in [false, true] {
        let upstream = FakeUpstream::start();
        let mut forebay = patient(&upstream).start();
        let mut idle = forebay.connect();
        assert_relayed(&idle.ask(&get("/")), 200, "ok");
        let begin = Instant::now();
        if interrupt {
            forebay.interrupt();
        } else {
            forebay.terminate();
        }
        assert_eq!(forebay.wait_for_end().code(), Some(0));
        assert!(begin.elapsed() < NOISE, "{:?}", begin.elapsed());
        assert!(idle.is_closed());
    }
}

#[test]
fn a_stream_under_way_is_finished_while_nothing_new_is_accepted() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([held_stream(&gate)]);
    let mut forebay = patient(&upstream).start();
    let mut idle = forebay.connect();
    assert_eq!(idle.ask(&get("/healthz")).status, 200);
    let (mut client, mut response) = streaming_client(&forebay, "/stream");
    forebay.terminate();
    forebay.wait_until_it_refuses();
    assert!(idle.is_closed(), "an idle connection is closed at once");
    assert!(forebay.is_running(), "it ended in the middle of a stream:\n{}", forebay.log());
    gate.open();
    client.read_rest(&mut response);
    assert_relayed(&response, 200, "data: 1\n\ndata: 2\n\n");
    assert!(client.is_closed());
    assert_eq!(forebay.wait_for_end().code(), Some(0));
}

#[test]
fn a_request_that_arrived_behind_a_running_answer_is_served_too() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([held_stream(&gate), answer(200).body("second").into()]);
    let mut forebay = patient(&upstream).start();
    let (mut client, mut first) = streaming_client(&forebay, "/stream");
    forebay.terminate();
    forebay.wait_until_it_refuses();
    client.send(get("/behind").bytes());
    // It has to arrive before the stream ends; nothing tells when it has.
    std::thread::sleep(Duration::from_millis(200));
    gate.open();
    client.read_rest(&mut first);
    assert_relayed(&first, 200, "data: 1\n\ndata: 2\n\n");
    let second = client.read("GET");
    assert_relayed(&second, 200, "second");
    assert_eq!(second.get("connection").as_deref(), Some("close"));
    assert_eq!(forebay.wait_for_end().code(), Some(0));
}

#[test]
fn an_answer_under_way_says_that_its_connection_closes() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("late"))]);
    let mut forebay = patient(&upstream).start();
    let mut client = forebay.connect();
    client.send(post("/", "x").bytes());
    upstream.wait_seen(1);
    forebay.terminate();
    forebay.wait_until_it_refuses();
    gate.open();
    let response = client.read("POST");
    assert_relayed(&response, 200, "late");
    assert_eq!(response.get("connection").map(|c| c.to_lowercase()).as_deref(), Some("close"), "{response:?}");
    assert!(client.is_closed());
    assert_eq!(forebay.wait_for_end().code(), Some(0));
}

#[test]
fn a_request_whose_first_bytes_have_arrived_is_answered() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.answer_with({
        let gate = gate.clone();
        move |seen, _| if seen.path() == "/stream" { held_stream(&gate) } else { answer(200).body("ok").into() }
    });
    let mut forebay = patient(&upstream).start();
    let mut half = forebay.connect();
    half.send("GET /half HTTP/1.1\r\nHo");
    // Whatever was sent before it is read by now.
    let (mut client, mut stream) = streaming_client(&forebay, "/stream");
    std::thread::sleep(Duration::from_millis(200));
    forebay.terminate();
    forebay.wait_until_it_refuses();
    half.send("st: a\r\n\r\n");
    let response = half.read("GET");
    assert_relayed(&response, 200, "ok");
    assert_eq!(response.get("connection").map(|c| c.to_lowercase()).as_deref(), Some("close"), "{response:?}");
    gate.open();
    client.read_rest(&mut stream);
    assert!(stream.is_complete(), "{stream:?}");
    assert_eq!(forebay.wait_for_end().code(), Some(0));
}

#[test]
fn readiness_ends_with_the_signal() {
    let upstream = FakeUpstream::start();
    let (gate, admin) = (Gate::new(), free_port());
    upstream.script([held_stream(&gate)]);
    let mut forebay = patient(&upstream).set("ADMIN_PORT", admin).start();
    let ready = || Client::connect(admin).ask(&get("/readyz").host("localhost")).status;
    assert_eq!(ready(), 200);
    let (mut client, mut response) = streaming_client(&forebay, "/stream");
    forebay.terminate();
    forebay.wait_until_it_refuses();
    let begin = Instant::now();
    while ready() != 503 {
        assert!(begin.elapsed() < PATIENCE, "still ready");
    }
    gate.open();
    client.read_rest(&mut response);
    assert_eq!(forebay.wait_for_end().code(), Some(0));
}

#[test]
fn at_the_end_of_the_shutdown_time_everybody_is_told() {
    let upstream = FakeUpstream::start();
    let never = Gate::new();
    upstream.answer_with(move |seen, _| match seen.path().as_str() {
        "/silent" => stall(),
        _ => held_stream(&never),
    });
    let mut forebay = patient(&upstream).set("SHUTDOWN_TIMEOUT_SECONDS", "0.7").start();
    let mut silent = forebay.connect();
    silent.send(post("/silent", "x").bytes());
    let (mut plain, mut plain_stream) = streaming_client(&forebay, "/plain");
    let (mut openai, mut openai_stream) = streaming_client(&forebay, "/v1/chat/completions");
    upstream.wait_seen(3);
    let begin = Instant::now();
    forebay.terminate();
    assert_error(&silent.read("POST"), 503, "shutting_down");
    openai.read_rest(&mut openai_stream);
    assert!(openai_stream.is_complete(), "{openai_stream:?}");
    let last = openai_stream.text().trim_end().rsplit("\n\n").next().unwrap_or_default().to_owned();
    let error: serde_json::Value = serde_json::from_str(last.strip_prefix("data: ").unwrap_or(&last)).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["type"]), (&"shutting_down".into(), &"upstream_error".into()));
    plain.read_rest(&mut plain_stream);
    assert!(!plain_stream.is_complete(), "{plain_stream:?}");
    assert_eq!(forebay.wait_for_end().code(), Some(0));
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_millis(700) + NOISE, "{took:?}");
}

#[test]
fn a_second_signal_cuts_at_once() {
    let upstream = FakeUpstream::start();
    let never = Gate::new();
    upstream.script([held_stream(&never)]);
    let mut forebay = patient(&upstream).set("SHUTDOWN_TIMEOUT_SECONDS", 300).start();
    let (mut client, mut response) = streaming_client(&forebay, "/stream");
    forebay.terminate();
    forebay.wait_until_it_refuses();
    assert!(forebay.is_running());
    forebay.terminate();
    forebay.wait_for_end();
    client.read_rest(&mut response);
    assert!(!response.is_complete(), "{response:?}");
}
