//! Ways to an upstream over real sockets: through SOCKS5 and CONNECT proxies, and what TLS agrees on. In real time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, Uri};
use http_body_util::BodyExt;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;

use super::{
    BaseUrl, ConnectStage, Failure, Http2, Outbound, OutboundProxy, Pool, Resolver, Timeouts, TransportSettings,
    attempt,
};
use crate::body::Payload;
use crate::shutdown::Tasks;

const TIMEOUTS: Timeouts =
    Timeouts { pool: Duration::from_secs(60), connect: Duration::from_secs(60), write: Duration::from_secs(60) };

fn pool(base: &str, settings: TransportSettings) -> Arc<Pool> {
    let resolver = Resolver::new(Duration::from_secs(30));
    Pool::new(BaseUrl::parse(base).unwrap().origin(), settings, resolver, Tasks::default()).unwrap()
}

fn settings(proxy: Option<&str>, http2: Http2) -> TransportSettings {
    let proxy = proxy.map(|url| OutboundProxy::parse(url).unwrap());
    TransportSettings { http2, proxy, ..TransportSettings::for_tests(10) }
}

async fn get(pool: &Arc<Pool>, timeouts: Timeouts) -> Result<Bytes, Failure> {
    let headers = HeaderMap::from_iter([(http::header::HOST, HeaderValue::from_static("u"))]);
    let (target, body, quotes) = (Uri::from_static("/x"), Payload::default(), Vec::new());
    let outbound = Outbound { method: Method::GET, target, quotes, headers, body, is_upgrade: false };
    let head = attempt(pool, &outbound, false, timeouts, Arc::default()).await?;
    Ok(head.body.collect().await.unwrap().to_bytes())
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn read_until<S: AsyncRead + Unpin>(stream: &mut S, end: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    while !seen.ends_with(end) {
        seen.push(stream.read_u8().await.unwrap());
    }
    seen
}

async fn serve_http1<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    read_until(&mut stream, b"\r\n\r\n").await;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh1").await.unwrap();
    let _ = stream.read_u8().await;
}

async fn serve_http2<S: AsyncRead + AsyncWrite + Unpin>(stream: S) {
    let mut server = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((_, mut respond))) = server.accept().await {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"h2"), true).unwrap();
    }
}

/// An upstream in clear.
async fn upstream(http2: bool) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if http2 {
                tokio::spawn(serve_http2(stream))
            } else {
                tokio::spawn(serve_http1(stream))
            };
        }
    });
    address
}

#[derive(Clone, Copy)]
enum Kind {
    Socks {
        wants_password: bool,
    },
    /// What it answers to CONNECT. Nothing: it hangs.
    Connect(&'static [u8]),
}

/// A proxy that connects to `upstream` whatever it is asked for, and tells what that was.
async fn proxy(upstream: SocketAddr, kind: Kind) -> (SocketAddr, UnboundedReceiver<String>) {
    let (listener, address) = listen().await;
    let (asked, receiver) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(upstream).await.unwrap();
                let destination = match kind {
                    Kind::Socks { wants_password } => accept_socks(&mut client, wants_password).await,
                    Kind::Connect(answer) => accept_connect(&mut client, &mut server, answer).await,
                };
                asked.send(destination).unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, receiver)
}

async fn accept_socks(client: &mut TcpStream, wants_password: bool) -> String {
    assert_eq!(client.read_u8().await.unwrap(), 5);
    let mut methods = vec![0; client.read_u8().await.unwrap().into()];
    client.read_exact(&mut methods).await.unwrap();
    let mut who = String::new();
    if wants_password && !methods.contains(&2) {
        client.write_all(&[5, 0xff]).await.unwrap();
        return "nobody".to_owned();
    } else if wants_password {
        client.write_all(&[5, 2]).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), 1);
        who = format!("{}/{}@", read_text(client).await, read_text(client).await);
        client.write_all(&[1, u8::from(who != "me/p@ss@")]).await.unwrap();
    } else {
        client.write_all(&[5, 0]).await.unwrap();
    }
    let mut request = [0; 4];
    if client.read_exact(&mut request).await.is_err() {
        return who;
    }
    let host = match request {
        [5, 1, 0, 1] => std::net::Ipv4Addr::from(client.read_u32().await.unwrap()).to_string(),
        [5, 1, 0, 3] => read_text(client).await,
        other => panic!("{other:?}"),
    };
    let port = client.read_u16().await.unwrap();
    // A name as the address that it connects from, for a change, and in two pieces.
    client.write_all(&[5, 0, 0, 3, 2]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    client.write_all(b"me\0\x50").await.unwrap();
    format!("{who}{host}:{port}")
}

