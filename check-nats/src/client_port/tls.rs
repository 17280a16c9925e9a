//! TLS on the client port: the handshake, and what its errors mean.
//!
//! Critical is what keeps every client out: a certificate that has expired, is revoked, or does
//! not have the name or the CA that the command line gives. Unknown is what concerns the check
//! alone: its own certificate is refused, or it was given too little to decide.

use std::{io, sync::Arc};

use chrono::{DateTime, Utc};
use monitor_client::tls::client_config;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, InvalidMessage,
    StreamOwned,
    pki_types::{ServerName, UnixTime},
};

use super::{
    certificate::{Certificate, Seen},
    socket::{Socket, is_timeout},
};
use crate::{
    deadline::Deadline,
    status::{Failure, Status},
    target::{ClientPort, ClientTls},
    text::quoted,
};

/// An encrypted connection.
pub(super) type Stream<'a> = StreamOwned<ClientConnection, Socket<'a>>;

/// What a handshake with one broker needs.
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    seen: Arc<Seen>,
    server: ServerName<'static>,
    port: ClientPort,
    /// Whether TLS begins before INFO.
    first: bool,
    /// The CAs, if they were given.
    ca: Option<String>,
    /// The check's own certificate.
    certificate: Option<String>,
    /// That others can read its key.
    pub(super) warning: Option<String>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be used: unknown.
    pub(super) fn prepare(options: &ClientTls, port: &ClientPort) -> Result<Self, Failure> {
        let found = options.files()?;
        let prepared = client_config(&found.files).map_err(|error| {
            Failure::unknown(match options.puppet {
                true => format!(
                    "--puppet: {error} (the user of the check must be able to read the agent's \
                     files, as a member of the group puppet or through sudo)"
                ),
                false => error.to_string(),
            })
        })?;
        let mut port = port.clone();
        if let Some(certname) = found.certname
            && options.server_name.is_none()
            && port.is_local
        {
            // The broker of this host shows this host's certificate.
            port.name = certname;
            port.name_is_certain = true;
        }
        let seen = Arc::new(Seen::new(Some(prepared.verifier)));
        let mut config = prepared.config;
        config
            .dangerous()
            .set_certificate_verifier(Arc::clone(&seen) as _);
        let shown = |path: std::path::PathBuf| path.display().to_string();
        Ok(Self {
            config: Arc::new(config),
            seen,
            server: server_name(&port)?,
            port,
            first: options.first,
            ca: found.files.ca.map(shown),
            certificate: found.files.certificate.map(shown),
            warning: prepared.warning,
        })
    }

    /// Whether the check has a certificate of its own.
    pub(super) fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Does the handshake.
    ///
    /// # Errors
    /// Those of the socket and, inside of them, those of TLS, for [`Tls::failure`].
    pub(super) fn handshake<'a>(&self, mut socket: Socket<'a>) -> io::Result<Stream<'a>> {
        let mut tls = ClientConnection::new(Arc::clone(&self.config), self.server.clone())
            .map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(tls, socket))
    }

    /// What an error of TLS means for the broker.
    pub(super) fn failure(&self, error: &Error) -> Failure {
        let (status, text) = match error {
            Error::InvalidCertificate(why) => self.distrusted(why),
            Error::AlertReceived(alert) => self.alert(*alert),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) if self.first => (
                Status::Unknown,
                "it does not begin with TLS: give --tls in place of --tls-first".to_owned(),
            ),
            Error::InvalidMessage(_) => (Status::Unknown, format!("no answer of TLS: {error}")),
            _ => (Status::Unknown, error.to_string()),
        };
        Failure::new(
            status,
            format!("client port {}: TLS: {text}", self.port.address),
        )
    }

    /// The broker's certificate is not accepted.
    fn distrusted(&self, why: &CertificateError) -> (Status, String) {
        use CertificateError as E;
        let certificate = self.seen.certificate().and_then(Result::ok);
        let whose = match &certificate {
            Some(Certificate { subject, .. }) => format!("certificate {}", quoted(subject)),
            None => "certificate".to_owned(),
        };
        let critical_if = |certain| match certain {
            true => Status::Critical,
            false => Status::Unknown,
        };
        match why {
            E::Expired | E::ExpiredContext { .. } => {
                let end = certificate.map(|certificate| certificate.end);
                let when = end.map_or_else(String::new, |end| format!(" on {end}"));
                (Status::Critical, format!("{whose} expired{when}"))
            }
            E::NotValidYet => (Status::Critical, format!("{whose} is not valid yet")),
            E::NotValidYetContext { not_before, .. } => {
                let begin = date(*not_before);
                (
                    Status::Critical,
                    format!("{whose} is not valid before {begin}"),
                )
            }
            E::Revoked => (Status::Critical, format!("{whose} is revoked")),
            E::UnknownIssuer | E::BadSignature => match &self.ca {
                Some(ca) => (
                    Status::Critical,
                    format!("{whose} is not signed by a CA of {ca}"),
                ),
                None => (
                    Status::Unknown,
                    format!(
                        "{whose} is not signed by a CA of this system: give --cacert FILE, or \
                         --puppet"
                    ),
                ),
            },
            E::NotValidForName | E::NotValidForNameContext { .. } => {
                let hosts = certificate.map_or_else(String::new, |certificate| certificate.hosts);
                let text = format!(
                    "{whose} is for {hosts}, not for {}: give its name with -H, or with \
                     --tls-server-name",
                    quoted(&self.port.name)
                );
                (critical_if(self.port.name_is_certain), text)
            }
            E::InvalidPurpose | E::InvalidPurposeContext { .. } => (
                critical_if(self.ca.is_some()),
                format!("{whose} is not for servers: its extendedKeyUsage lacks serverAuth"),
            ),
            other => (
                Status::Unknown,
                format!("{whose} cannot be verified: {other}"),
            ),
        }
    }

    /// The broker ends the handshake.
    fn alert(&self, alert: AlertDescription) -> (Status, String) {
        use AlertDescription as A;
        match (alert, &self.certificate) {
            (
                A::AccessDenied
                | A::BadCertificate
                | A::CertificateExpired
                | A::CertificateRequired
                | A::CertificateRevoked
                | A::CertificateUnknown
                | A::DecryptError
                | A::NoCertificate
                | A::UnknownCA
                | A::UnsupportedCertificate,
                certificate,
            ) => match certificate {
                Some(file) => (
                    Status::Unknown,
                    format!(
                        "the broker refuses the certificate {file} ({alert:?}): renew it, or give \
                         one of a CA that the broker trusts"
                    ),
                ),
                None => (Status::Unknown, WANTS_CERTIFICATE.to_owned()),
            },
            (A::HandshakeFailure | A::InsufficientSecurity | A::ProtocolVersion, _) => (
                Status::Unknown,
                format!(
                    "the broker has no TLS version and cipher suite in common with this check \
                     ({alert:?})"
                ),
            ),
            _ => (
                Status::Critical,
                format!("the broker ends the handshake ({alert:?})"),
            ),
        }
    }
}

