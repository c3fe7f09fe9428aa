//! Hop-by-hop fields, and those that are forebay's own (contract 4).

use http::HeaderValue;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPECT,
    HOST, HeaderMap, HeaderName, MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

/// `X-Forebay-Attempts`.
pub const ATTEMPTS: HeaderName = HeaderName::from_static("x-forebay-attempts");
/// `X-Forebay-Timeline`.
pub const TIMELINE: HeaderName = HeaderName::from_static("x-forebay-timeline");

const OWN_PREFIX: &str = "x-forebay-";
/// Job timeouts are obeyed by jobs only and removed on every lane.
const PROXQ_TIMEOUT: HeaderName = HeaderName::from_static("x-proxq-timeout");
const CACHE_STATUS: HeaderName = HeaderName::from_static("x-cache-status");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Removes from a request what ends at this hop, and what only forebay may say. `source` is the name in `SOURCE_HEADER`.
///
/// `Expect` goes as well: it was answered here. `Content-Length` is left to whoever frames the request again.
pub fn strip_request(headers: &mut HeaderMap, source: &HeaderName) {
    strip_hop_by_hop(headers);
    headers.remove(EXPECT);
    headers.remove(PROXQ_TIMEOUT);
    strip_own(headers, source);
}

/// Removes from a response what ended at this hop, and what only forebay may say.
///
/// A `Content-Length` beside a transfer coding counts for nothing (RFC 9112 §6.3) and must not frame the body again.
pub fn strip_response(headers: &mut HeaderMap, source: &HeaderName) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    unite_lengths(headers);
    strip_hop_by_hop(headers);
    headers.remove(CACHE_STATUS);
    strip_own(headers, source);
}

/// Removes from trailers what may not stand there (RFC 9110 §6.5.1): what ends at this hop, what frames, routes, controls
/// or authenticates a message, and what only forebay may say. These were decided upon when the head came.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    for name in [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        EXPECT,
        HOST,
        MAX_FORWARDS,
        SET_COOKIE,
    ] {
        trailers.remove(name);
    }
    strip_prefixed(trailers);
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
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in named_in_connection(headers) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        HTTP2_SETTINGS,
    ] {
        headers.remove(name);
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

fn strip_own(headers: &mut HeaderMap, source: &HeaderName) {
    headers.remove(source);
    strip_prefixed(headers);
}

fn strip_prefixed(headers: &mut HeaderMap) {
    if headers.keys().any(|name| name.as_str().starts_with(OWN_PREFIX)) {
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
        strip_request(&mut headers, &SOURCE);
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
        strip_request(&mut headers, &SOURCE);
        let mut left = names(&headers);
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host"]);
    }

    #[test]
    fn nobody_else_speaks_in_forebays_name() {
        let fields =
            [("x-forebay-source", "f"), ("x-forebay-anything", "1"), ("x-cache-status", "HIT"), ("x-forebayx", "1")];
        let mut headers = map(&fields);
        strip_response(&mut headers, &SOURCE);
        assert_eq!(names(&headers), ["x-forebayx"]);

        let mut headers = map(&[("x-proxq-source", "proxq"), ("x-proxq-timeout", "5s"), ("x", "1")]);
        strip_request(&mut headers, &HeaderName::from_static("x-proxq-source"));
        assert_eq!(names(&headers), ["x"]);
    }

    #[test]
    fn a_length_beside_a_transfer_coding_counts_for_nothing() {
        let mut headers = map(&[("content-length", "2"), ("transfer-encoding", "chunked"), ("x", "1")]);
        strip_response(&mut headers, &SOURCE);
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
            strip_response(&mut headers, &SOURCE);
            let length: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().map(|v| v.to_str().unwrap()).collect();
            assert_eq!(length, left.into_iter().collect::<Vec<_>>(), "{lines:?}");
        }
    }

    #[test]
    fn trailers_frame_route_and_authenticate_nothing() {
        let mut trailers = map(&[
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("connection", "x-named"),
            ("x-named", "1"),
            ("host", "a"),
            ("authorization", "Bearer x"),
            ("set-cookie", "a=b"),
            ("x-forebay-attempts", "7"),
            ("grpc-status", "0"),
            ("x-checksum", "1"),
        ]);
        strip_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("grpc-status", "0"), ("x-checksum", "1")]));
    }

    proptest! {
        /// Whatever a client names, no hop-by-hop field survives, and framing and address do.
        #[test]
        fn no_hop_by_hop_field_survives(tokens in "[ -~]{0,60}") {
            let mut headers = map(&[("host", "a"), ("content-length", "1"), ("keep-alive", "x"), ("transfer-encoding", "chunked"), ("upgrade", "h2c")]);
            headers.insert(CONNECTION, HeaderValue::from_str(&tokens).unwrap());
            strip_request(&mut headers, &SOURCE);
            let mut left = names(&headers);
            left.sort_unstable();
            prop_assert_eq!(left, ["content-length", "host"]);
        }
    }
}
