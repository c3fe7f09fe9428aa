//! The listener with TLS (3.1): ALPN, and certificates that change.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Cut, H2Client, get, post};
use crate::expect::assert_relayed;
use crate::forebay::{EX_CONFIG, Forebay, ScratchFile, Settings};
use crate::upstream::{Authority, Certificate, FakeUpstream, Gate, answer, echo, raw};

/// How long the files may lie there before they are looked at again; only a program that never looks makes it last.
const RELOAD: Duration = Duration::from_secs(60);

/// The two files of a listener.
struct Files {
    certificate: ScratchFile,
    key: ScratchFile,
}

impl Files {
    fn with(certificate: &Certificate) -> Self {
        Self { certificate: ScratchFile::with(&certificate.pem), key: ScratchFile::with(&certificate.key_pem) }
    }

    fn settings(&self, upstream: &FakeUpstream) -> Settings {
        let settings = Settings::in_front_of(upstream).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 30);
        settings.set("TLS_CERT_FILE", &self.certificate).set("TLS_KEY_FILE", &self.key)
    }
}

fn connect(forebay: &Forebay, authority: &Authority, protocols: &[&str]) -> Client {
    Client::connect_tls(forebay.port, authority.client_config(protocols)).expect("a handshake")
}

/// Whether new connections get this certificate.
fn shows(forebay: &Forebay, authority: &Authority, certificate: &Certificate) -> bool {
    let client = connect(forebay, authority, &[]);
    client.tls().unwrap().peer_certificates().unwrap()[0] == certificate.der
}

#[track_caller]
fn wait_until_it_shows(forebay: &Forebay, authority: &Authority, certificate: &Certificate) {
    let end = Instant::now() + RELOAD;
    while !shows(forebay, authority, certificate) {
        assert!(Instant::now() < end, "the new certificate is not shown:\n{}", forebay.log());
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_protocol_is_chosen_by_alpn() {
    let (upstream, authority) = (FakeUpstream::start(), Authority::new());
    upstream.script([echo()]);
    let files = Files::with(&authority.issue());
    let forebay = files.settings(&upstream).start();
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some(&b"h2"[..])),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ] {
        let client = connect(&forebay, &authority, offered);
        assert_eq!(client.tls().unwrap().alpn_protocol(), chosen, "{offered:?}");
    }
    let body = "0123456789".repeat(50_000);
    for protocols in [&["http/1.1"][..], &[]] {
        let mut client = connect(&forebay, &authority, protocols);
        assert_relayed(&client.ask(&post("/1", &body)), 200, &body);
        assert_relayed(&client.ask(&post("/2", "again")), 200, "again");
    }
    let mut client = H2Client::connect_tls(forebay.port, authority.client_config(&["h2"])).unwrap();
    let streams: Vec<u32> = (0..20).map(|n| client.send(&post(format!("/{n}"), format!("{n}")))).collect();
    for (number, stream) in streams.into_iter().enumerate() {
        assert_relayed(&client.read(stream), 200, number.to_string());
    }
    assert_relayed(&client.ask(&post("/", &body)), 200, &body);
    upstream.assert_unambiguous();
}

#[test]
fn the_end_of_a_connection_is_announced() {
    let (upstream, authority) = (FakeUpstream::start(), Authority::new());
    let files = Files::with(&authority.issue());
    let forebay = files.settings(&upstream).start();
    upstream.script([answer(200).body_until_close("to the end").into()]);
    let mut client = connect(&forebay, &authority, &[]);
    assert_relayed(&client.ask(&get("/").http10()), 200, "to the end");
    assert_eq!(client.take_rest(), (Vec::new(), Cut::Fin), "a FIN without close_notify could be anybody's");
}

#[test]
fn who_speaks_no_tls_is_not_served_and_in_nobodys_way() {
    let (upstream, authority) = (FakeUpstream::start(), Authority::new());
    let files = Files::with(&authority.issue());
    let forebay = files.settings(&upstream).set("CLIENT_HEADER_TIMEOUT_SECONDS", "0.7").start();
    let mut silent: Vec<Client> = (0..20).map(|_| forebay.connect()).collect();
    for plain in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\0\x05hello"] {
        let mut client = forebay.connect();
        client.send(plain);
        // A TLS alert may be said.
        assert_ne!(client.take_rest().1, Cut::Timeout, "{plain:?}");
    }
    assert_relayed(&connect(&forebay, &authority, &[]).ask(&get("/")), 200, "ok");
    for client in &mut silent {
        assert!(client.is_closed(), "the handshake is a part of the header timeout");
    }
    let mut shaken = connect(&forebay, &authority, &[]);
    let response = shaken.read("GET");
    assert!(matches!(response.status, 0 | 408) && response.cut != Some(Cut::Timeout), "{response:?}");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_tunnel_runs_over_tls() {
    let (upstream, authority) = (FakeUpstream::start(), Authority::new());
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    upstream.script([raw(switch).then_echo_bytes()]);
    let files = Files::with(&authority.issue());
    let forebay = files.settings(&upstream).start();
    let mut client = connect(&forebay, &authority, &["http/1.1"]);
    let asked = get("/").field("Connection", "Upgrade").field("Upgrade", "websocket");
    assert_eq!(client.upgrade(&asked).status, 101);
    client.send("hello");
    assert_eq!(client.take(5), b"hello");
}

