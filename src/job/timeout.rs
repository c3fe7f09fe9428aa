//! `X-Forebay-Timeout` and `X-Proxq-Timeout`: what one execution of this job may take (contract 3.7).

use std::time::Duration;

use http::{HeaderMap, HeaderName};

static NAMES: [HeaderName; 2] =
    [HeaderName::from_static("x-forebay-timeout"), HeaderName::from_static("x-proxq-timeout")];

/// A timeout that is none: not a duration as Go writes it, not above zero, or above the maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTimeout;

/// The timeout that a request asks for; none = it does not. An empty field counts as absent.
pub fn requested(headers: &HeaderMap, most: Duration) -> Result<Option<Duration>, BadTimeout> {
    let mut values = NAMES.iter().flat_map(|name| headers.get_all(name)).filter(|value| !value.is_empty());
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| BadTimeout)?;
    if values.any(|other| other != value) {
        return Err(BadTimeout);
    }
    let timeout = go_duration(text).ok_or(BadTimeout)?;
    if timeout.is_zero() || timeout > most { Err(BadTimeout) } else { Ok(Some(timeout)) }
}

/// The units of Go's `time.ParseDuration` with their nanoseconds; a longer name comes before one that it begins with.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5, the micro sign
    ("μs", 1_000), // U+03BC, the Greek letter
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A duration as Go writes it: decimal numbers, each with a unit, such as `300ms`, `1.5h` or `2h45m`. Negative ones are none.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut sum = 0u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let (name, unit) = UNITS.into_iter().find(|(name, _)| behind.starts_with(name))?;
        rest = &behind[name.len()..];
        sum = sum.checked_add(nanos(number, unit)?)?;
    }
    // Go counts in 63 bits.
    (!text.is_empty() && i64::try_from(sum).is_ok()).then(|| Duration::from_nanos(sum))
}

/// `number` times `unit`. What is less than a nanosecond is dropped.
fn nanos(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut nanos = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        place /= 10;
        nanos = nanos.checked_add(place * u64::from(digit - b'0'))?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in [
            ("90s", Some(90_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            (".5s", Some(500)),
            ("1.s", Some(1_000)),
            ("+3ms", Some(3)),
            ("1500us", Some(1)),
            ("2000µs", Some(2)),
            ("0", Some(0)),
            ("1h1h", Some(7_200_000)),
            ("30", None),
            ("-1s", None),
            ("", None),
            ("s", None),
            (".s", None),
            ("1.2.3s", None),
            ("1 s", None),
            ("1d", None),
            ("3000000h", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(go_duration(text).map(|d| d.as_millis()), millis, "{text:?}");
        }
    }

    #[test]
    fn a_request_may_ask_for_what_is_above_zero_and_not_above_the_maximum() {
        let ask = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            requested(&headers, Duration::from_secs(60))
        };
        assert_eq!(ask(&[]), Ok(None));
        assert_eq!(ask(&[("x-forebay-timeout", "")]), Ok(None));
        assert_eq!(ask(&[("x-forebay-timeout", "1m")]), Ok(Some(Duration::from_secs(60))));
        assert_eq!(ask(&[("x-proxq-timeout", "5s")]), Ok(Some(Duration::from_secs(5))));
        assert_eq!(ask(&[("x-proxq-timeout", "5s"), ("x-forebay-timeout", "")]), Ok(Some(Duration::from_secs(5))));
        for bad in ["30", "0s", "61s", "-5s", "soon"] {
            assert_eq!(ask(&[("x-forebay-timeout", bad)]), Err(BadTimeout), "{bad}");
        }
        assert_eq!(ask(&[("x-proxq-timeout", "5s"), ("x-forebay-timeout", "6s")]), Err(BadTimeout));
    }
}
