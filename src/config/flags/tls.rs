//! The flags for TLS, which change single settings of the block `tls`.

use crate::{
    config::options::Options,
    security::options::{CertificateFiles, TlsOptions},
};

/// The setting of a flag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsFlag {
    /// TLS at all.
    On,
    Certificate,
    Key,
    Ca,
    Verify,
    Puppet,
}

/// The flags that were given.
#[derive(Default)]
pub(super) struct TlsFlags(Vec<(TlsFlag, String)>);

impl TlsFlags {
    /// Notes a flag; the value of a boolean is `true` or `false`.
    pub(super) fn set(&mut self, flag: TlsFlag, value: String) {
        self.0.push((flag, value));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Lays the flags over the options.
    pub(super) fn apply(&self, options: &mut Options) -> Result<(), String> {
        let on = self.0.iter().rev().find(|(flag, _)| *flag == TlsFlag::On);
        if on.is_some_and(|(_, value)| value == "false") {
            options.tls = None;
            return Ok(());
        }
        if self.0.is_empty() {
            return Ok(());
        }
        let place = || TlsOptions::new("the command line".into());
        let tls = options.tls.get_or_insert_with(place);
        for (flag, value) in &self.0 {
            match flag {
                TlsFlag::On | TlsFlag::Certificate | TlsFlag::Key => {}
                TlsFlag::Ca => tls.ca_file = Some(value.into()),
                TlsFlag::Verify => tls.verify = value == "true",
                TlsFlag::Puppet => tls.puppet = value == "true",
            }
        }
        self.certificate(tls)
    }

    fn certificate(&self, tls: &mut TlsOptions) -> Result<(), String> {
        let last = |wanted| {
            let found = self.0.iter().rev().find(|(flag, _)| *flag == wanted);
            found.map(|(_, value)| value)
        };
        match (last(TlsFlag::Certificate), last(TlsFlag::Key)) {
            (Some(cert_file), Some(key_file)) => {
                tls.certificates = vec![CertificateFiles {
                    cert_file: cert_file.into(),
                    key_file: key_file.into(),
                }];
                Ok(())
            }
            (None, None) => Ok(()),
            _ => Err("the flags --tlscert and --tlskey go together".into()),
        }
    }
}
