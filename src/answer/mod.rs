//! What forebay itself says: codes, statuses, JSON. (p)
//!
//! Nothing here knows who asked; how an answer is worded for a certain client is `dialect`'s, and `edge::respond` joins
//! the two.

mod breakage;
mod code;
mod head;
mod source;

pub use breakage::Breakage;
pub use code::{Answer, Code};
pub use head::{NO_STORE, accepted, healthy, json, own, redirect};
pub use source::Source;
