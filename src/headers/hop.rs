//! Hop-by-hop fields, and those that are forebay's own (contract 4).

use std::borrow::Cow;

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderValue, Version};

use super::{Notable, trailers};
use crate::ids::ExecutionNo;

/// `X-Forebay-Attempts`.
pub const ATTEMPTS: HeaderName = HeaderName::from_static("x-forebay-attempts");
/// `X-Forebay-Timeline`.
pub const TIMELINE: HeaderName = HeaderName::from_static("x-forebay-timeline");

/// `X-Forebay-Execution`.
const EXECUTION: HeaderName = HeaderName::from_static("x-forebay-execution");

pub(super) const OWN_PREFIX: &str = "x-forebay-";
/// Job timeouts are obeyed by jobs only and removed on every lane.
const PROXQ_TIMEOUT: HeaderName = HeaderName::from_static("x-proxq-timeout");
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("x-cache-status");
/// What ends at this hop whether `Connection` names it or not.
const HOP_BY_HOP: [(Notable, HeaderName); 9] = [
    (Notable::KEEP_ALIVE, HeaderName::from_static("keep-alive")),
    (Notable::PROXY_CONNECTION, HeaderName::from_static("proxy-connection")),
    (Notable::PROXY_AUTHENTICATE, PROXY_AUTHENTICATE),
    (Notable::PROXY_AUTHORIZATION, PROXY_AUTHORIZATION),
    (Notable::TE, TE),
    (Notable::TRAILER, TRAILER),
    (Notable::TRANSFER_ENCODING, TRANSFER_ENCODING),
    (Notable::UPGRADE, UPGRADE),
    (Notable::HTTP2_SETTINGS, HeaderName::from_static("http2-settings")),
];

/// Tells how many attempts there were.
pub fn count_attempts(headers: &mut HeaderMap, attempts: u32) {
    // The usual numbers without an allocation.
    let value = match attempts {
        0 => HeaderValue::from_static("0"),
        1 => HeaderValue::from_static("1"),
        2 => HeaderValue::from_static("2"),
        more => HeaderValue::from(more),
    };
    headers.insert(ATTEMPTS, value);
}

/// Tells whether an answer was there already, or had to be fetched from the upstream.
pub fn tell_cache_status(headers: &mut HeaderMap, is_hit: bool) {
    headers.insert(CACHE_STATUS, HeaderValue::from_static(if is_hit { "HIT" } else { "MISS" }));
}

/// Removes from a request what ends at this hop, and what only forebay may say. `source` is the name in `SOURCE_HEADER`.
///
/// `Expect` goes as well: it was answered here. `Content-Length` is left to whoever frames the request again. That the
/// client takes trailers (`TE: trailers`) is said on, because forebay passes them.
/// `notable` is what they have.
pub fn strip_request(headers: &mut HeaderMap, notable: Notable, source: &HeaderName) {
    let takes_trailers = notable.has(Notable::TE) && trailers::are_accepted(headers);
    strip_hop_by_hop(headers, notable);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if notable.has(Notable::EXPECT) {
        headers.remove(EXPECT);
    }
    if notable.has(Notable::PROXQ_TIMEOUT) {
        headers.remove(PROXQ_TIMEOUT);
    }
    strip_own(headers, notable, source);
}

/// Removes from a response what ended at this hop, and what only forebay may say.
///
/// A `Content-Length` beside a transfer coding counts for nothing (RFC 9112 §6.3) and must not frame the body again. What
/// the upstream announces in `Trailer` is kept only where the trailers will follow: `with_trailers`, and no length.
pub fn strip_response(headers: &mut HeaderMap, source: &HeaderName, with_trailers: bool) {
    let notable = Notable::of(headers);
    strip_ended(headers, notable, with_trailers);
    strip_own(headers, notable, source);
}

/// Removes from a response's head what is not kept for others, or for the same client again: what ended at this hop, what
/// only forebay may say, and cookies. What is announced in `Trailer` stays where trailers will follow: `with_trailers`.
pub fn strip_for_cache(headers: &mut HeaderMap, with_trailers: bool) {
    let notable = Notable::of(headers);
    strip_ended(headers, notable, with_trailers);
    strip_prefixed(headers, notable);
    headers.remove(SET_COOKIE);
}

/// What ended at this hop with a response, and what is said of caches, which is said anew.
fn strip_ended(headers: &mut HeaderMap, notable: Notable, with_trailers: bool) {
    if notable.has(Notable::CONTENT_LENGTH) {
        if notable.has(Notable::TRANSFER_ENCODING) {
            headers.remove(CONTENT_LENGTH);
        }
        unite_lengths(headers);
    }
    let may_announce = with_trailers && notable.has(Notable::TRAILER) && !headers.contains_key(CONTENT_LENGTH);
    let announced = if may_announce { trailers::announced(headers) } else { Vec::new() };
    strip_hop_by_hop(headers, notable);
    trailers::announce_again(headers, announced);
    if notable.has(Notable::CACHE_STATUS) {
        headers.remove(CACHE_STATUS);
    }
}

