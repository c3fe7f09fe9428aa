//! Which lane serves what, and what becomes of what does not fit into one (contract 3.3, 3.6).

use crate::config::checks;
use crate::config::declare as var;
use crate::config::parse;
use crate::config::resolve::{Resolver, Taken};
use crate::routes::{Chunked, Lane, Lanes, Overflow, OverflowSettings, Oversize};

/// `LANE` and the lists before it.
pub(super) fn lanes(r: &mut Resolver) -> Taken<Lanes> {
    let words = [("race", Lane::Race), ("stream", Lane::Stream), ("queue", Lane::Queue), ("redirect", Lane::Redirect)];
    let otherwise = r.take(var::LANE, |text| parse::choice_for_now(text, &words, &["relay"]));
    let mut list = |variable| r.optional(variable, parse::patterns).map(Option::unwrap_or_default);
    let (stream, redirect) = (list(var::STREAM_PATHS), list(var::REDIRECT_PATHS));
    let (race, queue) = (list(var::RACE_PATHS), list(var::QUEUE_PATHS));
    Ok(Lanes { otherwise: otherwise?, stream: stream?, redirect: redirect?, race: race?, queue: queue? })
}

/// `OVERSIZE` on the lane `race`, and on the lane `queue`: the same where it is set.
pub(super) fn oversize(r: &mut Resolver) -> Taken<(Oversize, Oversize)> {
    let words = [
        ("reject", Oversize::Reject),
        ("stream", Oversize::Stream),
        ("queue", Oversize::Queue),
        ("redirect", Oversize::Redirect),
    ];
    let set = r.optional(var::OVERSIZE, |text| parse::choice(text, &words))?;
    Ok(set.map_or((Oversize::Reject, Oversize::Stream), |set| (set, set)))
}

/// `CHUNKED`.
pub(super) fn chunked(r: &mut Resolver) -> Taken<Chunked> {
    let words = [("buffer", Chunked::Buffer), ("bypass", Chunked::Bypass)];
    r.take(var::CHUNKED, |text| parse::choice(text, &words))
}

/// `OVERFLOW`, `OVERFLOW_AFTER_SECONDS`.
pub(super) fn overflow(r: &mut Resolver, has_store: bool, lanes: &Taken<Lanes>) -> Taken<OverflowSettings> {
    let words = [("off", Overflow::Off), ("prefer", Overflow::Prefer), ("always", Overflow::Always)];
    let overflow = r.take(var::OVERFLOW, |text| parse::choice(text, &words));
    let after = r.optional_duration(var::OVERFLOW_AFTER_SECONDS);
    if let (Ok(lanes), Ok(overflow)) = (lanes, overflow) {
        checks::store::overflow_is_plausible(r, has_store, lanes, overflow);
    }
    Ok(OverflowSettings { overflow: overflow?, after: after? })
}
