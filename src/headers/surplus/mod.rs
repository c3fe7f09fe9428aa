//! Heads with more fields than hyper reads by default. (p)
//!
//! hyper has room for a hundred fields on its stack. A higher limit would cost every message two allocations of many
//! kilobytes, for a head that hardly anybody sends. So hyper is shown the first ninety and whatever concerns it; the others are
//! read here, and join the head once hyper has parsed it.

mod lines;
mod split;

use std::sync::LazyLock;

use http::HeaderMap;
use memchr::memchr_iter;
use memchr::memmem::Finder;

use lines::{Followed, Lines};
pub use split::join;
use split::{Split, split};

/// So many fields hyper is shown as they come.
pub const SHOWN: usize = 90;

/// Follows the bytes of heads, and takes aside what hyper is not to see.
#[derive(Debug)]
pub struct Surplus {
    max_bytes: usize,
    max_fields: usize,
    at: At,
    /// Read here, for the head that hyper is about to parse.
    fields: Option<Box<HeaderMap>>,
}

#[derive(Debug)]
enum At {
    /// In a head that may be shown so far.
    Head(Lines),
    Aside(Box<Aside>),
    /// Behind a head.
    Over,
}

#[derive(Debug)]
struct Aside {
    /// Of the head up to here.
    lines: Lines,
    /// What came since, perhaps with what follows the head.
    held: Vec<u8>,
}

impl Surplus {
    /// For heads that may be so long. The first one begins with the next byte.
    pub fn new(max_bytes: usize, max_fields: usize) -> Self {
        Self { max_bytes, max_fields, at: At::Head(Lines::default()), fields: None }
    }

    /// The next byte is the first of a head.
    pub fn expect_head(&mut self) {
        self.at = At::Head(Lines::default());
    }

    /// Follows what came next. So many bytes of it may be shown; the rest was taken aside.
    pub fn follow(&mut self, chunk: &[u8]) -> usize {
        if self.is_at_begin() && is_whole_and_short(chunk) {
            self.at = At::Over;
        }
        let mut shown = 0;
        while shown < chunk.len() {
            match &mut self.at {
                At::Over => return chunk.len(),
                At::Head(lines) => match lines.follow(&chunk[shown..], 1 + SHOWN) {
                    Followed::In => return chunk.len(),
                    Followed::End(length) => {
                        shown += length;
                        self.at = if lines.is_interim() { At::Head(Lines::default()) } else { At::Over };
                    }
                    Followed::Full(length) => {
                        shown += length;
                        self.at = At::Aside(Box::new(Aside { lines: *lines, held: Vec::new() }));
                    }
                },
                At::Aside(aside) => {
                    aside.held.extend_from_slice(&chunk[shown..]);
                    return shown;
                }
            }
        }
        shown
    }

    /// Whether what comes is no head.
    pub fn is_over(&self) -> bool {
        matches!(self.at, At::Over)
    }

    /// What is to be shown next, once the head is complete. A head that is malformed or too long is shown as it came, and hyper
    /// refuses it: it has more fields than hyper reads.
    pub fn release(&mut self) -> Option<Vec<u8>> {
        let At::Aside(aside) = &self.at else { return None };
        let Aside { lines, held } = &**aside;
        let mut rest = *lines;
        let Followed::End(end) = rest.follow(held, self.max_fields.saturating_add(2)) else {
            let is_hopeless = lines.bytes + held.len() > self.max_bytes || rest.count > self.max_fields + 1;
            return is_hopeless.then(|| self.give_up());
        };
        if rest.bytes > self.max_bytes || rest.count > self.max_fields + 1 {
            return Some(self.give_up());
        }
        let Some(Split { mut shown, surplus }) = split(&held[..end]) else { return Some(self.give_up()) };
        shown.extend_from_slice(&held[end..]);
        // Of an interim head nothing is needed; and what is behind it is a head again.
        let is_interim = rest.is_interim();
        self.fields = Some(surplus).filter(|_| !is_interim).map(Box::new);
        self.at = if is_interim { At::Head(Lines::default()) } else { At::Over };
        Some(shown)
    }

    /// Shows what was taken aside as it came.
    fn give_up(&mut self) -> Vec<u8> {
        match std::mem::replace(&mut self.at, At::Over) {
            At::Aside(aside) => aside.held,
            At::Head(_) | At::Over => Vec::new(),
        }
    }

    /// Whether a head begins with the next byte.
    pub fn is_at_begin(&self) -> bool {
        matches!(self.at, At::Head(lines) if lines == Lines::default())
    }

    /// The fields that were taken from the head, if some were.
    pub fn take_fields(&mut self) -> Option<Box<HeaderMap>> {
        self.fields.take()
    }
}

