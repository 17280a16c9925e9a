//! TLS from the files that an operator names: for https here, and for the client port in
//! `check_nats`.

use std::{path::Path, sync::Arc};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, InvalidMessage,
    RootCertStore, SignatureScheme,
    client::{
        VerifierBuilderError, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
        pem::PemObject,
    },
};

use crate::{
    Error,
    access::{OptionNames, Tls},
    files::{self, fault},
};

/// Largest file of certificates or a key, in bytes; a system's bundle of CAs has 200 to 500 KB.
const FILE_MAX: u64 = 4 << 20;

/// Largest file of CRLs, in bytes; that of a large fleet has some megabytes.
const CRL_FILE_MAX: u64 = 64 << 20;

/// What connections need.
pub struct Settings {
    /// The settings of rustls.
    pub config: ClientConfig,
    /// What decides in it about the broker's certificate.
    pub verifier: Arc<dyn ServerCertVerifier>,
    /// That every user of the host can read the key.
    pub warning: Option<String>,
}

/// The settings for connections, from the files as they are now.
///
///  # Errors
///
/// [`Error::File`]: a file cannot be read or used, or the key does not belong to the certificate.
/// [`Error::Option`]: no CA was given, and the system has none.
pub fn client_config(tls: &Tls) -> Result<Settings, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match tls.insecure {
        true => Arc::new(AcceptAny(Arc::clone(&provider))),
        false => verifier(tls, &provider)?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Option {
            text: format!("TLS: {error}"),
        })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier));
    let (Some(chain_path), Some(key_path)) = (&tls.certificate, &tls.key) else {
        return Ok(Settings {
            config: builder.with_no_client_auth(),
            verifier,
            warning: None,
        });
    };
    let chain = certificates(chain_path)?;
    let (key, warning) = private_key(key_path)?;
    let config = builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => fault(
                key_path,
                format!(
                    "this key does not belong to the certificate {}",
                    chain_path.display()
                ),
            ),
            other => fault(key_path, format!("this key cannot be used: {other}")),
        })?;
    Ok(Settings {
        config,
        verifier,
        warning,
    })
}

fn verifier(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let roots = Arc::new(roots(tls.ca.as_deref())?);
    let mut builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
    if let Some(path) = &tls.crl {
        // Of a CA without a CRL nothing is revoked.
        builder = builder
            .with_crls(crls(path)?)
            .allow_unknown_revocation_status();
    }
    builder.build().map_err(|error| match (error, &tls.crl) {
        (VerifierBuilderError::InvalidCrl(error), Some(path)) => {
            fault(path, format!("holds a CRL that cannot be used: {error:?}"))
        }
        (error, _) => Error::Option {
            text: format!("TLS: no CA was given, and none of the system's can be used: {error}"),
        },
    })
}

fn crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let content = files::read(path, CRL_FILE_MAX)?;
    let found: Result<Vec<_>, _> =
        CertificateRevocationListDer::pem_slice_iter(&content.bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(fault(path, "no CRL in it".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(fault(path, format!("not a PEM file: {error}"))),
    }
}

/// The CAs of this file, or those of the system.
fn roots(path: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let Some(path) = path else {
        // Files of the system that cannot be used are skipped; a connection that needs them will
        // fail with an error.
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        return Ok(roots);
    };
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| fault(path, format!("holds a CA that cannot be used: {error}")))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let content = files::read(path, FILE_MAX)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content.bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(fault(path, "no certificate in it".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(fault(path, format!("not a PEM file: {error}"))),
    }
}

/// The key, and a warning if every user of the host can read it.
fn private_key(path: &Path) -> Result<(PrivateKeyDer<'static>, Option<String>), Error> {
    let content = files::read(path, FILE_MAX)?;
    // Its own error may quote the file.
    let key = PrivateKeyDer::from_pem_slice(&content.bytes).map_err(|_| {
        let detail = "no private key in it, or an encrypted one, which cannot be used";
        fault(path, detail.to_owned())
    })?;
    let warning = content.is_public.then(|| files::public_warning(path));
    Ok((key, warning))
}

/// An error of TLS with what to do about it, in the options of this program.
pub fn explain(error: &rustls::Error, names: &OptionNames) -> String {
    let OptionNames {
        ca,
        certificate,
        key,
        url,
        ..
    } = names;
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => format!(
            "TLS: the broker's certificate is not signed by a known CA: name the file of its CA in \
             {ca}"
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!("TLS: {error}: use a name of the certificate in {url}"),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!(
                "TLS: the broker wants a certificate from its clients: name it in {certificate} and its key in {key}"
            )
        }
        rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        ) => format!("TLS: the broker does not accept the certificate in {certificate}: {error}"),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("the port does not speak TLS: is {url} to begin with http:// ?")
        }
        other => format!("TLS: {other}"),
    }
}

/// Accepts every certificate, since the operator asked for it; the handshake must still be signed
/// with its key.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
