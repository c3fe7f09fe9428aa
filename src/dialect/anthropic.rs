//! Anthropic's SDKs: an error names itself outside of the error object as well.

use bytes::Bytes;
use serde_json::{Value, json};

/// The body of an error answer.
pub(super) fn envelope(error: &Value) -> Value {
    json!({ "type": "error", "error": error })
}

/// The event that ends a stream with an error.
pub(super) fn error_event(error: &Value) -> Bytes {
    format!("event: error\ndata: {}\n\n", envelope(error)).into()
}
