//! A web page must not spend the proxy's key.
//!
//! A proxy on loopback that adds a key to every request can be reached by any page in the user's browser: through a
//! cross-site request, or through DNS rebinding. Neither can forge `Host` or `Origin`, so both are checked.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, header};

/// `ALLOWED_HOSTS` and `ALLOWED_ORIGINS`. In force with an `UPSTREAM_API_KEY` on a loopback listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebPageRule {
    /// Host names (with or without a port) that are served beside the loopback names. Lower case.
    pub hosts: Vec<String>,
    /// Origins (`https://app.example`) whose pages may use the key. Lower case.
    pub origins: Vec<String>,
}

impl WebPageRule {
    /// Whether a request may use the key.
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
        self.allows_host(host) && self.allows_origin(headers)
    }

    fn allows_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        is_loopback_name(name) || self.hosts.iter().any(|listed| *listed == host || listed == name)
    }

    fn allows_origin(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter().peekable();
        if origins.peek().is_none() {
            // A page cannot suppress Sec-Fetch-Site. Some cross-site requests (images, scripts) carry no Origin.
            let cross_site = |v: &HeaderValue| v.as_bytes().eq_ignore_ascii_case(b"cross-site");
            return !headers.get_all("sec-fetch-site").iter().any(cross_site);
        }
        origins.all(|v| v.to_str().is_ok_and(|v| self.origins.iter().any(|o| o.eq_ignore_ascii_case(v))))
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    }
}

/// `localhost`, a name below it (RFC 6761 §6.3), or a loopback address.
pub fn is_loopback_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let address = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> WebPageRule {
        WebPageRule {
            hosts: vec!["gate.example".into(), "other.example:81".into()],
            origins: vec!["https://app.example".into()],
        }
    }

    fn request(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(k, v)| (http::HeaderName::from_static(k), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn loopback_and_listed_hosts_may_use_the_key_and_no_other() {
        for host in [
            "localhost",
            "LOCALHOST:8788",
            "127.0.0.1:8788",
            "127.9.9.9",
            "[::1]:8788",
            "a.localhost",
            "gate.example:1",
            "GATE.example",
            "other.example:81",
        ] {
            assert!(rule().allows(&request(&[("host", host)])), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "other.example",
            "other.example:82",
            "[::2]",
            "0.0.0.0",
        ] {
            assert!(!rule().allows(&request(&[("host", host)])), "{host}");
        }
        assert!(!rule().allows(&HeaderMap::new()));
    }

    #[test]
    fn a_page_needs_its_origin_listed() {
        let with =
            |fields: &[(&'static str, &str)]| rule().allows(&request(&[&[("host", "localhost")], fields].concat()));
        assert!(with(&[("origin", "https://app.example")]));
        assert!(with(&[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")]));
        assert!(with(&[("sec-fetch-site", "same-origin")]));
        for fields in [
            [("origin", "https://evil.example")],
            [("origin", "null")],
            [("origin", "http://localhost:8788")],
            [("sec-fetch-site", "Cross-Site")],
        ] {
            assert!(!with(&fields), "{fields:?}");
        }
    }
}
