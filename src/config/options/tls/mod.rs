//! The block `tls`, of the client listener and of others.
//!
//! The table of its keys is in [`keys`], their readers in [`read`].

mod keys;
mod read;

use std::path::PathBuf;

use super::{Options, problems::Problems, table::FieldAccess};
use crate::{
    config::syntax::{Entry, Map, Position},
    security::options::{CertificateFiles, TlsOptions},
};
pub(in crate::config) use keys::TLS_BLOCK;

/// What a reload compares of TLS for clients.
pub(super) const TLS_ACCESS: FieldAccess<Options> = FieldAccess {
    same: |one, other| same_tls(one.tls.as_ref(), other.tls.as_ref()),
    copy: |to, from| to.tls.clone_from(&from.tls),
    written: None,
};

/// Whether both blocks have the same values, regardless of their position in the file.
pub(super) fn same_tls(one: Option<&TlsOptions>, other: Option<&TlsOptions>) -> bool {
    let placeless = |tls: &TlsOptions| TlsOptions {
        place: String::new(),
        ..tls.clone()
    };
    one.map(placeless) == other.map(placeless)
}

impl Options {
    /// Every block `tls` that is there, named by the keys that lead to it. A test compares the names
    /// with the tables of keys, so that none is forgotten.
    pub(in crate::config) fn tls_blocks(&mut self) -> Vec<(&'static str, &mut TlsOptions)> {
        let mut blocks = Vec::new();
        let mut add = |name, tls| blocks.extend(Option::map(tls, |tls| (name, tls)));
        add("tls", self.tls.as_mut());
        if let Some(cluster) = &mut self.cluster {
            add("cluster tls", cluster.tls.as_mut());
        }
        if let Some(websocket) = &mut self.websocket {
            add("websocket tls", websocket.tls.as_mut());
        }
        if let Some(federation) = &mut self.federation {
            add("federation tls", federation.tls.as_mut());
        }
        if let Some(leafnodes) = &mut self.leafnodes {
            add("leafnodes tls", leafnodes.tls.as_mut());
            for remote in &mut leafnodes.remotes {
                add("leafnodes remotes tls", remote.tls.as_mut());
            }
        }
        blocks
    }
}

/// A block as it was written.
pub(in crate::config) struct Written {
    tls: TlsOptions,
    pair: Pair,
}

/// A certificate and its key as they were written.
#[derive(Default)]
pub(in crate::config) struct Pair {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

/// Reads the top-level block.
pub(super) fn read_tls(options: &mut Options, entry: &Entry, problems: &mut Problems) {
    let node = &entry.node;
    let Some(map) = problems.map(node, "tls") else {
        return;
    };
    let tls = read_block(map, &node.position, problems);
    if tls.check_known_urls {
        let text = "\"verify_cert_and_check_known_urls\" compares a broker's certificate with the \
                    routes, and clients have none: write verify: true";
        problems.error(&node.position, text);
    }
    options.tls = Some(tls);
}

/// Reads a `tls` block of any listener.
pub(super) fn read_block(map: &Map, position: &Position, problems: &mut Problems) -> TlsOptions {
    let mut written = Written {
        tls: TlsOptions::new(position.to_string()),
        pair: Pair::default(),
    };
    TLS_BLOCK.read(&mut written, map, problems);
    let Written { mut tls, pair } = written;
    match (pair.cert_file, pair.key_file) {
        (Some(cert_file), Some(key_file)) => {
            if !tls.certificates.is_empty() {
                let text = "tls: cert_file and certs cannot be used together: write all \
                            certificates in certs";
                problems.error(position, text);
            }
            tls.certificates.push(CertificateFiles {
                cert_file,
                key_file,
            });
        }
        (Some(_), None) => problems.error(position, "tls: cert_file needs key_file"),
        (None, Some(_)) => problems.error(position, "tls: key_file needs cert_file"),
        (None, None) => {}
    }
    tls
}
