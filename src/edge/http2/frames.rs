//! Where frames and header blocks end, counted beside h2. (p)
//!
//! h2 alone decides what a frame means. The clock of the head only has to know whether something is incomplete that a
//! client could take for ever to complete: a frame other than DATA, whose body has a clock of its own, or a header block.

/// Length, type, flags, stream (RFC 9113 §4.1).
const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Follows the frames of a client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameScanner {
    header: [u8; FRAME_HEADER],
    /// How much of the header has been seen.
    seen: usize,
    /// What is left of the payload.
    payload: usize,
    /// A header block has begun and its last frame has not.
    block_is_open: bool,
}

impl FrameScanner {
    /// Follows what came next, and tells whether the client owed nothing on the way: what is incomplete behind that was
    /// begun in these bytes. `reads` is told of each stream whose window the client opens: that is how it says that it reads.
    pub(super) fn scan(&mut self, mut bytes: &[u8], mut reads: impl FnMut(u32)) -> bool {
        let mut owed_nothing = false;
        while !bytes.is_empty() {
            if self.seen < FRAME_HEADER {
                let taken = bytes.len().min(FRAME_HEADER - self.seen);
                self.header[self.seen..self.seen + taken].copy_from_slice(&bytes[..taken]);
                self.seen += taken;
                bytes = &bytes[taken..];
                if self.seen < FRAME_HEADER {
                    return owed_nothing;
                }
                if let Some(stream) = self.begin() {
                    reads(stream);
                }
            } else {
                let taken = bytes.len().min(self.payload);
                self.payload -= taken;
                bytes = &bytes[taken..];
            }
            if self.payload == 0 {
                self.seen = 0;
            }
            owed_nothing |= !self.is_incomplete();
        }
        owed_nothing
    }

    /// A frame begins. Some stream, if it opens its window.
    fn begin(&mut self) -> Option<u32> {
        let [high, middle, low, kind, flags, stream @ ..] = self.header;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.block_is_open = flags & END_HEADERS == 0;
        }
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        (kind == WINDOW_UPDATE && stream != 0).then_some(stream)
    }

    /// Whether the client owes us the end of a header block, or of a frame that is not DATA.
    pub(super) fn is_incomplete(&self) -> bool {
        let in_frame = self.seen > 0 && (self.seen < FRAME_HEADER || self.header[3] != DATA);
        self.block_is_open || in_frame
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let [_, high, middle, low] = u32::try_from(length).unwrap().to_be_bytes();
        [&[high, middle, low, kind, flags, 0, 0, 0, 1][..], &vec![0xff; length]].concat()
    }

    fn is_incomplete_after(bytes: &[u8]) -> bool {
        let mut scanner = FrameScanner::default();
        scanner.scan(bytes, drop);
        scanner.is_incomplete()
    }

    #[test]
    fn a_header_block_is_open_until_its_last_frame_is_whole() {
        let headers = frame(HEADERS, END_HEADERS, 20);
        assert!(is_incomplete_after(&headers[..3]) && is_incomplete_after(&headers[..28]));
        assert!(!is_incomplete_after(&headers));
        let open = [frame(HEADERS, 0, 20), frame(CONTINUATION, 0, 0)].concat();
        assert!(is_incomplete_after(&open));
        assert!(!is_incomplete_after(&[open, frame(CONTINUATION, END_HEADERS, 5)].concat()));
    }

    #[test]
    fn a_part_of_a_body_is_not_a_part_of_a_head() {
        assert!(!is_incomplete_after(&frame(DATA, 0, 100)[..50]));
        assert!(is_incomplete_after(&frame(4, 0, 6)[..10]));
        assert!(!is_incomplete_after(&[]));
    }

    #[test]
    fn who_opens_the_window_of_a_stream_reads_it() {
        let mut reads = Vec::new();
        let on_connection = [0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        let bytes = [&frame(WINDOW_UPDATE, 0, 4)[..], &on_connection, &frame(DATA, 0, 9)].concat();
        FrameScanner::default().scan(&bytes, |stream| reads.push(stream));
        assert_eq!(reads, [1]);
    }

    proptest! {
        /// However the stream is cut into reads, the scanner ends where it ends in one piece.
        #[test]
        fn cuts_change_nothing(
            frames in prop::collection::vec((0_u8..10, any::<u8>(), 0_usize..40), 0..8),
            end in any::<prop::sample::Index>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let bytes: Vec<u8> = frames.into_iter().flat_map(|(kind, flags, length)| frame(kind, flags, length)).collect();
            let bytes = &bytes[..end.index(bytes.len() + 1)];
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let mut scanner = FrameScanner::default();
            for pair in cuts.windows(2) {
                scanner.scan(&bytes[pair[0]..pair[1]], drop);
            }
            prop_assert_eq!(scanner.is_incomplete(), is_incomplete_after(bytes));
        }
    }
}