async fn read_text(client: &mut TcpStream) -> String {
    let mut text = vec![0; client.read_u8().await.unwrap().into()];
    client.read_exact(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

async fn accept_connect(client: &mut TcpStream, server: &mut TcpStream, answer: &[u8]) -> String {
    let head = read_until(client, b"\r\n\r\n").await;
    if answer.is_empty() {
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    // In two pieces, and with what the upstream says first in the second one, if it does.
    let (begin, end) = answer.split_at(answer.len() - 2);
    client.write_all(begin).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut early = vec![0; 100];
    let length = server.try_read(&mut early).unwrap_or(0);
    client.write_all(&[end, &early[..length]].concat()).await.unwrap();
    String::from_utf8(head).unwrap()
}

const ESTABLISHED: &[u8] = b"HTTP/1.1 201 Fine\r\nX: y\r\n\r\n";

#[tokio::test]
async fn socks5_gets_an_address_and_socks5h_the_name() {
    for (scheme, host, expected) in [
        ("socks5", "localhost", "127.0.0.1"),
        ("socks5h", "no.such.name.test", "no.such.name.test"),
        ("socks5h", "127.0.0.9", "127.0.0.9"),
    ] {
        let (address, mut asked) = proxy(upstream(false).await, Kind::Socks { wants_password: false }).await;
        let pool = pool(&format!("http://{host}:81"), settings(Some(&format!("{scheme}://{address}")), Http2::Off));
        assert_eq!(get(&pool, TIMEOUTS).await.unwrap(), "h1");
        assert_eq!(asked.recv().await.unwrap(), format!("{expected}:81"));
    }
}

#[tokio::test]
async fn user_and_password_reach_the_proxy_decoded() {
    let (address, mut asked) = proxy(upstream(false).await, Kind::Socks { wants_password: true }).await;
    let with_password = settings(Some(&format!("socks5h://me:p%40ss@{address}")), Http2::Off);
    assert_eq!(get(&pool("http://u", with_password), TIMEOUTS).await.unwrap(), "h1");
    assert_eq!(asked.recv().await.unwrap(), "me/p@ss@u:80");

    let (address, mut asked) = proxy(upstream(false).await, Kind::Connect(ESTABLISHED)).await;
    let with_password = settings(Some(&format!("http://me:p%40ss@{address}")), Http2::Off);
    assert_eq!(get(&pool("http://u", with_password), TIMEOUTS).await.unwrap(), "h1");
    let expected = "CONNECT u:80 HTTP/1.1\r\nHost: u:80\r\nProxy-Authorization: Basic bWU6cEBzcw==\r\n\r\n";
    assert_eq!(asked.recv().await.unwrap(), expected);
}

#[tokio::test]
async fn what_an_upstream_says_first_is_not_lost_behind_the_proxys_answer() {
    let (address, _asked) = proxy(upstream(true).await, Kind::Connect(ESTABLISHED)).await;
    let pool = pool("http://u", settings(Some(&format!("http://{address}")), Http2::PriorKnowledge));
    assert_eq!(get(&pool, TIMEOUTS).await.unwrap(), "h2");
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_not_there_is_named_and_nothing_of_it_is_told() {
    let upstream = upstream(false).await;
    let closed = listen().await.1;
    let refuses = proxy(upstream, Kind::Connect(b"HTTP/1.1 407 Who?\r\n\r\n")).await.0;
    let nonsense = proxy(upstream, Kind::Connect(b"SSH-2.0-nonsense\r\n\r\n")).await.0;
    let socks = proxy(upstream, Kind::Socks { wants_password: true }).await.0;
    for url in [
        format!("http://user:secret@{closed}"),
        format!("socks5h://user:secret@{closed}"),
        format!("http://user:secret@{refuses}"),
        format!("http://user:secret@{nonsense}"),
        format!("socks5h://user:secret@{socks}"),
        format!("socks5h://{socks}"),
        "http://user:secret@no.such.name.test:1".to_owned(),
    ] {
        let failure = get(&pool("http://u", settings(Some(&url), Http2::Off)), TIMEOUTS).await.unwrap_err();
        assert!(matches!(failure, Failure::Connect(ConnectStage::Proxy, _)), "{url}: {failure:?}");
        assert!(!failure.may_have_reached() && failure.label() == "proxy");
        let (shown, debug) = (failure.to_string(), format!("{failure:?}"));
        assert!(
            !shown.contains("secret") && !debug.contains("secret") && !shown.contains("127.0.0.1"),
            "{shown} {debug}"
        );
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_not_the_proxys_fault_where_names_are_resolved_here() {
    let (address, _asked) = proxy(upstream(false).await, Kind::Socks { wants_password: false }).await;
    let pool = pool("http://no.such.name.test", settings(Some(&format!("socks5://{address}")), Http2::Off));
    let failure = get(&pool, TIMEOUTS).await.unwrap_err();
    assert!(matches!(failure, Failure::Connect(ConnectStage::Dns, _)), "{failure:?}");
}

#[tokio::test]
async fn the_connect_timeout_covers_the_proxys_answer() {
    let (address, _asked) = proxy(upstream(false).await, Kind::Connect(b"")).await;
    let pool = pool("http://u", settings(Some(&format!("http://{address}")), Http2::Off));
    let timeouts = Timeouts { connect: Duration::from_millis(200), ..TIMEOUTS };
    let failure = get(&pool, timeouts).await.unwrap_err();
    assert!(matches!(failure, Failure::ConnectTimeout(_)), "{failure:?}");
}

/// A TLS upstream for localhost that offers these protocols and speaks what was agreed, and the root that it is trusted by.
async fn tls_upstream(protocols: &[&[u8]]) -> (SocketAddr, CertificateDer<'static>) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                tokio::spawn(serve_http2(stream));
            } else {
                tokio::spawn(serve_http1(stream));
            }
        }
    });
    (address, cert.der().clone())
}

#[tokio::test]
async fn tls_agrees_on_what_both_speak_and_what_was_allowed_directly_and_through_a_proxy() {
    const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];
    for (offered, http2, spoken) in [
        (BOTH, Http2::Auto, "h2"),
        (BOTH, Http2::Off, "h1"),
        (BOTH, Http2::PriorKnowledge, "h2"),
        (&[b"http/1.1"], Http2::Auto, "h1"),
        (&[], Http2::Auto, "h1"),
    ] {
        let (address, root) = tls_upstream(offered).await;
        let (proxy, _asked) = proxy(address, Kind::Connect(ESTABLISHED)).await;
        for proxy in [None, Some(format!("http://{proxy}"))] {
            let mut settings = settings(proxy.as_deref(), http2);
            settings.extra_roots = Arc::new(vec![root.clone()]);
            let pool = pool(&format!("https://localhost:{}", address.port()), settings);
            assert_eq!(get(&pool, TIMEOUTS).await.unwrap(), spoken, "{offered:?} {http2:?} {proxy:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_and_a_handshake_that_is_none_are_failures_of_tls() {
    let (address, _root) = tls_upstream(&[]).await;
    let untrusted = pool(&format!("https://localhost:{}", address.port()), settings(None, Http2::Auto));
    let (listener, address) = listen().await;
    tokio::spawn(async move { drop(listener.accept().await) });
    let closed = pool(&format!("https://{address}"), settings(None, Http2::Auto));
    for (pool, part) in [(untrusted, "UnknownIssuer"), (closed, "eof")] {
        let failure = get(&pool, TIMEOUTS).await.unwrap_err();
        assert!(matches!(failure, Failure::Connect(ConnectStage::Tls, _)), "{failure:?}");
        assert!(failure.to_string().contains(part), "{failure}");
    }
}

/// A listener that never accepts and whose backlog is full: the kernel answers no further connect.
#[cfg(target_os = "linux")]
async fn dead(address: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(address).unwrap();
    let (listener, mut backlog) = (socket.listen(1).unwrap(), Vec::new());
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        backlog.push(stream.unwrap());
    }
    (listener, backlog)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_dead_address_leaves_time_for_the_next_one() {
    let (listener, address) = listen().await;
    let _dead = dead(SocketAddr::from(([127, 0, 0, 2], address.port()))).await;
    tokio::spawn(async move { serve_http1(listener.accept().await.unwrap().0).await });
    let resolver = Resolver::known("two.test", vec![([127, 0, 0, 2], 0).into(), ([127, 0, 0, 1], 0).into()]);
    let base = BaseUrl::parse(&format!("http://two.test:{}", address.port())).unwrap();
    let pool = Pool::new(base.origin(), settings(None, Http2::Off), resolver, Tasks::default()).unwrap();
    let timeouts = Timeouts { connect: Duration::from_secs(4), ..TIMEOUTS };
    assert_eq!(get(&pool, timeouts).await.unwrap(), "h1");
}
