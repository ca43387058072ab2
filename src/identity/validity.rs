//! The validity period of a certificate, read from its DER (RFC 5280, section 4.1.2.5).
//!
//! rustls judges servers' certificates but never tells when our own one ends; that one field is read here and
//! nothing else. Input that is not such a certificate gives `None`, whatever its bytes.

use rustls_pki_types::CertificateDer;
use time::{Date, Month, OffsetDateTime, Time};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const EXPLICIT_VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When a certificate is valid, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
}

impl Validity {
    /// Reads the period; `None` when `certificate` is not an X.509 certificate.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let mut outer = Der(Der(certificate).value(SEQUENCE)?);
        let mut to_be_signed = Der(outer.value(SEQUENCE)?);
        if to_be_signed.0.first() == Some(&EXPLICIT_VERSION) {
            to_be_signed.value(EXPLICIT_VERSION)?;
        }
        to_be_signed.value(INTEGER)?; // serial number
        to_be_signed.value(SEQUENCE)?; // signature algorithm
        to_be_signed.value(SEQUENCE)?; // issuer
        let mut period = Der(to_be_signed.value(SEQUENCE)?);
        Some(Self { not_before: period.moment()?, not_after: period.moment()? })
    }
}

/// The rest of a DER encoding.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Takes the next element, which must carry `tag`.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (found == tag).then_some(value)
    }

    /// Takes a UTCTime or a GeneralizedTime, both of which RFC 5280 wants in Zulu time with seconds.
    fn moment(&mut self) -> Option<OffsetDateTime> {
        match *self.0.first()? {
            UTC_TIME => {
                let (year, rest) = digits(self.value(UTC_TIME)?, 2)?;
                moment(if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => {
                let (year, rest) = digits(self.value(GENERALIZED_TIME)?, 4)?;
                moment(year, rest)
            }
            _ => None,
        }
    }
}

fn digits(text: &[u8], count: usize) -> Option<(i32, &[u8])> {
    let (number, rest) = text.split_at_checked(count)?;
    let number = number
        .iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i32::from(byte - b'0')))?;
    Some((number, rest))
}

/// Reads `MMDDhhmmssZ`.
fn moment(year: i32, rest: &[u8]) -> Option<OffsetDateTime> {
    let mut rest = rest;
    let mut two = || {
        let (number, tail) = digits(rest, 2)?;
        rest = tail;
        u8::try_from(number).ok()
    };
    let (month, day, hour, minute, second) = (two()?, two()?, two()?, two()?, two()?);
    let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
    (rest == b"Z").then_some(())?;
    Some(OffsetDateTime::new_utc(date, Time::from_hms(hour, minute, second).ok()?))
}
