//! Bodies: the request's, kept so that it can be sent again, and the response's, watched while it passes.

mod quota;
mod snapshot;
mod watched;

pub use quota::{Full, Held, Quota};
pub use snapshot::{CollectError, Limits, Replay, Snapshot};
pub use watched::{BrokenOff, End, Report, Watch, Watched};
