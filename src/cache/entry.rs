//! A kept answer, and how it is written to a store. (p)
//!
//! Version, key, checksum, head, end mark, body: whatever has been damaged on the way, or lies under another key, is no
//! entry.

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Crc;
use http::HeaderMap;

use super::CacheKey;
use crate::headers::hop;
use crate::job::{Damaged, StoredEnd, StoredHead};

/// A complete answer that can be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) head: StoredHead,
    /// In memory of its own: as slices of what was read it could keep much more alive.
    pub(super) body: Bytes,
    /// The fields behind the body; empty = none.
    pub(super) trailers: HeaderMap,
}

const VERSION: u8 = 1;
const KEY: usize = 32;
const CHECKSUM: usize = 4;
const LENGTH: usize = 4;
/// What an entry takes in memory beside its bytes, about.
const OVERHEAD: u64 = 512;

impl Entry {
    /// Of a head that was made ready by [`hop::strip_for_cache`], and the body in the pieces in which it came.
    pub(super) fn new(mut head: StoredHead, pieces: &[Bytes], trailers: HeaderMap) -> Self {
        if trailers.is_empty() {
            hop::strip_for_cache(&mut head.headers, false);
        }
        Self { head, body: pieces.concat().into(), trailers }
    }

    /// About how many bytes of memory it takes.
    pub(super) fn weight(&self) -> u64 {
        let fields = self.head.headers.iter().chain(&self.trailers);
        let head: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        OVERHEAD + (head + self.body.len()) as u64
    }

    /// For a store. None = it is too long for the encoding.
    pub(super) fn encode(&self, key: CacheKey) -> Option<Bytes> {
        let (head, end) = (self.head.encode(), StoredEnd { trailers: self.trailers.clone() }.encode());
        let lengths = [u32::try_from(head.len()).ok()?, u32::try_from(end.len()).ok()?];
        let length = 1 + KEY + CHECKSUM + 2 * LENGTH + head.len() + end.len() + self.body.len();
        let mut bytes = BytesMut::with_capacity(length);
        bytes.put_u8(VERSION);
        bytes.put_slice(&key.get());
        bytes.put_u32(0);
        for length in lengths {
            bytes.put_u32(length);
        }
        bytes.put_slice(&head);
        bytes.put_slice(&end);
        bytes.put_slice(&self.body);
        let sum = checksum(&bytes[1 + KEY + CHECKSUM..]).to_be_bytes();
        bytes[1 + KEY..1 + KEY + CHECKSUM].copy_from_slice(&sum);
        Some(bytes.freeze())
    }

    /// From a store. The body stays where it lies.
    pub(super) fn decode(key: CacheKey, mut bytes: Bytes) -> Result<Self, Damaged> {
        let rest = &mut bytes;
        let (version, of, sum) = (take(rest, 1)?, take(rest, KEY)?, take(rest, CHECKSUM)?);
        if version[..] != [VERSION] || of[..] != key.get() || sum[..] != checksum(rest).to_be_bytes() {
            return Err(Damaged);
        }
        let lengths = (length(rest)?, length(rest)?);
        let (head, end) = (take(rest, lengths.0)?, take(rest, lengths.1)?);
        let (head, end) = (StoredHead::decode(&head)?, StoredEnd::decode(&end)?);
        Ok(Self { head, body: bytes, trailers: end.trailers })
    }
}

/// CRC-32: against accidents, as on the wire. Who can write to the store needs no collision.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn length(bytes: &mut Bytes) -> Result<usize, Damaged> {
    let length = take(bytes, LENGTH)?;
    let length = length[..].try_into().map_err(|_| Damaged)?;
    usize::try_from(u32::from_be_bytes(length)).map_err(|_| Damaged)
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes, Damaged> {
    if length <= bytes.len() { Ok(bytes.split_to(length)) } else { Err(Damaged) }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;

    const KEY: CacheKey = CacheKey::for_tests(7);

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    fn entry(body: &[&'static [u8]], trailers: HeaderMap) -> Entry {
        let headers = map(&[("x-a", "1"), ("x-a", "2"), ("trailer", "x-sum")]);
        let pieces: Vec<Bytes> = body.iter().map(|piece| Bytes::from_static(piece)).collect();
        Entry::new(StoredHead { status: StatusCode::ACCEPTED, headers }, &pieces, trailers)
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        for (body, trailers) in [(&[][..], map(&[])), (&[&b"he"[..], b"llo"], map(&[("x-sum", "5")]))] {
            let entry = entry(body, trailers);
            assert_eq!(Entry::decode(KEY, entry.encode(KEY).unwrap()), Ok(entry));
        }
    }

    #[test]
    fn trailers_are_announced_only_where_there_are_some() {
        assert_eq!(entry(&[], map(&[])).head.headers, map(&[("x-a", "1"), ("x-a", "2")]));
        assert!(entry(&[], map(&[("x-sum", "5")])).head.headers.contains_key("trailer"));
    }

    #[test]
    fn what_lies_under_another_key_is_no_entry() {
        let bytes = entry(&[b"hello"], map(&[])).encode(KEY).unwrap();
        assert_eq!(Entry::decode(CacheKey::for_tests(8), bytes), Err(Damaged));
    }

    #[test]
    fn what_has_been_damaged_anywhere_is_no_entry() {
        let bytes = entry(&[b"hello"], map(&[("x-sum", "5")])).encode(KEY).unwrap();
        for at in 0..bytes.len() {
            assert_eq!(Entry::decode(KEY, bytes.slice(..at)), Err(Damaged), "cut at {at}");
            for bit in 0..8 {
                let mut other = bytes.to_vec();
                other[at] ^= 1 << bit;
                assert_eq!(Entry::decode(KEY, other.into()), Err(Damaged), "bit {bit} of byte {at}");
            }
        }
        let longer = [&bytes[..], b"!"].concat();
        assert_eq!(Entry::decode(KEY, longer.into()), Err(Damaged));
    }

    proptest! {
        /// Also where the checksum is right, which a writer of another version could have made so.
        #[test]
        fn no_bytes_make_it_panic(rest in any::<Vec<u8>>()) {
            let mut bytes = vec![VERSION];
            bytes.extend_from_slice(&KEY.get());
            bytes.extend_from_slice(&checksum(&rest).to_be_bytes());
            bytes.extend_from_slice(&rest);
            let _ = (Entry::decode(KEY, bytes.into()), Entry::decode(KEY, rest.into()));
        }
    }
}
