//! What handshakes need, made of a `tls` block and its files.
//!
//! The configuration calls [`Material::load`] to test a block, the listeners
//! and [`super::store`] to have the configs of rustls, monitoring for the days
//! that are left ([`Validity`]).

use std::{path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use rustls::{
    CertificateError, ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

pub use super::files::TlsError;
use super::{
    certificate::{PeerCertificate, parse},
    failure::Failure,
    files,
    insecure::AnyServer,
    known_hosts::KnownHosts,
    options::{ExpiredCrl, TlsOptions},
    revocation::Revocations,
    suites,
    verifier::Remembering,
};

/// A `tls` block's files, loaded: what handshakes need.
pub struct Material {
    /// The block.
    pub options: TlsOptions,
    /// For connections that come in.
    pub server: Arc<ServerConfig>,
    /// For the monitoring port, which asks nobody for a certificate.
    pub monitor: Arc<ServerConfig>,
    /// For connections that go out.
    pub client: Arc<ClientConfig>,
    /// Who is believed to be a client; `None` where nobody is asked.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Until when all of it is valid.
    pub validity: Validity,
    /// Who is revoked.
    pub revocations: Revocations,
    /// What is not as it should be and does not stop the broker.
    pub warnings: Vec<TlsError>,
}

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
    pub(super) fn of(certificate: &PeerCertificate) -> Self {
        Self {
            name: certificate.subject.clone(),
            from: certificate.not_before,
            until: certificate.not_after,
        }
    }

    /// Days until the end; negative afterwards.
    pub fn days_left(&self, now: DateTime<Utc>) -> f64 {
        (self.until - now).as_seconds_f64() / 86_400.0
    }
}

impl Material {
    /// Loads and checks the files of a block.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        let provider = suites::provider(&options.cipher_suites, &options.curve_preferences);
        let provider = Arc::new(provider.map_err(TlsError::new)?);
        let now = Utc::now();
        let mut own = own_certificates(options, &provider, now)?;
        let authorities = Authorities::load(options)?;
        let revocations = Revocations::load(options, &authorities.certificates, now)?;
        let mut warnings = std::mem::take(&mut own.warnings);
        warnings.extend(revocations.warnings.iter().cloned());
        warnings.extend(authorities.check_own(options, &own, &provider));
        let validity = Validity {
            certificate: own.term.clone(),
            ca: authorities.term.clone(),
            crl: revocations.term.clone(),
        };
        let verifier = match options.verify {
            true => Some(client_verifier(
                options,
                &provider,
                &authorities,
                &revocations,
            )?),
            false => None,
        };
        let server = server_config(options, &provider, verifier.as_ref(), &own)?;
        let monitor = server_config(options, &provider, None, &own)?;
        Ok(Self {
            options: options.clone(),
            monitor: Arc::new(monitor),
            server: Arc::new(server),
            client: Arc::new(client_config(
                options,
                &provider,
                &authorities,
                &revocations,
                &own,
            )?),
            verifier,
            validity,
            revocations,
            warnings,
        })
    }

    /// Whether a peer is still believed that goes on with an earlier session
    /// and so showed no certificate: `chain` is the one it showed then.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn check_resumed(&self, chain: &[CertificateDer<'_>]) -> Result<(), Failure> {
        let Some(verifier) = &self.verifier else {
            return Ok(());
        };
        let result = match chain {
            [leaf, rest @ ..] => verifier.verify_client_cert(leaf, rest, UnixTime::now()),
            [] => Err(Error::NoCertificatesPresented),
        };
        result.map(|_| ()).map_err(|error| Failure::of(&error))
    }
}

/// The own certificates.
struct Own {
    keys: Vec<Arc<CertifiedKey>>,
    /// Of the one that ends first.
    term: Option<Term>,
    warnings: Vec<TlsError>,
}

fn own_certificates(
    options: &TlsOptions,
    provider: &CryptoProvider,
    now: DateTime<Utc>,
) -> Result<Own, TlsError> {
    if options.certificates.is_empty() {
        return Err(TlsError::new(
            "there is no certificate: name cert_file and key_file, or write puppet: true on a \
             host with a Puppet agent",
        ));
    }
    let mut own = Own {
        keys: Vec::new(),
        term: None,
        warnings: Vec::new(),
    };
    for pair in &options.certificates {
        let chain = files::certificates(&pair.cert_file)?;
        let key = files::private_key(&pair.key_file)?;
        let leaf = read_certificate(&pair.cert_file, &chain[0])?;
        check_dates(&pair.cert_file, &leaf, now)?;
        own.term = earliest(own.term, Term::of(&leaf));
        let certified =
            CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::in_file(
                    &pair.key_file,
                    format!(
                        "the key does not belong to the certificate in {} ({}); name the key that \
                     the certificate was made for",
                        pair.cert_file.display(),
                        leaf.subject
                    ),
                ),
                error => {
                    TlsError::in_file(&pair.key_file, format!("the key cannot be used: {error}"))
                }
            })?;
        own.keys.push(Arc::new(certified));
    }
    Ok(own)
}

fn read_certificate(file: &Path, der: &[u8]) -> Result<PeerCertificate, TlsError> {
    PeerCertificate::from_der(der).map_err(|error| TlsError::in_file(file, error.to_string()))
}

fn check_dates(file: &Path, own: &PeerCertificate, now: DateTime<Utc>) -> Result<(), TlsError> {
    if now > own.not_after {
        let text = format!(
            "the certificate of {} expired on {}; put a renewed one there",
            own.subject, own.not_after
        );
        return Err(TlsError::in_file(file, text));
    }
    if now < own.not_before {
        let text = format!(
            "the certificate of {} is not valid before {}; check this host's clock",
            own.subject, own.not_before
        );
        return Err(TlsError::in_file(file, text));
    }
    Ok(())
}

