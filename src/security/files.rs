//! Certificates, keys and CRLs from PEM files, with errors that name the file.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{self, PemObject},
};

use super::certificate::PeerCertificate;

/// Size limit of a file, in bytes. The CRL of a large fleet has some megabytes.
const FILE_LEN_MAX: u64 = 64 * 1024 * 1024;

/// What is wrong with the files of a `tls` block, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// The file; `None` if the error does not concern a file.
    pub file: Option<PathBuf>,
    /// What is wrong and how to correct it.
    pub text: String,
    /// Whether it keeps every peer out.
    pub severe: bool,
}

impl TlsError {
    /// Sets whether it keeps every peer out.
    pub(super) fn severe(self, severe: bool) -> Self {
        Self { severe, ..self }
    }

    /// An error that concerns no file.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            file: None,
            text: text.into(),
            severe: false,
        }
    }

    /// An error about a file.
    pub(super) fn in_file(file: &Path, text: impl Into<String>) -> Self {
        Self {
            file: Some(file.into()),
            text: text.into(),
            severe: false,
        }
    }
}

impl TlsError {
    /// The file's name; empty if the error concerns no file.
    pub fn file_text(&self) -> String {
        let file = self.file.as_ref();
        file.map_or_else(String::new, |file| file.display().to_string())
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for TlsError {}

/// Reads all certificates of a file, in their order; fails if there is none.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let found = sections(path, CertificateDer::pem_slice_iter(&bytes))?;
    match found.is_empty() {
        false => Ok(found),
        true => Err(TlsError::in_file(
            path,
            format!(
                "holds no certificate; it needs a block -----BEGIN CERTIFICATE-----{}",
                describe_content(&bytes)
            ),
        )),
    }
}

/// Parses one of a file's certificates.
pub(super) fn read_certificate(file: &Path, der: &[u8]) -> Result<PeerCertificate, TlsError> {
    PeerCertificate::from_der(der).map_err(|error| TlsError::in_file(file, error.to_string()))
}

/// Reads the first private key of a file: PKCS#8, PKCS#1 or SEC1.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::in_file(
            path,
            "the key is protected by a password, which nobody can type when the broker starts; \
             remove it: openssl pkey -in OLD -out NEW",
        ));
    }
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::in_file(
            path,
            format!(
                "holds no private key; it needs a block -----BEGIN PRIVATE KEY-----, RSA PRIVATE \
                 KEY or EC PRIVATE KEY{}",
                describe_content(&bytes)
            ),
        )),
        Err(error) => Err(malformed(path, &error)),
    }
}

/// Reads all CRLs of a file; fails if there is none.
pub(super) fn crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let found = sections(path, CertificateRevocationListDer::pem_slice_iter(&bytes))?;
    match found.is_empty() {
        false => Ok(found),
        true => Err(TlsError::in_file(
            path,
            format!(
                "holds no CRL; it needs a block -----BEGIN X509 CRL-----{}",
                describe_content(&bytes)
            ),
        )),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let too_large = || TlsError::in_file(path, format!("is larger than {FILE_LEN_MAX} bytes"));
    let failed = |error: std::io::Error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "; let the broker's user read it, for example through its group"
            }
            std::io::ErrorKind::NotFound => "; check the path",
            _ => "",
        };
        TlsError::in_file(path, format!("cannot be read: {error}{remedy}"))
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(TlsError::in_file(path, "is a folder, not a file"));
    }
    if metadata.len() > FILE_LEN_MAX {
        return Err(too_large());
    }
    fs::read(path).map_err(failed)
}

fn sections<T>(
    path: &Path,
    items: impl Iterator<Item = Result<T, pem::Error>>,
) -> Result<Vec<T>, TlsError> {
    items
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(path, &error))
}

fn malformed(path: &Path, error: &pem::Error) -> TlsError {
    let remedy = "copy it again from where it was made; it must be whole, from BEGIN to END";
    TlsError::in_file(path, format!("is not valid PEM ({error}); {remedy}"))
}

/// What the file holds instead, for an error message.
fn describe_content(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut kinds: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-----BEGIN "))
        .filter_map(|line| line.strip_suffix("-----"))
        .collect();
    kinds.dedup();
    match kinds.is_empty() {
        true => "; there is no PEM block in it".into(),
        false => format!("; there is {}", kinds.join(", ")),
    }
}
