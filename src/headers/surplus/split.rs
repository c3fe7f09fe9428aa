//! The end of a head in two: what hyper is shown, and what it is not. (p)

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::headers::hop::is_token;

/// Beside what it is shown as it comes, hyper may see so many fields that concern it. It refuses a hundred and one.
const FURTHER: usize = 10;

/// The end of a head, from the first field on that hyper is not shown as it comes.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// What hyper is shown of it: fields that frame the message or are about the connection, and the empty line.
    pub(super) shown: Vec<u8>,
    /// The others.
    pub(super) surplus: HeaderMap,
}

/// Splits the end of a head: whole lines, the last of them empty. None where a line is no field; a field that is continued
/// on the next line (RFC 9112 §5.2) is none.
pub(super) fn split(lines: &[u8]) -> Option<Split> {
    let mut split = Split::default();
    let mut shown = 0;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n")?;
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.is_empty() {
            split.shown.extend_from_slice(line);
            break;
        }
        let colon = text.iter().position(|byte| *byte == b':')?;
        let (name, value) = (HeaderName::from_bytes(&text[..colon]).ok()?, &text[colon + 1..]);
        // HTTP/1.1 writes tokens only; http's names may contain a little more.
        if !is_token(&name) {
            return None;
        }
        if concerns_hyper(&name) {
            shown += 1;
            split.shown.extend_from_slice(line);
        } else {
            split.surplus.append(name, HeaderValue::from_bytes(value.trim_ascii()).ok()?);
        }
    }
    (shown <= FURTHER).then_some(split)
}

/// Adds what hyper was not shown to the head that it has parsed. It came behind all the rest.
pub fn join(headers: &mut HeaderMap, surplus: HeaderMap) {
    let mut last = None;
    for (name, value) in surplus {
        last = name.or(last);
        if let Some(name) = &last {
            headers.append(name, value);
        }
    }
}

fn concerns_hyper(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "expect"
            | "http2-settings"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_hyper_is_shown_and_the_rest_joins_the_head_in_its_order() {
        let lines = b"X-A: 2\r\nContent-Length: 5\nx-b:\t1 \r\nConnection: close\r\nX-A: 3\r\n\r\n";
        let Split { shown, surplus } = split(lines).unwrap();
        assert_eq!(shown, b"Content-Length: 5\nConnection: close\r\n\r\n");
        let mut head = HeaderMap::new();
        head.append("x-a", HeaderValue::from_static("1"));
        join(&mut head, surplus);
        let values: Vec<_> = head.get_all("x-a").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!((values, head.get("x-b").unwrap().as_bytes()), (vec!["1", "2", "3"], &b"1"[..]));
    }

    #[test]
    fn what_is_no_field_makes_the_head_malformed() {
        for line in [
            "no colon",
            ": no name",
            "na me: x",
            "x : y",
            " folded: x",
            "\tfolded",
            "x: a\rb",
            "x: \0",
            "\u{e9}: x",
            "x\"y: 1",
        ] {
            assert!(split(format!("A: b\r\n{line}\r\n\r\n").as_bytes()).is_none(), "{line:?}");
        }
        let framed = |times| format!("{}\r\n", "Content-Length: 5\r\n".repeat(times));
        assert!(split(framed(FURTHER).as_bytes()).is_some() && split(framed(FURTHER + 1).as_bytes()).is_none());
        assert!(split("x: caf\u{e9}\r\n\r\n".as_bytes()).is_some(), "bytes above ASCII are a value (RFC 9110 §5.5)");
    }
}
