//! HTTP/1 with a client: one request at a time (RFC 9112).
//!
//! `connection` runs hyper on a socket that `client_io` guards; `turn` is what the two and the exchange tell each other,
//! `framing` finds where heads and bodies end, `foresight` what hyper may have at once, and `quotes` carries what hyper's `Uri` cannot hold.

mod client_io;
mod connection;
mod foresight;
mod framing;
mod quotes;
mod refusal;
#[cfg(test)]
mod tests;
mod turn;

pub(super) use connection::serve;
pub use framing::{BodyScanner, Framing, HeadScanner};
pub(super) use refusal::Refusal;
pub(super) use turn::Turn;
