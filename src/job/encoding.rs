//! How heads are stored: a list of byte strings, each behind its length. (p)
//!
//! Injective: two different lists never have the same encoding, so the same bytes serve for digests. Numbers are
//! little-endian base 128, as in Protocol Buffers.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Stored bytes that are not what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stored data is damaged")
    }
}

impl std::error::Error for Damaged {}

/// Writes one encoding.
#[derive(Debug, Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    pub(super) fn number(mut self, mut number: u64) -> Self {
        while number >= 0x80 {
            self.0.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap_or_default());
        self
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let mut encoder = self.number(bytes.len() as u64);
        encoder.0.extend_from_slice(bytes);
        encoder
    }

    /// The fields in the order in which they are iterated over: repeated ones stand together, in their own order.
    pub(super) fn fields(self, fields: &HeaderMap) -> Self {
        let encoder = self.number(fields.len() as u64);
        fields
            .iter()
            .fold(encoder, |encoder, (name, value)| encoder.bytes(name.as_str().as_bytes()).bytes(value.as_bytes()))
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads one encoding.
#[derive(Debug)]
pub(super) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Damaged)?;
            self.0 = rest;
            let digit = u64::from(byte & 0x7f);
            if digit << shift >> shift != digit {
                return Err(Damaged);
            }
            number |= digit << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    pub(super) fn fields(&mut self) -> Result<HeaderMap, Damaged> {
        let mut fields = HeaderMap::new();
        for _ in 0..self.number()? {
            let name = HeaderName::from_bytes(self.bytes()?).map_err(|_| Damaged)?;
            let value = HeaderValue::from_bytes(self.bytes()?).map_err(|_| Damaged)?;
            fields.try_append(name, value).map_err(|_| Damaged)?;
        }
        Ok(fields)
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Result<(), Damaged> {
        if self.0.is_empty() { Ok(()) } else { Err(Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(number in any::<u64>(), texts in prop::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let encoder = texts.iter().fold(Encoder::default().number(number), |encoder, text| encoder.bytes(text));
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            prop_assert_eq!(decoder.number(), Ok(number));
            for text in &texts {
                prop_assert_eq!(decoder.bytes(), Ok(&text[..]));
            }
            prop_assert_eq!(decoder.end(), Ok(()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let mut decoder = Decoder::new(&bytes);
            let _ = (decoder.number(), decoder.fields(), decoder.text(), decoder.end());
        }
    }

    #[test]
    fn a_number_with_more_digits_than_it_needs_room_for_is_damaged() {
        assert_eq!(Decoder::new(&[0xff; 11]).number(), Err(Damaged));
        assert_eq!(Decoder::new(&[0x80]).number(), Err(Damaged));
        let largest = Encoder::default().number(u64::MAX).finish();
        assert_eq!(Decoder::new(&largest).number(), Ok(u64::MAX));
    }
}
