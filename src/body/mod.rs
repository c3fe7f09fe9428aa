//! Bodies: the request's, kept so that it can be sent again or passed on as it comes, and the response's, watched while
//! it passes.

mod beginning;
mod passing;
mod quota;
mod snapshot;
mod watched;

pub use beginning::Beginning;
pub use passing::{ClientFault, Passing, Payload};
pub use quota::{Full, Held, Quota};
pub use snapshot::{CollectError, Collected, Limits, Replay, Snapshot, next_frame};
pub use watched::{BrokenOff, End, Report, Watch, Watched};
