//! How long a body will be, read from a head before hyper has parsed it. (p)
//!
//! Most requests come whole, in one read. If the length of the body is beyond doubt, hyper is given both at once; kept
//! back until hyper has said how the body is framed, its bytes would be copied twice and need two more buffers. hyper still
//! decides: where it reads a head otherwise, the request is refused.

/// What the fields of a head say so far about the length of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Foresight {
    /// Nothing.
    #[default]
    Nothing,
    /// One `Content-Length` of plain digits, which every parser reads alike.
    Length(u64),
    /// Parsers might differ, or it is not as simple as that.
    Doubt,
}

impl Foresight {
    /// What is known with this field line, which is complete.
    pub(super) fn after(self, line: &[u8]) -> Self {
        match line.first().map_or(0, |byte| byte | 0x20) {
            b'c' if has_name(line, b"content-length:") => match self {
                Self::Nothing => number(line[b"content-length:".len()..].trim_ascii()),
                Self::Length(_) | Self::Doubt => Self::Doubt,
            },
            b't' if has_name(line, b"transfer-encoding") => Self::Doubt,
            // A line that is folded; with the bit, a tab is a closing bracket.
            b' ' | b')' => Self::Doubt,
            _ => self,
        }
    }

    /// The length, if it is beyond doubt.
    pub(super) fn length(self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(length),
            Self::Nothing | Self::Doubt => None,
        }
    }
}

fn has_name(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
}

fn number(digits: &[u8]) -> Foresight {
    let is_plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let length = str::from_utf8(digits).ok().filter(|_| is_plain).and_then(|digits| digits.parse().ok());
    length.map_or(Foresight::Doubt, Foresight::Length)
}

#[cfg(test)]
mod tests {
    use super::super::framing::HeadScanner;

    #[test]
    fn a_length_is_foreseen_where_it_is_beyond_doubt() {
        for (fields, length) in [
            ("Content-Length: 5\r\n", Some(5)),
            ("Host: a\r\ncontent-length:0\r\nX: y\r\n", Some(0)),
            ("Content-Length: \t18446744073709551615 \r\n", Some(u64::MAX)),
            ("Content-Length: 5\nX: y\n", Some(5)),
            ("X-Content-Length: 5\r\n", None),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", None),
            ("Content-Length: 5, 5\r\n", None),
            ("Content-Length: +5\r\n", None),
            ("Content-Length: 18446744073709551616\r\n", None),
            ("Content-Length:\r\n", None),
            ("Content-Length : 5\r\n", None),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", None),
            ("Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", None),
            ("X: y\r\n Content-Length: 6\r\nContent-Length: 5\r\n", None),
            ("X: y\r\n\tz\r\nContent-Length: 5\r\n", None),
            ("X: y\r\n", None),
            ("", None),
        ] {
            let head = format!("POST /content-length:7 HTTP/1.1\r\n{fields}\r\n");
            let mut scanner = HeadScanner::default();
            assert_eq!(scanner.scan(head.as_bytes()), Some(head.len()));
            assert_eq!(scanner.plain_length(), length, "{fields:?}");
        }
        // What did not come in one piece is not judged.
        let mut scanner = HeadScanner::default();
        scanner.scan(b"POST / HTTP/1.1\r\nContent-Len");
        scanner.scan(b"gth: 5\r\n\r\n");
        assert_eq!(scanner.plain_length(), None);
    }
}
