//! The request as the upstream is to see it.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::request;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri, Version};
use memchr::memchr;

use super::RouteSettings;
use crate::answer::{Answer, Code};
use crate::body::Payload;
use crate::headers::{Arrival, Forwarded, Notable, TrustedProxies, framing, hop, trailers};
use crate::upstream::{BaseUrl, Outbound};

/// Where a request goes: what the guard made of the client's target, in the upstream's terms.
#[derive(Clone, Debug)]
pub struct Onward {
    /// Path and query at the upstream, base path included.
    target: PathAndQuery,
    /// Offsets in `target` at which the client had a `"` that a `Uri` cannot hold.
    quotes: Vec<usize>,
}

impl Onward {
    /// The client's path without the route's prefix, and its query, byte for byte behind the base path. `quotes` are the
    /// offsets in the query at which the client had a `"`. Fails where the two together are too long.
    pub fn new(settings: &RouteSettings, target: &PathAndQuery, quotes: &[u32]) -> Result<Self, Answer> {
        let rest = settings.prefix.strip(target.path()).unwrap_or(target.path());
        let base = settings.base.path();
        let target = if base.is_empty() && rest.len() == target.path().len() {
            target.clone()
        } else {
            let slash = if rest.is_empty() { "/" } else { "" };
            let query = &target.as_str()[target.path().len()..];
            let joined = Bytes::from([base, slash, rest, query].concat());
            PathAndQuery::from_maybe_shared(joined).map_err(|_| {
                let message = "Behind the upstream's base path the target is longer than 65534 bytes.";
                Answer::new(Code::UriTooLong, message).closing()
            })?
        };
        let quotes = quotes_in_target(quotes, target.as_str());
        Ok(Self { target, quotes })
    }

    /// The same for a target as [`as_sent`] gives it. None = it is no target.
    pub fn again(settings: &RouteSettings, sent: &str) -> Option<Self> {
        let query = memchr(b'?', sent.as_bytes()).map_or(sent.len(), |mark| mark + 1);
        let quotes = memchr::memchr_iter(b'"', &sent.as_bytes()[query..]);
        let quotes: Vec<u32> = quotes.map(u32::try_from).collect::<Result<_, _>>().ok()?;
        let target = [&sent[..query], &sent[query..].replace('"', "'")].concat();
        Self::new(settings, &PathAndQuery::try_from(target).ok()?, &quotes).ok()
    }

    /// The upstream's own URL for it, for clients that can reach it themselves. What a URL may not contain as it is – and
    /// a target that is only passed on may – is percent-encoded (RFC 3986 §2.1).
    pub fn location(&self, base: &BaseUrl) -> Option<HeaderValue> {
        let mut url = base.origin().to_string();
        // Ascending, and perhaps as many as the target has bytes.
        let mut quotes = self.quotes.iter().copied().peekable();
        for (offset, byte) in self.target.as_str().bytes().enumerate() {
            let byte = if quotes.next_if_eq(&offset).is_some() { b'"' } else { byte };
            if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
                url.push(char::from(byte));
            } else {
                let _ = write!(url, "%{byte:02X}");
            }
        }
        HeaderValue::try_from(url).ok()
    }
}

