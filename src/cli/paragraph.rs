//! Running text on a terminal.

use std::io::{self, Write};

/// No line is wider, unless one word is.
const WIDTH: usize = 96;

/// Writes text that is broken at blanks: its first line behind `first`, the others behind `further`.
pub(super) fn paragraph(out: &mut impl Write, first: &str, further: &str, text: &str) -> io::Result<()> {
    let mut line = first.to_owned();
    let mut has_word = false;
    for word in text.split(' ') {
        if has_word && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{line}")?;
            further.clone_into(&mut line);
            has_word = false;
        }
        if has_word {
            line.push(' ');
        }
        line.push_str(word);
        has_word = true;
    }
    writeln!(out, "{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_before_the_word_that_would_be_too_much() {
        let mut out = Vec::new();
        let text = format!("{} {} c", "a".repeat(50), "b".repeat(40));
        paragraph(&mut out, "dns  ", "  ", &text).unwrap();
        paragraph(&mut out, "> ", "", &"d".repeat(200)).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = format!("dns  {} {}\n  c\n> {}\n", "a".repeat(50), "b".repeat(40), "d".repeat(200));
        assert_eq!(text, expected);
    }
}
