//! Upstreams: where they are, how they are reached, and one try to obtain response headers from them.

mod address;
mod attempt;
#[cfg(test)]
mod attempt_tests;
mod connect;
mod connecting;
mod connection;
mod dial;
#[cfg(test)]
mod dial_tests;
mod failure;
mod handshake;
#[cfg(test)]
mod memory;
mod multiplex;
mod pool;
#[cfg(test)]
mod pool_tests;
mod proxy;
mod resolve;
mod response;
mod sending;
mod settings;
mod sharing;
#[cfg(test)]
mod sharing_tests;
mod stages;
mod stream;
#[cfg(test)]
mod stream_tests;
mod transport;
mod upgrade;
mod waiting;
mod wire;

pub use address::{BaseUrl, BaseUrlError, Origin, has_dot_segment};
pub use attempt::{Outbound, Phase, Progress, attempt};
pub use failure::{Breach, ConnectStage, Failure, Trace};
#[cfg(test)]
pub(crate) use memory::Dial;
pub use pool::{Holdings, Pool};
pub use proxy::{Credentials, OutboundProxy, ProxyKind};
pub use resolve::{DnsError, Resolver};
pub use response::{Head, ResponseBody};
pub use settings::{Http2, Timeouts, TransportSettings};
pub use stages::{Stage, Stages};
pub use upgrade::Switched;
