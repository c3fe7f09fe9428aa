//! What a certificate says of itself, as far as people want to know: whose it is, who issued it, and until when it is good.
//!
//! rustls verifies certificates and tells nothing of them. Four fields (RFC 5280 §4.1) are read to be shown; nothing is
//! decided by them.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::edge::validity::{Reader, SEQUENCE, seconds};
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
        let certificate = Reader(der).content(SEQUENCE)?;
        let mut fields = Reader(Reader(certificate).content(SEQUENCE)?);
        if fields.0.first() == Some(&VERSION) {
            fields.next()?;
        }
        let (_serial, _algorithm) = (fields.next()?, fields.next()?);
        let issuer = fields.content(SEQUENCE)?;
        let mut validity = Reader(fields.content(SEQUENCE)?);
        let subject = fields.content(SEQUENCE)?;
        Some(Self {
            subject: name(subject),
            issuer: name(issuer),
            is_self_issued: subject == issuer,
            not_before: time(validity.next()?)?,
            not_after: time(validity.next()?)?,
        })
    }
}

/// The end of a sentence, such as `of api.example, issued by R3 (Let's Encrypt), good until 01 Jan 2027 (89 days)`.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuer = if self.is_self_issued { "itself" } else { &self.issuer };
        let (subject, issuer) = (Escaped(&self.subject), Escaped(issuer));
        let end = date(self.not_after);
        let day = end.get(..11).unwrap_or(&end);
        write!(f, "of {subject}, issued by {issuer}, good until {day}")?;
        let left = self.not_after.duration_since(SystemTime::now());
        left.map_or(Ok(()), |left| write!(f, " ({} days)", left.as_secs() / DAY.as_secs()))
    }
}

/// `06 Nov 1994 08:49:37 GMT`
pub(super) fn date(time: SystemTime) -> String {
    let shown = httpdate::fmt_http_date(time);
    shown.split_once(", ").map_or(shown.clone(), |(_, date)| date.to_owned())
}

/// `common name (organisation)`, or one of the two.
fn name(der: &[u8]) -> String {
    const SET: u8 = 0x31;
    const COMMON_NAME: &[u8] = &[0x55, 4, 3];
    const ORGANISATION: &[u8] = &[0x55, 4, 10];
    let (mut sets, mut common, mut organisation) = (Reader(der), None, None);
    while let Some(set) = sets.content(SET) {
        let part = Reader(set).content(SEQUENCE).and_then(|part| {
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

/// From 1970 on: before that there was no certificate. Up to the year 9999: httpdate shows none beyond, and panics.
fn time((tag, text): (u8, &[u8])) -> Option<SystemTime> {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = u64::try_from(seconds(tag, text)?).ok()?;
    (seconds < YEAR_10000).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
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
    fn what_is_cut_short_or_no_certificate_is_not_understood() {
        let der = made(|_| {});
        for length in 0..der.len() {
            assert_eq!(Certificate::read(&der[..length]), None, "{length}");
        }
        for text in [b"99991231235960Z", b"19691231235959Z"] {
            assert_eq!(time((0x18, text)), None);
        }
        assert!(time((0x18, b"99991231235959Z")).is_some_and(|last| date(last).starts_with("31 Dec 9999")));
    }
}
