//! HTTP/2 with a client (RFC 9113): many exchanges on one connection, none of which may harm another.
//!
//! `connection` runs hyper on a socket that `socket` guards, `answering` is what hyper runs for each stream, `streams` knows every exchange of the connection and takes
//! away from those whose client does not read, `unread` drops what is left of a request behind an early answer, and `frames` finds the boundaries that the clocks need.

mod answering;
#[cfg(test)]
mod clock_tests;
mod connection;
mod frames;
mod socket;
mod streams;
#[cfg(test)]
mod tests;
mod unread;
#[cfg(test)]
mod unread_tests;

pub(super) use answering::StreamBody;
pub(super) use connection::serve;
pub(super) use streams::Stream;
