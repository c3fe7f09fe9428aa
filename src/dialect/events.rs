//! Where a stream of events can be cut without tearing one in two.

/// Follows a `text/event-stream` and knows whether it stands between two events.
///
/// An event ends with an empty line; a line ends with LF, CR or CRLF (WHATWG HTML, "Server-sent events"). Only the last
/// three bytes decide, so the cost does not depend on the length of what passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventBoundary {
    /// The last bytes, newest in the lowest place; zero where nothing came yet.
    tail: u32,
}

impl EventBoundary {
    /// Follows what was forwarded.
    pub fn follow(&mut self, chunk: &[u8]) {
        for &byte in &chunk[chunk.len().saturating_sub(3)..] {
            self.tail = (self.tail << 8) | u32::from(byte);
        }
    }

    /// Whether a reader that got everything so far has no unfinished event.
    pub fn is_between_events(self) -> bool {
        let [_, third, second, last] = self.tail.to_be_bytes();
        match last {
            0 => self.tail == 0,
            b'\n' => second == b'\n' || (second == b'\r' && matches!(third, b'\n' | b'\r')),
            b'\r' => matches!(second, b'\n' | b'\r'),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(text: &str) -> bool {
        let mut boundary = EventBoundary::default();
        boundary.follow(text.as_bytes());
        boundary.is_between_events()
    }

    #[test]
    fn an_empty_line_ends_an_event_whatever_ends_the_lines() {
        for text in ["", "data: 1\n\n", "data: 1\r\n\r\n", "data: 1\r\r", "a\n\r\n", "\n\n"] {
            assert!(after(text), "{text:?}");
        }
        for text in ["d", "data: 1", "data: 1\n", "data: 1\r\n", "data: 1\r", "data: 1\n\nx", "a\n\nb\n"] {
            assert!(!after(text), "{text:?}");
        }
    }

    proptest! {
        /// How the stream is split into chunks does not matter.
        #[test]
        fn splits_do_not_matter(text in "[a\r\n]{0,24}", cuts in prop::collection::vec(0usize..24, 0..6)) {
            let mut boundary = EventBoundary::default();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.sort_unstable();
            let mut from = 0;
            for to in cuts.into_iter().chain([text.len()]) {
                boundary.follow(&text.as_bytes()[from..to]);
                from = to;
            }
            prop_assert_eq!(boundary.is_between_events(), after(&text));
        }
    }
}
