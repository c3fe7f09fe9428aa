//! `OUTBOUND_PROXY`: a proxy on the way to an upstream.

use std::fmt;

use http::Uri;
use http::uri::Authority;

use crate::secret::Secret;

/// A proxy through which connections to an upstream are made.
#[derive(Clone, PartialEq, Eq)]
pub struct OutboundProxy {
    kind: ProxyKind,
    authority: Authority,
    credentials: Option<Secret<Credentials>>,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// `http://`: a tunnel by CONNECT (RFC 9110 §9.3.6), for http upstreams too.
    Connect,
    /// `socks5://` (RFC 1928): names are resolved here.
    Socks5,
    /// `socks5h://`: names are resolved by the proxy.
    Socks5h,
}

/// User and password, percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The part before the colon.
    pub user: String,
    /// The part behind it.
    pub password: String,
}

impl OutboundProxy {
    /// Parses `socks5://`, `socks5h://` or `http://`, with optional `user:pass@` (percent-encoded), host and port. Without
    /// a port, 1080 for SOCKS and 80 for http. The error is the end of a sentence and contains nothing of the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("must start with socks5://, socks5h:// or http://")?;
        let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::Connect, 80),
            "socks5" => (ProxyKind::Socks5, 1080),
            "socks5h" => (ProxyKind::Socks5h, 1080),
            _ => return Err("must start with socks5://, socks5h:// or http://"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, address) = match rest.rsplit_once('@') {
            Some((user_info, address)) => (Some(credentials(user_info)?), address),
            None => (None, rest),
        };
        let malformed = "is not a proxy's URL: scheme, optional user:password@, host and port, nothing else";
        let authority: Authority = address.parse().map_err(|_| malformed)?;
        let has_port = authority.port_u16().is_some();
        if authority.host().is_empty() || (!has_port && authority.host().len() != address.len()) {
            return Err(malformed);
        }
        let authority =
            if has_port { authority } else { format!("{address}:{default_port}").parse().map_err(|_| malformed)? };
        Ok(Self { kind, authority, credentials })
    }

    /// How it is spoken to.
    pub fn kind(&self) -> ProxyKind {
        self.kind
    }

    /// Where it is, as a URL for a connector; without credentials.
    pub fn uri(&self) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        // Scheme, authority and path are all present, so this cannot fail.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Who we are to it.
    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref().map(Secret::expose)
    }
}

fn credentials(user_info: &str) -> Result<Secret<Credentials>, &'static str> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    let decode = |text: &str| percent_decoded(text).ok_or("has a user or password with a malformed percent-encoding");
    Ok(Secret::new(Credentials { user: decode(user)?, password: decode(password)? }))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Without credentials.
impl fmt::Display for OutboundProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Connect => "http",
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Socks5h => "socks5h",
        };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl fmt::Debug for OutboundProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
