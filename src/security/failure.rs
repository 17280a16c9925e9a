//! Why a TLS handshake failed, as text for the log.

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, PeerMisbehaved,
};

use super::verifier::{take_reason, take_refused};
use crate::protocol::error::quoted;

/// Causes of failed handshakes, as they are counted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Cause {
    /// The peer did not continue in time.
    Timeout,
    /// The peer closed the connection.
    Closed,
    /// The peer closed the connection without sending a byte, as port probes do.
    Silent,
    /// The bytes received are not TLS.
    NotTls,
    /// The peer sent no certificate although one is required.
    NoCertificate,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is on a CRL.
    Revoked,
    /// The certificate is signed by a CA that is not trusted.
    UnknownIssuer,
    /// The CRL of the certificate's CA is missing or expired.
    NoCrl,
    /// The certificate's key is not pinned.
    NotPinned,
    /// The certificate cannot be used for another reason.
    BadCertificate,
    /// No TLS version, cipher suite or group in common.
    NothingInCommon,
    /// The peer ended the handshake with an alert.
    Alert,
    /// Too many handshakes at once.
    TooMany,
    /// Anything else.
    Other,
}

impl Cause {
    /// All causes, in the order of their discriminants.
    pub const ALL: [Self; 16] = [
        Self::Timeout,
        Self::Closed,
        Self::Silent,
        Self::NotTls,
        Self::NoCertificate,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::UnknownIssuer,
        Self::NoCrl,
        Self::NotPinned,
        Self::BadCertificate,
        Self::NothingInCommon,
        Self::Alert,
        Self::TooMany,
        Self::Other,
    ];

    /// Whether it is a fault. A probe that only checks whether the port is open is none.
    pub fn is_fault(self) -> bool {
        self != Self::Silent
    }

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::NotTls => "not_tls",
            Self::NoCertificate => "no_certificate",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::UnknownIssuer => "unknown_issuer",
            Self::NoCrl => "no_crl",
            Self::NotPinned => "not_pinned",
            Self::BadCertificate => "bad_certificate",
            Self::NothingInCommon => "nothing_in_common",
            Self::Alert => "alert",
            Self::TooMany => "too_many",
            Self::Other => "other",
        }
    }
}

/// A handshake that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why, as counted.
    pub cause: Cause,
    /// Why, for the log.
    pub text: String,
    /// The subject of the revoked certificate, or that and the CA, if that is why.
    pub revoked: Option<String>,
    /// Whether the peer sent an HTTP request without TLS. It got no alert, which it could not read.
    pub is_http: bool,
}

impl Failure {
    /// A failure with its text.
    pub fn new(cause: Cause, text: impl Into<String>) -> Self {
        Self {
            cause,
            text: text.into(),
            revoked: None,
            is_http: false,
        }
    }

    /// Makes a failure of rustls' error. Call it on the thread on which rustls returned the error.
    pub fn of(error: &Error) -> Self {
        let refused = take_refused();
        let (cause, text) = explain(error);
        let Some(refused) = refused else {
            return Self::new(cause, text);
        };
        let subject = refused.subject;
        match (cause, refused.revoked_authority) {
            (Cause::Revoked, authority) => {
                let text = match &authority {
                    Some(ca) => {
                        format!("the CA of the peer's certificate is revoked, {ca}: {subject}")
                    }
                    None => format!("{text}: {subject}"),
                };
                Self {
                    revoked: Some(revoked_name(subject, authority.as_deref())),
                    ..Self::new(cause, text)
                }
            }
            (Cause::NoCrl | Cause::UnknownIssuer, _) => {
                let text = format!("{text}: {subject}, signed by {}", refused.issuer);
                Self::new(cause, text)
            }
            _ => Self::new(cause, format!("{text}: {subject}")),
        }
    }
}

