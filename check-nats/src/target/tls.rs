//! TLS as the command line asks for it, and the files for it.

use std::path::PathBuf;

use clap::ArgMatches;
use monitor_client::Tls;
use puppet_files::PuppetFiles;

use super::arguments::path;
use crate::status::Failure;

/// What the command line says of TLS.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Whether the client port must have it.
    pub required: bool,
    /// Whether it begins before INFO.
    pub first: bool,
    /// The name that the client port's certificate must have, in place of the host's.
    pub server_name: Option<String>,
    /// Whether the files that are not given are those of this host's Puppet agent.
    pub puppet: bool,
    /// Puppet's folder; `None` to ask Puppet's settings.
    pub ssl_dir: Option<PathBuf>,
    /// The files that were given.
    pub files: Tls,
}

/// The files to be used.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Their paths.
    pub files: Tls,
    /// The name of this host in its Puppet certificate.
    pub certname: Option<String>,
}

impl ClientTls {
    pub(super) fn new(matches: &ArgMatches) -> Result<Self, String> {
        let puppet = matches.get_flag("puppet");
        let ssl_dir = path(matches, "ssldir");
        if ssl_dir.is_some() && !puppet {
            return Err("--ssldir DIR belongs to --puppet".into());
        }
        let first = matches.get_flag("tls-first");
        Ok(Self {
            required: matches.get_flag("tls") || first || puppet,
            first,
            server_name: matches.get_one::<String>("tls-server-name").cloned(),
            puppet,
            ssl_dir,
            files: Tls {
                ca: path(matches, "cacert"),
                certificate: path(matches, "cert"),
                key: path(matches, "key"),
                crl: path(matches, "crl"),
                insecure: matches.get_flag("insecure"),
            },
        })
    }

    /// The files to be used: those that were given, completed by Puppet's.
    ///
    /// # Errors
    /// Puppet's are not found: unknown.
    pub fn files(&self) -> Result<TlsFiles, Failure> {
        let mut files = self.files.clone();
        if !self.puppet {
            return Ok(TlsFiles {
                files,
                certname: None,
            });
        }
        let found = PuppetFiles::find(self.ssl_dir.as_deref())
            .map_err(|error| Failure::unknown(format!("--puppet: {error}")))?;
        if files.certificate.is_none() {
            files.certificate = Some(found.certificate);
            files.key = Some(found.key);
        }
        files.ca.get_or_insert(found.ca);
        // An agent without a CRL trusts all certificates of its CA.
        if files.crl.is_none() && found.crl.exists() {
            files.crl = Some(found.crl);
        }
        Ok(TlsFiles {
            files,
            certname: Some(found.certname),
        })
    }
}
