//! Codex CLI. Any 5xx makes it send one turn thirty times; a 400 is shown to the user verbatim, once.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::Settings;

/// The status that Codex gets in place of ours.
pub(super) fn status(status: StatusCode, settings: Settings) -> StatusCode {
    match status {
        StatusCode::GATEWAY_TIMEOUT => settings.codex_final_status.unwrap_or(status),
        // A 413 makes it upload the body six times.
        StatusCode::PAYLOAD_TOO_LARGE => StatusCode::BAD_REQUEST,
        other => other,
    }
}

/// `response.failed` with `server_error`: Codex shows the message and re-attaches.
pub(super) fn response_failed(message: &str) -> Bytes {
    let data = json!({
        "type": "response.failed",
        "response": { "status": "failed", "error": { "code": "server_error", "message": message } },
    });
    format!("event: response.failed\ndata: {data}\n\n").into()
}
