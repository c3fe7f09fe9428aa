//! A route: an upstream, the policy of its races, and what its answers look like.

mod settings;

pub use settings::RouteSettings;
