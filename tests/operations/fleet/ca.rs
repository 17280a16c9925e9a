//! A CA like Puppet's since version 6: an intermediate one below a root, and an `ssldir` for
//! each host that has the chain and both CRLs. Unlike Puppet's its keys are small, so that many
//! hosts cost little.

use std::{fs, path::PathBuf};

use tempfile::TempDir;
use test_support::pki::Pki;

pub(super) struct Ca {
    root: Pki,
    issuing: Pki,
    hosts: TempDir,
}

impl Ca {
    pub(super) fn new() -> Self {
        let root = Pki::new(&[]);
        let issuing = root.below("/CN=Puppet CA: puppet.example.net", &[]);
        let hosts = tempfile::tempdir().expect("a folder");
        Self {
            root,
            issuing,
            hosts,
        }
    }

    /// Makes the `ssldir` of a host, whose certificate is for these addresses, such as
    /// `localhost,IP:127.0.0.1`.
    pub(super) fn issue(&self, certname: &str, addresses: &str) -> PathBuf {
        let ssl_dir = self.hosts.path().join(certname);
        self.issuing.sign_for(certname, addresses);
        let both = |name: &str| [self.issuing.path(name), self.root.path(name)];
        for (files, target) in [
            (&both("ca.pem")[..], "certs/ca.pem".to_owned()),
            (&both("crl.pem"), "crl.pem".into()),
            (
                &[self.issuing.path(&format!("{certname}.pem"))],
                format!("certs/{certname}.pem"),
            ),
            (
                &[self.issuing.path(&format!("{certname}.key"))],
                format!("private_keys/{certname}.pem"),
            ),
        ] {
            let target = ssl_dir.join(target);
            fs::create_dir_all(target.parent().expect("a folder")).expect("make the folder");
            Pki::join(files, &target);
        }
        ssl_dir
    }
}
