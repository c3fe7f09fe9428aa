//! What is stored of a response besides its body: its head, and how it ended.

use http::{HeaderMap, StatusCode};

use super::Damaged;
use super::encoding::{Decoder, Encoder};

/// The head of a recorded response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHead {
    /// The upstream's.
    pub status: StatusCode,
    /// End-to-end fields.
    pub headers: HeaderMap,
}

/// The end mark of a recording: its body is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredEnd {
    /// The fields behind the body; empty = none.
    pub trailers: HeaderMap,
}

/// The first byte of both encodings.
const VERSION: u64 = 1;

impl StoredHead {
    /// For a store.
    pub fn encode(&self) -> Vec<u8> {
        Encoder::default().number(VERSION).number(self.status.as_u16().into()).fields(&self.headers).finish()
    }

    /// From a store.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut decoder = Decoder::new(bytes);
        if decoder.number()? != VERSION {
            return Err(Damaged);
        }
        let status = u16::try_from(decoder.number()?).map_err(|_| Damaged)?;
        let head = Self { status: StatusCode::from_u16(status).map_err(|_| Damaged)?, headers: decoder.fields()? };
        decoder.end()?;
        Ok(head)
    }
}

impl StoredEnd {
    /// For a store.
    pub fn encode(&self) -> Vec<u8> {
        Encoder::default().number(VERSION).fields(&self.trailers).finish()
    }

    /// From a store.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut decoder = Decoder::new(bytes);
        if decoder.number()? != VERSION {
            return Err(Damaged);
        }
        let end = Self { trailers: decoder.fields()? };
        decoder.end()?;
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn fields() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in ["a=1", "b=2"] {
            headers.append(HeaderName::from_static("set-cookie"), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_head_and_an_end_come_back_as_they_were() {
        let head = StoredHead { status: StatusCode::IM_A_TEAPOT, headers: fields() };
        assert_eq!(StoredHead::decode(&head.encode()), Ok(head));
        let end = StoredEnd { trailers: fields() };
        assert_eq!(StoredEnd::decode(&end.encode()), Ok(end));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
            let _ = (StoredHead::decode(&bytes), StoredEnd::decode(&bytes));
        }
    }
}