/// What to do when the broker requires a certificate and the check has none.
pub(super) const WANTS_CERTIFICATE: &str =
    "the broker requires a client certificate: give --cert and --key, or --puppet";

/// The certificate that the port shows, only looked at. A broker that wants a certificate of the
/// check ends the handshake after it has shown its own, which is all that is wanted here.
///
/// # Errors
/// The port shows no certificate: critical; it shows something else: unknown; it has not shown one
/// when the time is over: [`Deadline::late`].
pub(super) fn shown(
    mut socket: Socket<'_>,
    port: &ClientPort,
    deadline: &Deadline,
) -> Result<Certificate, Failure> {
    let peer = &port.address;
    let unknown = |error: &dyn std::fmt::Display| {
        Failure::unknown(format!("client port {peer}: TLS: {error}"))
    };
    let seen = Arc::new(Seen::new(None));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unknown(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as _)
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), server_name(port)?)
        .map_err(|error| unknown(&error))?;
    let result = tls.complete_io(&mut socket);
    match seen.certificate() {
        Some(certificate) => certificate.map_err(|why| unknown(&why)),
        None => Err(match result {
            Err(error) if is_timeout(&error) => deadline.late(),
            Err(error) => {
                Failure::critical(format!("client port {peer} shows no certificate: {error}"))
            }
            Ok(_) => Failure::critical(format!("client port {peer} shows no certificate")),
        }),
    }
}

/// The name that the certificate must have.
fn server_name(port: &ClientPort) -> Result<ServerName<'static>, Failure> {
    // A zone is no part of an address in a certificate.
    let name = port.name.split('%').next().unwrap_or_default();
    ServerName::try_from(name.to_owned()).map_err(|_| {
        Failure::unknown(format!(
            "no certificate can have the name {}: give another one with --tls-server-name",
            quoted(name)
        ))
    })
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    DateTime::<Utc>::from_timestamp(seconds, 0)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
        .to_string()
}
