//! The listener's own figures: the certificate, the version, the process.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{Observed, Page};
use crate::client::{Client, get, post, request};
use crate::expect::{assert_error, assert_relayed, is_own};
use crate::forebay::{ScratchFile, Settings};
use crate::upstream::{Authority, FakeUpstream};

const EXPIRY: &str = "forebay_tls_certificate_expiry_timestamp_seconds";

#[test]
fn the_certificates_end_is_told_and_follows_a_renewal() {
    let (upstream, authority) = (FakeUpstream::start(), Authority::new());
    let (old, new) = (authority.issue_until(2031, 5, 6), authority.issue_until(2051, 1, 2));
    let (certificate, key) = (ScratchFile::with(&old.pem), ScratchFile::with(&old.key_pem));
    let settings = Settings::in_front_of(&upstream).set("TLS_CERT_FILE", &certificate).set("TLS_KEY_FILE", &key);
    let observed = Observed::start(settings);
    assert_eq!(observed.page().count(EXPIRY), 1_935_792_000, "2031-05-06");
    key.replace(&new.key_pem);
    certificate.replace(&new.pem);
    observed.wait(&[(EXPIRY, 2_556_230_400)]);
    let mut client = Client::connect_tls(observed.forebay.port, authority.client_config(&[])).unwrap();
    assert_relayed(&client.ask(&get("/")), 200, "ok");
    observed.wait(&[("forebay_client_connections", 1), ("forebay_exchanges_total{outcome=complete}", 1)]);
}

#[test]
fn version_and_process_are_told_and_nothing_of_a_certificate_without_tls() {
    let upstream = FakeUpstream::start();
    let observed = Observed::in_front_of(&upstream);
    let page = observed.page();
    assert_eq!(page.count(&format!("forebay_build_info{{version={}}}", env!("CARGO_PKG_VERSION"))), 1);
    assert!(!page.text.contains(EXPIRY), "{}", page.text);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let started = page.sum("process_start_time_seconds");
    assert!(started > now - 600.0 && started < now + 60.0, "{started} is not now, {now}");
    assert!(page.sum("process_resident_memory_bytes") > 1e6);
    let open = observed.forebay.open_files();
    let told = usize::try_from(page.count("process_open_fds")).unwrap();
    assert!(told.abs_diff(open) <= 2, "{told} are told, and {open} are open");
    // Work costs time.
    let spent = |page: &Page| page.sum("process_cpu_seconds_total");
    let before = spent(&page);
    let body = "x".repeat(1 << 20);
    Page::wait(observed.admin, "CPU time", |page| {
        observed.forebay.ask(&post("/", &body));
        spent(page) > before
    });
}

#[test]
fn metrics_are_open_and_are_read_only() {
    let upstream = FakeUpstream::start();
    let observed = Observed::start(Settings::in_front_of(&upstream));
    let ask = |asked| Client::connect(observed.admin).ask(&asked);
    let response = ask(get("/metrics").host("prometheus.example"));
    assert!(response.status == 200 && is_own(&response), "{response:?}");
    let head = ask(request("HEAD", "/metrics").host("localhost"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_error(&ask(post("/metrics", "x").host("localhost")), 405, "method_not_allowed");
    let nothing = ask(get("/metric").host("localhost"));
    assert_error(&nothing, 404, "not_found");
    assert!(nothing.text().contains("/metrics"), "{}", nothing.text());
    assert_relayed(&observed.forebay.get("/metrics"), 200, "ok");
    assert_eq!(upstream.seen()[0].path(), "/metrics", "on the proxy listener it is a path like others");
}
