//! Values that must never be seen.

/// A secret. It has neither `Debug` nor `Display`: what cannot be formatted cannot reach a log. Types around it write
/// their own `Debug` and leave it out.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, at the one place where it is used.
    pub fn expose(&self) -> &T {
        &self.0
    }
}
