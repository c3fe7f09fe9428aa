//! What was read of a body that turned out to be too long to be kept.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Held;

/// The first bytes of a body that was too long to be kept.
#[derive(Debug, Default)]
pub struct Beginning {
    list: VecDeque<Bytes>,
    held: Option<Held>,
}

impl Beginning {
    /// These pieces, and their part of the quota.
    pub(super) fn new(list: Vec<Bytes>, held: Held) -> Self {
        Self { list: list.into(), held: Some(held) }
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes the next piece. With the last one it gives its part of the quota back: the rest of the body, which is not
    /// kept, may take hours.
    #[expect(clippy::should_implement_trait, reason = "a body is read once, and not iterated over")]
    pub fn next(&mut self) -> Option<Bytes> {
        let piece = self.list.pop_front();
        if self.list.is_empty() {
            self.held = None;
        }
        piece
    }
}
