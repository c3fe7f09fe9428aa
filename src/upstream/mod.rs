//! Upstreams: where they are, how they are reached, and one try to obtain response headers from them.

mod address;
mod settings;

pub use address::{BaseUrl, BaseUrlError, Origin, has_dot_segment};
pub use settings::TransportSettings;
