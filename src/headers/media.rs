//! Media types in fields.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

/// Whether a field lists a media type, its parameters aside (RFC 9110 §8.3.1, §12.5.1).
pub fn lists(headers: &HeaderMap, name: &HeaderName, media_type: &str) -> bool {
    let is_it = |item: &[u8]| {
        let essence = item.split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(media_type.as_bytes())
    };
    // Most lines are too short: `application/json` is shorter than all that is looked for.
    let may_have_it = |line: &&HeaderValue| line.len() >= media_type.len();
    let mut lines = headers.get_all(name).iter().filter(may_have_it);
    lines.any(|line| line.as_bytes().split(|byte| *byte == b',').any(is_it))
}

/// Whether a response to be sent is a stream of events that an event of ours could follow: as text, and of open length.
pub fn is_open_event_stream(headers: &HeaderMap) -> bool {
    lists(headers, &CONTENT_TYPE, "text/event-stream")
        && !headers.contains_key(CONTENT_ENCODING)
        && !headers.contains_key(CONTENT_LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stream_of_known_length_or_in_a_coding_takes_no_further_event() {
        let response = |fields: &[(HeaderName, &'static str)]| -> HeaderMap {
            fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
        };
        let events = (CONTENT_TYPE, "Text/Event-Stream; charset=utf-8");
        assert!(is_open_event_stream(&response(std::slice::from_ref(&events))));
        assert!(!is_open_event_stream(&response(&[events.clone(), (CONTENT_LENGTH, "5")])));
        assert!(!is_open_event_stream(&response(&[events, (CONTENT_ENCODING, "gzip")])));
        assert!(!is_open_event_stream(&response(&[(CONTENT_TYPE, "text/event-streams")])));
    }
}
