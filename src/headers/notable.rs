//! Which fields of a head concern forebay: found in one pass, because the usual head has hardly any of them. (p)

use std::ops::BitOr;

use http::{HeaderMap, HeaderName};

/// A set of fields, each known by its name alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notable(u32);

impl Notable {
    /// `Connection`.
    pub const CONNECTION: Self = Self(1);
    /// `Content-Length`.
    pub const CONTENT_LENGTH: Self = Self(1 << 1);
    /// `Expect`.
    pub const EXPECT: Self = Self(1 << 2);
    /// A name that some servers read as a framing field because they fold `_` and `-`.
    pub const FRAMING_TWIN: Self = Self(1 << 3);
    /// `HTTP2-Settings`.
    pub const HTTP2_SETTINGS: Self = Self(1 << 4);
    /// `Keep-Alive`.
    pub const KEEP_ALIVE: Self = Self(1 << 5);
    /// A name that only forebay may use: `X-Forebay-…`.
    pub const OWN: Self = Self(1 << 6);
    /// `Proxy-Authenticate`.
    pub const PROXY_AUTHENTICATE: Self = Self(1 << 7);
    /// `Proxy-Authorization`.
    pub const PROXY_AUTHORIZATION: Self = Self(1 << 8);
    /// `Proxy-Connection`.
    pub const PROXY_CONNECTION: Self = Self(1 << 9);
    /// `TE`.
    pub const TE: Self = Self(1 << 10);
    /// `Trailer`.
    pub const TRAILER: Self = Self(1 << 11);
    /// `Transfer-Encoding`.
    pub const TRANSFER_ENCODING: Self = Self(1 << 12);
    /// `Upgrade`.
    pub const UPGRADE: Self = Self(1 << 13);
    /// `X-Cache-Status`.
    pub const CACHE_STATUS: Self = Self(1 << 14);
    /// `X-Proxq-Timeout`.
    pub const PROXQ_TIMEOUT: Self = Self(1 << 15);

    /// Those that a head has.
    pub fn of(headers: &HeaderMap) -> Self {
        headers.keys().fold(Self::default(), |seen, name| seen | Self::named(name))
    }

    /// Whether one of these is among them.
    pub fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    fn named(name: &HeaderName) -> Self {
        match name.as_str() {
            "connection" => Self::CONNECTION,
            "content-length" => Self::CONTENT_LENGTH,
            "expect" => Self::EXPECT,
            "content_length" | "transfer_encoding" => Self::FRAMING_TWIN,
            "http2-settings" => Self::HTTP2_SETTINGS,
            "keep-alive" => Self::KEEP_ALIVE,
            "proxy-authenticate" => Self::PROXY_AUTHENTICATE,
            "proxy-authorization" => Self::PROXY_AUTHORIZATION,
            "proxy-connection" => Self::PROXY_CONNECTION,
            "te" => Self::TE,
            "trailer" => Self::TRAILER,
            "transfer-encoding" => Self::TRANSFER_ENCODING,
            "upgrade" => Self::UPGRADE,
            "x-cache-status" => Self::CACHE_STATUS,
            "x-proxq-timeout" => Self::PROXQ_TIMEOUT,
            name if name.starts_with(super::hop::OWN_PREFIX) => Self::OWN,
            _ => Self::default(),
        }
    }
}

impl BitOr for Notable {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_name_is_found_by_itself_and_no_other_is() {
        let all = [
            ("connection", Notable::CONNECTION),
            ("content-length", Notable::CONTENT_LENGTH),
            ("expect", Notable::EXPECT),
            ("content_length", Notable::FRAMING_TWIN),
            ("transfer_encoding", Notable::FRAMING_TWIN),
            ("http2-settings", Notable::HTTP2_SETTINGS),
            ("keep-alive", Notable::KEEP_ALIVE),
            ("x-forebay-anything", Notable::OWN),
            ("proxy-authenticate", Notable::PROXY_AUTHENTICATE),
            ("proxy-authorization", Notable::PROXY_AUTHORIZATION),
            ("proxy-connection", Notable::PROXY_CONNECTION),
            ("te", Notable::TE),
            ("trailer", Notable::TRAILER),
            ("transfer-encoding", Notable::TRANSFER_ENCODING),
            ("upgrade", Notable::UPGRADE),
            ("x-cache-status", Notable::CACHE_STATUS),
            ("x-proxq-timeout", Notable::PROXQ_TIMEOUT),
            ("host", Notable::default()),
            ("x-forebayx", Notable::default()),
            ("trailers", Notable::default()),
        ];
        let mut everything = (HeaderMap::new(), Notable::default());
        for (name, notable) in all {
            let field = || (HeaderName::from_static(name), HeaderValue::from_static("1"));
            assert_eq!(Notable::of(&HeaderMap::from_iter([field()])), notable, "{name}");
            everything.0.extend([field()]);
            everything.1 = everything.1 | notable;
        }
        assert_eq!(Notable::of(&everything.0), everything.1);
        assert!(everything.1.has(Notable::TE) && !everything.1.has(Notable::default()));
    }
}
