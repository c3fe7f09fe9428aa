//! What is stored of a request besides its body.

use std::time::Duration;

use http::{HeaderMap, Method};

use super::encoding::{Decoder, Encoder};
use super::{Damaged, Owner};

/// A request as a worker needs it. It never names an upstream: the worker applies its own route of that name.
#[derive(Clone, Debug)]
pub struct StoredRequest {
    /// The route's label.
    pub route: String,
    /// As the client sent it.
    pub method: Method,
    /// Path and query as the client sent them, before any prefix is stripped, a `"` in the query as it was.
    pub target: String,
    /// End-to-end fields, without `Host` and without the one that the upstream's key replaces.
    pub headers: HeaderMap,
    /// Whether the request had a body or said that it has none.
    pub was_framed: bool,
    /// The fields behind the body; empty = none.
    pub trailers: HeaderMap,
    /// What one execution may take.
    pub timeout: Duration,
    /// Whose request it is: their answers are not the cache's to mix up.
    pub owner: Option<Owner>,
    /// `X-Forwarded-*` is forebay's own, or that of somebody who is believed.
    pub forwarded_is_known: bool,
}

/// The first byte of the encoding.
const VERSION: u64 = 1;

impl StoredRequest {
    /// For a store.
    pub fn encode(&self) -> Vec<u8> {
        Encoder::default()
            .number(VERSION)
            .bytes(self.route.as_bytes())
            .bytes(self.method.as_str().as_bytes())
            .bytes(self.target.as_bytes())
            .fields(&self.headers)
            .number(self.was_framed.into())
            .fields(&self.trailers)
            .number(u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX))
            .bytes(self.owner.map(Owner::get).as_ref().map_or(&[], |owner| &owner[..]))
            .number(self.forwarded_is_known.into())
            .finish()
    }

    /// From a store.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut decoder = Decoder::new(bytes);
        if decoder.number()? != VERSION {
            return Err(Damaged);
        }
        let request = Self {
            route: decoder.text()?.to_owned(),
            method: Method::from_bytes(decoder.bytes()?).map_err(|_| Damaged)?,
            target: decoder.text()?.to_owned(),
            headers: decoder.fields()?,
            was_framed: decoder.number()? != 0,
            trailers: decoder.fields()?,
            timeout: Duration::from_millis(decoder.number()?),
            owner: match decoder.bytes()? {
                [] => None,
                digest => Some(Owner::new(digest.try_into().map_err(|_| Damaged)?)),
            },
            forwarded_is_known: decoder.number()? != 0,
        };
        decoder.end()?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_request_comes_back_as_it_was_repeated_and_binary_fields_included() {
        let mut headers = HeaderMap::new();
        for value in [&b"1"[..], b"", b"\xc3\xa9\xff", b"1"] {
            headers.append(HeaderName::from_static("x-a"), HeaderValue::from_bytes(value).unwrap());
        }
        let request = StoredRequest {
            route: "default".into(),
            method: Method::from_bytes(b"get").unwrap(),
            target: "/a%2F?q=\"x\"&b".into(),
            headers,
            was_framed: true,
            trailers: HeaderMap::from_iter([(HeaderName::from_static("t"), HeaderValue::from_static("1"))]),
            timeout: Duration::from_millis(90_001),
            owner: Some(Owner::new([7; 32])),
            forwarded_is_known: true,
        };
        let bytes = request.encode();
        let back = StoredRequest::decode(&bytes).unwrap();
        assert_eq!(format!("{request:?}"), format!("{back:?}"));
        for end in 0..bytes.len() {
            assert!(StoredRequest::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
