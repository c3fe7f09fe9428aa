//! What the contract says of every answer.

use std::time::Duration;

use super::client::Response;

/// What a loaded machine may add to a time of the contract.
pub const NOISE: Duration = Duration::from_secs(3);

/// Long enough to see a further attempt that must not come: backoff and scheduling are far below it.
pub const A_WHILE: Duration = Duration::from_millis(300);

/// Whether forebay made this answer itself.
pub fn is_own(response: &Response) -> bool {
    response.get("x-forebay-source").as_deref() == Some("forebay")
}

/// `X-Forebay-Attempts`.
pub fn attempts(response: &Response) -> Option<u32> {
    response.get("x-forebay-attempts").and_then(|n| n.parse().ok())
}

/// The error of an answer in the shape of section 5.
fn error(response: &Response) -> serde_json::Value {
    let body: serde_json::Value =
        serde_json::from_slice(&response.body).unwrap_or_else(|e| panic!("an error in JSON ({e}): {response:?}"));
    body["error"].clone()
}

/// Asserts an error of forebay's own: status, header fields and JSON as in section 5.
#[track_caller]
pub fn assert_error(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "expected {status} {code}: {response:?}");
    assert!(response.is_complete(), "a whole answer: {response:?}");
    assert_eq!(response.get("x-forebay-source").as_deref(), Some("forebay"), "the source header: {response:?}");
    assert_error_body(response, code);
}

/// Asserts everything but the status and the source header, which settings may change.
#[track_caller]
pub fn assert_error_body(response: &Response, code: &str) {
    let content_type = response.get("content-type").unwrap_or_default();
    assert!(content_type.starts_with("application/json"), "JSON: {response:?}");
    assert_eq!(response.get("x-forebay-error").as_deref(), Some(code), "X-Forebay-Error: {response:?}");
    let error = error(response);
    assert_eq!(error["code"], code, "the code in the body: {response:?}");
    assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()), "a message: {response:?}");
    let kind = match code {
        "upstream_header_timeout" | "upstream_timeout" | "upstream_request_error" | "no_route" => "upstream_error",
        "overloaded" | "shutting_down" | "store_unavailable" => "overloaded_error",
        _ => "invalid_request_error",
    };
    assert_eq!(error["type"], kind, "the type in the body: {response:?}");
}

/// Asserts an answer of the upstream: status and body as they came, and nothing that says it is forebay's own.
#[track_caller]
pub fn assert_relayed(response: &Response, status: u16, body: impl AsRef<[u8]>) {
    assert_eq!(response.status, status, "{response:?}");
    let expected = &body.as_ref()[..body.as_ref().len().min(300)];
    assert!(response.body == body.as_ref(), "expected the body {}: {response:?}", expected.escape_ascii());
    assert!(response.is_complete(), "a whole answer: {response:?}");
    assert!(!is_own(response) && response.get("x-forebay-error").is_none(), "the upstream's answer: {response:?}");
}