/// Prepares the fields of a recorded response for one who fetches it: which execution it is of, and that nobody but him is to
/// keep it, unless the upstream said who may.
pub fn replay(headers: &mut HeaderMap, execution: ExecutionNo, with_trailers: bool) {
    if !with_trailers {
        headers.remove(TRAILER);
    }
    headers.insert(EXECUTION, HeaderValue::from(execution.get()));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The fields of a request without those that `Connection` ends at this hop: what says whose request it is.
pub fn remaining(headers: &HeaderMap) -> Cow<'_, HeaderMap> {
    let mut remaining = Cow::Borrowed(headers);
    for name in named_in_connection(headers) {
        if headers.contains_key(&name) {
            remaining.to_mut().remove(name);
        }
    }
    remaining
}

/// Gives a request of HTTP/2 the `Host` that its `:authority` stands for (RFC 9113 §8.3.1), where it has none.
pub fn name_host(request: &mut Parts) {
    if request.version == Version::HTTP_2
        && !request.headers.contains_key(HOST)
        && let Some(host) = request.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
    {
        request.headers.insert(HOST, host);
    }
}

/// Whether every name is a token (RFC 9110 §5.1), as HTTP/1.1 has to write it.
pub fn names_are_tokens(headers: &HeaderMap) -> bool {
    headers.keys().all(is_token)
}

pub(in crate::headers) fn is_token(name: &HeaderName) -> bool {
    name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Removes fields whose names are no tokens: HTTP/2 carries them, and HTTP/1.1 has no way to write them.
pub(super) fn strip_malformed(headers: &mut HeaderMap) {
    let malformed: Vec<HeaderName> = headers.keys().filter(|name| !is_token(name)).cloned().collect();
    for name in malformed {
        headers.remove(name);
    }
}

/// Joins the crumbs into which HTTP/2 may cut a cookie (RFC 9113 §8.2.3): HTTP/1.1 knows one field only.
pub fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(COOKIE, cookie);
    }
}

/// The connection ends with this message.
pub fn close(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

/// Removes what an HTTP/2 message must not have (RFC 9113 §8.2.2).
pub fn strip_for_http2(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(UPGRADE);
}

/// One `Content-Length` with one number, where the upstream sent the same several times (RFC 9112 §6.3): the client must
/// not have to guess. What does not agree is dropped; hyper has refused it already wherever there is a body to frame.
fn unite_lengths(headers: &mut HeaderMap) {
    let mut values =
        headers.get_all(CONTENT_LENGTH).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let Some(first) = values.next().map(<[u8]>::trim_ascii) else { return };
    let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    let mut further = values.peekable();
    if is_number && further.peek().is_none() {
        return;
    }
    let agree = is_number && further.all(|value| value.trim_ascii() == first);
    let only = HeaderValue::from_bytes(first).ok().filter(|_| agree);
    headers.remove(CONTENT_LENGTH);
    if let Some(only) = only {
        headers.insert(CONTENT_LENGTH, only);
    }
}

/// RFC 9110 §7.6.1: `Connection`, all that it names over every line, and those that old agents forgot to name.
/// `notable` is what they have.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap, notable: Notable) {
    if notable.has(Notable::CONNECTION) {
        for name in named_in_connection(headers) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for (field, name) in HOP_BY_HOP {
        if notable.has(field) {
            headers.remove(name);
        }
    }
}

/// What `Connection` names, except fields without which the message would change its meaning: a client could otherwise
/// take the framing or the address from under the upstream.
fn named_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| *name != HOST && *name != CONTENT_LENGTH)
        .collect()
}

fn strip_own(headers: &mut HeaderMap, notable: Notable, source: &HeaderName) {
    if !source.as_str().starts_with(OWN_PREFIX) {
        headers.remove(source);
    }
    strip_prefixed(headers, notable);
}

