//! Upstreams: where they are, how they are reached, and one try to obtain response headers from them.

mod address;
mod attempt;
mod connect;
mod connection;
mod failure;
#[cfg(test)]
mod memory;
mod pool;
#[cfg(test)]
mod pool_tests;
mod proxy;
mod resolve;
mod sending;
mod settings;
mod wire;

pub use address::{BaseUrl, BaseUrlError, Origin, has_dot_segment};
pub use attempt::{Head, Outbound, Phase, Progress, ResponseBody, attempt};
pub use failure::{Breach, ConnectStage, Failure, Trace};
#[cfg(test)]
pub(crate) use memory::Dial;
pub use pool::Pool;
pub use proxy::{Credentials, OutboundProxy, ProxyKind};
pub use resolve::Resolver;
pub use settings::{Http2, Timeouts, TransportSettings};
