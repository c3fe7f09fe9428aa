//! The one upgrade that is served: WebSocket (RFC 6455).

use http::HeaderValue;
use http::header::{CONNECTION, HeaderMap, UPGRADE};

/// Whether a request asks for a WebSocket (RFC 6455 §4.1), and for nothing else.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    let is_upgrade = |item: &[u8]| item.trim_ascii().eq_ignore_ascii_case(b"upgrade");
    let mut protocols = headers.get_all(UPGRADE).iter();
    let is_websocket = protocols.next().is_some_and(|v| v.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"));
    let is_only = protocols.next().is_none();
    let connection = headers.get_all(CONNECTION);
    is_websocket && is_only && connection.iter().any(|line| line.as_bytes().split(|b| *b == b',').any(is_upgrade))
}

/// Asks for a WebSocket at the next hop, or agrees to one.
pub fn to_websocket(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(k, v)| (k.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn a_websocket_is_asked_for_by_two_fields() {
        for (fields, asks) in [
            (&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")][..], true),
            (&[("connection", "upgrade"), ("upgrade", "h2c")], false),
            (&[("connection", "upgrade"), ("upgrade", "websocket, h2c")], false),
            (&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")], false),
            (&[("connection", "keep-alive"), ("upgrade", "websocket")], false),
            (&[("upgrade", "websocket")], false),
        ] {
            assert_eq!(is_asked_for(&map(fields)), asks, "{fields:?}");
        }
    }
}
