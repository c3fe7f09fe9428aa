//! Hosts, origins and paths.

use std::net::{IpAddr, Ipv6Addr};

use http::uri::Authority;
use ipnet::{IpNet, Ipv4Net};

use super::{Parsed, list};

/// An address or a host name to listen on, without a port; brackets around an IPv6 address are dropped.
pub(in crate::config) fn bind_host(text: &str) -> Parsed<String> {
    if text == "*" {
        return Err("must be an address: 0.0.0.0 (or ::) is all of them".into());
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<IpAddr>().is_ok() || (bare.len() == text.len() && is_name(text)) {
        return Ok(bare.to_ascii_lowercase());
    }
    Err("must be an address or a host name, without scheme and port".into())
}

/// Letters, digits, `-`, `_`, in labels. What looks like an address but is none (`300.1.1.1`) is no name either.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |l: &str| {
        !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= 253
        && text.split('.').all(label)
        && !text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

/// Entries that a `Host` is compared with: names or addresses, with or without a port, in lower case.
pub(in crate::config) fn hosts(text: &str) -> Parsed<Vec<String>> {
    list(text).into_iter().map(host).collect()
}

fn host(entry: &str) -> Parsed<String> {
    let entry = entry.to_ascii_lowercase();
    // `Host` has brackets around an IPv6 address, so the entry needs them too.
    if let Ok(address) = entry.parse::<Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    if is_authority(&entry) {
        return Ok(entry);
    }
    Err(if entry.contains('*') {
        "must be a list of host names; there are no wildcards".into()
    } else {
        "must be a list of host names, with or without a port, without scheme and path".into()
    })
}

/// `host` or `host:port`.
fn is_authority(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else { return false };
    let host = authority.host();
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_is_fine =
        bracketed.map_or_else(|| is_name(host) || host.parse::<IpAddr>().is_ok(), |h| h.parse::<Ipv6Addr>().is_ok());
    host_is_fine && (authority.port_u16().is_some() || host.len() == text.len())
}

/// Entries that an `Origin` is compared with: `scheme://host`, with a port unless it is the scheme's own, in lower case.
pub(in crate::config) fn origins(text: &str) -> Parsed<Vec<String>> {
    list(text).into_iter().map(origin).collect()
}

fn origin(entry: &str) -> Parsed<String> {
    let entry = entry.to_ascii_lowercase();
    match entry.as_str() {
        "*" => return Err("must list the origins one by one: * would let every web page use the key".into()),
        "null" => return Err("must not contain null: every sandboxed page has that origin".into()),
        _ => {}
    }
    let malformed = "must be a list of origins: scheme, host and port, without a path";
    let (scheme, authority) = entry.split_once("://").ok_or(malformed)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let scheme_is_fine = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !scheme_is_fine || !is_authority(authority) {
        return Err(malformed.into());
    }
    // Browsers leave the scheme's own port out.
    let authority = match scheme {
        "https" => authority.strip_suffix(":443").unwrap_or(authority),
        "http" => authority.strip_suffix(":80").unwrap_or(authority),
        _ => authority,
    };
    Ok(format!("{scheme}://{authority}"))
}

/// Addresses, and networks in CIDR form.
pub(in crate::config) fn networks(text: &str) -> Parsed<Vec<IpNet>> {
    list(text).into_iter().map(network).collect()
}

fn network(entry: &str) -> Parsed<IpNet> {
    let network = match entry.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => entry.parse().map_err(|_| "must be a list of addresses and networks such as 10.0.0.0/8")?,
    };
    // IPv4 in IPv6's clothes is what it is: peers are compared so.
    if let IpNet::V6(v6) = network
        && let (Some(v4), 96..) = (v6.addr().to_ipv4_mapped(), v6.prefix_len())
    {
        let narrowed =
            Ipv4Net::new(v4, v6.prefix_len() - 96).map_err(|_| "must be a list of addresses and networks")?;
        return Ok(IpNet::V4(narrowed.trunc()));
    }
    Ok(network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_has_an_address_or_a_name() {
        for (text, host) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("LocalHost", "localhost"),
            ("a-b.c_d", "a-b.c_d"),
        ] {
            assert_eq!(bind_host(text), Ok(host.into()), "{text}");
        }
        for text in [
            "",
            "*",
            "http://x",
            "127.0.0.1:80",
            "[::1]:80",
            "[localhost]",
            "300.1.1.1",
            "a b",
            "a/b",
            "a..b",
            "unix:/x",
            "é",
        ] {
            assert!(bind_host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_are_compared_in_lower_case_with_or_without_a_port() {
        assert_eq!(
            hosts("Gate.Example, other:81,::1,[::2]:80,10.0.0.1"),
            Ok(vec!["gate.example".into(), "other:81".into(), "[::1]".into(), "[::2]:80".into(), "10.0.0.1".into()])
        );
        for text in ["*", "*.example", "http://x", "x/", "u@x", "x:", "x:99999", "x y", "x,?"] {
            assert!(hosts(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_are_what_browsers_send() {
        assert_eq!(
            origins("https://App.example:443/,http://x:8080,chrome-extension://abc,http://[::1]:80"),
            Ok(vec![
                "https://app.example".into(),
                "http://x:8080".into(),
                "chrome-extension://abc".into(),
                "http://[::1]".into()
            ])
        );
        for text in [
            "*",
            "null",
            "app.example",
            "https://",
            "https://a/b",
            "https://u@a",
            "https://a:99999",
            "://a",
            "https://*",
        ] {
            assert!(origins(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_is_an_address_or_has_a_length_and_its_host_bits_do_not_count() {
        let shown = |text: &str| networks(text).map(|nets| nets.iter().map(ToString::to_string).collect::<Vec<_>>());
        for (text, network) in [
            ("10.1.2.3", "10.1.2.3/32"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("::1", "::1/128"),
            ("fd00::1/8", "fd00::/8"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(shown(text), Ok(vec![network.to_owned()]), "{text}");
        }
        assert_eq!(shown("10.0.0.1, ::1,").map(|all| all.len()), Ok(2));
        for text in ["x", "10.0.0.1/33", "10.0.0", "10.0.0.1:80", "[::1]", "10.0.0.0/", "*", "10.0.0.1 10.0.0.2"] {
            assert!(networks(text).is_err(), "{text}");
        }
    }
}
