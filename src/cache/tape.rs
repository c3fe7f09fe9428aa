//! The bytes of a body while they are told to several: kept as long as somebody may need them. (p)

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// A chunk shorter than this is copied behind its neighbour: as a slice of its own it could keep a whole read buffer alive.
const COPY_BELOW: usize = 4096;
/// A tail of this length is sealed: from then on it is shared, and not copied.
const SEAL_AT: usize = 16 << 10;

/// A body from some byte on, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Tape {
    /// What will not grow any more, each piece with its place in the body.
    sealed: VecDeque<(u64, Bytes)>,
    /// What follows them.
    tail: BytesMut,
    end: u64,
}

impl Tape {
    /// The next bytes of the body.
    pub(super) fn push(&mut self, chunk: Bytes) {
        let (at, length) = (self.end, chunk.len());
        if length < COPY_BELOW {
            self.tail.extend_from_slice(&chunk);
        } else {
            self.seal();
            self.sealed.push_back((at, chunk));
        }
        self.end = at + length as u64;
        if self.tail.len() >= SEAL_AT {
            self.seal();
        }
    }

    /// Some of the bytes from this place on, which is not freed; none at the end.
    pub(super) fn read(&self, at: u64) -> Option<Bytes> {
        let tail = self.end - self.tail.len() as u64;
        if at >= tail {
            let rest = self.tail.get(usize::try_from(at - tail).ok()?..)?;
            return (!rest.is_empty()).then(|| Bytes::copy_from_slice(rest));
        }
        let index = self.sealed.partition_point(|(start, _)| *start <= at).checked_sub(1)?;
        let (start, piece) = self.sealed.get(index)?;
        let skipped = usize::try_from(at - start).ok()?;
        (skipped < piece.len()).then(|| piece.slice(skipped..))
    }

    /// Nobody needs what lies before this place any more.
    pub(super) fn free_before(&mut self, at: u64) {
        while self.sealed.front().is_some_and(|(start, piece)| start + piece.len() as u64 <= at) {
            self.sealed.pop_front();
        }
        if at >= self.end {
            self.tail.clear();
        }
    }

    /// Where the next byte will be.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How many bytes are kept.
    pub(super) fn held(&self) -> u64 {
        let tail = self.end - self.tail.len() as u64;
        self.end - self.sealed.front().map_or(tail, |(start, _)| *start)
    }

    /// All that is kept, in pieces.
    pub(super) fn pieces(&mut self) -> Vec<Bytes> {
        self.seal();
        self.sealed.iter().map(|(_, piece)| piece.clone()).collect()
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            let start = self.end - self.tail.len() as u64;
            self.sealed.push_back((start, self.tail.split().freeze()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(from: u64, length: usize) -> Bytes {
        (0..length as u64).map(|i| u8::try_from((from + i) % 251).unwrap()).collect()
    }

    fn read_all(tape: &Tape, mut at: u64) -> Vec<u8> {
        let mut read = Vec::new();
        while let Some(piece) = tape.read(at) {
            assert!(!piece.is_empty());
            read.extend_from_slice(&piece);
            at += piece.len() as u64;
        }
        read
    }

    proptest! {
        /// However it comes, whoever reads from wherever reads the same bytes; what is freed is all that is lost.
        #[test]
        fn every_reader_reads_the_same(
            lengths in prop::collection::vec(prop_oneof![0usize..300, 4000usize..9000], 0..30),
            places in prop::collection::vec(any::<prop::sample::Index>(), 4),
        ) {
            let mut tape = Tape::default();
            for length in &lengths {
                tape.push(bytes(tape.end(), *length));
            }
            let whole = bytes(0, lengths.iter().sum());
            prop_assert_eq!(tape.held(), tape.end());
            let mut places: Vec<usize> = places.iter().map(|place| place.index(whole.len() + 1)).collect();
            places.sort_unstable();
            for place in &places {
                prop_assert_eq!(&read_all(&tape, *place as u64), &whole[*place..]);
            }
            for place in &places {
                tape.free_before(*place as u64);
                prop_assert_eq!(&read_all(&tape, *place as u64), &whole[*place..]);
                prop_assert!(tape.held() >= (whole.len() - place) as u64);
                prop_assert!(tape.held() <= (whole.len() - place + 9000 + SEAL_AT) as u64);
            }
            tape.free_before(tape.end());
            prop_assert_eq!((tape.held(), tape.read(tape.end())), (0, None));
            tape.push(bytes(tape.end(), 100));
            prop_assert_eq!(tape.held(), 100);
        }

        #[test]
        fn its_pieces_are_the_whole(lengths in prop::collection::vec(prop_oneof![0usize..300, 4000usize..9000], 0..30)) {
            let mut tape = Tape::default();
            for length in &lengths {
                tape.push(bytes(tape.end(), *length));
            }
            let whole = bytes(0, lengths.iter().sum());
            prop_assert_eq!(tape.pieces().concat(), &whole[..]);
            prop_assert_eq!(read_all(&tape, 0), &whole[..]);
        }
    }

    #[test]
    fn short_chunks_take_little_more_than_their_bytes() {
        let mut tape = Tape::default();
        for _ in 0..100_000 {
            tape.push(Bytes::from_static(b"x"));
        }
        assert_eq!(tape.sealed.len(), 100_000 / SEAL_AT);
    }
}
