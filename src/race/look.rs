//! The look into a request: does its upstream send headers early, or only with the whole answer? (p)

use std::fmt;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Expectation;
use crate::headers::media::lists;

/// Which header deadline a request has (contract 3.3, "Which deadline"). `body` is asked for only where the rest does
/// not decide.
pub fn expectation(method: &Method, path: &str, headers: &HeaderMap, body: impl FnOnce() -> Bytes) -> Expectation {
    if *method != Method::POST || lists(headers, &ACCEPT, "text/event-stream") {
        return Expectation::EarlyHead;
    }
    if has_content_coding(headers) {
        // Not readable without decoding: give it the time that it may need.
        return Expectation::WholeAnswer;
    }
    let generation = Generation::find(&body());
    let streams_by_default = path.ends_with("/api/chat") || path.ends_with("/api/generate");
    let streams = generation.stream.unwrap_or(streams_by_default);
    let is_generation = generation.has_model
        || lists(headers, &CONTENT_TYPE, "multipart/form-data")
        || path.ends_with("/responses/compact")
        || path.ends_with(":generateContent");
    if is_generation && !streams { Expectation::WholeAnswer } else { Expectation::EarlyHead }
}

fn has_content_coding(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|v| !v.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
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
    use http::{HeaderName, HeaderValue};

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
}
