//! The request as the upstream is to see it.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::request;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri, Version};

use super::EdgeSettings;
use super::http1::quotes_in_target;
use crate::answer::{Answer, Code};
use crate::body::Payload;
use crate::headers::{Arrival, Notable, framing, hop, trailers};
use crate::routes::RouteSettings;
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

/// Makes of a client's request the one that every attempt sends.
pub fn outbound(
    edge: &EdgeSettings,
    settings: &RouteSettings,
    arrival: Arrival,
    parts: request::Parts,
    onward: Onward,
    body: Payload,
) -> Outbound {
    let request::Parts { method, version, mut headers, .. } = parts;
    let notable = Notable::of(&headers);
    let was_framed = notable.has(Notable::CONTENT_LENGTH | Notable::TRANSFER_ENCODING);
    let announced = if notable.has(Notable::TRAILER) { trailers::announced(&headers) } else { Vec::new() };
    if version == Version::HTTP_2 {
        hop::join_cookies(&mut headers);
    }
    hop::strip_request(&mut headers, notable, &settings.answers.source.name);
    edge.forwarded.apply(&mut headers, arrival, &edge.trusted_proxies);
    headers.insert(HOST, settings.base.host().clone());
    frame(&mut headers, &body, was_framed, announced);
    if let Some(key) = &settings.key {
        key.apply(&mut headers);
    }
    Outbound { method, target: Uri::from(onward.target), quotes: onward.quotes, headers, body, is_upgrade: false }
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
}
