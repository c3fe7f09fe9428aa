//! Upstreams that do not.

use super::*;

#[test]
fn a_port_that_refuses() {
    let upstream = FakeUpstream::refusing();
    let address = upstream.authority();
    Probed::with(in_front_of(upstream.url())).is_unwell(&[
        &format!("PROBLEM no TCP connection to {address}: Connection refused"),
        &format!("nothing listens at {address}: start it, or correct UPSTREAM_BASE_URL."),
        "Without an answer: 1 of 1 upstream.",
    ]);
}

#[test]
fn a_name_that_does_not_resolve_is_the_fault_of_one_route_alone() {
    let upstream = FakeUpstream::start();
    let settings = in_front_of(upstream.url())
        .set("ROUTE_LOST_PREFIX", "/lost")
        .set("ROUTE_LOST_UPSTREAM_BASE_URL", "http://no.such.name.invalid:81");
    let probed = Probed::with(settings);
    probed.is_unwell(&[
        "200 OK",
        "http://no.such.name.invalid:81 (route LOST, /lost) PROBLEM no.such.name.invalid does not resolve: ",
        "correct the host in ROUTE_LOST_UPSTREAM_BASE_URL",
        "Without an answer: 1 of 2 upstreams.",
    ]);
    assert_eq!(upstream.seen().len(), 3);
}

#[test]
fn a_certificate_of_an_unknown_authority() {
    let upstream = FakeUpstream::start_tls(&Authority::new());
    Probed::with(in_front_of(upstream.url())).is_unwell(&[
        "cert of ",
        "PROBLEM its certificate is issued by an authority of the tests, which is not trusted here",
        "name it in UPSTREAM_CA_FILE",
        "SSL_CERT_FILE",
    ]);
}

#[test]
fn a_certificate_for_another_host() {
    let authority = Authority::new();
    let roots = ScratchFile::with(authority.pem());
    let upstream = FakeUpstream::start_tls(&authority);
    let port = upstream.authority().rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = OutboundProxy::connect(Manner::Serve, Some(port));
    let settings = in_front_of("https://other.test")
        .set("UPSTREAM_CA_FILE", &roots)
        .set("OUTBOUND_PROXY", format!("http://{}", proxy.authority()));
    Probed::with(settings).is_unwell(&[
        "tunnel",
        "PROBLEM its certificate is for 127.0.0.1, localhost and not for other.test",
        "write a name that the certificate has into UPSTREAM_BASE_URL",
    ]);
}

#[test]
fn clear_text_where_tls_is_spoken_and_the_other_way_round() {
    let clear = FakeUpstream::start();
    clear.on_accept([OnAccept::Blurt]);
    Probed::with(in_front_of(clear.url().replace("http:", "https:")))
        .is_unwell(&["speaks is no TLS", "write http:// instead of https:// in UPSTREAM_BASE_URL"]);
    let encrypted = FakeUpstream::start_tls(&Authority::new());
    Probed::with(in_front_of(encrypted.url().replace("https:", "http:")))
        .is_unwell(&["does it speak TLS there? Then UPSTREAM_BASE_URL must begin with https://"]);
    let two = H2Upstream::start();
    Probed::with(in_front_of(two.url())).is_unwell(&["UPSTREAM_HTTP2=prior-knowledge"]);
}

#[test]
fn an_upstream_that_takes_the_request_and_says_nothing() {
    let upstream = FakeUpstream::start();
    upstream.script([stall()]);
    let settings = in_front_of(upstream.url())
        .set("RESPONSE_HEADER_TIMEOUT_SECONDS", "300ms")
        .set("UPSTREAM_MAX_ATTEMPTS", 3)
        .set("RETRY_BACKOFF_SECONDS", "100ms");
    Probed::as_set(settings.clone()).is_unwell(&[
        "/: no answer PROBLEM no response headers within 300ms, the header deadline",
        // 3 x 300 ms, and pauses of 100 and 200 ms.
        "A client of forebay would get 504 (Codex: 400) after 1.2s: that is what 3 attempts (UPSTREAM_MAX_ATTEMPTS) of 300ms \
         (RESPONSE_HEADER_TIMEOUT_SECONDS) come to.",
    ]);
    assert_eq!(upstream.seen().len(), 1, "who stalls is not asked again");
    upstream.script([answer(200).into(), stall()]);
    let settings = settings.set("CODEX_FINAL_STATUS", "off").set("UPSTREAM_MAX_ATTEMPTS", 1);
    Probed::as_set(settings).is_unwell(&[
        "200 OK over HTTP/1.1, headers in ",
        "/: the next request got no answer",
        "would get 504 after 300ms: that is what its one attempt",
    ]);
}

#[test]
fn an_upstream_that_closes_or_speaks_no_http() {
    let upstream = FakeUpstream::start();
    upstream.script([close()]);
    Probed::with(in_front_of(upstream.url()))
        .is_unwell(&["PROBLEM it closed the connection without an answer (closed"]);
    upstream.script([raw("220 mail.example ESMTP\r\n").then_stall()]);
    Probed::with(in_front_of(upstream.url())).is_unwell(&["PROBLEM what it answered is no HTTP response (malformed"]);
    upstream.on_accept([OnAccept::Close]);
    let encrypted = in_front_of(upstream.url().replace("http:", "https:"));
    Probed::with(encrypted).is_unwell(&["PROBLEM TLS failed: "]);
}

#[test]
fn tls_that_never_ends_is_no_matter_of_tcp() {
    let upstream = FakeUpstream::start();
    upstream.on_accept([OnAccept::NeverRead]);
    let settings = in_front_of(upstream.url().replace("http:", "https:")).set("CONNECT_TIMEOUT_SECONDS", "500ms");
    Probed::as_set(settings).is_unwell(&[" tcp ", "PROBLEM TCP stands, and TLS did not come to its end within 500ms"]);
}

#[test]
fn proxies_that_refuse_are_not_there_or_say_nothing() {
    let refusing = OutboundProxy::connect(Manner::ServeOnly("a".into(), "b".into()), None);
    let through = |proxy: &str| in_front_of("http://upstream.invalid").set("OUTBOUND_PROXY", proxy);
    Probed::with(through(&format!("http://user:NEVERSHOWN@{}", refusing.authority()))).is_unwell(&[
        "PROBLEM the outbound proxy does not help: it wants a user and a password, or others (407)",
        "look at OUTBOUND_PROXY: its host and port",
    ]);
    let gone = FakeUpstream::refusing();
    Probed::with(through(&format!("socks5h://{}", gone.authority())))
        .is_unwell(&["PROBLEM the outbound proxy does not help: Connection refused"]);
    Probed::with(through("http://no.such.proxy.invalid:3128"))
        .is_unwell(&["PROBLEM no.such.proxy.invalid does not resolve", "correct the host in OUTBOUND_PROXY"]);
    let silent = OutboundProxy::socks5(Manner::Silent, None);
    let settings = through(&format!("socks5h://{}", silent.authority())).set("CONNECT_TIMEOUT_SECONDS", "500ms");
    Probed::as_set(settings).is_unwell(&["PROBLEM the outbound proxy did not connect within 500ms"]);
}