/// A target as the client sent it: with each `"` back in its query, whose offsets are `quotes`.
pub fn as_sent(target: &PathAndQuery, quotes: &[u32]) -> String {
    let mut bytes = target.as_str().as_bytes().to_vec();
    for offset in quotes_in_target(quotes, target.as_str()) {
        // An apostrophe stands there: another character of one byte.
        bytes[offset] = b'"';
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Where the quotes of a query belong in a target that is to be sent, from its beginning.
pub fn quotes_in_target(quotes: &[u32], target: &str) -> Vec<usize> {
    let Some(query) = memchr(b'?', target.as_bytes()) else { return Vec::new() };
    quotes.iter().map(|offset| query + 1 + *offset as usize).filter(|offset| *offset < target.len()).collect()
}

/// The hop that ends here, and what is said of it.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// Where the request came from.
    pub arrival: Arrival,
    /// `FORWARDED_HEADERS`.
    pub forwarded: Forwarded,
    /// `TRUSTED_PROXIES`.
    pub trusted: &'a TrustedProxies,
}

/// What a request says end to end: what ended at this hop is gone, and nothing of the upstream's is in it yet.
#[derive(Clone, Debug)]
pub struct EndToEnd {
    /// The fields, with the client's `Host` still among them.
    pub headers: HeaderMap,
    /// The request had a body, or said that it has none.
    pub was_framed: bool,
    /// What it announced in `Trailer`.
    announced: Vec<HeaderValue>,
}

impl EndToEnd {
    /// Of a request that arrived.
    pub fn of(settings: &RouteSettings, hop: Hop<'_>, version: Version, mut headers: HeaderMap) -> Self {
        let notable = Notable::of(&headers);
        let was_framed = notable.has(Notable::CONTENT_LENGTH | Notable::TRANSFER_ENCODING);
        let announced = if notable.has(Notable::TRAILER) { trailers::announced(&headers) } else { Vec::new() };
        if version == Version::HTTP_2 {
            hop::join_cookies(&mut headers);
        }
        hop::strip_request(&mut headers, notable, &settings.answers.source.name);
        hop.forwarded.apply(&mut headers, hop.arrival, hop.trusted);
        Self { headers, was_framed, announced }
    }

    /// Of a request that was kept without what depends on the upstream: see [`for_keeping`](Self::for_keeping).
    pub fn kept(headers: HeaderMap, was_framed: bool, trailers: &HeaderMap) -> Self {
        let announced = trailers.keys().cloned().map(HeaderValue::from).collect();
        Self { headers, was_framed, announced }
    }

    /// The fields without those that are set anew for the upstream: its address, the frame of the body, and the one that
    /// its key replaces.
    pub fn for_keeping(mut self, settings: &RouteSettings) -> HeaderMap {
        self.headers.remove(HOST);
        self.headers.remove(CONTENT_LENGTH);
        if let Some(key) = &settings.key {
            self.headers.remove(&key.header);
        }
        self.headers
    }

    /// The request as the route's upstream is to see it: the one that every attempt sends.
    pub fn outbound(self, settings: &RouteSettings, method: Method, onward: Onward, body: Payload) -> Outbound {
        let Self { mut headers, was_framed, announced } = self;
        headers.insert(HOST, settings.base.host().clone());
        frame(&mut headers, &body, was_framed, announced);
        if let Some(key) = &settings.key {
            key.apply(&mut headers);
        }
        Outbound { method, target: Uri::from(onward.target), quotes: onward.quotes, headers, body, is_upgrade: false }
    }
}

/// Makes of a client's request the one that every attempt sends.
pub fn outbound(
    settings: &RouteSettings,
    hop: Hop<'_>,
    parts: request::Parts,
    onward: Onward,
    body: Payload,
) -> Outbound {
    let request::Parts { method, version, headers, .. } = parts;
    EndToEnd::of(settings, hop, version, headers).outbound(settings, method, onward, body)
}

/// How the body goes out: with a length where that is known, in chunks where it is not, or where trailers follow it. A
/// request without a body gets no field that it did not have.
fn frame(headers: &mut HeaderMap, body: &Payload, was_framed: bool, announced: Vec<HeaderValue>) {
    let length = match body {
        Payload::Kept(snapshot) => {
            if let Some(trailers) = snapshot.trailers() {
                return trailers::announce(headers, trailers);
            }
            Some(snapshot.len()).filter(|length| was_framed || *length > 0)
        }
        Payload::Passing(passing) => {
            if passing.length().is_none() {
                return trailers::announce_again(headers, announced);
            }
            passing.length()
        }
    };
    if let Some(length) = length {
        framing::set_length(headers, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quote_of_the_query_is_back_in_the_location() {
        let settings = RouteSettings::for_tests(1, 1);
        let onward = |target: &str, quotes: &[u32]| {
            let onward = Onward::new(&settings, &PathAndQuery::try_from(target).unwrap(), quotes).unwrap();
            onward.location(&settings.base).unwrap().to_str().unwrap().to_owned()
        };
        let location = onward("/a'b?'x'=y''", &[0, 2, 5]);
        assert_eq!(location, "http://upstream.test/a'b?%22x%22=y%22'");
        let quotes = 40_000;
        let location = onward(&format!("/?{}", "'".repeat(quotes)), &(0..40_000).collect::<Vec<u32>>());
        assert_eq!(location.len(), "http://upstream.test/?".len() + 3 * quotes);
    }

    #[test]
    fn a_target_that_was_kept_as_it_was_sent_goes_to_the_same_place() {
        let settings = RouteSettings::for_tests(1, 1);
        for (target, quotes, sent) in [
            ("/a\"b?'x'=y''", &[0, 2, 5][..], "/a\"b?\"x\"=y\"'"),
            ("/a?", &[], "/a?"),
            ("/", &[], "/"),
            ("/?a?'", &[2], "/?a?\""),
        ] {
            let target = PathAndQuery::try_from(target).unwrap();
            assert_eq!(as_sent(&target, quotes), sent);
            let (first, again) =
                (Onward::new(&settings, &target, quotes).unwrap(), Onward::again(&settings, sent).unwrap());
            assert_eq!((first.target, first.quotes), (again.target, again.quotes), "{sent}");
        }
        assert!(Onward::again(&settings, "/a b").is_none());
    }
}
