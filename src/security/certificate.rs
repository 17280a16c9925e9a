//! What a peer's certificate says about the peer.
//!
//! The handshake makes a [`PeerCertificate`] of the certificate it has verified and stores it in
//! the connection. Logins map it to a user; monitoring and revocation read it. Parsing proves
//! nothing: only certificates that the handshake has verified get here.

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time,
};

use super::distinguished_name::{attribute, rfc2253, standard_order};

/// OID of the attribute CN.
const COMMON_NAME: &str = "2.5.4.3";

/// A peer's certificate, as plain values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerCertificate {
    /// The subject as RFC 2253 writes it: the last part first, as in
    /// `CN=node1,OU=web,O=example`.
    pub subject: String,
    /// The last CN of the subject; empty if there is none. In a certificate of
    /// a Puppet CA this is the certname.
    pub common_name: String,
    /// E-mail addresses among the alternative names.
    pub emails: Vec<String>,
    /// DNS names among the alternative names.
    pub dns_names: Vec<String>,
    /// URIs among the alternative names.
    pub uris: Vec<String>,
    /// The serial number, hexadecimal, upper case, without leading zeros.
    pub serial: String,
    /// Who signed it, as DER: with the serial number this names the
    /// certificate in a CRL.
    pub issuer: Box<[u8]>,
    /// From when it is valid.
    pub not_before: DateTime<Utc>,
    /// Until when it is valid.
    pub not_after: DateTime<Utc>,
}

/// A certificate as monitoring shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fingerprint {
    /// The subject with its parts in the order nats-server uses.
    pub subject: String,
    /// SHA-256 of the subject public key info, hexadecimal, lower case.
    pub spki_sha256: String,
    /// SHA-256 of the certificate, hexadecimal, lower case.
    pub cert_sha256: String,
}

/// Why a certificate cannot be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnreadableCertificate(pub String);

impl std::fmt::Display for UnreadableCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the certificate cannot be read: {}", self.0)
    }
}

impl std::error::Error for UnreadableCertificate {}

impl PeerCertificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    ///
    /// It is not a certificate, or a part that matters is malformed.
    pub fn from_der(der: &[u8]) -> Result<Self, UnreadableCertificate> {
        let certificate = parse(der)?;
        let validity = certificate.validity();
        let mut peer = Self {
            subject: rfc2253(certificate.subject()),
            common_name: attribute(certificate.subject(), COMMON_NAME).unwrap_or_default(),
            emails: Vec::new(),
            dns_names: Vec::new(),
            uris: Vec::new(),
            serial: serial_text(certificate.raw_serial()),
            issuer: certificate.issuer().as_raw().into(),
            not_before: time(validity.not_before),
            not_after: time(validity.not_after),
        };
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| UnreadableCertificate(error.to_string()))?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::RFC822Name(email) => peer.emails.push((*email).to_owned()),
                GeneralName::DNSName(host) => peer.dns_names.push((*host).to_owned()),
                GeneralName::URI(uri) => peer.uris.push((*uri).to_owned()),
                _ => {}
            }
        }
        Ok(peer)
    }
}

impl PeerCertificate {
    /// The one name that users by certificate and every view use: the common name, and in a
    /// certificate without one its first DNS name; empty if it has neither. The other DNS names
    /// do not count: with a CA that lets hosts choose them, a host could take another one's.
    pub fn certname(&self) -> &str {
        match &*self.common_name {
            "" => self.dns_names.first().map_or("", |name| name),
            name => name,
        }
    }
}

impl Fingerprint {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    ///
    /// It is not a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, UnreadableCertificate> {
        let certificate = parse(der)?;
        Ok(Self {
            subject: standard_order(certificate.subject()),
            spki_sha256: sha256_hex(certificate.public_key().raw),
            cert_sha256: sha256_hex(der),
        })
    }
}

/// Parses DER that holds a certificate and nothing else.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, UnreadableCertificate> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok((rest, _)) => Err(UnreadableCertificate(format!(
            "{} bytes follow it",
            rest.len()
        ))),
        Err(error) => Err(UnreadableCertificate(error.to_string())),
    }
}

/// A serial number as OpenSSL prints it, without leading zeros.
pub(super) fn serial_text(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    match digits.trim_start_matches('0') {
        "" => "0".into(),
        digits => digits.into(),
    }
}

/// A certificate's time. A time outside the calendar's range becomes the latest possible one.
pub(super) fn time(time: ASN1Time) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// SHA-256 in lower case hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    /// A self-signed certificate made by the openssl command, as DER.
    fn openssl(subject: &str, names: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let arguments = [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "3",
            "-set_serial",
            "0x00A1B2",
            "-utf8",
            "-subj",
            subject,
            "-addext",
            names,
            "-outform",
            "DER",
            "-keyout",
            &file("key"),
            "-out",
            &file("cert"),
        ];
        let output = Command::new("openssl").args(arguments).output();
        let output = output.expect("the openssl command; apt-get install openssl");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        fs::read(file("cert")).expect("openssl wrote it")
    }

    #[test]
    fn all_kinds_of_alternative_names_are_read() {
        let der = openssl(
            "/DC=org/DC=example/C=US/ST=CA/L=Here/O=Acme, Inc./OU=web/CN=node1.example.org",
            "subjectAltName=email:ops@example.org,DNS:node1,DNS:puppet,URI:spiffe://x/y,IP:127.0.0.1",
        );
        let peer = PeerCertificate::from_der(&der).unwrap();
        assert_eq!(
            peer.subject,
            r"CN=node1.example.org,OU=web,O=Acme\, Inc.,L=Here,ST=CA,C=US,DC=example,DC=org"
        );
        assert_eq!(peer.common_name, "node1.example.org");
        assert_eq!(peer.emails, ["ops@example.org"]);
        assert_eq!(peer.dns_names, ["node1", "puppet"]);
        assert_eq!(peer.uris, ["spiffe://x/y"]);
        assert_eq!(peer.serial, "A1B2");
        assert_eq!((peer.not_after - peer.not_before).num_days(), 3);
        let shown = Fingerprint::from_der(&der).unwrap();
        assert!(
            shown
                .subject
                .starts_with(r"CN=node1.example.org,OU=web,O=Acme\, Inc.,L=Here,ST=CA,C=US,"),
            "{shown:?}"
        );
        assert_eq!(shown.cert_sha256.len(), 64);
    }

    #[test]
    fn malformed_certificates_are_rejected() {
        for bytes in [&b""[..], b"nonsense", &[0x30, 0x82, 0xff, 0xff]] {
            assert!(PeerCertificate::from_der(bytes).is_err());
        }
        let mut der = openssl("/CN=a", "subjectAltName=DNS:a");
        der.push(0);
        assert!(PeerCertificate::from_der(&der).is_err());
    }
}
