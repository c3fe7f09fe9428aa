//! `Idempotency-Key`: the same request twice is one job (contract 6.1).

use std::fmt;

use http::HeaderName;
use ring::digest::{Context, SHA256};

use super::Owner;
use super::encoding::Encoder;

/// `Idempotency-Key`.
pub const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A key within its scope, and which request it was used for. Both are digests: a store never sees the key itself here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Of owner, route and key.
    pub scope: [u8; 32],
    /// Of method, path, query and body.
    pub fingerprint: [u8; 32],
}

/// What a request asks for, digested while its body comes.
#[derive(Clone)]
pub struct Fingerprint(Context);

impl Fingerprint {
    /// Of a request without its body. `target` is its path and query as the client sent them.
    pub fn of(method: &str, target: &str) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&Encoder::default().bytes(method.as_bytes()).bytes(target.as_bytes()).finish());
        Self(context)
    }

    /// The next bytes of the body.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprint").finish_non_exhaustive()
    }
}

impl Idempotency {
    /// Of a request that carries a key, with its whole body in the fingerprint.
    pub fn new(owner: Option<Owner>, route: &str, key: &[u8], request: Fingerprint) -> Self {
        let owner = owner.map(Owner::get);
        let scope =
            Encoder::default().bytes(owner.as_ref().map_or(&[], |owner| owner)).bytes(route.as_bytes()).bytes(key);
        Self { scope: super::owner::digest(&scope.finish()), fingerprint: super::owner::finish(request.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_within_its_owner_and_route_and_a_request_by_all_that_it_asks() {
        let of = |owner, route, key: &str, method, target, body: &[&str]| {
            let mut request = Fingerprint::of(method, target);
            for piece in body {
                request.update(piece.as_bytes());
            }
            Idempotency::new(owner, route, key.as_bytes(), request)
        };
        let owner = Some(Owner::new([7; 32]));
        let first = of(owner, "a", "k", "POST", "/x?y", &["bo", "dy"]);
        assert_eq!(first, of(owner, "a", "k", "POST", "/x?y", &["b", "ody"]));
        for (other, same_scope, same_request) in [
            (of(None, "a", "k", "POST", "/x?y", &["body"]), false, true),
            (of(owner, "b", "k", "POST", "/x?y", &["body"]), false, true),
            (of(owner, "ak", "", "POST", "/x?y", &["body"]), false, true),
            (of(owner, "a", "k", "PUT", "/x?y", &["body"]), true, false),
            (of(owner, "a", "k", "POST", "/x", &["?ybody"]), true, false),
            (of(owner, "a", "k", "POST", "/x?y", &["bodY"]), true, false),
        ] {
            assert_eq!(other.scope == first.scope, same_scope);
            assert_eq!(other.fingerprint == first.fingerprint, same_request);
        }
    }
}
