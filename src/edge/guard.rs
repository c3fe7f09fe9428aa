//! What is refused: whatever one parser could read differently from another (contract 4). (p)
//!
//! hyper refuses much of it already – differing lengths, obs-fold, bare CR, NUL, malformed chunks. This is the rest.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Uri, Version};

use crate::answer::{Answer, Code};
use crate::headers::{Notable, hop};
use crate::size::ByteSize;

/// "At most 128 fields."
pub(super) const MAX_FIELDS: usize = 128;

/// Checks a request head. Some(target) is what it asks for, in origin form: never an address, and byte for byte what
/// the client sent.
pub fn check(parts: &Parts, max_head: ByteSize) -> Result<PathAndQuery, Answer> {
    check_size(parts, max_head)?;
    if parts.method == Method::CONNECT {
        return Err(Answer::new(Code::MethodNotAllowed, "CONNECT is not served here: forebay is no forward proxy.")
            .allow("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE")
            .closing());
    }
    check_host(parts)?;
    let notable = Notable::of(&parts.headers);
    check_framing(parts, notable)?;
    let target = target(&parts.method, &parts.uri)?;
    if notable.has(Notable::EXPECT) {
        check_expect(&parts.headers)?;
    }
    Ok(target)
}

/// The size of a head on HTTP/2 (RFC 9113 §10.5.1: names, values and 32 bytes for each). On HTTP/1 hyper has counted.
fn check_size(parts: &Parts, max: ByteSize) -> Result<(), Answer> {
    if parts.version != Version::HTTP_2 {
        return Ok(());
    }
    let fields: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    if parts.headers.len() > MAX_FIELDS || fields + target + authority > max.as_usize() {
        let message = format!("The request head is larger than {max} (MAX_HEADER_BYTES), or has more than 128 fields.");
        return Err(Answer::new(Code::HeadersTooLarge, message));
    }
    Ok(())
}

fn refuse(message: &str) -> Answer {
    Answer::new(Code::BadRequest, message).closing()
}

/// One `Host` (RFC 9112 §3.2), which an absolute form must agree with.
fn check_host(parts: &Parts) -> Result<(), Answer> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(refuse("The request has more than one Host field."));
    }
    if host.is_none() && parts.version >= Version::HTTP_11 {
        return Err(refuse("The request has no Host field."));
    }
    if parts.uri.authority().is_none() && host.is_some_and(|host| is_plain_host(host.as_bytes())) {
        return Ok(());
    }
    let host = match host {
        Some(value) if !value.is_empty() => {
            let host = value.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
            let host = host.filter(|host| !host.as_str().contains('@'));
            Some(host.ok_or_else(|| refuse("The Host field is not a host with an optional port."))?)
        }
        _ => None,
    };
    let Some(authority) = parts.uri.authority() else { return Ok(()) };
    // HTTP/1.0 may leave the field out; an empty one names another host than the target does.
    let agrees = match host {
        Some(host) => same_authority(&host, authority, parts.uri.scheme_str()),
        None => !parts.headers.contains_key(HOST),
    };
    if agrees && !authority.as_str().contains('@') {
        Ok(())
    } else {
        Err(refuse("The target names another host than the Host field."))
    }
}

/// Whether this is a name or an IPv4 address with a port or without, of the usual characters: nothing to think about.
fn is_plain_host(host: &[u8]) -> bool {
    let mut parts = host.splitn(2, |byte| *byte == b':');
    let name = parts.next().unwrap_or_default();
    let is_name =
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    // Five digits may be more than a port can be: that is http's to judge.
    is_name && parts.next().is_none_or(|port| (1..5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit))
}

/// Whether two authorities name the same host and port.
fn same_authority(one: &Authority, other: &Authority, scheme: Option<&str>) -> bool {
    let default = if scheme == Some("https") { 443 } else { 80 };
    let port = |a: &Authority| a.port_u16().unwrap_or(default);
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}

