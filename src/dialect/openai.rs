//! OpenAI's SDKs: they raise `APIError` on an `error` object in the stream.

use bytes::Bytes;
use serde_json::Value;

/// An event that carries nothing but the error.
pub(super) fn error_event(error: &Value) -> Bytes {
    format!("data: {{\"error\":{error}}}\n\n").into()
}
