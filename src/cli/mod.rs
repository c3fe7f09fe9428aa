//! The command line: no options, a handful of commands.

pub mod check;
pub mod demo;
pub mod healthcheck;
pub mod help;
pub mod serve;
