//! forebay: an appliance in front of a flaky HTTP backend, above all LLM backends.
//!
//! A forebay is the basin in front of a turbine: it buffers the water, settles it, and lets the surplus spill. This
//! program does the same with requests: it buffers each one, *races* every attempt against a response-header deadline,
//! retries only before headers arrive, and then streams byte for byte.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | exchange | one client request and its one response |
//! | attempt | one try to obtain response headers from an upstream |
//! | header deadline | how long one attempt may wait for response headers, from its request being written completely |
//! | commit | the instant a complete response head is accepted; from here on nothing is retried and bytes only flow |
//! | lane | how an exchange is served: raced, streamed, queued or redirected |
//! | route | a path prefix with its upstream, its lanes and its policy |
//! | dialect | what a client does with an answer |
//! | job | an exchange that is stored and executed by a worker |
//! | execution | one run of a job against its upstream |
//! | recording | a stored response: a head, the body's bytes in order, an end mark; it can be read while it is written |
//! | store | where jobs, recordings and cache entries live: a file of this machine, or Redis |
//! | owner | the principal a job belongs to, derived from its credentials |
//!
//! # The walk: race → stream
//!
//! [`edge`] accepts (`listen`), finds out which protocol is spoken (`serve`, `tls`), guards the socket (`http1`, `http2`) and
//! tells the story (`exchange`): what is refused (`guard`), which route and lane serve ([`routes`]), what the upstream must
//! not see ([`headers`]), the body kept for replay ([`body::Snapshot`]) or passed on as it comes ([`body::Passing`]), and the
//! request as the upstream is to see it (`routes::outbound`). [`race::run`] drives [`race::Plan`], which decides; each try is an
//! [`upstream::attempt`] on a connection of the [`upstream::Pool`]. A [`race::Committed`] head goes through
//! [`body::Watched`] to the client, or becomes a tunnel (`tunnel`). Whatever goes wrong leaves through one door
//! (`edge::respond`), in the words of [`answer`] and the [`dialect`] of the client.
//!
//! Where the answer may be known already, or the request may become a job, the race is run by somebody who can outlive the
//! client (`edge::beyond`), and the [`cache`] is looked into before.
//!
//! # The walk: queue → worker → poll
//!
//! The exchange stores its request ([`queue::Queue::submit`], a [`job::StoredRequest`] in the [`store`]) and answers 202. A
//! worker claims it, keeps its lease, finds the route by its name and runs one execution through the same engine;
//! [`recording::Writer`] writes the response while it comes, and completes the job with its last byte. Who comes for it
//! (`queue::api`) reads, or follows, with a [`recording::Reader`].
//!
//! # The walk: overflow
//!
//! [`race::run_until_overflow`] ends in [`race::Overflowed`] with its attempts still in flight. While the job is being stored
//! they go on; then one is [`race::Adopted`] and goes on as the job's execution, in this process, under a lease.
//!
//! # Floors
//!
//! A room names only rooms on lower floors, and rooms of one floor do not know each other; `tests/house.rs` keeps it so.
//!
//! | floor | rooms |
//! |---|---|
//! | 0 | [`ids`], [`time`], [`size`], [`secret`], [`gather`], [`hearing`], [`trust`] |
//! | 1 | [`shutdown`], [`telemetry`], [`stats`], [`headers`], [`dialect`], [`job`], [`answer`] |
//! | 2 | [`body`], [`store`] |
//! | 3 | [`upstream`], [`recording`] |
//! | 4 | [`race`], [`cache`] |
//! | 5 | [`routes`] |
//! | 6 | [`queue`] |
//! | 8 | [`edge`], [`admin`] |
//! | 9 | [`config`]: fills the settings types of the rooms |
//! | 10 | [`app`]: builds everything, starts and stops it; in tests, `simulation` |
//! | 11 | [`cli`], and `main` |

pub mod admin;
pub mod answer;
pub mod app;
pub mod body;
pub mod cache;
pub mod cli;
pub mod config;
pub mod dialect;
pub mod edge;
pub mod gather;
pub mod headers;
pub mod hearing;
pub mod ids;
pub mod job;
pub mod queue;
pub mod race;
pub mod recording;
pub mod routes;
pub mod secret;
pub mod shutdown;
#[cfg(test)]
mod simulation;
pub mod size;
pub mod stats;
pub mod store;
pub mod telemetry;
pub mod time;
pub mod trust;
pub mod upstream;
