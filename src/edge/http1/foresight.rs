//! How long a body will be, read from a head before hyper has parsed it. (p)
//!
//! Most requests come whole, in one read. If the length of the body is beyond doubt, hyper is given both at once; kept
//! back until hyper has said how the body is framed, its bytes would be copied twice and need two more buffers. hyper still
//! decides: where it reads a head otherwise, the request is refused.

use memchr::memchr_iter;

/// A tab, as the comparison without case sees it.
const FOLDED_TAB: u8 = b'\t' | 0x20;

/// The length of the body behind a complete head, where every parser reads it alike: one `Content-Length` of plain digits,
/// no `Transfer-Encoding`, no folded line.
pub fn plain_length(head: &[u8]) -> Option<u64> {
    let mut length = None;
    let mut begin = 0;
    for end in memchr_iter(b'\n', head) {
        let line = &head[begin..=end];
        begin = end + 1;
        match line[0] | 0x20 {
            b'c' if has_name(line, b"content-length:") => {
                let digits = line[b"content-length:".len()..].trim_ascii();
                if length.is_some() || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                    return None;
                }
                length = Some(str::from_utf8(digits).ok()?.parse().ok()?);
            }
            b't' if has_name(line, b"transfer-encoding") => return None,
            b' ' | FOLDED_TAB => return None,
            _ => {}
        }
    }
    length
}

fn has_name(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(plain_length(head.as_bytes()), length, "{fields:?}");
        }
    }
}
