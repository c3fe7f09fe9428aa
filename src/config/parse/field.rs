//! Header names and values, and statuses.

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::Parsed;
use crate::answer::Source;

/// Fields that frame a message or end at the next hop: configuration must not set them.
const OF_THE_CONNECTION: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The name of a request's field that may carry a key.
pub(in crate::config) fn header_name(text: &str) -> Parsed<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "must be the name of a header")?;
    if OF_THE_CONNECTION.contains(&name.as_str()) {
        return Err("must not be a header that belongs to the connection or to the framing of messages".into());
    }
    if name.as_str().starts_with("x-forebay-") {
        return Err("must not begin with X-Forebay-: such headers are never forwarded".into());
    }
    Ok(name)
}

/// Names of a request's fields.
pub(in crate::config) fn header_names(text: &str) -> Parsed<Vec<HeaderName>> {
    let names: Result<Vec<_>, _> =
        super::list(text).into_iter().map(|entry| HeaderName::from_bytes(entry.as_bytes())).collect();
    names.map_err(|_| "must be a list of names of headers".into())
}

/// A secret that is sent in a field, alone or behind a word.
pub(in crate::config) fn credential(text: &str) -> Parsed<String> {
    if text.trim() != text {
        return Err("must not begin or end with white space".into());
    }
    match header_value(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("contains a character that cannot be sent in a header".into()),
    }
}

/// `Name: value`.
pub(in crate::config) fn source(text: &str) -> Parsed<Source> {
    let (name, value) = text.split_once(':').ok_or("must be the name and value of a header: \"Name: value\"")?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| "must begin with the name of a header")?;
    let value = value.trim();
    if value.is_empty() {
        return Err("must have a value after the colon".into());
    }
    let value = header_value(value).ok_or("must have a value of visible ASCII")?;
    // The field is removed from what clients and upstreams send, so it must be one that nobody needs.
    let taken = OF_THE_CONNECTION.contains(&name.as_str())
        || name.as_str().starts_with("content-")
        || matches!(name.as_str(), "x-forebay-attempts" | "x-forebay-error" | "x-forebay-timeline" | "x-should-retry")
        || [
            header::ACCEPT,
            header::ALLOW,
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::COOKIE,
            header::DATE,
            header::LOCATION,
            header::ORIGIN,
            header::RETRY_AFTER,
            header::SET_COOKIE,
            header::VARY,
            header::WWW_AUTHENTICATE,
        ]
        .contains(&name);
    if taken { Err("must not be a header that has a meaning of its own".into()) } else { Ok(Source { name, value }) }
}

/// Visible ASCII and blanks. Bytes above are allowed by RFC 9110 §5.5 for old times' sake only.
pub(in crate::config) fn header_value(text: &str) -> Option<HeaderValue> {
    text.is_ascii().then(|| HeaderValue::from_str(text).ok()).flatten()
}

/// An error status, or `off`.
pub(in crate::config) fn status_or_off(text: &str) -> Parsed<Option<StatusCode>> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let status = super::count(text, 400..=599_u16).ok().and_then(|n| StatusCode::from_u16(n).ok());
    status.map(Some).ok_or_else(|| "must be a status from 400 to 599, or off".into())
}

/// Error statuses.
pub(in crate::config) fn statuses(text: &str) -> Parsed<Vec<StatusCode>> {
    let status = |entry: &str| super::count(entry, 400..=599_u16).ok().and_then(|n| StatusCode::from_u16(n).ok());
    let statuses: Option<Vec<_>> = super::list(text).into_iter().map(status).collect();
    statuses.ok_or_else(|| "must be a list of statuses from 400 to 599".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_needs_a_header_that_reaches_the_upstream() {
        assert_eq!(header_name("Api-Key"), Ok(HeaderName::from_static("api-key")));
        for text in [
            "",
            "a b",
            "a:",
            "é",
            "Host",
            "content-length",
            "Transfer-Encoding",
            "CONNECTION",
            "te",
            "Upgrade",
            "Proxy-Authorization",
            "X-Forebay-Source",
        ] {
            assert!(header_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_of_headers_are_compared_in_lower_case() {
        let names = |text: &str| header_names(text).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names("X-Request-ID, x-trace-id,"), Ok(vec!["x-request-id".to_owned(), "x-trace-id".into()]));
        assert_eq!(names(","), Ok(vec![]));
        for text in ["a b", "a:", "é", "x-a x-b"] {
            assert_eq!(names(text), Err("must be a list of names of headers".into()), "{text}");
        }
    }

    #[test]
    fn a_credential_can_be_sent_and_is_sent_as_it_is() {
        assert_eq!(credential("a b~"), Ok("a b~".into()));
        for text in [" hidden", "hidden\t", "hid\nden", "hiddené", "hidden\0"] {
            let error = credential(text).unwrap_err();
            assert!(!error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn the_source_header_is_a_name_and_a_value() {
        let expected =
            Source { name: HeaderName::from_static("x-proxq-source"), value: HeaderValue::from_static("proxq: 2") };
        assert_eq!(source("X-Proxq-Source: proxq: 2"), Ok(expected.clone()));
        assert_eq!(source("X-Proxq-Source :proxq: 2 "), Ok(expected));
        for text in ["", "X-Source", "X-Source:", ": v", "a b: c", "Content-Type: x", "Authorization: x", "Host: x"] {
            assert!(source(text).is_err(), "{text}");
        }
        for text in ["X-S: a\nb", "X-S: é", "X-S: a\0b"] {
            assert!(source(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_status_for_codex_is_an_error_or_off() {
        assert_eq!(status_or_off("400"), Ok(Some(StatusCode::BAD_REQUEST)));
        assert_eq!(status_or_off("599").unwrap().map(|s| s.as_u16()), Some(599));
        assert_eq!(status_or_off("Off"), Ok(None));
        for text in ["", "399", "600", "200", "4e2", "+400", "bad"] {
            assert!(status_or_off(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_retried_by_status_are_errors() {
        let numbers = |text: &str| statuses(text).map(|all| all.iter().map(StatusCode::as_u16).collect::<Vec<_>>());
        assert_eq!(numbers("502, 503,529,"), Ok(vec![502, 503, 529]));
        assert_eq!(numbers(""), Ok(vec![]));
        for text in ["200", "399", "600", "5xx", "500-599", "502 503"] {
            assert_eq!(numbers(text), Err("must be a list of statuses from 400 to 599".into()), "{text}");
        }
    }
}
