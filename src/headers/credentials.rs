//! The proxy's own key for an upstream.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::secret::Secret;

/// `UPSTREAM_API_KEY`: replaces the client's field of that name.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// `UPSTREAM_API_KEY_HEADER`.
    pub header: HeaderName,
    /// `UPSTREAM_API_KEY_PREFIX` and the key itself. Marked sensitive.
    pub value: Secret<HeaderValue>,
}

impl ApiKey {
    /// Puts the key into a request's fields; every field of that name that the client sent is dropped.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.insert(self.header.clone(), self.value.expose().clone());
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("header", &self.header).finish_non_exhaustive()
    }
}
