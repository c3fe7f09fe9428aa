//! Which worlds are played, and how a bad one is told.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::thread;

use super::balance;
use super::journal::shown;
use super::world::{Played, play};

/// How many worlds an ordinary run plays: about twenty seconds of one core without optimisation.
const ORDINARY: u64 = 500;
/// So many worlds show everything that there is to be seen.
const ENOUGH: u64 = 500;
/// Bad worlds that are named.
const NAMED: usize = 10;

/// The seeds that were asked for: `FOREBAY_SIMULATION_SEED=1234` is that one, `FOREBAY_SIMULATION_SEEDS=20000` so many.
pub(super) fn seeds() -> Range<u64> {
    if let Some(seed) = number("FOREBAY_SIMULATION_SEED") {
        return seed..seed + 1;
    }
    0..number("FOREBAY_SIMULATION_SEEDS").unwrap_or(ORDINARY)
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Plays the worlds of these seeds, on all cores, and panics if one of them is bad.
pub(super) fn play_all(seeds: &Range<u64>) {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (mut bad, mut seen) = (BTreeMap::new(), BTreeSet::new());
    thread::scope(|scope| {
        let players: Vec<_> = (0..cores)
            .map(|core| {
                let seeds = seeds.clone().skip(core).step_by(cores);
                scope.spawn(move || seeds.map(|seed| (seed, look(&play(seed)))).collect::<Vec<_>>())
            })
            .collect();
        for (seed, (complaints, sights)) in players.into_iter().flat_map(|player| player.join().unwrap()) {
            seen.extend(sights);
            if !complaints.is_empty() {
                bad.insert(seed, complaints);
            }
        }
    });
    assert!(bad.is_empty(), "{}", told(&bad));
    let unseen: Vec<_> = balance::sights().filter(|sight| !seen.contains(sight)).collect();
    let are_few = seeds.end - seeds.start < ENOUGH;
    assert!(are_few || unseen.is_empty(), "the worlds were good, but never showed {unseen:?}");
}

fn look(played: &Played) -> (Vec<String>, Vec<&'static str>) {
    (balance::complaints(played), balance::seen(played))
}

/// What is wrong, how to repeat it, and all that happened in the first bad world.
fn told(bad: &BTreeMap<u64, Vec<String>>) -> String {
    let mut text = format!("{} bad worlds\n", bad.len());
    for (seed, complaints) in bad.iter().take(NAMED) {
        writeln!(text, "seed {seed}:\n    {}", complaints.join("\n    ")).unwrap();
    }
    if let Some(first) = bad.keys().next() {
        let played = play(*first);
        let (setting, journal) = (&played.setting, shown(&played.journal));
        write!(text, "\nWhat happened in the first of them:\n\n{setting:#?}\n\n{journal}\n").unwrap();
        let repeat = "cargo test --lib simulation -- --nocapture";
        writeln!(text, "To repeat it: FOREBAY_SIMULATION_SEED={first} {repeat}").unwrap();
    }
    text
}
