//! Clients on HTTP/1.1, in clear and over TLS, that take their time or take nothing.

use std::time::{Duration, Instant};

use super::Target;
use crate::client::{Client, get, post};
use crate::expect::assert_relayed;
use crate::forebay::ScratchFile;
use crate::upstream::{Authority, FakeUpstream, PATIENCE, answer};

#[test]
fn readers_that_do_not_read() {
    let upstream = FakeUpstream::start();
    let total = 64 << 20;
    upstream.answer_with(move |seen, _| match seen.path().as_str() {
        "/own" => answer(200).body("own").into(),
        _ => answer(200).field("Content-Length", total.to_string()).head().then_flood(total),
    });
    let forebay = Target::settings(&upstream).start();
    let target = Target::under(upstream, forebay);
    let mut clients: Vec<Client> = (0..30).map(|_| target.forebay.connect().with_small_window()).collect();
    for client in &mut clients {
        client.send(get("/large").bytes());
    }
    target.upstream.wait_seen(31);
    target.serves_others();
    target.has_kept_its_memory();
    target.upstream.wait("every download to be given up", |seen| {
        seen.iter().filter(|s| s.path() == "/large").all(|s| s.aborted.is_some())
    });
    target.serves_others();
    target.upstream.wait_all_closed();
    drop(clients);
}

#[test]
fn writers_that_do_not_write() {
    let target = Target::new();
    let files = target.forebay.open_files();
    let mut clients = Vec::new();
    for number in 0..150 {
        let mut client = target.forebay.connect();
        match number % 5 {
            0 => {}
            1 => client.send("GE"),
            2 => client.send("GET /slow HTTP/1.1\r\nHost: a\r\nX: "),
            3 => client.send(&post("/slow", vec![b'x'; 1000]).bytes()[..100]),
            _ => client.send("POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;"),
        }
        clients.push(client);
    }
    target.serves_others();
    let end = Instant::now() + PATIENCE;
    while target.forebay.open_files() > files + 10 {
        assert!(Instant::now() < end, "{} files, {files} before", target.forebay.open_files());
        std::thread::sleep(Duration::from_millis(50));
    }
    target.serves_others();
    target.has_kept_its_memory();
    assert!(target.upstream.seen().iter().all(|s| s.path() == "/own"));
    drop(clients);
}

#[test]
fn handshakes_that_never_come_to_their_end() {
    let (upstream, authority) = (FakeUpstream::start(), Authority::new());
    upstream.answer_with(|_, _| answer(200).body("own").into());
    let certificate = authority.issue();
    let (pem, key) = (ScratchFile::with(&certificate.pem), ScratchFile::with(&certificate.key_pem));
    let forebay = Target::settings(&upstream).set("TLS_CERT_FILE", &pem).set("TLS_KEY_FILE", &key).start();
    let own = || {
        let mut client = Client::connect_tls(forebay.port, authority.client_config(&[])).expect("a handshake");
        assert_relayed(&client.ask(&get("/own")), 200, "own");
    };
    own();
    let (files, memory) = (forebay.open_files(), forebay.memory());
    let mut clients = Vec::new();
    for number in 0..150 {
        let mut client = forebay.connect();
        match number % 4 {
            0 => {}
            // A record that announces more than comes, and a ClientHello that goes on for ever.
            1 => client.send(b"\x16\x03\x01\x40\x00"),
            2 => client.send([&b"\x16\x03\x01\x02\x00\x01\x00\x40\x00\x03\x03"[..], &[7; 400]].concat()),
            _ => client.send([0x16; 3]),
        }
        clients.push(client);
    }
    own();
    let end = Instant::now() + PATIENCE;
    while forebay.open_files() > files + 10 {
        assert!(Instant::now() < end, "{} files, {files} before", forebay.open_files());
        std::thread::sleep(Duration::from_millis(50));
    }
    own();
    assert!(forebay.memory() < memory + super::BOUND, "{} bytes more", forebay.memory() - memory);
    drop(clients);
}

#[test]
fn a_head_one_byte_at_a_time() {
    let target = Target::new();
    let mut client = target.forebay.connect();
    let begin = Instant::now();
    for byte in get("/slow").field("X", "y".repeat(200)).bytes() {
        if !client.try_send([byte]) || client.is_closed_within(Duration::from_millis(30)) {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "a byte every 30 ms keeps the connection open");
    }
    assert!(client.is_closed());
    assert!(target.upstream.seen().iter().all(|s| s.path() == "/own"));
    target.serves_others();
}