/// The CAs that sign peers' certificates.
pub(super) struct Authorities {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    /// Of the one that ends first.
    term: Option<Term>,
}

impl Authorities {
    fn load(options: &TlsOptions) -> Result<Self, TlsError> {
        let Some(file) = &options.ca_file else {
            return Self::of_the_system(options);
        };
        let certificates = files::certificates(file)?;
        let mut roots = RootCertStore::empty();
        let mut term = None;
        for certificate in &certificates {
            let read = read_certificate(file, certificate)?;
            term = earliest(term, Term::of(&read));
            let is_ca = parse(certificate).is_ok_and(|parsed| parsed.is_ca());
            if !is_ca {
                let text = format!(
                    "{} is no CA: with it in this file, nobody signed by its CA would be believed; \
                     name the file with the certificate of the CA",
                    read.subject
                );
                return Err(TlsError::in_file(file, text));
            }
            roots.add(certificate.clone()).map_err(|error| {
                TlsError::in_file(file, format!("{} cannot be used: {error}", read.subject))
            })?;
        }
        Ok(Self {
            certificates,
            roots: Arc::new(roots),
            term,
        })
    }

    /// Those that this host believes.
    fn of_the_system(options: &TlsOptions) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if options.verify && roots.is_empty() {
            return Err(TlsError::new(
                "verify needs CAs: name ca_file; this host has no certificates of its own",
            ));
        }
        Ok(Self {
            certificates: Vec::new(),
            roots: Arc::new(roots),
            term: None,
        })
    }

    /// What peers of the same CA would say to the own certificates.
    fn check_own(
        &self,
        options: &TlsOptions,
        own: &Own,
        provider: &Arc<CryptoProvider>,
    ) -> Vec<TlsError> {
        let Some(ca_file) = options.ca_file.as_ref().filter(|_| options.verify) else {
            return Vec::new();
        };
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider.clone());
        let Ok(verifier) = verifier.build() else {
            return Vec::new();
        };
        let strangers = own
            .keys
            .iter()
            .zip(&options.certificates)
            .filter(|(key, _)| {
                let result =
                    verifier.verify_client_cert(&key.cert[0], &key.cert[1..], UnixTime::now());
                matches!(
                    result,
                    Err(Error::InvalidCertificate(
                        CertificateError::UnknownIssuer | CertificateError::BadSignature
                    ))
                )
            });
        strangers
            .map(|(_, files)| {
                TlsError::in_file(
                    &files.cert_file,
                    format!(
                        "is not signed by a CA in {}: clients that believe only that CA will not \
                         connect",
                        ca_file.display()
                    ),
                )
            })
            .collect()
    }
}

fn server_config(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
    verifier: Option<&Arc<dyn ClientCertVerifier>>,
    own: &Own,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(options))
        .map_err(unusable)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Certificates(own.keys.clone())));
    config.ignore_client_order = true;
    // Clients keep their sessions themselves. The keys of the tickets are made
    // anew with each config, so that no session outlives the files it began
    // with; `Material::check_resumed` looks at what a resumed session skips.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn client_verifier(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
    authorities: &Authorities,
    revocations: &Revocations,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(authorities.roots.clone(), provider.clone());
    builder = builder.with_crls(revocations.crls.iter().cloned());
    if options.crl_expired == ExpiredCrl::Reject {
        builder = builder.enforce_revocation_expiration();
    }
    let verifier = builder.build().map_err(unusable)?;
    Ok(Arc::new(Remembering(verifier)))
}

fn client_config(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
    authorities: &Authorities,
    revocations: &Revocations,
    own: &Own,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(options))
        .map_err(unusable)?;
    let verifier: Arc<dyn ServerCertVerifier> = match options.insecure
        || authorities.roots.is_empty()
    {
        true => Arc::new(AnyServer::new(provider.clone(), options.insecure)),
        false => {
            let roots = authorities.roots.clone();
            let mut builder = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                .with_crls(revocations.crls.iter().cloned());
            if options.crl_expired == ExpiredCrl::Reject {
                builder = builder.enforce_revocation_expiration();
            }
            let verifier = builder.build().map_err(unusable)?;
            let hosts = options.known_hosts.iter();
            let names = hosts.filter_map(|host| ServerName::try_from(host.clone()).ok());
            Arc::new(KnownHosts {
                verifier,
                hosts: names.collect(),
            })
        }
    };
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(Certificates(own.keys.clone())));
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn versions(options: &TlsOptions) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match options.only_tls13 {
        true => &BOTH[..1],
        false => &BOTH,
    }
}

fn unusable(error: impl std::fmt::Display) -> TlsError {
    TlsError::new(format!("these settings cannot be used together: {error}"))
}

/// The one of two that ends first.
pub(super) fn earliest(known: Option<Term>, new: Term) -> Option<Term> {
    match known {
        Some(known) if known.until <= new.until => Some(known),
        _ => Some(new),
    }
}

/// The own certificates: the first that a peer can use is shown to it.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let named = |key: &&Arc<CertifiedKey>| {
            hello
                .server_name()
                .is_some_and(|name| is_for(&key.cert[0], name))
        };
        let found = self.0.iter().find(|key| usable(key) && named(key));
        found.or_else(|| self.0.iter().find(usable)).cloned()
    }
}

impl rustls::client::ResolvesClientCert for Certificates {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.0
            .iter()
            .find(|key| key.key.choose_scheme(schemes).is_some())
            .cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

fn is_for(certificate: &[u8], name: &str) -> bool {
    PeerCertificate::from_der(certificate).is_ok_and(|certificate| {
        certificate
            .dns_names
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    })
}
