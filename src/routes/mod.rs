//! A route: a path prefix, an upstream, the policy of its races, its lanes, and what its answers look like.

mod lanes;
mod matching;
mod onward;
mod route;
mod settings;

pub use lanes::{Chunked, Lane, Lanes, Oversize};
pub use matching::{Prefix, Routes};
pub use onward::{EndToEnd, Hop, Onward, as_sent, outbound, quotes_in_target};
pub use route::Route;
pub use settings::{AnswerSettings, Overflow, OverflowSettings, RouteSettings};
