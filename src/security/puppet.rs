//! Completes a `tls` block with the files of this host's Puppet agent, for `tls { puppet: true }`.
//! The crate `puppet-files` knows where they are.

use puppet_files::PuppetFiles;

use super::{
    files::TlsError,
    options::{CertificateFiles, TlsOptions},
};

/// Completes a block, and requires clients to have certificates of the same CA. What the block
/// names itself stays.
///
///  # Errors
///
/// What was not found, and where it was searched.
pub(super) fn complete(options: &mut TlsOptions) -> Result<(), TlsError> {
    let found =
        PuppetFiles::find(options.ssldir.as_deref()).map_err(|error| match &error.file {
            Some(file) => TlsError::in_file(file, &*error.text),
            None => TlsError::new(error.text),
        })?;
    if options.certificates.is_empty() {
        options.certificates.push(CertificateFiles {
            cert_file: found.certificate,
            key_file: found.key,
        });
    }
    if options.ca_file.is_none() {
        options.ca_file = Some(found.ca);
    }
    if options.crl_files.is_empty() {
        options.crl_files = vec![found.crl];
    }
    options.verify = true;
    Ok(())
}
