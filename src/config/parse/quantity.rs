//! Durations, sizes, counts and ports.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Parsed;
use crate::size::{ByteSize, UNITS};
use crate::time::Human;

/// No time in the configuration is longer: sums of a few of them stay far from any clock's end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Units of time, largest first (`1h30m`, never `30m1h`), in nanoseconds.
const TIME_UNITS: [(&str, u128); 4] =
    [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000)];

/// A time above zero: seconds as a decimal number, or with units: `0.25`, `250ms`, `1h30m`.
pub(in crate::config) fn duration(text: &str) -> Parsed<Duration> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err("must be more than 0".into()),
        duration => Ok(duration),
    }
}

/// The same where 0 has a meaning.
pub(in crate::config) fn duration_or_zero(text: &str) -> Parsed<Duration> {
    if text.starts_with('-') {
        return Err("must not be negative".into());
    }
    let nanos = nanos(text).ok_or("must be a time in seconds, or with a unit: ms, s, m or h")?;
    let nanos = u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos);
    if nanos > LONGEST { Err(format!("must not be more than {} (a year)", Human(LONGEST))) } else { Ok(nanos) }
}

fn nanos(text: &str) -> Option<u128> {
    let mut rest = text;
    let mut sum = 0_u128;
    let mut units = TIME_UNITS.iter();
    while !rest.is_empty() || rest.len() == text.len() {
        let (number, after) = rest.split_at(rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len()));
        let nanos = match unit {
            // A bare number is seconds, and then there is nothing else.
            "" if number.len() == text.len() => 1_000_000_000,
            "" => return None,
            // Each unit once, and the larger before the smaller.
            unit => units.find(|(name, _)| *name == unit)?.1,
        };
        sum = sum.checked_add(scaled(number, nanos)?)?;
        rest = after;
    }
    Some(sum)
}

/// A decimal number times a unit, exact down to the nanosecond: `1.5`, `0.25`, `30`; neither `.5` nor `5.`.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
    let digits = |text: &str| !text.is_empty() && text.len() <= 18 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || fraction.is_some_and(|f| !digits(f)) {
        return None;
    }
    let whole = whole.parse::<u128>().ok()?.checked_mul(unit)?;
    let Some(fraction) = fraction else { return Some(whole) };
    let power = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some(whole + fraction.parse::<u128>().ok()?.checked_mul(unit)? / power)
}

/// A number of bytes within bounds, with an optional binary unit: `33554432`, `64KiB`, `32MiB`.
pub(in crate::config) fn size(text: &str, bounds: RangeInclusive<u64>) -> Parsed<ByteSize> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None if matches!(
            unit.to_ascii_uppercase().as_str(),
            "B" | "K" | "KB" | "M" | "MB" | "G" | "GB" | "T" | "TB"
        ) =>
        {
            return Err("must be in bytes, or in binary units: KiB, MiB or GiB".into());
        }
        None => return Err("must be a whole number of bytes, or with a unit: KiB, MiB or GiB".into()),
    };
    if number.is_empty() {
        return Err("must be a whole number of bytes, or with a unit: KiB, MiB or GiB".into());
    }
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).unwrap_or(u64::MAX);
    if bytes == 0 && *bounds.start() > 0 {
        return Err("must be more than 0".into());
    }
    if bounds.contains(&bytes) {
        return Ok(ByteSize::new(bytes));
    }
    Err(format!("must be between {} and {}", ByteSize::new(*bounds.start()), ByteSize::new(*bounds.end())))
}

/// A whole number within bounds.
pub(in crate::config) fn count<T>(text: &str, bounds: RangeInclusive<T>) -> Parsed<T>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    // `+5` parses as a number, but nobody means it.
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = plain.then(|| text.parse().ok()).flatten().filter(|n| bounds.contains(n));
    number.ok_or_else(|| format!("must be a whole number from {} to {}", bounds.start(), bounds.end()))
}

/// A port; 0 = the system picks a free one.
pub(in crate::config) fn port(text: &str) -> Parsed<u16> {
    count(text, 0..=u16::MAX).map_err(|_| "must be a port from 0 to 65535".into())
}