fn check_framing(parts: &Parts, notable: Notable) -> Result<(), Answer> {
    let headers = &parts.headers;
    // HTTP/1's parser has refused them; HTTP/2 carries whatever it is given.
    if parts.version == Version::HTTP_2 && !hop::names_are_tokens(headers) {
        return Err(refuse("A field name has a character that no field name may have."));
    }
    if notable.has(Notable::FRAMING_TWIN) {
        return Err(refuse("A field name with \"_\" looks like a framing field."));
    }
    // hyper refuses differing lengths on HTTP/1.
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(first) = lengths.next()
        && lengths.any(|length| length != first)
    {
        return Err(refuse("The request has Content-Length fields that differ."));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if notable.has(Notable::TRANSFER_ENCODING)
        && let Some(coding) = codings.next()
        && (codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(refuse("The only transfer coding that is read here is exactly \"chunked\"."));
    }
    Ok(())
}

/// The origin form of the target (RFC 9112 §3.2). What hyper refuses is not listed here; it also drops a fragment, so
/// that is looked for in the raw bytes before hyper has them.
fn target(method: &Method, uri: &Uri) -> Result<PathAndQuery, Answer> {
    let scheme_is_known = uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https"));
    match uri.path_and_query() {
        Some(target) if target.as_str() == "*" && *method == Method::OPTIONS => Ok(PathAndQuery::from_static("/")),
        Some(target) if target.as_str().starts_with('/') && scheme_is_known => Ok(target.clone()),
        // "http://host?query" has an empty path, which is "/" (RFC 9110 §4.2.3).
        Some(target) if target.as_str().starts_with('?') && uri.scheme().is_some() && scheme_is_known => {
            PathAndQuery::try_from(format!("/{}", target.as_str())).map_err(|_| refuse("The target is malformed."))
        }
        _ => Err(refuse("The target must begin with \"/\".")),
    }
}

fn check_expect(headers: &HeaderMap) -> Result<(), Answer> {
    let is_known = |v: &http::HeaderValue| v.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().all(is_known) {
        return Ok(());
    }
    Err(Answer::new(Code::ExpectationFailed, "The only expectation that is met here is \"100-continue\".").closing())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Request};

    use super::*;

    fn request(method: &str, uri: &str, fields: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
        for (name, value) in fields {
            request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        request.into_parts().0
    }

    fn outcome(method: &str, uri: &str, fields: &[(&'static str, &'static str)]) -> Result<String, Code> {
        check(&request(method, uri, fields), ByteSize::new(64 << 10))
            .map(|target| target.to_string())
            .map_err(|answer| answer.code)
    }

    #[test]
    fn what_has_one_reading_passes_with_its_target_unchanged() {
        for (method, uri, host, target) in [
            ("GET", "/a%2Fb?q=%20&&", "a", "/a%2Fb?q=%20&&"),
            ("GET", "/q?", "a", "/q?"),
            ("GET", "//x//y", "a", "//x//y"),
            ("OPTIONS", "*", "a", "/"),
            ("GET", "http://a/x?y", "a", "/x?y"),
            ("GET", "http://A:80/x", "a", "/x"),
            ("GET", "http://a?y", "a:80", "/?y"),
            ("GET", "http://a", "a", "/"),
            ("GET", "/", "[::1]:8788", "/"),
            ("GET", "/", "", "/"),
        ] {
            assert_eq!(outcome(method, uri, &[("host", host)]), Ok(target.to_owned()), "{uri}");
        }
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for (method, uri, fields) in [
            ("GET", "/", &[][..]),
            ("GET", "/", &[("host", "a"), ("host", "a")]),
            ("GET", "/", &[("host", "a b")]),
            ("GET", "/", &[("host", "a/b")]),
            ("GET", "/", &[("host", "u@a")]),
            ("GET", "http://b/x", &[("host", "a")]),
            ("GET", "http://a:81/x", &[("host", "a")]),
            ("GET", "http://u:p@a/x", &[("host", "a")]),
            ("GET", "file://a/x", &[("host", "a")]),
            ("GET", "*", &[("host", "a")]),
            ("GET", "a:80", &[("host", "a:80")]),
            ("POST", "/", &[("host", "a"), ("transfer-encoding", "gzip, chunked")]),
            ("POST", "/", &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]),
            ("POST", "/", &[("host", "a"), ("content_length", "5")]),
            ("POST", "/", &[("host", "a"), ("transfer_encoding", "chunked")]),
        ] {
            assert_eq!(outcome(method, uri, fields), Err(Code::BadRequest), "{method} {uri} {fields:?}");
        }
    }

    #[test]
    fn connect_and_unknown_expectations_have_answers_of_their_own() {
        assert_eq!(outcome("CONNECT", "a:80", &[("host", "a:80")]), Err(Code::MethodNotAllowed));
        assert_eq!(outcome("POST", "/", &[("host", "a"), ("expect", "y 100-continue")]), Err(Code::ExpectationFailed));
        assert_eq!(outcome("POST", "/", &[("host", "a"), ("expect", "100-Continue")]), Ok("/".to_owned()));
    }
}
