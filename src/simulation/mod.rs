//! A seeded simulation of the whole proxy: many clients, many faults of the upstream, in paused time, over streams in
//! memory, and a balance after each world.
//!
//! A seed is a [`world`]: a [`setting`] with random settings, [`client`]s that behave well or badly, and an [`upstream`] of
//! which every connection and every answer has a plan of its own. They meet over a [`stream`] that is as bad as a real
//! one, and write what they do and see into a [`journal`], in a time that stands still while anybody has something to do.
//! When all clients are gone, the [`balance`] is drawn from the journal: rules that hold in every world. The actors parse
//! HTTP with a [`message`] parser of their own, not with hyper's.
//!
//! `cargo test` plays the first few hundred seeds, about a thousand a minute on one core without optimisation, and several
//! times as many with it. Longer runs, and the repetition of one bad world with all that happened in it:
//!
//! ```sh
//! FOREBAY_SIMULATION_SEEDS=20000 cargo test --release --lib simulation
//! FOREBAY_SIMULATION_SEED=1234 cargo test --lib simulation -- --nocapture
//! ```
//!
//! The same seed is the same world, to the byte and to the millisecond, as long as nobody reads a real clock, and all
//! chance comes from the seed: the actors' [`dice`], and fastrand's generator of this thread, which the proxy uses.
//!
//! To teach it something new: a draw in `setting` or in a plan, what the actor does with it, a rule of the balance where
//! something new must hold, a sight, so that it is known to occur; and then break the proxy once, and see the rule turn
//! red. Another protocol of clients or of the upstream is a variant of their `Protocol`, and a file beside `http1`.

mod balance;
mod client;
mod dice;
mod journal;
mod message;
mod seeds;
mod setting;
mod stream;
mod stream_tests;
mod tests;
mod upstream;
mod world;
