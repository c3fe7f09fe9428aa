//! The worlds, and the tools they are made of.

use super::journal::shown;
use super::seeds::{play_all, seeds};
use super::world::play;

#[test]
fn every_world_balances() {
    play_all(&seeds());
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..20 {
        // On another thread: nothing that belongs to this one may matter.
        let other = std::thread::spawn(move || play(seed)).join().unwrap();
        let this = play(seed);
        assert!(this.journal == other.journal, "seed {seed}:\n{}\n\n{}", shown(&this.journal), shown(&other.journal));
    }
}
