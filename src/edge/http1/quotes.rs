//! A `"` in a query, on its way through hyper. (p)
//!
//! RFC 3986 has no place for it, many clients send it all the same (`?query=up{job="x"}`), and the contract lets it pass.
//! http's `Uri` takes it in a path and refuses it in a query. So an apostrophe stands in for it as long as hyper holds the
//! request, the offsets travel beside it, and the upstream's wire writes it as it was.

use memchr::memchr;

/// Finds each `"` in the query of a request line, and puts an apostrophe in its place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QuoteScanner {
    at: At,
    /// Offset of the next byte from the beginning of the query.
    offset: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Empty lines come before the request line.
    #[default]
    Start,
    Method,
    Path,
    Query,
    /// Behind the target.
    Over,
}

impl QuoteScanner {
    /// Follows what came next of a head, and notes the offsets of what it replaced.
    pub(super) fn replace(&mut self, chunk: &mut [u8], quotes: &mut Vec<u32>) {
        if self.at == At::Over || (self.at == At::Start && is_whole_and_plain(chunk)) {
            self.at = At::Over;
            return;
        }
        for byte in chunk {
            self.at = match (self.at, *byte) {
                (At::Over, _) => return,
                (At::Start, b'\r' | b'\n') => At::Start,
                (_, b'\n') | (At::Path | At::Query, b' ') => At::Over,
                (At::Method, b' ') => At::Path,
                (At::Start | At::Method, _) => At::Method,
                (At::Path, b'?') => At::Query,
                (At::Path, _) => At::Path,
                (At::Query, _) => {
                    if *byte == b'"' {
                        *byte = b'\'';
                        quotes.push(self.offset);
                    }
                    self.offset = self.offset.saturating_add(1);
                    At::Query
                }
            };
        }
    }
}

/// Whether a chunk holds a whole request line without a `"`, as nearly all do.
fn is_whole_and_plain(chunk: &[u8]) -> bool {
    let begin = chunk.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(chunk.len());
    let line = &chunk[begin..];
    memchr(b'\n', line).is_some_and(|end| memchr(b'"', &line[..end]).is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::routes::quotes_in_target;

    fn replaced(head: &str, cuts: &[usize]) -> (String, Vec<u32>) {
        let (mut scanner, mut quotes, mut bytes) = (QuoteScanner::default(), Vec::new(), head.as_bytes().to_vec());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
        cuts.sort_unstable();
        let mut from = 0;
        for to in cuts {
            scanner.replace(&mut bytes[from..to], &mut quotes);
            from = to;
        }
        (String::from_utf8(bytes).unwrap(), quotes)
    }

    #[test]
    fn only_the_query_of_the_request_line_is_touched() {
        let (head, quotes) = replaced("\r\nG\"T /\"a?b=\"'c\"&\" HTTP/1.1\r\nX: ?\"\r\n\r\n{\"a\"}", &[]);
        assert_eq!(head, "\r\nG\"T /\"a?b=''c'&' HTTP/1.1\r\nX: ?\"\r\n\r\n{\"a\"}");
        assert_eq!(quotes, [2, 5, 7]);
        assert_eq!(quotes_in_target(&quotes, "/base/\"a?b=''c'&'"), [11, 14, 16]);
    }

    proptest! {
        /// However the head is cut into reads, the same bytes are replaced, and putting them back gives what was sent.
        #[test]
        fn what_was_replaced_can_be_put_back(
            path in "/[a-z\"']{0,6}", query in prop::option::of("[a-z\"'?&=]{0,12}"), cuts in prop::collection::vec(any::<usize>(), 0..6),
        ) {
            let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
            let rest = " HTTP/1.1\r\nX: \"?\"\r\n\r\n";
            let (head, quotes) = replaced(&format!("GET {target}{rest}"), &cuts);
            let mut sent = head.strip_prefix("GET ").unwrap().strip_suffix(rest).unwrap().as_bytes().to_vec();
            prop_assert!(!sent[target.find('?').unwrap_or(sent.len())..].contains(&b'"'));
            for offset in quotes_in_target(&quotes, std::str::from_utf8(&sent).unwrap()) {
                sent[offset] = b'"';
            }
            prop_assert_eq!(sent, target.as_bytes());
        }
    }
}
