//! Whose job it is (contract 6.2).

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use ring::digest::{Context, SHA256};

use super::encoding::Encoder;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const API_KEY: HeaderName = HeaderName::from_static("api-key");

/// The principal that a job belongs to: a digest of its credentials, from which they cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner([u8; 32]);

/// `JOB_OWNER`: who may see a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerRule {
    /// Who presents the same credentials. A job that was submitted without any belongs to whoever knows its id.
    Credentials,
    /// Whoever knows its id.
    Anyone,
}

impl Owner {
    /// As a store gives it back.
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// For a store.
    pub const fn get(self) -> [u8; 32] {
        self.0
    }

    /// The owner that a request names: by `Authorization`, `X-API-Key`, `Api-Key` and the field that carries the upstream's
    /// key, as they came from the client. None = it carries no credential.
    pub fn of(headers: &HeaderMap, key_header: &HeaderName) -> Option<Self> {
        let named = [&AUTHORIZATION, key_header, &X_API_KEY, &API_KEY];
        if !named.iter().any(|name| headers.contains_key(*name)) {
            return None;
        }
        // Which field a value stood in is part of it, and so is how often.
        let encoding = named.iter().fold(Encoder::default(), |encoder, name| {
            let values = headers.get_all(*name);
            let encoder = encoder.bytes(name.as_str().as_bytes()).number(values.iter().count() as u64);
            values.iter().fold(encoder, |encoder, value| encoder.bytes(value.as_bytes()))
        });
        Some(Self(digest(&encoding.finish())))
    }
}

impl OwnerRule {
    /// Whether somebody who presents these credentials may see a job of that owner.
    pub fn shows(self, job: Option<Owner>, presented: Option<Owner>) -> bool {
        self == Self::Anyone || job.is_none() || job == presented
    }
}

pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    finish(context)
}

pub(super) fn finish(context: Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    // SHA-256 has 32 bytes.
    bytes.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(fields: &[(&'static str, &'static str)]) -> Option<Owner> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        Owner::of(&headers, &HeaderName::from_static("x-key"))
    }

    #[test]
    fn every_credential_counts_in_its_own_field() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("x-other", "a")]), None);
        let alice = of(&[("authorization", "a")]);
        assert!(alice.is_some());
        assert_eq!(alice, of(&[("authorization", "a"), ("x-other", "1")]));
        for other in [
            &[("authorization", "b")][..],
            &[("x-api-key", "a")],
            &[("api-key", "a")],
            &[("x-key", "a")],
            &[("authorization", "a"), ("authorization", "a")],
            &[("authorization", "a"), ("x-api-key", "")],
            &[("authorization", "")],
        ] {
            assert_ne!(alice, of(other), "{other:?}");
            assert!(of(other).is_some());
        }
    }

    #[test]
    fn a_job_without_an_owner_belongs_to_whoever_knows_its_id() {
        let (alice, bob) = (Some(Owner::new([1; 32])), Some(Owner::new([2; 32])));
        let rule = OwnerRule::Credentials;
        assert!(rule.shows(alice, alice) && rule.shows(None, bob) && rule.shows(None, None));
        assert!(!rule.shows(alice, bob) && !rule.shows(alice, None));
        assert!(OwnerRule::Anyone.shows(alice, bob));
    }
}
