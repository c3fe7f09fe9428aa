//! Fields of messages: what is removed, what is set, what is never forwarded. (p)
//!
//! Fields are stripped or set in this room only.

pub mod credentials;
pub mod forwarded;
pub mod framing;
pub mod hop;
pub mod media;
pub mod notable;
pub mod prefer;
pub mod surplus;
pub mod trailers;
pub mod upgrade;
pub mod web;

pub use credentials::ApiKey;
pub use forwarded::{Arrival, Forwarded, TrustedProxies};
pub use notable::Notable;
pub use prefer::RespondAsync;
pub use surplus::Surplus;
pub use web::WebPageRule;
