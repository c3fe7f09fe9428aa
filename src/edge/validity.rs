//! Until when a certificate is valid, and the DER that says so. (p)
//!
//! rustls checks peers' certificates and has no need to show a date of our own. The one field is read here: its place in
//! the certificate is fixed (RFC 5280 §4.1), and DER has one spelling for everything (X.690 §10).

/// Several values, one after the other.
pub const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, around the version, which may be missing.
const VERSION: u8 = 0xa0;

/// `notAfter` in seconds since 1970, UTC. None where the bytes are no certificate.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let mut certificate = Reader(Reader(certificate).content(SEQUENCE)?);
    let mut fields = Reader(certificate.content(SEQUENCE)?);
    if fields.0.first() == Some(&VERSION) {
        fields.next()?;
    }
    for _ in ["serialNumber", "signature", "issuer"] {
        fields.next()?;
    }
    let mut validity = Reader(fields.content(SEQUENCE)?);
    validity.next()?;
    let (tag, text) = validity.next()?;
    seconds(tag, text)
}

/// Reads one DER value after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The tag and the content of the next value.
    #[expect(clippy::should_implement_trait, reason = "what cannot be read is not the end")]
    pub fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[tag, first], rest) = self.0.split_first_chunk()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            // More than four bytes of length is no certificate.
            let count = usize::from(first & 0x7f);
            let (bytes, rest) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next value, which has this tag.
    pub fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on (RFC 5280 §4.1.2.5).
///
/// In seconds since 1970, UTC.
pub fn seconds(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let short = number(&digits[..2]);
            (if short < 50 { 2000 + short } else { 1900 + short }, &digits[2..])
        }
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
    let is_a_date = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    is_a_date.then(|| ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(digits: &[u8]) -> i64 {
    digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. A year is taken to begin in March, so that a leap day is its
/// last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, months_since_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days_before_month = (153 * months_since_march + 2) / 5;
    // 719 468 days lie between the first of March of the year zero and 1970.
    year * 365 + leap_days + days_before_month + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        for (year, month, day, unix) in [
            (2026, 3, 1, 1_772_323_200),
            (2049, 12, 31, 2_524_521_600),
            (2050, 1, 1, 2_524_608_000),
            (9999, 12, 31, 253_402_214_400),
        ] {
            let mut params = CertificateParams::new(vec!["forebay.test".into(); 30]).unwrap();
            params.not_after = date_time_ymd(year, month, day);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(not_after(certificate.der()), Some(unix), "{year}-{month}-{day}");
            for length in 0..40 {
                assert_eq!(not_after(&certificate.der()[..length]), None, "cut after {length} bytes");
            }
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (tag, text, unix) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "500101000000Z", Some(-631_152_000)),
            (UTC_TIME, "000229235959Z", Some(951_868_799)),
            (GENERALIZED_TIME, "21000301000000Z", Some(4_107_542_400)),
            (UTC_TIME, "000001000000Z", None),
            (UTC_TIME, "0001010000Z", None),
            (UTC_TIME, "000101000000+0000", None),
            (GENERALIZED_TIME, "000101000000Z", None),
        ] {
            assert_eq!(seconds(tag, text.as_bytes()), unix, "{text}");
        }
    }

    #[test]
    fn any_other_bytes_are_no_certificate() {
        for bytes in [&b""[..], b"\x30", b"\x30\x80", b"\x30\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x30\x02\x30\x00"]
        {
            assert_eq!(not_after(bytes), None, "{bytes:?}");
        }
    }
}
