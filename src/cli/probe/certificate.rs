//! What a certificate says of itself, as far as people want to know: whose it is, who issued it, and until when it is good.
//!
//! rustls verifies certificates and tells nothing of them. This reads five fields of DER (RFC 5280 §4.1) to show them;
//! nothing is decided by it.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::telemetry::Escaped;

const DAY: Duration = Duration::from_secs(86_400);

/// Shown to people. Whether it is to be trusted is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The subject's common name, or its organisation.
    pub(super) subject: String,
    /// The issuer's, with both if it has both.
    pub(super) issuer: String,
    /// Subject and issuer are the same.
    pub(super) is_self_issued: bool,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Certificate {
    /// Reads DER. None where it is not understood.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        const VERSION: u8 = 0xa0;
        let certificate = Reader(der).expect(SEQUENCE)?;
        let mut fields = Reader(Reader(certificate).expect(SEQUENCE)?);
        if fields.0.first() == Some(&VERSION) {
            fields.next()?;
        }
        let (_serial, _algorithm) = (fields.next()?, fields.next()?);
        let issuer = fields.expect(SEQUENCE)?;
        let mut validity = Reader(fields.expect(SEQUENCE)?);
        let subject = fields.expect(SEQUENCE)?;
        Some(Self {
            subject: name(subject),
            issuer: name(issuer),
            is_self_issued: subject == issuer,
            not_before: time(validity.next()?)?,
            not_after: time(validity.next()?)?,
        })
    }
}

/// The end of a sentence, such as `of api.example, issued by R3 (Let's Encrypt), good until 1 Jan 2027`.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuer = if self.is_self_issued { "itself" } else { &self.issuer };
        let (subject, issuer) = (Escaped(&self.subject), Escaped(issuer));
        write!(f, "of {subject}, issued by {issuer}, good until {}", date(self.not_after))?;
        let left = self.not_after.duration_since(SystemTime::now());
        left.map_or(Ok(()), |left| write!(f, " ({} days)", left.as_secs() / DAY.as_secs()))
    }
}

/// `06 Nov 1994 08:49:37 GMT`
pub(super) fn date(time: SystemTime) -> String {
    let shown = httpdate::fmt_http_date(time);
    shown.split_once(", ").map_or(shown.clone(), |(_, date)| date.to_owned())
}

const SEQUENCE: u8 = 0x30;

/// Elements of DER, one after the other: their tags and contents.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        // Below 128 the byte is the length; above, the number of the length's bytes.
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

/// `common name (organisation)`, or one of the two.
fn name(der: &[u8]) -> String {
    const SET: u8 = 0x31;
    const COMMON_NAME: &[u8] = &[0x55, 4, 3];
    const ORGANISATION: &[u8] = &[0x55, 4, 10];
    let (mut sets, mut common, mut organisation) = (Reader(der), None, None);
    while let Some(set) = sets.expect(SET) {
        let part = Reader(set).expect(SEQUENCE).and_then(|part| {
            let mut part = Reader(part);
            Some((part.next()?.1, String::from_utf8_lossy(part.next()?.1).into_owned()))
        });
        match part {
            Some((COMMON_NAME, text)) => common = Some(text),
            Some((ORGANISATION, text)) => organisation = Some(text),
            _ => {}
        }
    }
    match (common, organisation) {
        (Some(common), Some(organisation)) => format!("{common} ({organisation})"),
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => "a nameless one".to_owned(),
    }
}

/// `UTCTime` or `GeneralizedTime`, always in UTC and with seconds (RFC 5280 §4.1.2.5).
fn time((tag, content): (u8, &[u8])) -> Option<SystemTime> {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let digits = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: u64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day, hour, minute, second) = (part(0)?, part(2)?, part(4)?, part(6)?, part(8)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before_month: u64 = lengths.iter().zip(1..month).map(|(length, _)| length).sum();
    let days = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969) + before_month + day - 1;
    let seconds = days * DAY.as_secs() + hour * 3600 + minute * 60 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_times_are_read() {
        let der = made(|params| {
            params.not_before = date_time_ymd(2024, 2, 29);
            params.not_after = date_time_ymd(2051, 3, 1);
            params.distinguished_name.push(DnType::CommonName, "api.example\u{1b}[2J");
            params.distinguished_name.push(DnType::OrganizationName, "Example & Söhne");
        });
        let certificate = Certificate::read(&der).unwrap();
        assert_eq!(certificate.subject, "api.example\u{1b}[2J (Example & Söhne)");
        assert!(certificate.is_self_issued);
        assert_eq!(date(certificate.not_before), "29 Feb 2024 00:00:00 GMT");
        assert_eq!(date(certificate.not_after), "01 Mar 2051 00:00:00 GMT");
        let shown = certificate.to_string();
        assert!(
            shown.starts_with("of api.example\\u{1b}[2J (Example & Söhne), issued by itself, good until 01 Mar 2051")
        );
    }

    #[test]
    fn a_day_of_every_week_of_four_hundred_years_has_its_time() {
        for week in 0..20_871 {
            let expected = SystemTime::UNIX_EPOCH + DAY * 7 * week;
            // 06 Nov 1994 08:49:37 GMT
            let shown = date(expected);
            let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(&shown[3..6]).unwrap() / 3 + 1;
            let text = format!("{}{month:02}{}000000Z", &shown[7..11], &shown[..2]);
            assert_eq!(time((0x18, text.as_bytes())), Some(expected), "{text}");
        }
        assert_eq!(time((0x17, b"491231235959Z")), time((0x18, b"20491231235959Z")));
        assert_eq!(time((0x17, b"991231235959Z")), time((0x18, b"19991231235959Z")));
    }

    #[test]
    fn what_is_cut_short_or_no_certificate_is_not_understood() {
        let der = made(|_| {});
        for length in 0..der.len() {
            assert_eq!(Certificate::read(&der[..length]), None, "{length}");
        }
        for text in ["20270101000000", "20271301000000Z", "2027é101000000Z", "Z", "2027-1-1 00:00Z"] {
            assert_eq!(time((0x18, text.as_bytes())), None, "{text}");
        }
    }
}
