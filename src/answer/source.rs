//! Whose answer it is.

use http::{HeaderName, HeaderValue};

/// `SOURCE_HEADER`: the field that marks an answer as made by forebay itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `X-Forebay-Source` unless configured otherwise.
    pub name: HeaderName,
    /// `forebay` unless configured otherwise.
    pub value: HeaderValue,
}
