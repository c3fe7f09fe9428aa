//! `X-Forwarded-*`: who the client says it is, and who says so. (p)

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const PREFIX: &str = "x-forwarded-";

/// `FORWARDED_HEADERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// They pass as the client sent them.
    Keep,
    /// They are set from the connection. What a trusted peer sent is believed and appended to, what others sent is
    /// replaced.
    Add,
    /// They are removed.
    Strip,
}

/// `TRUSTED_PROXIES`: peers whose `X-Forwarded-*` is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(pub Vec<IpNet>);

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// The connection is encrypted.
    pub is_tls: bool,
}

impl TrustedProxies {
    /// Whether a peer is believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|net| net.contains(&peer))
    }

    /// The client behind trusted proxies: from the right, the first address that is not a trusted proxy's own. The peer
    /// itself where it is not trusted, or says nothing that is an address.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if self.0.is_empty() {
            return client;
        }
        let lines: Vec<&str> = headers.get_all(FOR).iter().filter_map(|line| line.to_str().ok()).collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            if !self.trusts(client) {
                break;
            }
            match hop.trim().parse::<IpAddr>() {
                Ok(address) => client = address.to_canonical(),
                Err(_) => break,
            }
        }
        client
    }
}

impl Forwarded {
    /// Does to a request's fields what was configured.
    pub fn apply(self, headers: &mut HeaderMap, arrival: Arrival, trusted: &TrustedProxies) {
        match self {
            Self::Keep => {}
            Self::Strip => strip(headers),
            Self::Add => add(headers, arrival, trusted),
        }
    }
}

/// Whether a field says where a request came from.
pub fn says_whence(name: &HeaderName) -> bool {
    name.as_str().starts_with(PREFIX) || *name == REAL_IP || *name == header::FORWARDED
}

fn strip(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| says_whence(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn add(headers: &mut HeaderMap, arrival: Arrival, trusted: &TrustedProxies) {
    let is_trusted = trusted.trusts(arrival.peer);
    if !is_trusted {
        strip(headers);
    }
    let peer = arrival.peer.to_canonical().to_string();
    let lines: Vec<&[u8]> = headers.get_all(FOR).iter().map(HeaderValue::as_bytes).collect();
    let chain = if lines.is_empty() {
        peer.clone().into_bytes()
    } else {
        [&lines.join(&b", "[..]), peer.as_bytes()].join(&b", "[..])
    };
    // Values of fields and an address, joined by a comma: always a value.
    if let Ok(chain) = HeaderValue::from_bytes(&chain) {
        headers.insert(FOR, chain);
    }
    if let Ok(peer) = HeaderValue::try_from(peer)
        && !headers.contains_key(REAL_IP)
    {
        headers.insert(REAL_IP, peer);
    }
    if !headers.contains_key(PROTO) {
        headers.insert(PROTO, HeaderValue::from_static(if arrival.is_tls { "https" } else { "http" }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(rule: Forwarded, peer: &str, fields: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let trusted = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        rule.apply(&mut headers, Arrival { peer: peer.parse().unwrap(), is_tls: false }, &trusted);
        let mut left: Vec<_> = headers.iter().map(|(k, v)| (k.to_string(), v.to_str().unwrap().to_owned())).collect();
        left.sort();
        left
    }

    fn set(address: &str, real: &str, proto: &str) -> Vec<(String, String)> {
        let fields = [("x-forwarded-for", address), ("x-forwarded-proto", proto), ("x-real-ip", real)];
        fields.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec()
    }

    #[test]
    fn what_strangers_say_is_replaced_and_what_trusted_peers_say_is_appended_to() {
        let said = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https"), ("x-real-ip", "1.1.1.1")];
        assert_eq!(applied(Forwarded::Add, "9.9.9.9", &said), set("9.9.9.9", "9.9.9.9", "http"));
        assert_eq!(applied(Forwarded::Add, "::ffff:9.9.9.9", &[]), set("9.9.9.9", "9.9.9.9", "http"));
        assert_eq!(applied(Forwarded::Add, "10.1.2.3", &said), set("1.1.1.1, 10.1.2.3", "1.1.1.1", "https"));
        assert_eq!(applied(Forwarded::Add, "::1", &[]), set("::1", "::1", "http"));
        let two = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2, 3.3.3.3")];
        assert_eq!(applied(Forwarded::Add, "10.0.0.1", &two)[0].1, "1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.1");
        assert_eq!(
            applied(Forwarded::Add, "9.9.9.9", &[("x-forwarded-host", "evil"), ("forwarded", "for=x")]).len(),
            3
        );
    }

    #[test]
    fn kept_means_untouched_and_stripped_means_gone() {
        let said = [
            ("forwarded", "for=x"),
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-host", "h"),
            ("x-real-ip", "1.1.1.1"),
        ];
        assert_eq!(applied(Forwarded::Keep, "9.9.9.9", &said).len(), 4);
        assert_eq!(applied(Forwarded::Strip, "10.0.0.1", &said), []);
    }

    #[test]
    fn the_client_is_the_first_address_from_the_right_that_is_no_trusted_proxy() {
        let trusted = TrustedProxies(vec!["10.0.0.0/8".parse().unwrap()]);
        for (peer, said, client) in [
            ("9.9.9.9", "1.1.1.1", "9.9.9.9"),
            ("10.0.0.1", "1.1.1.1", "1.1.1.1"),
            ("10.0.0.1", "6.6.6.6, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "junk", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ] {
            let headers = HeaderMap::from_iter([(FOR, HeaderValue::from_static(said))]);
            assert_eq!(trusted.client(peer.parse().unwrap(), &headers).to_string(), client, "{peer} {said}");
        }
    }
}
