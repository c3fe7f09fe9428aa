//! Where an upstream is: an origin and a base path.

use std::fmt;

use http::Uri;
use http::header::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme};

/// Scheme, host and port. Connections are pooled by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    authority: Authority,
}

impl Origin {
    /// Whether connections to it are encrypted.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The host, without brackets around an IPv6 address.
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// What the connector is called with: scheme and authority, and no path of anybody's.
    pub fn uri(&self) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::from_static("/"));
        // Scheme, authority and path are all present, so this cannot fail; an empty Uri would fail to connect.
        Uri::from_parts(parts).unwrap_or_default()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// `UPSTREAM_BASE_URL`: an origin and a path that is put in front of every client's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    origin: Origin,
    /// Without a trailing slash; empty when there is none.
    path: String,
    host: HeaderValue,
}

/// Why a text is no base URL. Displayed as the end of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseUrlError {
    /// It does not parse as a URL, or has no host.
    Malformed,
    /// Neither `http://` nor `https://`.
    Scheme,
    /// `user:password@`.
    UserInfo,
    /// `?…`
    Query,
    /// `#…`
    Fragment,
    /// A dot segment in the base path.
    DotSegment,
}

impl fmt::Display for BaseUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "is not a URL with a host",
            Self::Scheme => "must start with http:// or https://",
            Self::UserInfo => "must not contain a user or password (use UPSTREAM_API_KEY)",
            Self::Query => "must not contain a query",
            Self::Fragment => "must not contain a fragment",
            Self::DotSegment => "must not contain a dot segment in its path",
        })
    }
}

impl BaseUrl {
    /// Parses a base URL. Trailing slashes are dropped; a port that is the scheme's default is dropped from `Host`.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        if text.contains('#') {
            return Err(BaseUrlError::Fragment);
        }
        let scheme = match text.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => Scheme::HTTP,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => Scheme::HTTPS,
            _ => return Err(BaseUrlError::Scheme),
        };
        let uri: Uri = text.parse().map_err(|_| BaseUrlError::Malformed)?;
        if uri.query().is_some() {
            return Err(BaseUrlError::Query);
        }
        let authority = uri.authority().filter(|a| !a.host().is_empty()).ok_or(BaseUrlError::Malformed)?;
        if authority.as_str().contains('@') {
            return Err(BaseUrlError::UserInfo);
        }
        // "host:" and "host:99999" parse as authorities, but have no port that could be connected to.
        if authority.port_u16().is_none() && authority.as_str().len() != authority.host().len() {
            return Err(BaseUrlError::Malformed);
        }
        let path = uri.path().trim_end_matches('/');
        if has_dot_segment(path) {
            return Err(BaseUrlError::DotSegment);
        }
        let default_port = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let host = match authority.port_u16() {
            Some(port) if port != default_port => format!("{}:{port}", authority.host()),
            _ => authority.host().to_owned(),
        }
        .to_ascii_lowercase();
        let authority = host.parse().map_err(|_| BaseUrlError::Malformed)?;
        let host = HeaderValue::try_from(host).map_err(|_| BaseUrlError::Malformed)?;
        Ok(Self { origin: Origin { scheme, authority }, path: path.to_owned(), host })
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The base path without its trailing slash; empty where there is none.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The `Host` that the upstream sees.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// Whether a path has a segment `.` or `..`, however it is spelled: with `%2e`, and with `%2f`, `%5c` or `\` as a
/// separator, because some servers behind us decode before they split.
pub fn has_dot_segment(path: &str) -> bool {
    fn is_escape(text: &[u8], hex: [u8; 2]) -> bool {
        text.len() >= 3 && text[0] == b'%' && text[1..3].eq_ignore_ascii_case(&hex)
    }
    let mut rest = path.as_bytes();
    // The segment so far: Some(number of dots) while it consists of nothing else.
    let mut dots = Some(0_u32);
    while let Some(&byte) = rest.first() {
        let (separator, dot, length) = match byte {
            b'/' | b'\\' => (true, false, 1),
            b'.' => (false, true, 1),
            b'%' if is_escape(rest, *b"2e") => (false, true, 3),
            b'%' if is_escape(rest, *b"2f") || is_escape(rest, *b"5c") => (true, false, 3),
            _ => (false, false, 1),
        };
        if separator {
            if matches!(dots, Some(1 | 2)) {
                return true;
            }
            dots = Some(0);
        } else if dot {
            dots = dots.map(|n| n + 1);
        } else {
            dots = None;
        }
        rest = &rest[length..];
    }
    matches!(dots, Some(1 | 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_keeps_its_path_and_drops_default_ports_and_trailing_slashes() {
        for (text, shown, host) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("https://API.openai.com/", "https://api.openai.com", "api.openai.com"),
            ("https://api.openai.com:443/v1/", "https://api.openai.com/v1", "api.openai.com"),
            ("http://[::1]:9/a%2Fb", "http://[::1]:9/a%2Fb", "[::1]:9"),
            ("HTTP://x:80/base//", "http://x/base", "x"),
        ] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.host().to_str().unwrap()), (shown, host), "{text}");
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused_with_a_reason() {
        for (text, error) in [
            ("ftp://x", BaseUrlError::Scheme),
            ("api.openai.com", BaseUrlError::Scheme),
            ("http://", BaseUrlError::Malformed),
            ("http://x:99999", BaseUrlError::Malformed),
            ("http://x:", BaseUrlError::Malformed),
            ("http://u:p@x", BaseUrlError::UserInfo),
            ("http://x/?a", BaseUrlError::Query),
            ("http://x?", BaseUrlError::Query),
            ("http://x#f", BaseUrlError::Fragment),
            ("http://x/a/../b", BaseUrlError::DotSegment),
        ] {
            assert_eq!(BaseUrl::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn dot_segments_are_found_however_they_are_spelled() {
        for path in [
            "/..",
            "/a/../b",
            "/./",
            "/a/.",
            "/%2e%2E/x",
            "/.%2e",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a%5C.%5cb",
            "/..;/x/..",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in ["/", "/a.b", "/...", "/.git", "/a..", "/%2ea", "/a/..b/c", "/..;/x", "", "/%", "/%2"] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }
}
