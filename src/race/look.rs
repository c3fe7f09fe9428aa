//! Which header deadline a request has: does its upstream send headers early, or only with the whole answer? (p)

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};

use super::Expectation;
use super::json::Said;
use crate::headers::media::lists;

/// What can be said without the body (contract 3.3, "Which deadline").
pub(super) fn without_body(method: &Method, path: &str, headers: &HeaderMap) -> Option<Expectation> {
    if *method != Method::POST || lists(headers, &ACCEPT, "text/event-stream") {
        return Some(Expectation::EarlyHead);
    }
    // It is no JSON, whatever is in it.
    lists(headers, &CONTENT_TYPE, "multipart/form-data")
        .then(|| if streams_by_default(path) { Expectation::EarlyHead } else { Expectation::WholeAnswer })
}

/// The same where the body must be asked. One that is no JSON object says nothing.
pub(super) fn with_body(path: &str, said: Said) -> Expectation {
    let streams = said.stream.unwrap_or_else(|| streams_by_default(path));
    let is_generation = said.has_model || path.ends_with("/responses/compact") || path.ends_with(":generateContent");
    if is_generation && !streams { Expectation::WholeAnswer } else { Expectation::EarlyHead }
}

/// Ollama streams unless told not to.
fn streams_by_default(path: &str) -> bool {
    path.ends_with("/api/chat") || path.ends_with("/api/generate")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderName, HeaderValue};
    use http_body_util::Full;
    use proptest::prelude::*;

    use super::super::coding::tests as coding_tests;
    use super::super::look as whole_look;
    use super::*;
    use crate::body::{Collected, Limits, Quota, Snapshot};
    use crate::time::LazyDeadline;

    fn expectation(method: &Method, path: &str, headers: &HeaderMap, body: Vec<u8>) -> Expectation {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (mut body, quota) = (Full::new(Bytes::from(body)), Quota::new(1 << 20));
            let limits = Limits { max: 1 << 20, progress: std::time::Duration::from_secs(1) };
            let collected = Snapshot::collect(&mut body, limits, &quota, &mut LazyDeadline::default()).await;
            let Ok(Collected::Whole(body)) = collected else { panic!() };
            whole_look(method, path, headers, &body).await
        })
    }

    fn look(method: &str, path: &str, fields: &[(&'static str, &'static str)], body: &str) -> Expectation {
        let fields = fields.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v)));
        expectation(&method.parse().unwrap(), path, &fields.collect(), body.into())
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
            let plain = expectation(&Method::POST, path, &HeaderMap::new(), body.clone());
            let coded = codings.iter().fold(body, |body, coding| coding_tests::encode(coding, &body));
            let found = expectation(&Method::POST, path, &coding_tests::header(&codings), coded);
            prop_assert_eq!(found, plain, "{:?}", codings);
        }
    }
}
