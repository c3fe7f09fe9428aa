//! Two times of which the first is never longer than the second.

use std::time::Duration;

use crate::config::checks;
use crate::config::declare::Variable;
use crate::config::parse;
use crate::config::resolve::{Refused, Resolver, Taken};

/// Both set and the maximum smaller than the first: a contradiction. Otherwise what is set moves the default of the other.
pub(super) fn times(
    r: &mut Resolver,
    (first, read_first): (Variable, impl Fn(&mut Resolver, Variable) -> Taken<Duration>),
    max: Variable,
) -> Taken<(Duration, Duration)> {
    let default_of = |variable: Variable| parse::duration_or_zero(variable.default);
    match (r.is_set(first), r.is_set(max)) {
        (true, false) => {
            let value = read_first(r, first);
            let raised = value.ok().filter(|value| default_of(max).is_ok_and(|max| *value > max));
            let of_max = match raised {
                Some(raised) => Ok(r.follow(max, first, raised)),
                None => r.duration(max),
            };
            Ok((value?, of_max?))
        }
        (false, true) => {
            let of_max = r.duration(max);
            let lowered = of_max.ok().filter(|max| default_of(first).is_ok_and(|first| *max < first));
            let value = match lowered {
                Some(lowered) => Ok(r.follow(first, max, lowered)),
                None => read_first(r, first),
            };
            Ok((value?, of_max?))
        }
        _ => {
            let (value, of_max) = (read_first(r, first), r.duration(max));
            let (value, of_max) = (value?, of_max?);
            if of_max < value {
                checks::is_ordered(r, first, max);
                return Err(Refused);
            }
            Ok((value, of_max))
        }
    }
}
