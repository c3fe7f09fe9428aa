//! The proxies of the tests, asked by hand.

use crate::client::{Client, get};
use crate::outbound::{Asked, Manner, OutboundProxy};
use crate::upstream::FakeUpstream;

fn port(authority: &str) -> u16 {
    authority.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn socks5_connects_and_remembers_what_it_was_asked() {
    let upstream = FakeUpstream::start();
    let (up, wanted) = (port(&upstream.authority()), Manner::ServeOnly("us@er".into(), "p:ss".into()));
    let proxy = OutboundProxy::socks5(wanted, Some(up));
    let mut client = Client::connect(port(&proxy.authority()));
    client.send([5, 2, 0, 2]);
    assert_eq!(client.take(2), [5, 2]);
    client.send([&[1, 5], &b"us@er"[..], &[4], b"p:ss"].concat());
    assert_eq!(client.take(2), [1, 0]);
    client.send([&[5, 1, 0, 3, 4], &b"name"[..], &443_u16.to_be_bytes()].concat());
    assert_eq!(client.take(10)[..2], [5, 0]);
    assert_eq!(client.ask(&get("/")).text(), "ok");
    let credentials = Some(("us@er".to_owned(), "p:ss".to_owned()));
    assert_eq!(proxy.asked(), [Asked { target: "name".into(), by_name: true, port: 443, credentials }]);

    let proxy = OutboundProxy::socks5(Manner::Serve, None);
    let mut client = Client::connect(port(&proxy.authority()));
    client.send([5, 1, 0]);
    assert_eq!(client.take(2), [5, 0]);
    client.send([&[5, 1, 0, 1, 127, 0, 0, 1], up.to_be_bytes().as_slice()].concat());
    assert_eq!(client.take(10)[..2], [5, 0]);
    assert_eq!(client.ask(&get("/")).text(), "ok");
    assert_eq!(proxy.asked(), [Asked { target: "127.0.0.1".into(), by_name: false, port: up, credentials: None }]);

    let proxy = OutboundProxy::socks5(Manner::ServeOnly("a".into(), "b".into()), None);
    let mut client = Client::connect(port(&proxy.authority()));
    client.send([5, 1, 0]);
    assert_eq!(client.take(2), [5, 0xff]);
    let proxy = OutboundProxy::socks5(Manner::Refuse(4), None);
    let mut client = Client::connect(port(&proxy.authority()));
    client.send([5, 1, 0]);
    client.take(2);
    client.send([5, 1, 0, 1, 127, 0, 0, 1, 0, 9]);
    assert_eq!(client.take(10)[..2], [5, 4]);
}

#[test]
fn connect_connects_and_remembers_what_it_was_asked() {
    let upstream = FakeUpstream::start();
    let proxy = OutboundProxy::connect(Manner::Serve, Some(port(&upstream.authority())));
    let mut client = Client::connect(port(&proxy.authority()));
    client.send("CONNECT name:81 HTTP/1.1\r\nHost: name:81\r\nProxy-Authorization: Basic dXNAZXI6cDpzcw==\r\n\r\n");
    assert_eq!(client.take(39), b"HTTP/1.1 200 Connection established\r\n\r\n");
    assert_eq!(client.ask(&get("/")).text(), "ok");
    let credentials = Some(("us@er".to_owned(), "p:ss".to_owned()));
    assert_eq!(proxy.asked(), [Asked { target: "name".into(), by_name: true, port: 81, credentials }]);
    for (manner, status) in [(Manner::Refuse(403), 403), (Manner::ServeOnly("a".into(), "b".into()), 407)] {
        let proxy = OutboundProxy::connect(manner, None);
        let mut client = Client::connect(port(&proxy.authority()));
        client.send("CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n");
        assert_eq!(client.read("GET").status, status);
        assert!(!proxy.asked()[0].by_name);
    }
    let proxy = OutboundProxy::connect(Manner::Silent, None);
    let mut client = Client::connect(port(&proxy.authority()));
    client.send("CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n");
    assert!(!client.is_closed_within(std::time::Duration::from_millis(50)));
}