#[test]
fn a_new_certificate_is_shown_when_the_files_have_changed() {
    let (upstream, authority) = (FakeUpstream::start(), Authority::new());
    let gate = Gate::new();
    upstream.script([answer(200).chunked_head().then_chunk("a").then_await(&gate).then_chunk("b").then_last_chunk()]);
    let (first, second, third) = (authority.issue(), authority.issue(), authority.issue());
    let files = Files::with(&first);
    let forebay = files.settings(&upstream).start();
    assert!(shows(&forebay, &authority, &first));
    let mut under_way = connect(&forebay, &authority, &[]);
    under_way.send(get("/").bytes());
    let mut response = under_way.read_head("GET");

    files.key.replace(&second.key_pem);
    files.certificate.replace(&second.pem);
    wait_until_it_shows(&forebay, &authority, &second);
    files.certificate.overwrite(&third.pem);
    files.key.overwrite(&third.key_pem);
    wait_until_it_shows(&forebay, &authority, &third);

    gate.open();
    under_way.read_rest(&mut response);
    assert_relayed(&response, 200, "ab");
}

#[test]
fn the_old_certificate_stays_while_the_new_files_are_broken() {
    let (upstream, authority) = (FakeUpstream::start(), Authority::new());
    let (first, second, last) = (authority.issue(), authority.issue(), authority.issue());
    let files = Files::with(&first);
    let forebay = files.settings(&upstream).start();
    for (what, certificate, key) in [
        ("no PEM", "this is no certificate", first.key_pem.as_str()),
        ("half a file", &second.pem[..second.pem.len() / 2], &second.key_pem),
        ("another key", &second.pem, &first.key_pem),
        ("nothing", "", ""),
    ] {
        files.certificate.replace(certificate);
        files.key.replace(key);
        thread::sleep(Duration::from_millis(700));
        assert!(shows(&forebay, &authority, &first), "{what}");
    }
    files.certificate.replace(&last.pem);
    files.key.replace(&last.key_pem);
    wait_until_it_shows(&forebay, &authority, &last);
    assert!(!forebay.log().contains("PRIVATE KEY"), "{}", forebay.log());
}

#[test]
fn the_health_check_speaks_tls_as_well() {
    let (upstream, authority) = (FakeUpstream::start(), Authority::new());
    let files = Files::with(&authority.issue());
    let forebay = files.settings(&upstream).start();
    let check = |port: u16| files.settings(&upstream).set("LISTEN_PORT", port).argument("healthcheck").run();
    let (log, status) = check(forebay.port);
    assert_eq!(status, Some(0), "{log}");
    let port = forebay.port;
    drop(forebay);
    let (log, status) = check(port);
    assert!(status == Some(1) && log.contains("not well"), "{log}");
}

#[test]
fn files_that_cannot_be_used_are_a_problem_at_start() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(), authority.issue());
    let (certificate, key) = (ScratchFile::with(&one.pem), ScratchFile::with(&one.key_pem));
    let (wrong_key, garbage) = (ScratchFile::with(&other.key_pem), ScratchFile::with("garbage"));
    let settings = || Settings::new().set("UPSTREAM_BASE_URL", "http://127.0.0.1:9");
    for (what, settings) in [
        ("no key", settings().set("TLS_CERT_FILE", &certificate)),
        ("no certificate", settings().set("TLS_KEY_FILE", &key)),
        ("a missing file", settings().set("TLS_CERT_FILE", "/does/not/exist.pem").set("TLS_KEY_FILE", &key)),
        ("garbage", settings().set("TLS_CERT_FILE", &garbage).set("TLS_KEY_FILE", &key)),
        ("a garbage key", settings().set("TLS_CERT_FILE", &certificate).set("TLS_KEY_FILE", &garbage)),
        ("the key of another", settings().set("TLS_CERT_FILE", &certificate).set("TLS_KEY_FILE", &wrong_key)),
    ] {
        let (log, status) = settings.run();
        assert_eq!(status, Some(EX_CONFIG), "{what}:\n{log}");
        assert!(log.contains("TLS_"), "{what}:\n{log}");
    }
}
