//! What forebay itself says: codes, statuses, JSON. (p)

mod source;

pub use source::Source;
