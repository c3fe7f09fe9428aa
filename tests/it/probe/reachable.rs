//! Upstreams that answer.

use super::*;

#[test]
fn an_upstream_that_is_well_is_asked_three_times_on_one_connection_and_by_get_alone() {
    let upstream = FakeUpstream::start();
    let probed = Probed::with(in_front_of(upstream.url()));
    let address = upstream.authority();
    probed.is_well(&[
        &format!("http://{address} (UPSTREAM_BASE_URL) tcp {address} in "),
        &format!("GET http://{address}/: 200 OK over HTTP/1.1, headers in "),
        " on the same connection deadline 20s for headers; the slowest of these took ",
        "Nothing to change.",
    ]);
    let seen = upstream.seen();
    assert_eq!(seen.iter().map(|s| (s.method.as_str(), s.connection)).collect::<Vec<_>>(), [("GET", 1); 3]);
    assert!(seen.iter().all(|s| s.body.is_empty()));
    upstream.assert_unambiguous();
}

#[test]
fn the_list_of_models_is_asked_for_with_the_key_and_the_key_is_never_shown() {
    let upstream = FakeUpstream::start();
    let settings = in_front_of(format!("{}/v1", upstream.url())).set("UPSTREAM_API_KEY", "sk-NEVERSHOWN");
    Probed::with(settings.clone()).is_well(&["/v1/models: 200 OK", "Nothing to change."]);
    let seen = &upstream.seen()[0];
    assert_eq!(
        (seen.path().as_str(), seen.get("authorization").as_deref()),
        ("/v1/models", Some("Bearer sk-NEVERSHOWN"))
    );

    upstream.script([answer(401).into()]);
    Probed::with(settings).is_well(&[
        "/v1/models: 401 Unauthorized",
        "it does not take the key of UPSTREAM_API_KEY (401 Unauthorized): look at the key itself, at \
         UPSTREAM_API_KEY_HEADER (authorization), and at UPSTREAM_API_KEY_PREFIX.",
    ]);
    Probed::with(in_front_of(upstream.url()))
        .is_well(&["it wants credentials, which clients bring", "Nothing to change."]);
}

#[test]
fn statuses_are_told_with_what_they_ask_for() {
    let upstream = FakeUpstream::start();
    for (behaviour, part) in [
        (answer(404), "404 Not Found over HTTP/1.1"),
        (answer(503), "with RETRY_STATUSES=503 it would be asked for again"),
        (
            answer(301).field("Location", "https://u:NEVERSHOWN@other.example:8443/x?NEVERSHOWN"),
            "it sends clients on to https://other.example:8443, and forebay follows no redirect: name that in UPSTREAM_BASE_URL.",
        ),
        (answer(302).field("Location", "/login"), "Nothing to change."),
        (answer(400).body("The plain HTTP request was sent to HTTPS port"), "write https:// in UPSTREAM_BASE_URL."),
    ] {
        upstream.script([behaviour.into()]);
        Probed::with(in_front_of(upstream.url())).is_well(&[part]);
    }
}

#[test]
fn an_upstream_that_keeps_no_connection_open_is_told_so() {
    let upstream = FakeUpstream::start();
    upstream.script([answer(200).body_until_close("x").into()]);
    Probed::with(in_front_of(upstream.url())).is_well(&["on new connections, for it keeps none open"]);
    upstream.script([answer(200).chunked_head().then_chunk("endless").then_stall()]);
    let settings = in_front_of(upstream.url()).set("RESPONSE_HEADER_TIMEOUT_SECONDS", "2s");
    Probed::as_set(settings).is_well(&["on new connections, for its answer does not end"]);
}

