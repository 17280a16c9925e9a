//! How long what a `tls` block uses is valid: for monitoring and the findings.

use chrono::{DateTime, Utc};

use super::certificate::PeerCertificate;

/// How long the files of a `tls` block are valid; `None` for what there is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validity {
    /// The own certificate that ends first.
    pub certificate: Option<Term>,
    /// The CA that ends first.
    pub ca: Option<Term>,
    /// The CRL whose successor is due first.
    pub crl: Option<Term>,
}

/// The time in which something is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The certificate's subject; of a CRL its issuer.
    pub name: String,
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
}

impl Term {
    /// That of a certificate.
    pub(super) fn of(certificate: &PeerCertificate) -> Self {
        certificate.term()
    }

    /// Days until the end; negative afterwards.
    pub fn days_left(&self, now: DateTime<Utc>) -> f64 {
        (self.until - now).as_seconds_f64() / 86_400.0
    }
}

impl PeerCertificate {
    /// The time in which it is valid.
    pub fn term(&self) -> Term {
        Term {
            name: self.subject.clone(),
            from: self.not_before,
            until: self.not_after,
        }
    }
}

/// The one of two that ends first.
pub(super) fn earliest(known: Option<Term>, new: Term) -> Option<Term> {
    match known {
        Some(known) if known.until <= new.until => Some(known),
        _ => Some(new),
    }
}
