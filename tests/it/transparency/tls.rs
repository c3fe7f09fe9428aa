//! An upstream on https (3.2, 5).

use super::patient;
use crate::client::post;
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::ScratchFile;
use crate::upstream::{Authority, FakeUpstream, echo};

#[test]
fn an_upstream_whose_root_is_in_the_ca_file_is_trusted() {
    let authority = Authority::new();
    let upstream = FakeUpstream::start_tls(&authority);
    upstream.script([echo()]);
    let roots = ScratchFile::with(authority.pem());
    let forebay = patient(&upstream).set("UPSTREAM_CA_FILE", &roots).start();
    let body = "0123456789".repeat(30_000);
    for _ in 0..10 {
        assert_relayed(&forebay.ask(&post("/tls?q", &body)), 200, &body);
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    assert!(upstream.accepted() < 10, "connections are kept with TLS too");
    assert_eq!(upstream.seen()[0].all("host"), [upstream.authority().as_bytes()]);
    upstream.assert_unambiguous();
}

#[test]
fn an_upstream_with_another_root_gets_no_request() {
    let upstream = FakeUpstream::start_tls(&Authority::new());
    let wrong = ScratchFile::with(Authority::new().pem());
    for settings in [patient(&upstream), patient(&upstream).set("UPSTREAM_CA_FILE", &wrong)] {
        assert_error(&settings.start().ask(&post("/", "secret")), 502, "upstream_request_error");
    }
    assert!(upstream.seen().is_empty(), "{:#?}", upstream.seen());
}
