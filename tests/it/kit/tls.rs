//! Clients and upstreams over TLS.

use crate::client::{Client, get};
use crate::upstream::{Authority, FakeUpstream};

#[test]
fn certificates_are_issued_and_checked() {
    let authority = Authority::new();
    let upstream = FakeUpstream::start_tls_with(&authority, &["http/1.1"]);
    let port = upstream.authority().rsplit_once(':').unwrap().1.parse().unwrap();
    let mut client = Client::connect_tls(port, authority.client_config(&["h2", "http/1.1"])).unwrap();
    assert_eq!(client.ask(&get("/")).text(), "ok");
    let tls = client.tls().unwrap();
    assert_eq!(tls.alpn_protocol(), Some(b"http/1.1".as_slice()));
    assert_eq!(tls.peer_certificates().unwrap().len(), 1);
    assert!(Client::connect_tls(port, Authority::new().client_config(&[])).is_err(), "another authority");
    let (one, other) = (authority.issue(), authority.issue());
    assert_ne!(one.der, other.der);
    assert!(one.pem.starts_with("-----BEGIN CERTIFICATE-----") && one.key_pem.contains("PRIVATE KEY"));
}