/// Whether a chunk begins with a head, holds all of it, and hyper may see all its fields: so do nearly all.
fn is_whole_and_short(chunk: &[u8]) -> bool {
    static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));
    let first = chunk.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).map_or(&[][..], |begin| &chunk[begin..]);
    let may_be_interim = first.starts_with(b"HTTP/1.") && first.get(9) == Some(&b'1');
    // The shortest field is "a:", and then the end of the line.
    let is_short = |end: usize| end <= 3 * SHOWN || memchr_iter(b'\n', &chunk[..end]).count() <= SHOWN;
    !may_be_interim && END.find(chunk).is_some_and(is_short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What hyper would be shown of a message that comes in pieces, and the fields that it would not.
    fn shown(message: &[u8], cuts: &[usize], max_bytes: usize) -> (Vec<u8>, HeaderMap) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (message.len() + 1)).chain([message.len()]).collect();
        cuts.sort_unstable();
        let (mut surplus, mut shown, mut from) = (Surplus::new(max_bytes, 200), Vec::new(), 0);
        for to in cuts {
            let length = surplus.follow(&message[from..to]);
            shown.extend_from_slice(&message[from..from + length]);
            while let Some(released) = surplus.release() {
                let length = surplus.follow(&released);
                shown.extend_from_slice(&released[..length]);
            }
            from = to;
        }
        (shown, surplus.take_fields().map(|fields| *fields).unwrap_or_default())
    }

    fn head(first: &str, fields: usize) -> String {
        let fields: Vec<String> = (0..fields).map(|index| format!("x-{index}: {index}\r\n")).collect();
        format!("{first}\r\n{}", fields.concat())
    }

    #[test]
    fn a_head_of_the_usual_size_is_shown_as_it_is() {
        for fields in [0, 5, SHOWN] {
            let message = format!("\r\n{}\r\nbody\r\n\r\n", head("GET / HTTP/1.1", fields));
            let (shown, surplus) = shown(message.as_bytes(), &[], 100_000);
            assert!(shown == message.as_bytes() && surplus.is_empty(), "{fields}");
        }
    }

    #[test]
    fn what_is_malformed_or_too_long_is_shown_as_it_came() {
        for (message, max) in [
            (head("GET / HTTP/1.1", 150) + "no colon\r\n\r\n", 100_000),
            (head("GET / HTTP/1.1", 150) + "\r\n", 1000),
            (head("GET / HTTP/1.1", 201) + "\r\n", 100_000),
            (head("GET / HTTP/1.1", 201), 100_000),
            (head("GET / HTTP/1.1", 150), 1000),
        ] {
            let (shown, surplus) = shown(message.as_bytes(), &[], max);
            assert!(shown == message.as_bytes() && surplus.is_empty(), "{message}");
        }
        let (shown, surplus) = shown((head("GET / HTTP/1.1", 200) + "\r\n").as_bytes(), &[], 100_000);
        assert_eq!((shown.split(|byte| *byte == b'\n').count() - 3, surplus.len()), (SHOWN, 200 - SHOWN));
    }

    #[test]
    fn every_interim_head_is_followed_by_another() {
        let final_head = head("HTTP/1.1 200 OK", 120);
        let message =
            format!("{}\r\n{}\r\n{final_head}\r\nbody", head("HTTP/1.1 103 Hints", 130), head("HTTP/1.1 100 Go", 1));
        let (shown, surplus) = shown(message.as_bytes(), &[], 100_000);
        let fields = SHOWN + 1 + SHOWN;
        assert_eq!((shown.split(|byte| *byte == b'\n').count(), surplus.len()), (3 * 2 + fields + 1, 120 - SHOWN));
        assert!(shown.ends_with(b"\r\n\r\nbody") && surplus.contains_key("x-119"));
        // What follows a 101 is no head.
        let message = format!("{}\r\n{}", head("HTTP/1.1 101 Switching", 2), head("x", 300));
        assert_eq!(tests::shown(message.as_bytes(), &[], 100_000).0, message.as_bytes());
    }

    proptest! {
        /// However a message is cut into reads, hyper is shown the same.
        #[test]
        fn cuts_do_not_matter(
            fields in 80_usize..130,
            interim in any::<bool>(),
            ends in prop::sample::select(vec!["\r\n", "\n"]),
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let interim = if interim { head("HTTP/1.1 102 Wait", fields) + "\r\n" } else { String::new() };
            let message = format!("{interim}{}Content-Length: 4\r\n\r\nbody", head("HTTP/1.1 200 OK", fields)).replace("\r\n", ends);
            let whole = shown(message.as_bytes(), &[], 100_000);
            prop_assert_eq!(&shown(message.as_bytes(), &cuts, 100_000), &whole);
            prop_assert_eq!(whole.1.len(), fields.saturating_sub(SHOWN));
        }
    }
}
