//! The look into a request: does its upstream send headers early, or only with the whole answer? (p)

use std::fmt;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Expectation;
use super::coding::{decoded, is_coded};
use crate::headers::media::lists;

/// A body above this is looked into aside: parsing it would hold up everyone else.
const ASIDE_ABOVE: u64 = 1024 * 1024;
/// In a coding, however short: a few bytes may stand for as much as is decoded at most.
const CODED_ASIDE_ABOVE: u64 = 0;

/// Which header deadline a request has (contract 3.3, "Which deadline"). `body` is asked for only where the rest does
/// not decide. A body that cannot be read is given the time that it may need.
pub(super) fn expectation(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: impl FnOnce() -> Bytes,
) -> Expectation {
    if let Some(expectation) = without_body(method, path, headers) {
        return expectation;
    }
    let Some(body) = decoded(headers, body()) else { return Expectation::WholeAnswer };
    let generation = Generation::find(&body);
    let streams = generation.stream.unwrap_or_else(|| streams_by_default(path));
    let is_generation =
        generation.has_model || path.ends_with("/responses/compact") || path.ends_with(":generateContent");
    if is_generation && !streams { Expectation::WholeAnswer } else { Expectation::EarlyHead }
}

/// Whether a look into a body of this length is taken aside.
pub(super) fn needs_aside(method: &Method, path: &str, headers: &HeaderMap, length: u64) -> bool {
    let limit = if is_coded(headers) { CODED_ASIDE_ABOVE } else { ASIDE_ABOVE };
    length > limit && without_body(method, path, headers).is_none()
}

/// What can be said without the body.
fn without_body(method: &Method, path: &str, headers: &HeaderMap) -> Option<Expectation> {
    if *method != Method::POST || lists(headers, &ACCEPT, "text/event-stream") {
        return Some(Expectation::EarlyHead);
    }
    // It is no JSON, whatever is in it.
    lists(headers, &CONTENT_TYPE, "multipart/form-data")
        .then(|| if streams_by_default(path) { Expectation::EarlyHead } else { Expectation::WholeAnswer })
}

/// Ollama streams unless told not to.
fn streams_by_default(path: &str) -> bool {
    path.ends_with("/api/chat") || path.ends_with("/api/generate")
}

/// What a request body says at its top level.
#[derive(Debug, Default, PartialEq, Eq)]
struct Generation {
    stream: Option<bool>,
    has_model: bool,
}

impl Generation {
    /// Finds it in a JSON object; anything else says nothing.
    fn find(body: &[u8]) -> Self {
        match body.trim_ascii_start().first() {
            Some(b'{') => serde_json::from_slice(body).unwrap_or_default(),
            _ => Self::default(),
        }
    }
}

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TopLevel)
    }
}

struct TopLevel;

impl<'de> Visitor<'de> for TopLevel {
    type Value = Generation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Generation, A::Error> {
        let mut found = Generation::default();
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match key.as_ref() {
                "stream" => {
                    found.stream = match map.next_value::<&RawValue>()?.get() {
                        "true" => Some(true),
                        "false" => Some(false),
                        _ => None,
                    };
                }
                "model" => {
                    map.next_value::<IgnoredAny>()?;
                    found.has_model = true;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_ENCODING;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::super::coding::tests as coding_tests;
    use super::*;

    fn look(method: &str, path: &str, fields: &[(&'static str, &'static str)], body: &'static str) -> Expectation {
        let fields = fields.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v)));
        expectation(&method.parse().unwrap(), path, &fields.collect(), || Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn generations_that_do_not_stream_have_the_longer_deadline() {
        for (path, fields, body) in [
            ("/v1/chat/completions", &[][..], r#"{"messages":[{"stream":true}],"model":"m"}"#),
            ("/v1/chat/completions", &[], r#" {"model":"m","stream":false}"#),
            ("/v1/responses", &[], r#"{"model":"m","stream":null}"#),
            ("/api/chat", &[], r#"{"model":"m","stream":false}"#),
            ("/v1/audio", &[("content-type", "multipart/form-data; boundary=x")], "--x"),
            ("/v1/responses/compact", &[], "{}"),
            ("/v1beta/models/gemini:generateContent", &[], "{}"),
            ("/responses", &[("content-encoding", "zstd")], "binary"),
        ] {
            assert_eq!(look("POST", path, fields, body), Expectation::WholeAnswer, "{path} {body}");
        }
    }

    #[test]
    fn everything_else_has_the_header_deadline() {
        for (method, path, fields, body) in [
            (
                "POST",
                "/v1/responses",
                &[("accept", "application/json, text/event-stream;q=0.9")][..],
                r#"{"model":"m"}"#,
            ),
            ("POST", "/v1/responses", &[], r#"{"model":"m","stream" : true}"#),
            ("POST", "/api/chat", &[], r#"{"model":"m"}"#),
            ("POST", "/api/generate", &[], r#"{"model":"m"}"#),
            ("POST", "/x", &[], r#"{"data":{"model":"m"}}"#),
            ("POST", "/x", &[], r#"[{"model":"m"}]"#),
            ("POST", "/x", &[], r#"{"model":"m""#),
            ("POST", "/x", &[], ""),
            ("GET", "/v1/responses", &[], r#"{"model":"m"}"#),
            ("POST", "/responses", &[("content-encoding", "zstd"), ("accept", "text/event-stream")], "binary"),
        ] {
            assert_eq!(look(method, path, fields, body), Expectation::EarlyHead, "{path} {body}");
        }
    }

    #[test]
    fn only_a_body_that_decides_is_looked_into_aside() {
        let coded = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static("zstd"))]);
        let mut decided = coded.clone();
        decided.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let plain = HeaderMap::new();
        for (method, headers, length, aside) in [
            ("POST", &plain, 1024 * 1024, false),
            ("POST", &plain, 1024 * 1024 + 1, true),
            ("POST", &coded, 0, false),
            ("POST", &coded, 1, true),
            ("POST", &decided, 257, false),
            ("PUT", &coded, 257, false),
        ] {
            let needed = needs_aside(&method.parse().unwrap(), "/responses", headers, length);
            assert_eq!(needed, aside, "{method} {headers:?} {length}");
        }
    }

    /// Bodies that say something, something else, or nothing.
    fn bodies() -> impl Strategy<Value = Vec<u8>> {
        let json =
            (prop::option::of(any::<bool>()), any::<bool>(), "[a-z ]{0,2000}").prop_map(|(stream, model, text)| {
                let stream = stream.map_or(String::new(), |stream| format!(r#","stream":{stream}"#));
                let model = if model { r#","model":"m""# } else { "" };
                format!(r#"{{"input":"{text}"{stream}{model}}}"#).into_bytes()
            });
        prop_oneof![4 => json, 1 => prop::collection::vec(any::<u8>(), 0..2000)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Whatever codings lie over a body: the expectation is that of the body.
        #[test]
        fn a_coded_body_is_read_as_the_plain_one(
            body in bodies(),
            codings in prop::collection::vec(prop::sample::select(&coding_tests::ALL[..]), 1..4),
            path in prop::sample::select(vec!["/v1/responses", "/api/chat", "/responses/compact", "/x"]),
        ) {
            let plain = expectation(&Method::POST, path, &HeaderMap::new(), || Bytes::from(body.clone()));
            let coded = codings.iter().fold(body, |body, coding| coding_tests::encode(coding, &body));
            let found = expectation(&Method::POST, path, &coding_tests::header(&codings), || Bytes::from(coded));
            prop_assert_eq!(found, plain, "{:?}", codings);
        }
    }
}
