//! forebay: an appliance in front of a flaky HTTP backend.
pub mod answer;
pub mod cli;
pub mod config;
pub mod dialect;
pub mod edge;
pub mod headers;
pub mod ids;
pub mod race;
pub mod routes;
pub mod secret;
pub mod size;
pub mod telemetry;
pub mod time;
pub mod upstream;