/// A port, or `off`.
pub(in crate::config) fn port_or_off(text: &str) -> Parsed<Option<u16>> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    port(text).map(Some).map_err(|reason| format!("{reason}, or off"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_seconds_or_carry_units() {
        for (text, millis) in [
            ("0.25", 250),
            ("250ms", 250),
            ("30", 30_000),
            ("30s", 30_000),
            ("1.5s", 1_500),
            ("5m", 300_000),
            ("1.5h", 5_400_000),
            ("1h30m", 5_400_000),
            ("1h30m15s250ms", 5_415_250),
            ("1m0.5s", 60_500),
            ("008", 8_000),
            ("8760h", 31_536_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(duration("0.000000001"), Ok(Duration::from_nanos(1)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            " ",
            "soon",
            "-1",
            "-5s",
            "+5",
            "1e3",
            "1e-3s",
            "NaN",
            "inf",
            "infinity",
            "5 s",
            "5S",
            "1d",
            "10us",
            "1h30",
            "30m1h",
            "1s1s",
            "1ms1s",
            ".5",
            "5.",
            "1.2.3",
            "s",
            "ms",
            "1,5",
            "0x10",
            "1_000",
            "٣",
            "5s ",
            "8761h",
            "99999999999999999999",
            "99999999999999999h",
            "18446744073709551616",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
            assert!(duration_or_zero(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn zero_is_refused_unless_it_has_a_meaning() {
        for text in ["0", "0s", "0.0", "0ms", "0h0m", "0.00000000001"] {
            assert_eq!(duration(text), Err("must be more than 0".into()), "{text}");
            assert_eq!(duration_or_zero(text), Ok(Duration::ZERO), "{text}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_carry_binary_units() {
        for (text, bytes) in
            [("33554432", 32 << 20), ("64KiB", 64 << 10), ("32MiB", 32 << 20), ("1GiB", 1 << 30), ("1gib", 1 << 30)]
        {
            assert_eq!(size(text, 1..=u64::MAX), Ok(ByteSize::new(bytes)), "{text}");
        }
        for text in ["", "KiB", "-1", "+1", "1.5GiB", "1 KiB", "1e6", "many", "1KiBs", "0x10", "99999999TiB"] {
            assert!(size(text, 1..=1 << 40).is_err(), "{text:?}");
        }
        for text in ["64KB", "32M", "1g", "10B"] {
            assert_eq!(
                size(text, 1..=1 << 40),
                Err("must be in bytes, or in binary units: KiB, MiB or GiB".into()),
                "{text}"
            );
        }
        assert_eq!(size("0", 1..=10), Err("must be more than 0".into()));
        assert_eq!(size("1KiB", 8192..=1 << 20), Err("must be between 8KiB and 1MiB".into()));
    }

    #[test]
    fn counts_and_ports_have_bounds() {
        assert_eq!(count("7", 1..=10_u32), Ok(7));
        for text in ["", "0", "11", "+7", "-7", "7.0", "seven", "99999999999999999999"] {
            assert_eq!(count(text, 1..=10_u32), Err("must be a whole number from 1 to 10".into()), "{text}");
        }
        assert_eq!((port("0"), port("65535")), (Ok(0), Ok(65535)));
        assert!(port("65536").is_err() && port("80x").is_err());
        assert_eq!((port_or_off("OFF"), port_or_off("8789")), (Ok(None), Ok(Some(8789))));
        assert!(port_or_off("none").is_err());
    }

    proptest! {
        #[test]
        fn a_time_that_is_shown_is_read_as_the_same_time(micros in 0_u64..=31_536_000_000_000, coarse in 0_u32..=9) {
            let duration = Duration::from_micros(micros / 10_u64.pow(coarse) * 10_u64.pow(coarse));
            prop_assert_eq!(duration_or_zero(&Human(duration).to_string()), Ok(duration));
        }

        #[test]
        fn a_size_that_is_shown_is_read_as_the_same_size(bytes: u64, coarse in 0_u32..=63) {
            let bytes = ByteSize::new(bytes >> coarse << coarse);
            prop_assert_eq!(size(&bytes.to_string(), 0..=u64::MAX), Ok(bytes));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in any::<String>(), near in "[0-9.hms]{0,12}") {
            for text in [text, near] {
                let _ = (duration(&text), size(&text, 1..=1 << 30), count(&text, 1..=9_u32), port_or_off(&text));
            }
        }
    }
}