/// The name under which a revoked certificate is counted: whose it is, or that and the CA that
/// is revoked.
pub fn revoked_name(who: String, authority: Option<&str>) -> String {
    match authority {
        None => who,
        Some(ca) => format!("{who} (the CA {ca} is revoked)"),
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

fn explain(error: &Error) -> (Cause, String) {
    match error {
        Error::NoCertificatesPresented => (
            Cause::NoCertificate,
            "the client did not provide a certificate".into(),
        ),
        Error::InvalidCertificate(error) => explain_certificate(error),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => (
            Cause::NotTls,
            "the peer did not send TLS; its configuration may lack it".into(),
        ),
        Error::InvalidMessage(_) => (
            Cause::NotTls,
            "the peer did not send TLS, or what it sent is \
                                                     damaged"
                .into(),
        ),
        Error::AlertReceived(alert) => (Cause::Alert, explain_alert(*alert)),
        Error::PeerIncompatible(why) => (Cause::NothingInCommon, explain_incompatible(why)),
        Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite) => (
            Cause::NothingInCommon,
            "the peer chose a cipher suite that it was not offered".into(),
        ),
        Error::PeerMisbehaved(why) => (
            Cause::Other,
            format!("the peer violated the TLS protocol: {}", to_words(why)),
        ),
        Error::DecryptError => (
            Cause::Other,
            "what the peer sent cannot be decrypted".into(),
        ),
        error => (Cause::Other, error.to_string()),
    }
}

fn explain_certificate(error: &CertificateError) -> (Cause, String) {
    use CertificateError as E;
    match error {
        E::Expired | E::ExpiredContext { .. } => {
            (Cause::Expired, "the peer's certificate has expired".into())
        }
        E::NotValidYet | E::NotValidYetContext { .. } => (
            Cause::NotYetValid,
            "the peer's certificate is not valid yet; check both clocks".into(),
        ),
        E::Revoked => (Cause::Revoked, "the peer's certificate is revoked".into()),
        E::UnknownIssuer | E::BadSignature => (
            Cause::UnknownIssuer,
            "the peer's certificate is not signed by a CA in ca_file".into(),
        ),
        E::BadEncoding => (Cause::BadCertificate, unreadable(take_reason().as_deref())),
        E::Other(why) => (Cause::BadCertificate, unreadable(Some(&why.to_string()))),
        E::UnknownRevocationStatus => (
            Cause::NoCrl,
            "no CRL in crl_file is of the CA of the peer's certificate".into(),
        ),
        E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => (
            Cause::NoCrl,
            "the CRL of the CA of the peer's certificate has expired; fetch a new one".into(),
        ),
        E::NotValidForNameContext {
            expected,
            presented,
        } => (
            Cause::BadCertificate,
            wrong_name(&expected.to_str(), presented),
        ),
        E::InvalidPurposeContext { required, .. } => (
            Cause::BadCertificate,
            format!("the extended key usage of the peer's certificate does not allow {required}"),
        ),
        error => (
            Cause::BadCertificate,
            format!("the peer's certificate cannot be used: {}", to_words(error)),
        ),
    }
}

/// Names of a certificate that the text lists.
const NAMES_SHOWN: usize = 8;

/// The certificate is for other names than the one that was dialled.
fn wrong_name(expected: &str, presented: &[String]) -> String {
    let more = match presented.len() > NAMES_SHOWN {
        true => ", ...",
        false => "",
    };
    // rustls formats them as `DnsName("a.example.net")`.
    let bare = |name: &str| quoted(name.split('"').nth(1).unwrap_or(name).as_bytes());
    let names = presented.iter().take(NAMES_SHOWN);
    let names: Vec<String> = names.map(|name| bare(name)).collect();
    let whose = match &*names.join(", ") {
        "" => "names nobody as subjectAltName".to_owned(),
        names => format!("is for {names}{more}"),
    };
    format!("the peer's certificate is not valid for {expected}: it {whose}")
}

/// Why a certificate could not be read.
fn unreadable(why: Option<&str>) -> String {
    match why {
        Some(why) if why.contains("UnsupportedCertVersion") => {
            "the peer's certificate is of X.509 version 1, which is not served: sign it anew with \
             extensions (openssl x509 -extfile, openssl ca -extensions), which make it version 3"
                .into()
        }
        Some(why) => {
            // Either a sentence, or an identifier of a library.
            let why = match why.contains(' ') {
                true => why.to_owned(),
                false => to_words(&format_args!("{why}")),
            };
            format!("the peer's certificate cannot be used: {why}")
        }
        None => "the peer's certificate is damaged".into(),
    }
}

fn explain_incompatible(why: &PeerIncompatible) -> String {
    use PeerIncompatible as P;
    let what = match why {
        P::NoKxGroupsInCommon | P::NamedGroupsExtensionRequired => {
            "no group for the key exchange (curve_preferences)"
        }
        P::NoCipherSuitesInCommon => "no cipher suite (cipher_suites)",
        P::NoSignatureSchemesInCommon
        | P::NoCertificateRequestSignatureSchemesInCommon
        | P::SignatureAlgorithmsExtensionRequired => {
            "no way of signing that the key of the certificate can do"
        }
        P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::ServerDoesNotSupportTls12Or13
        | P::SupportedVersionsExtensionRequired
        | P::ServerTlsVersionIsDisabledByOurConfig => "no version of TLS (min_version)",
        other => return format!("nothing in common with the peer: {}", to_words(other)),
    };
    format!("nothing in common with the peer: {what}")
}

/// Turns a library's identifier into words: `NullCompressionRequired` becomes `null compression
/// required`.
fn to_words(name: &impl std::fmt::Debug) -> String {
    let name = format!("{name:?}");
    let name = name.split(['(', ' ', '{']).next().unwrap_or_default();
    let name = name.strip_suffix("Context").unwrap_or(name);
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

fn explain_alert(alert: AlertDescription) -> String {
    let reason = match alert {
        AlertDescription::UnknownCA => "it does not know the CA of this broker's certificate",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not accept this broker's certificate: check CA, names and dates"
        }
        AlertDescription::CertificateRequired => "it demands a certificate of this broker",
        AlertDescription::CertificateExpired => "for it, this broker's certificate has expired",
        AlertDescription::CertificateRevoked => "for it, this broker's certificate is revoked",
        AlertDescription::ProtocolVersion => "it speaks no version in common",
        AlertDescription::HandshakeFailure => "it speaks nothing in common",
        _ => return format!("the peer gave up: alert {}", to_words(&alert)),
    };
    format!("the peer gave up: {reason} (alert {})", to_words(&alert))
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use rustls::OtherError;

    use super::*;

    /// Also for certificates that our verifier has not seen: those of a broker that was dialled.
    #[test]
    fn library_errors_about_certificates_become_readable_text() {
        for (error, expected) in [
            ("UnsupportedCertVersion", "is of X.509 version 1"),
            (
                "MalformedExtensions",
                "cannot be used: malformed extensions",
            ),
            ("it is a bad one", "cannot be used: it is a bad one"),
        ] {
            let other = OtherError(Arc::new(io::Error::other(error)));
            let error = Error::InvalidCertificate(CertificateError::Other(other));
            let failure = Failure::of(&error);
            assert_eq!(failure.cause, Cause::BadCertificate);
            assert!(failure.text.contains(expected), "{failure}");
        }
    }
}
