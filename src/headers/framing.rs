//! How the head of an outgoing request says where its body ends, and to whom it goes.

use http::HeaderValue;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, TE, TRANSFER_ENCODING, UPGRADE};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Frames a body of unknown length, or one with trailers, for HTTP/1.1: `Transfer-Encoding: chunked`. Named, because hyper
/// takes it for granted that a GET has no body. Where a length is given it counts.
pub fn chunk(headers: &mut HeaderMap) {
    if !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Announces a length, in one field.
pub fn set_length(headers: &mut HeaderMap, length: u64) {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    // The usual client has said it already, in just these digits.
    let is_said = values.next().is_some_and(|value| says(value.as_bytes(), length)) && values.next().is_none();
    if !is_said {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Whether these are the digits of a number, as one would write it.
fn says(digits: &[u8], number: u64) -> bool {
    let is_plain = digits == b"0" || (!digits.starts_with(b"0") && digits.iter().all(u8::is_ascii_digit));
    is_plain && str::from_utf8(digits).is_ok_and(|digits| digits.parse() == Ok(number))
}

/// The length that a head announces.
pub fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Removes what HTTP/2 has no place for (RFC 9113 §8.2.2), and `Host`, which becomes `:authority`. Returns it.
pub fn for_http2(headers: &mut HeaderMap) -> Option<HeaderValue> {
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    if headers.get_all(TE).iter().any(|value| value != "trailers") {
        headers.remove(TE);
    }
    headers.remove(HOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn a_length_that_is_given_is_not_replaced_by_chunks() {
        let mut headers = map(&[("content-length", "5")]);
        chunk(&mut headers);
        assert_eq!(headers, map(&[("content-length", "5")]));
        let mut headers = map(&[]);
        chunk(&mut headers);
        assert_eq!(headers, map(&[("transfer-encoding", "chunked")]));
    }

    #[test]
    fn a_length_is_announced_once_and_plainly() {
        for said in [&["5"][..], &[], &["6"], &["5", "5"], &["05"], &["+5"], &["5 "], &["5,5"]] {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            set_length(&mut headers, 5);
            assert_eq!(headers, map(&[("content-length", "5")]), "{said:?}");
        }
        let mut headers = map(&[("content-length", "0")]);
        set_length(&mut headers, 0);
        assert_eq!(headers, map(&[("content-length", "0")]));
    }

    #[test]
    fn http2_has_an_authority_and_no_field_of_a_connection() {
        let mut headers = map(&[
            ("host", "a:1"),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "x"),
            ("proxy-connection", "x"),
            ("te", "trailers"),
            ("x", "1"),
        ]);
        assert_eq!(for_http2(&mut headers).unwrap(), "a:1");
        assert_eq!(headers, map(&[("te", "trailers"), ("x", "1")]));
        let mut headers = map(&[("te", "gzip")]);
        assert!(for_http2(&mut headers).is_none() && headers.is_empty());
    }
}
