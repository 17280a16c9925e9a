//! How long the files of a `tls` block are valid, for monitoring and findings.

use chrono::{DateTime, Utc};

use super::certificate::PeerCertificate;

/// Validity of the files of a `tls` block; `None` for kinds that it does not use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// The broker's certificate that expires first.
    pub certificate: Option<ValidityPeriod>,
    /// The CA that expires first.
    pub ca: Option<ValidityPeriod>,
    /// The CRL that must be renewed first.
    pub crl: Option<ValidityPeriod>,
}

/// The period in which something is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidityPeriod {
    /// The certificate's subject, or the CRL's issuer.
    pub name: String,
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
}

impl ValidityPeriod {
    /// The validity period of a certificate.
    pub(super) fn of(certificate: &PeerCertificate) -> Self {
        certificate.period()
    }

    /// Days until it expires; negative afterwards.
    pub fn days_left(&self, now: DateTime<Utc>) -> f64 {
        (self.until - now).as_seconds_f64() / 86_400.0
    }
}

impl PeerCertificate {
    /// The certificate's validity period.
    pub fn period(&self) -> ValidityPeriod {
        ValidityPeriod {
            name: self.subject.clone(),
            from: self.not_before,
            until: self.not_after,
        }
    }
}

/// The one of two that expires first.
pub(super) fn earliest(
    known: Option<ValidityPeriod>,
    new: ValidityPeriod,
) -> Option<ValidityPeriod> {
    match known {
        Some(known) if known.until <= new.until => Some(known),
        _ => Some(new),
    }
}
