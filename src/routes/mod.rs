//! A route: an upstream, the policy of its races, and what its answers look like.

mod matching;
mod route;
mod settings;

pub use matching::Routes;
pub use route::Route;
pub use settings::RouteSettings;