pub(super) fn strip_prefixed(headers: &mut HeaderMap, notable: Notable) {
    if notable.has(Notable::OWN) {
        let own: Vec<HeaderName> = headers.keys().filter(|n| n.as_str().starts_with(OWN_PREFIX)).cloned().collect();
        for name in own {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOURCE: HeaderName = HeaderName::from_static("x-forebay-source");

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(k, v)| (k.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn what_connection_names_on_any_line_is_removed() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-One"),
            ("connection", "x-two,,close"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("proxy-authorization", "Basic eDp5"),
            ("x-stay", "1"),
        ]);
        let notable = Notable::of(&headers);
        strip_request(&mut headers, notable, &SOURCE);
        assert_eq!(names(&headers), ["x-stay"]);
    }

    #[test]
    fn connection_cannot_take_host_or_length_away() {
        let mut headers = map(&[
            ("connection", "close, Host, Content-Length, cookie"),
            ("host", "a"),
            ("content-length", "5"),
            ("cookie", "c"),
        ]);
        let notable = Notable::of(&headers);
        strip_request(&mut headers, notable, &SOURCE);
        let mut left = names(&headers);
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host"]);
    }

    #[test]
    fn what_connection_ends_says_nothing_of_whose_request_it_is() {
        let fields = [("authorization", "a"), ("x-api-key", "k"), ("host", "h")];
        for (named, left) in [
            ("keep-alive", &["authorization", "x-api-key", "host", "connection"][..]),
            ("close, X-API-Key, Host, x-absent", &["authorization", "host", "connection"]),
        ] {
            let headers = map(&[&fields[..], &[("connection", named)]].concat());
            assert_eq!(names(&remaining(&headers)).len(), left.len(), "{named}");
            assert!(left.iter().all(|name| remaining(&headers).contains_key(*name)), "{named}");
        }
    }

    #[test]
    fn nobody_else_speaks_in_forebays_name() {
        let fields =
            [("x-forebay-source", "f"), ("x-forebay-anything", "1"), ("x-cache-status", "HIT"), ("x-forebayx", "1")];
        let mut headers = map(&fields);
        strip_response(&mut headers, &SOURCE, false);
        assert_eq!(names(&headers), ["x-forebayx"]);

        let mut headers = map(&[("x-proxq-source", "proxq"), ("x-proxq-timeout", "5s"), ("x", "1")]);
        let notable = Notable::of(&headers);
        strip_request(&mut headers, notable, &HeaderName::from_static("x-proxq-source"));
        assert_eq!(names(&headers), ["x"]);
    }

    #[test]
    fn a_length_beside_a_transfer_coding_counts_for_nothing() {
        let mut headers = map(&[("content-length", "2"), ("transfer-encoding", "chunked"), ("x", "1")]);
        strip_response(&mut headers, &SOURCE, false);
        assert_eq!(names(&headers), ["x"]);
        for (lines, left) in [
            (&["2"][..], Some("2")),
            (&["2", "2"], Some("2")),
            (&["5, 5"], Some("5")),
            (&["5", "6"], None),
            (&["5,"], None),
            (&["+5"], None),
            (&[""], None),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| ("content-length", *line)).collect();
            let mut headers = map(&fields);
            strip_response(&mut headers, &SOURCE, false);
            let length: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().map(|v| v.to_str().unwrap()).collect();
            assert_eq!(length, left.into_iter().collect::<Vec<_>>(), "{lines:?}");
        }
    }

    #[test]
    fn what_is_kept_has_no_cookie_and_nothing_of_this_hop() {
        let fields = [
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("connection", "x-named"),
            ("x-named", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("trailer", "x-sum"),
            ("x-cache-status", "HIT"),
            ("x-forebay-attempts", "3"),
            ("x-stay", "1"),
        ];
        for (with_trailers, left) in [(true, &["x-stay", "trailer"][..]), (false, &["x-stay"])] {
            let mut headers = map(&fields);
            strip_for_cache(&mut headers, with_trailers);
            assert!(left.iter().all(|name| headers.contains_key(*name)), "{headers:?}");
            assert_eq!(headers.len(), left.len(), "{headers:?}");
        }
        let mut headers = map(&[("x-cache-status", "a"), ("x-cache-status", "b")]);
        tell_cache_status(&mut headers, false);
        assert_eq!(headers, map(&[("x-cache-status", "MISS")]));
        tell_cache_status(&mut headers, true);
        assert_eq!(headers, map(&[("x-cache-status", "HIT")]));
    }

    #[test]
    fn trailers_are_announced_only_where_they_will_follow() {
        for (fields, with_trailers, left) in [
            (&[("trailer", "a, b"), ("trailer", "c"), ("transfer-encoding", "chunked")][..], true, 2),
            (&[("trailer", "a"), ("transfer-encoding", "chunked")], false, 0),
            (&[("trailer", "a"), ("content-length", "5")], true, 0),
        ] {
            let mut headers = map(fields);
            strip_response(&mut headers, &SOURCE, with_trailers);
            assert_eq!(headers.get_all(TRAILER).iter().count(), left, "{fields:?}");
        }
        let mut headers = map(&[("te", "gzip;q=0.5, Trailers"), ("connection", "te")]);
        let notable = Notable::of(&headers);
        strip_request(&mut headers, notable, &SOURCE);
        assert_eq!(headers.get(TE).unwrap(), "trailers");
    }

    proptest! {
        /// Whatever a client names, no hop-by-hop field survives, and framing and address do.
        #[test]
        fn no_hop_by_hop_field_survives(tokens in "[ -~]{0,60}") {
            let mut headers = map(&[("host", "a"), ("content-length", "1"), ("keep-alive", "x"), ("transfer-encoding", "chunked"), ("upgrade", "h2c")]);
            headers.insert(CONNECTION, HeaderValue::from_str(&tokens).unwrap());
            let notable = Notable::of(&headers);
        strip_request(&mut headers, notable, &SOURCE);
            let mut left = names(&headers);
            left.sort_unstable();
            prop_assert_eq!(left, ["content-length", "host"]);
        }
    }
}
