//! Outbound proxies (3.2): SOCKS5 and CONNECT, named by a variable of ours or by those that everybody reads.

use crate::client::{get, post};
use crate::expect::{assert_error, assert_relayed, attempts};
use crate::forebay::{EX_CONFIG, ScratchFile, Settings};
use crate::outbound::{Asked, Manner, OutboundProxy};
use crate::upstream::{Authority, FakeUpstream, H2Upstream, echo, raw};

fn port(authority: &str) -> u16 {
    authority.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Through this proxy.
fn through(upstream: &FakeUpstream, proxy: &str) -> Settings {
    Settings::in_front_of(upstream).set("OUTBOUND_PROXY", proxy).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20)
}

/// In front of a name that only a proxy knows: it leads to this upstream.
fn in_front_of_a_name() -> Settings {
    let settings = Settings::new().set("UPSTREAM_BASE_URL", "http://upstream.test:81").set("UPSTREAM_MAX_ATTEMPTS", 1);
    settings.set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20).set("CONNECT_TIMEOUT_SECONDS", 10)
}

#[test]
fn requests_go_through_a_proxy_of_every_kind() {
    let upstream = FakeUpstream::start();
    upstream.script([echo()]);
    let up = port(&upstream.authority());
    for (scheme, proxy) in [
        ("socks5", OutboundProxy::socks5(Manner::Serve, None)),
        ("socks5h", OutboundProxy::socks5(Manner::Serve, None)),
        ("http", OutboundProxy::connect(Manner::Serve, None)),
    ] {
        upstream.forget();
        let forebay = through(&upstream, &format!("{scheme}://{}", proxy.authority())).start();
        let body = "0123456789".repeat(50_000);
        for _ in 0..5 {
            assert_relayed(&forebay.ask(&post("/x?y", &body)), 200, &body);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let asked = proxy.asked();
        assert_eq!(
            asked[0],
            Asked { target: "127.0.0.1".into(), by_name: false, port: up, credentials: None },
            "{scheme}"
        );
        assert!(asked.len() < 5, "connections through {scheme} are kept");
        let seen = upstream.seen();
        assert!(
            seen.iter().all(|s| s.all("host") == [upstream.authority().as_bytes()] && s.path() == "/x?y"),
            "{seen:#?}"
        );
        upstream.assert_unambiguous();
    }
}

#[test]
fn who_resolves_the_name_is_said_by_the_scheme() {
    let upstream = FakeUpstream::start();
    let up = port(&upstream.authority());
    for (scheme, proxy, by_name) in [
        ("socks5", OutboundProxy::socks5(Manner::Serve, Some(up)), false),
        ("socks5h", OutboundProxy::socks5(Manner::Serve, Some(up)), true),
        ("http", OutboundProxy::connect(Manner::Serve, Some(up)), true),
    ] {
        let settings = through(&upstream, &format!("{scheme}://{}", proxy.authority()));
        let forebay = settings.set("UPSTREAM_BASE_URL", format!("http://localhost:{up}")).start();
        assert_relayed(&forebay.get("/"), 200, "ok");
        let asked = proxy.asked();
        assert_eq!((asked[0].by_name, asked[0].port), (by_name, up), "{scheme}: {asked:?}");
        if by_name {
            assert_eq!(asked[0].target, "localhost", "{scheme}");
        }
    }
}

#[test]
fn credentials_are_decoded_and_never_shown() {
    let upstream = FakeUpstream::start();
    let wanted = || Manner::ServeOnly("us@er".into(), "NEVER:SHOWN".into());
    for (scheme, proxy) in [
        ("socks5", OutboundProxy::socks5(wanted(), None)),
        ("socks5h", OutboundProxy::socks5(wanted(), None)),
        ("http", OutboundProxy::connect(wanted(), None)),
    ] {
        let url = format!("{scheme}://us%40er:NEVER%3ASHOWN@{}", proxy.authority());
        let forebay = through(&upstream, &url).start();
        assert_relayed(&forebay.get("/"), 200, "ok");
        assert_eq!(proxy.asked()[0].credentials, Some(("us@er".to_owned(), "NEVER:SHOWN".to_owned())), "{scheme}");
        assert!(!forebay.log().contains("NEVER"), "{}", forebay.log());
        assert!(upstream.seen().iter().all(|s| s.all("proxy-authorization").is_empty()));
        let file = ScratchFile::with(&format!("{url}\n"));
        let settings = Settings::in_front_of(&upstream).set("OUTBOUND_PROXY_FILE", &file);
        let (output, status) = settings.clone().argument("check").run();
        assert_eq!(status, Some(0), "{output}");
        assert!(!output.contains("NEVER"), "{output}");
        assert_relayed(&settings.start().get("/"), 200, "ok");
        assert_eq!(proxy.asked().len(), 2, "{scheme}");
    }
}

#[test]
fn a_proxy_that_does_not_connect_is_a_failed_connect() {
    let upstream = FakeUpstream::start();
    let strangers = || Manner::ServeOnly("a".into(), "b".into());
    let failed = (502, "upstream_request_error");
    let timed_out = (504, "upstream_timeout");
    for (what, scheme, proxy, (status, code)) in [
        ("a refusal", "socks5", OutboundProxy::socks5(Manner::Refuse(5), None), failed),
        ("a refusal", "http", OutboundProxy::connect(Manner::Refuse(403), None), failed),
        ("credentials are missing", "socks5", OutboundProxy::socks5(strangers(), None), failed),
        ("credentials are missing", "http", OutboundProxy::connect(strangers(), None), failed),
        ("silence", "socks5", OutboundProxy::socks5(Manner::Silent, None), timed_out),
        ("silence", "http", OutboundProxy::connect(Manner::Silent, None), timed_out),
    ] {
        let settings = through(&upstream, &format!("{scheme}://{}", proxy.authority())).set("RETRY", "safe");
        let settings = settings.set("CONNECT_TIMEOUT_SECONDS", "0.5").set("UPSTREAM_MAX_ATTEMPTS", 2);
        let response = settings.start().ask(&post("/", "x"));
        println!("{scheme}, {what}: {response:?}");
        assert_error(&response, status, code);
        assert_eq!(attempts(&response), Some(2), "{what}: a failed connect is repeated whatever RETRY says");
        assert!(
            !response.text().contains(&port(&proxy.authority()).to_string()),
            "its address is nobody's: {response:?}"
        );
    }
    assert_eq!(upstream.accepted(), 0, "it is never gone round");
}

#[test]
fn nobody_at_the_proxys_address_is_no_reason_to_go_round_it() {
    let upstream = FakeUpstream::start();
    let nobody = FakeUpstream::refusing();
    for scheme in ["socks5", "socks5h", "http"] {
        let forebay = through(&upstream, &format!("{scheme}://{}", nobody.authority())).start();
        assert_error(&forebay.get("/"), 502, "upstream_request_error");
    }
    assert_eq!(upstream.accepted(), 0);
}

#[test]
fn what_a_proxy_says_before_it_connects_is_not_the_upstreams() {
    // It answers CONNECT with a 200 that has a body, and so on: nothing of it may reach a client.
    for said in [
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\nSet-Cookie: evil=1\r\n\r\nEVIL",
        "HTTP/1.1 301 Moved\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
        "no HTTP at all\r\n\r\n",
        "HTTP/1.1 20",
    ] {
        let liar = FakeUpstream::start();
        // What it reads is a CONNECT, which is no request that an upstream may see.
        liar.script([raw(said).then_close()]);
        let upstream = FakeUpstream::start();
        let forebay =
            through(&upstream, &format!("http://{}", liar.authority())).set("UPSTREAM_MAX_ATTEMPTS", 1).start();
        let response = forebay.get("/");
        assert_error(&response, 502, "upstream_request_error");
        assert!(!format!("{response:?}").contains("EVIL") && response.get("set-cookie").is_none(), "{response:?}");
        assert_eq!((liar.seen()[0].method.as_str(), upstream.accepted()), ("CONNECT", 0));
    }
}

#[test]
fn tls_runs_inside_the_tunnel() {
    let authority = Authority::new();
    let roots = ScratchFile::with(authority.pem());
    let one = FakeUpstream::start_tls_with(&authority, &["http/1.1"]);
    let two = H2Upstream::start_tls(&authority);
    for (url, up) in [(one.url(), port(&one.authority())), (two.url(), port(&two.authority()))] {
        for (scheme, proxy) in [
            ("socks5h", OutboundProxy::socks5(Manner::Serve, Some(up))),
            ("http", OutboundProxy::connect(Manner::Serve, Some(up))),
        ] {
            let forebay = Settings::new()
                .set("UPSTREAM_BASE_URL", url.replace("127.0.0.1", "localhost"))
                .set("UPSTREAM_CA_FILE", &roots)
                .set("RESPONSE_HEADER_TIMEOUT_SECONDS", 20)
                .set("OUTBOUND_PROXY", format!("{scheme}://{}", proxy.authority()))
                .start();
            assert_relayed(&forebay.get("/"), 200, "ok");
            assert_eq!(proxy.asked().len(), 1, "{scheme}");
        }
    }
    assert_eq!((one.seen().len(), two.seen().len()), (2, 2));
}

#[test]
fn the_environment_names_proxies_for_what_is_not_local() {
    let upstream = FakeUpstream::start();
    let up = Some(port(&upstream.authority()));
    for (variable, scheme) in [
        ("HTTP_PROXY", "http"),
        ("http_proxy", "http"),
        ("ALL_PROXY", "socks5h"),
        ("all_proxy", "http"),
        ("HTTP_PROXY", "socks5h"),
    ] {
        let proxy = if scheme == "http" {
            OutboundProxy::connect(Manner::Serve, up)
        } else {
            OutboundProxy::socks5(Manner::Serve, up)
        };
        let forebay = in_front_of_a_name().set(variable, format!("{scheme}://{}", proxy.authority())).start();
        assert_relayed(&forebay.get("/"), 200, "ok");
        let expected = Asked { target: "upstream.test".into(), by_name: true, port: 81, credentials: None };
        assert_eq!(proxy.asked(), [expected], "{variable}");
        assert_eq!(upstream.seen().pop().unwrap().all("host"), [b"upstream.test:81"]);
        forebay.wait_log("the proxy in the start-up line", |log| log.contains(&proxy.authority()));
    }
}

#[test]
fn the_environment_also_says_what_goes_round_them() {
    let upstream = FakeUpstream::start();
    let up = Some(port(&upstream.authority()));
    let proxy = OutboundProxy::connect(Manner::Serve, up);
    let url = format!("http://{}", proxy.authority());
    for (what, settings) in [
        ("NO_PROXY", in_front_of_a_name().set("HTTP_PROXY", &url).set("NO_PROXY", "upstream.test")),
        ("no_proxy", in_front_of_a_name().set("HTTP_PROXY", &url).set("no_proxy", "other, .test")),
        ("everything", in_front_of_a_name().set("ALL_PROXY", &url).set("NO_PROXY", "*")),
        ("off", in_front_of_a_name().set("ALL_PROXY", &url).set("OUTBOUND_PROXY", "off")),
        // For https alone.
        ("HTTPS_PROXY", in_front_of_a_name().set("HTTPS_PROXY", &url)),
    ] {
        // The name leads nowhere without the proxy.
        let response = settings.start().get("/");
        assert!(matches!(response.status, 502 | 504), "{what}: {response:?}");
        assert_eq!(proxy.asked(), [], "{what}");
    }
    // Loopback upstreams never.
    for url_of_upstream in [upstream.url(), upstream.url().replace("127.0.0.1", "localhost")] {
        let settings = Settings::new().set("UPSTREAM_BASE_URL", url_of_upstream);
        let forebay = settings.set("HTTP_PROXY", &url).set("ALL_PROXY", &url).set("HTTPS_PROXY", &url).start();
        assert_relayed(&forebay.get("/"), 200, "ok");
    }
    assert_eq!(proxy.asked(), []);
    // What is said here counts before what is said there.
    let other = OutboundProxy::connect(Manner::Serve, up);
    let settings = in_front_of_a_name().set("HTTP_PROXY", format!("http://{}", other.authority())).set("NO_PROXY", "*");
    assert_relayed(&settings.set("OUTBOUND_PROXY", &url).start().get("/"), 200, "ok");
    assert_eq!((proxy.asked().len(), other.asked().len()), (1, 0));
}

#[test]
fn a_proxy_is_inherited_only_by_routes_of_the_same_origin() {
    let (main, other) = (FakeUpstream::start(), FakeUpstream::start());
    let proxy = OutboundProxy::connect(Manner::Serve, None);
    let own = OutboundProxy::socks5(Manner::Serve, None);
    let forebay = through(&main, &format!("http://{}", proxy.authority()))
        .set("ROUTE_SAME_PREFIX", "/same")
        .set("ROUTE_SAME_UPSTREAM_BASE_URL", format!("{}/same", main.url()))
        .set("ROUTE_OTHER_PREFIX", "/other")
        .set("ROUTE_OTHER_UPSTREAM_BASE_URL", other.url())
        .set("ROUTE_OWN_PREFIX", "/own")
        .set("ROUTE_OWN_UPSTREAM_BASE_URL", format!("{}/own", other.url()))
        .set("ROUTE_OWN_OUTBOUND_PROXY", format!("socks5://{}", own.authority()))
        .start();
    assert_relayed(&forebay.get("/other/x"), 200, "ok");
    assert_eq!((proxy.asked().len(), own.asked().len()), (0, 0));
    assert_relayed(&forebay.get("/same/x"), 200, "ok");
    assert_eq!((proxy.asked().len(), own.asked().len()), (1, 0));
    assert_relayed(&forebay.get("/own/x"), 200, "ok");
    assert_eq!((proxy.asked().len(), own.asked().len()), (1, 1));
}

#[test]
fn a_tunnel_goes_through_the_proxy_too() {
    let upstream = FakeUpstream::start();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    upstream.script([raw(switch).then_echo_bytes()]);
    let proxy = OutboundProxy::socks5(Manner::Serve, None);
    let forebay = through(&upstream, &format!("socks5://{}", proxy.authority())).start();
    let mut client = forebay.connect();
    let asked = get("/").field("Connection", "Upgrade").field("Upgrade", "websocket");
    assert_eq!(client.upgrade(&asked).status, 101);
    client.send("hello");
    assert_eq!(client.take(5), b"hello");
    assert_eq!(proxy.asked().len(), 1);
}

#[test]
fn what_is_no_proxy_is_a_problem() {
    for value in [
        "NEVERSHOWN",
        "ftp://NEVERSHOWN",
        "socks4://NEVERSHOWN:1",
        "http://",
        "http://a:b:NEVERSHOWN",
        "socks5://a/NEVERSHOWN",
    ] {
        let settings = Settings::new().set("UPSTREAM_BASE_URL", "http://127.0.0.1:9").set("OUTBOUND_PROXY", value);
        let (log, status) = settings.run();
        assert_eq!(status, Some(EX_CONFIG), "{value}:\n{log}");
        assert!(log.contains("OUTBOUND_PROXY") && !log.contains("NEVERSHOWN"), "{value}:\n{log}");
    }
}
