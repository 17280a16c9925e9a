//! Converts the files of [`Tls`] for the HTTP library. Only with the feature `tls`: programs that
//! use plain HTTP do not need it.

use std::{fs, path::Path, sync::Arc};

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::{Error, access::Tls};

/// Reads the files.
///
///  # Errors
///
/// [`Error::File`] for a file that cannot be read or has no usable content.
pub(crate) fn config(tls: &Tls) -> Result<TlsConfig, Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut builder = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider)
        .disable_verification(tls.insecure)
        .root_certs(roots(tls)?);
    if let Some((chain, key)) = &tls.certificate {
        let own = ClientCert::new_with_certs(&certificates(chain)?, private_key(key)?);
        builder = builder.client_cert(Some(own));
    }
    Ok(builder.build())
}

fn roots(tls: &Tls) -> Result<RootCerts, Error> {
    let found = match &tls.ca {
        Some(path) => certificates(path)?,
        // Invalid files in the system's folder are skipped; a connection that needs them will fail
        // with an error.
        None => rustls_native_certs::load_native_certs()
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect(),
    };
    Ok(RootCerts::Specific(Arc::new(found)))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let text = read(path)?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| file(path, &error))? {
            found.push(certificate);
        }
    }
    match found.is_empty() {
        true => Err(file(path, &"no certificate in it")),
        false => Ok(found),
    }
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>, Error> {
    PrivateKey::from_pem(&read(path)?).map_err(|_| file(path, &"no private key in it"))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| file(path, &error))
}

fn file(path: &Path, detail: &dyn std::fmt::Display) -> Error {
    Error::File {
        path: path.display().to_string(),
        detail: detail.to_string(),
    }
}