#[test]
fn of_tls_version_cipher_alpn_and_certificate_are_told() {
    let authority = Authority::new();
    let roots = ScratchFile::with(authority.pem());
    let two = H2Upstream::start_tls(&authority);
    two.script([reply(200).body("ok").into()]);
    Probed::with(in_front_of(two.url()).set("UPSTREAM_CA_FILE", &roots)).is_well(&[
        ", issued by an authority of the tests, good until ",
        "tls TLS 1.3, TLS13_",
        ", ALPN h2, in ",
        "200 OK over HTTP/2, headers in ",
        "on the same connection",
    ]);
    assert_eq!(two.seen().len(), 3);
    for (protocols, alpn) in [(&["http/1.1"][..], "ALPN http/1.1, in "), (&[], "ALPN none, in ")] {
        let one = FakeUpstream::start_tls_with(&authority, protocols);
        Probed::with(in_front_of(one.url()).set("UPSTREAM_CA_FILE", &roots)).is_well(&[alpn, "200 OK over HTTP/1.1"]);
    }
}

#[test]
fn names_are_resolved_here_or_by_the_proxy() {
    let upstream = FakeUpstream::start();
    let port = upstream.authority().rsplit_once(':').unwrap().1.to_owned();
    let local = format!("http://localhost:{port}");
    Probed::with(in_front_of(&local)).is_well(&["dns localhost in "]);

    let credentials = Manner::ServeOnly("user".into(), "NEVERSHOWN".into());
    let to_upstream = Some(port.parse().unwrap());
    for (scheme, proxy) in [
        ("socks5h", OutboundProxy::socks5(credentials.clone(), to_upstream)),
        ("http", OutboundProxy::connect(credentials, to_upstream)),
    ] {
        let url = format!("{scheme}://user:NEVERSHOWN@{}", proxy.authority());
        let probed = Probed::with(in_front_of("http://known.to.the.proxy.invalid").set("OUTBOUND_PROXY", url));
        let named = format!("proxy {scheme}://{}, which resolves names itself (OUTBOUND_PROXY)", proxy.authority());
        probed.is_well(&[&named, "tunnel the proxy connected in ", "200 OK"]);
        assert!(!probed.text.contains("dns"), "{}", probed.text);
    }
    let proxy = OutboundProxy::socks5(Manner::Serve, None);
    let settings = in_front_of(&local).set("OUTBOUND_PROXY", format!("socks5://{}", proxy.authority()));
    Probed::with(settings).is_well(&["names are resolved here", "dns localhost in ", "tunnel"]);
}

#[test]
fn routes_to_one_upstream_are_one_and_each_is_asked_for_what_is_its_own() {
    let upstream = FakeUpstream::start();
    upstream.answer_with(|seen, _| answer(if seen.path() == "/b/" { 403 } else { 200 }).into());
    let settings = in_front_of(format!("{}/a", upstream.url()))
        .set("ROUTE_TWIN_PREFIX", "/twin")
        .set("ROUTE_TWIN_UPSTREAM_BASE_URL", format!("{}/a", upstream.url()))
        .set("ROUTE_OTHER_PREFIX", "/other")
        .set("ROUTE_OTHER_UPSTREAM_BASE_URL", format!("{}/b", upstream.url()))
        .set("ROUTE_OTHER_UPSTREAM_API_KEY", "NEVERSHOWN");
    let probed = Probed::with(settings);
    probed.is_well(&[
        "(UPSTREAM_BASE_URL; route OTHER, /other; route TWIN, /twin)",
        "/a/: 200 OK",
        "/b/: 403 Forbidden",
        "it does not take the key of ROUTE_OTHER_UPSTREAM_API_KEY (403 Forbidden)",
    ]);
    assert_eq!((upstream.seen().len(), upstream.accepted()), (6, 1), "{}", probed.text);
    assert_eq!(probed.text.matches(" tcp ").count(), 1, "{}", probed.text);
}

#[test]
fn a_configuration_that_is_refused_is_not_probed() {
    let upstream = FakeUpstream::start();
    let (log, status) = in_front_of(upstream.url()).set("RETRY", "maybe").set("LANE", "x").argument("probe").run();
    assert_eq!(status, Some(EX_CONFIG), "{log}");
    assert!(log.contains("RETRY=\"maybe\"") && log.contains("LANE=\"x\""), "{log}");
    assert_eq!(upstream.accepted(), 0);
}
