//! More than there is room for (3.3, 5): refused in time, and forgotten afterwards.

use crate::client::{get, post};
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::{Forebay, Settings};
use crate::upstream::{FakeUpstream, Gate, answer, raw};

#[test]
fn bodies_that_do_not_fit_together_are_refused_until_there_is_room() {
    let upstream = FakeUpstream::start();
    let gate = Gate::new();
    upstream.script([raw("").then_await(&gate).then_do(answer(200).body("held")), answer(200).body("ok").into()]);
    let forebay = Settings::in_front_of(&upstream)
        .set("MAX_BUFFERED_BYTES", "1MiB")
        .set("MAX_REQUEST_BODY_BYTES", "900KiB")
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 60)
        .start();
    let body = vec![b'b'; 700 * 1024];
    let mut holder = forebay.connect();
    holder.send(post("/holder", &body).bytes());
    upstream.wait("the whole first request", |seen| seen.first().is_some_and(|s| s.complete));

    let response = forebay.ask(&post("/more", &body));
    assert_error(&response, 503, "overloaded");
    assert!(response.get("retry-after").is_some(), "{response:?}");
    assert_eq!(response.get("x-should-retry"), None, "{response:?}");
    let response = forebay.ask(&post("/v1/more", &body));
    assert_error(&response, 503, "overloaded");
    assert_eq!(response.get("x-should-retry").as_deref(), Some("true"), "{response:?}");
    // What needs no room is served.
    assert_relayed(&forebay.get("/small"), 200, "ok");

    gate.open();
    assert_relayed(&holder.read("POST"), 200, "held");
    assert_relayed(&forebay.ask(&post("/again", &body)), 200, "ok");
}

#[test]
fn a_client_that_leaves_gives_its_room_back() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream)
        .set("MAX_BUFFERED_BYTES", "1MiB")
        .set("MAX_REQUEST_BODY_BYTES", "900KiB")
        .start();
    let body = vec![b'b'; 700 * 1024];
    for _ in 0..5 {
        let mut leaving = forebay.connect();
        leaving.send(&post("/leaving", &body).bytes()[..600 * 1024]);
        leaving.reset();
    }
    // It is noticed soon, not at once.
    let end = std::time::Instant::now() + crate::upstream::PATIENCE;
    while forebay.ask(&post("/", &body)).status != 200 {
        assert!(std::time::Instant::now() < end, "the room of clients that left is still taken");
    }
}

#[test]
fn too_few_file_descriptors_end_nothing() {
    let upstream = FakeUpstream::start();
    let forebay = Settings::in_front_of(&upstream).open_files(64).start();
    let mut clients: Vec<_> = (0..200).map(|_| forebay.connect()).collect();
    for client in &mut clients {
        client.send(get("/").bytes());
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    drop(clients);
    let end = std::time::Instant::now() + crate::upstream::PATIENCE;
    while forebay.get("/afterwards").status != 200 {
        assert!(std::time::Instant::now() < end, "it does not recover");
    }
}

#[test]
fn clients_that_come_and_go_leave_nothing() {
    let upstream = FakeUpstream::start();
    let forebay = Forebay::in_front_of(&upstream);
    for _ in 0..10 {
        assert_relayed(&forebay.get("/"), 200, "ok");
    }
    let (files, memory) = (forebay.open_files(), forebay.memory());
    for number in 0..600 {
        let mut client = forebay.connect();
        match number % 3 {
            0 => client.send("GET / HTTP/1.1\r\nHo"),
            1 => client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc"),
            _ => {}
        }
        if number % 2 == 0 { client.reset() } else { drop(client) }
    }
    let end = std::time::Instant::now() + crate::upstream::PATIENCE;
    while forebay.open_files() > files + 8 {
        assert!(std::time::Instant::now() < end, "{} files instead of {files}", forebay.open_files());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(forebay.memory() < memory + (32 << 20), "{} bytes more", forebay.memory() - memory);
    assert_eq!(upstream.seen().len(), 10);
}
