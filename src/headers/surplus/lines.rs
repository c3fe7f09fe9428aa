//! Where the lines of a head end, and where the head does. (p)

use memchr::memchr_iter;

/// Counts the lines of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// Those that have ended. Empty ones before the first do not count (RFC 9112 §2.2).
    pub(super) count: usize,
    pub(super) bytes: usize,
    partial: Partial,
    /// What the first line begins with: a status line tells by its first twelve bytes whether the head is interim.
    begin: [u8; 12],
}

/// What there is of a line that has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Partial {
    #[default]
    Nothing,
    Cr,
    Text(usize),
}

pub(super) enum Followed {
    /// The head goes on.
    In,
    /// It ends behind so many bytes.
    End(usize),
    /// It goes on behind so many bytes, and has all the lines that were asked for.
    Full(usize),
}

impl Lines {
    /// Follows the head to its end, or until it has so many lines.
    pub(super) fn follow(&mut self, chunk: &[u8], lines: usize) -> Followed {
        let mut begin = 0;
        for end in memchr_iter(b'\n', chunk) {
            let line = &chunk[begin..end];
            let is_empty = match self.partial {
                Partial::Nothing => matches!(line, b"" | b"\r"),
                Partial::Cr => line.is_empty(),
                Partial::Text(_) => false,
            };
            self.note(line);
            self.partial = Partial::Nothing;
            self.bytes += end + 1 - begin;
            begin = end + 1;
            if !is_empty {
                self.count += 1;
                if self.count == lines {
                    return Followed::Full(begin);
                }
            } else if self.count > 0 {
                return Followed::End(begin);
            }
        }
        let rest = &chunk[begin..];
        self.bytes += rest.len();
        self.note(rest);
        self.partial = match (self.partial, rest) {
            (partial, b"") => partial,
            (Partial::Nothing, b"\r") => Partial::Cr,
            (Partial::Nothing, text) => Partial::Text(text.len()),
            (Partial::Cr, text) => Partial::Text(1 + text.len()),
            (Partial::Text(length), text) => Partial::Text(length + text.len()),
        };
        Followed::In
    }

    /// Keeps the beginning of the first line.
    fn note(&mut self, text: &[u8]) {
        let known = match self.partial {
            Partial::Nothing => 0,
            Partial::Cr => 1,
            Partial::Text(length) => length,
        };
        if self.count == 0 && known < self.begin.len() {
            for (place, byte) in self.begin[known..].iter_mut().zip(text) {
                *place = *byte;
            }
        }
    }

    /// Whether this is the head of an interim response (RFC 9110 §15.2), behind which another follows. A `101` is the last.
    pub(super) fn is_interim(&self) -> bool {
        self.begin.starts_with(b"HTTP/1.") && self.begin[9] == b'1' && self.begin[9..] != *b"101"
    }
}
