//! Which protocol is spoken.

use crate::client::post;
use crate::expect::{assert_error, assert_relayed};
use crate::forebay::{EX_CONFIG, ScratchFile, Settings};
use crate::upstream::h2::Play;
use crate::upstream::{Authority, FakeUpstream, H2Upstream, echo};

fn settings(url: String, roots: &ScratchFile) -> Settings {
    let settings = Settings::new().set("UPSTREAM_BASE_URL", url).set("UPSTREAM_CA_FILE", roots);
    settings.set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20)
}

#[test]
fn over_tls_it_is_what_alpn_chooses() {
    let authority = Authority::new();
    let roots = ScratchFile::with(authority.pem());
    let two = H2Upstream::start_tls(&authority);
    two.script([Play::echo()]);
    for settings in [settings(two.url(), &roots), settings(two.url(), &roots).set("UPSTREAM_HTTP2", "auto")] {
        two.forget();
        let forebay = settings.start();
        let body = "0123456789".repeat(50_000);
        for _ in 0..5 {
            assert_relayed(&forebay.ask(&post("/x?y", &body)), 200, &body);
        }
        let seen = two.seen();
        assert!(seen.iter().all(|s| s.connection == seen[0].connection), "one connection is enough: {seen:#?}");
        assert_eq!(seen[0].get(":scheme").as_deref(), Some("https"));
        assert_eq!(seen[0].get(":authority"), Some(two.authority()));
        two.assert_unambiguous();
    }
    // Who knows only HTTP/1.1, or nothing of ALPN, is spoken to in HTTP/1.1.
    for protocols in [&["http/1.1"][..], &[]] {
        let one = FakeUpstream::start_tls_with(&authority, protocols);
        one.script([echo()]);
        assert_relayed(&settings(one.url(), &roots).start().ask(&post("/", "x")), 200, "x");
        one.assert_unambiguous();
    }
}

#[test]
fn it_can_be_off() {
    let authority = Authority::new();
    let roots = ScratchFile::with(authority.pem());
    // It would choose h2, and could not speak it.
    let one = FakeUpstream::start_tls_with(&authority, &["h2", "http/1.1"]);
    let forebay = settings(one.url(), &roots).set("UPSTREAM_HTTP2", "off").start();
    assert_relayed(&forebay.get("/"), 200, "ok");
    one.assert_unambiguous();
}

#[test]
fn in_clear_it_is_spoken_only_where_that_is_known() {
    let one = FakeUpstream::start();
    assert_relayed(&Settings::in_front_of(&one).start().get("/"), 200, "ok");
    one.assert_unambiguous();
    let two = H2Upstream::start();
    let forebay = Settings::in_front_of_h2(&two).start();
    assert_relayed(&forebay.get("/x"), 200, "ok");
    assert_eq!((two.seen()[0].path().as_str(), two.seen()[0].get(":scheme").as_deref()), ("/x", Some("http")));
    // Two that do not understand each other.
    let wrong = Settings::in_front_of(&one).set("UPSTREAM_HTTP2", "prior-knowledge").set("UPSTREAM_MAX_ATTEMPTS", 1);
    assert_error(&wrong.start().get("/"), 502, "upstream_request_error");
    let wrong = Settings::new().set("UPSTREAM_BASE_URL", two.url()).set("UPSTREAM_MAX_ATTEMPTS", 1);
    assert_error(&wrong.start().get("/"), 502, "upstream_request_error");
}

#[test]
fn over_tls_it_can_be_known_before() {
    let authority = Authority::new();
    let roots = ScratchFile::with(authority.pem());
    let two = H2Upstream::start_tls(&authority);
    let forebay = settings(two.url(), &roots).set("UPSTREAM_HTTP2", "prior-knowledge").start();
    assert_relayed(&forebay.get("/"), 200, "ok");
}

#[test]
fn each_route_has_its_own() {
    let (one, two) = (FakeUpstream::start(), H2Upstream::start());
    let forebay = Settings::in_front_of(&one)
        .set("ROUTE_TWO_PREFIX", "/two")
        .set("ROUTE_TWO_UPSTREAM_BASE_URL", two.url())
        .set("ROUTE_TWO_UPSTREAM_HTTP2", "prior-knowledge")
        .start();
    assert_relayed(&forebay.get("/x"), 200, "ok");
    assert_relayed(&forebay.get("/two/x"), 200, "ok");
    assert_eq!((one.seen().len(), two.seen()[0].path().as_str()), (1, "/x"));
}

#[test]
fn another_word_is_a_problem() {
    let (log, status) =
        Settings::new().set("UPSTREAM_BASE_URL", "http://127.0.0.1:9").set("UPSTREAM_HTTP2", "yes").run();
    assert_eq!(status, Some(EX_CONFIG), "{log}");
    assert!(log.contains("UPSTREAM_HTTP2"), "{log}");
}
