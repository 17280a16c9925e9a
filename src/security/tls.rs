//! What TLS handshakes need, made of a `tls` block and its files.
//!
//! The configuration calls [`Material::load`] to validate a block; the listeners and
//! [`super::store`] use the rustls configs.

use std::{net::Ipv4Addr, sync::Arc};

use chrono::Utc;
use rustls::{
    CertificateError, ClientConfig, Error, ServerConfig, SupportedProtocolVersion,
    client::{Resumption, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

pub use super::files::TlsError;
use super::{
    authorities::Authorities,
    failure::Failure,
    insecure::AnyServer,
    known_hosts::KnownHosts,
    options::{ExpiredCrl, TlsOptions},
    own_certificates::{self, Certificates, OwnCertificates},
    revocation::Revocations,
    suites,
    tickets::Tickets,
    validity::Validity,
    verifier::RecordingVerifier,
};

/// What handshakes need: a `tls` block's files, loaded.
pub struct Material {
    /// The block's settings.
    pub options: TlsOptions,
    /// Config for incoming connections.
    pub server: Arc<ServerConfig>,
    /// Config for the monitoring port, which asks for no client certificate.
    pub monitor: Arc<ServerConfig>,
    /// Config for outgoing connections.
    pub client: Arc<ClientConfig>,
    /// What servers that are dialled are shown.
    shown: Arc<Certificates>,
    /// Verifies clients; `None` if clients need no certificate.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// Verifies servers.
    server_verifier: Arc<dyn ServerCertVerifier>,
    /// The common name of the broker's certificate, the first of several; empty if it has none.
    pub certname: String,
    /// Until when the files are valid.
    pub validity: Validity,
    /// What the CRLs revoke.
    pub revocations: Arc<Revocations>,
    /// Problems that do not prevent the broker from serving.
    pub warnings: Vec<TlsError>,
    /// Those of the warnings that are findings of their own.
    pub gaps: Vec<TlsError>,
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
        let own = own_certificates::load(options, &provider, now)?;
        let authorities = Authorities::load(options)?;
        let revocations = Arc::new(Revocations::load(
            options,
            &authorities.certificates,
            &own,
            (&authorities.roots, &provider),
            now,
        )?);
        let rejected = authorities.check_own(options, &own, &provider);
        let warnings = [revocations.warnings.clone(), rejected.clone()].concat();
        let gaps = [revocations.gaps.clone(), rejected].concat();
        let validity = Validity {
            certificate: own.period.clone(),
            ca: authorities.period.clone(),
            crl: revocations.period.clone(),
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
        let server_verifier = server_verifier(options, &provider, &authorities, &revocations)?;
        let tickets = |verifier| Tickets::new(verifier).map(Arc::new).map_err(unusable);
        let (tickets, monitor_tickets) = (tickets(verifier.clone())?, tickets(None)?);
        let server = server_config(options, &provider, verifier.as_ref(), &own, &tickets)?;
        let monitor = server_config(options, &provider, None, &own, &monitor_tickets)?;
        let shown = Arc::new(Certificates::new(&own));
        let client = client_config(options, &provider, &server_verifier, &shown)?;
        Ok(Self {
            options: options.clone(),
            monitor: Arc::new(monitor),
            server: Arc::new(server),
            client: Arc::new(client),
            shown,
            verifier,
            server_verifier,
            certname: own.certname,
            validity,
            revocations,
            warnings,
            gaps,
        })
    }

    /// Checks the certificate of a peer that resumed an earlier session and therefore sent none.
    /// `chain` is what it sent in the first handshake, maybe while other files were in force.
    ///
    ///  # Errors
    ///
    /// Why it is not trusted any more.
    pub fn check_resumed(&self, chain: &[CertificateDer<'_>]) -> Result<(), Failure> {
        let Some(verifier) = &self.verifier else {
            return Ok(());
        };
        let result = match chain {
            [leaf, rest @ ..] => verifier.verify_client_cert(leaf, rest, UnixTime::now()),
            [] if verifier.client_auth_mandatory() => Err(Error::NoCertificatesPresented),
            [] => return Ok(()),
        };
        result.map(|_| ()).map_err(|error| Failure::of(&error))
    }
}

impl Material {
    /// Whether since the last call a server that was dialled has asked for a certificate, and none
    /// could be shown.
    pub fn take_lack(&self) -> bool {
        self.shown.take_lack()
    }

    /// Whether a peer's chain leads to a CA that is trusted now. Peers that connect to us are only
    /// checked if a certificate is required. A peer that was dialled showed a server certificate,
    /// which need not be valid for clients.
    pub fn trusts_issuer(&self, chain: &[CertificateDer<'_>], is_dialled: bool) -> bool {
        let [leaf, rest @ ..] = chain else {
            return true;
        };
        let now = UnixTime::now();
        let result = match (is_dialled, &self.verifier) {
            // The name is checked after the CA, so any name will do.
            (true, _) => self
                .server_verifier
                .verify_server_cert(leaf, rest, &no_name(), &[], now)
                .map(|_| ()),
            (false, Some(verifier)) => verifier.verify_client_cert(leaf, rest, now).map(|_| ()),
            (false, None) => Ok(()),
        };
        !matches!(
            result,
            Err(Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature
            ))
        )
    }
}

fn server_config(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
    verifier: Option<&Arc<dyn ClientCertVerifier>>,
    own: &OwnCertificates,
    tickets: &Arc<Tickets>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(options))
        .map_err(unusable)?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Certificates::new(own)));
    config.ignore_client_order = true;
    // Clients keep the session state (tickets). Each config has new ticket keys, so that no session
    // outlives the files it began with, and its tickets check the certificate, which a resumed
    // session does not send.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets.clone();
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn client_verifier(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
    authorities: &Authorities,
    revocations: &Arc<Revocations>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(authorities.roots.clone(), provider.clone());
    builder = builder.with_crls(revocations.crls.iter().cloned());
    if options.crl_expired == ExpiredCrl::Reject {
        builder = builder.enforce_revocation_expiration();
    }
    let verifier = builder.build().map_err(unusable)?;
    Ok(Arc::new(RecordingVerifier {
        verifier,
        revocations: revocations.clone(),
    }))
}

/// An address that no host has.
fn no_name() -> ServerName<'static> {
    ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into())
}

fn server_verifier(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
    authorities: &Authorities,
    revocations: &Revocations,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    Ok(match options.insecure || authorities.roots.is_empty() {
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
                found: options.found_hosts.clone(),
            })
        }
    })
}

fn client_config(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
    verifier: &Arc<dyn ServerCertVerifier>,
    shown: &Arc<Certificates>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(options))
        .map_err(unusable)?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_client_cert_resolver(shown.clone());
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
