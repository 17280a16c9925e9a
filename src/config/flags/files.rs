//! The files that the configuration names: they are read when it is, so that a test of the
//! configuration tests them, too.

use super::{CommandLine, Diagnostic, Options};
use crate::security::{
    credentials_file,
    tls::{Material, TlsError},
};

impl CommandLine {
    /// Finds and reads the files of every block `tls`.
    pub(super) fn check_tls(&mut self, options: &mut Options) -> Result<(), String> {
        for (name, tls) in options.tls_blocks() {
            let at_place = |place: &str, error: &TlsError| format!("{place}: {name}: {error}");
            let checked = tls.find_files().and_then(|()| Material::load(tls));
            let material = checked.map_err(|error| at_place(&tls.place, &error))?;
            let warnings = material.warnings.iter().map(|warning| Diagnostic {
                position: None,
                text: at_place(&tls.place, warning),
            });
            self.warnings.extend(warnings);
        }
        Ok(())
    }
}

/// Reads the credentials files of remotes, which a running broker reads at each connection.
pub(super) fn check_credentials(options: &Options) -> Result<(), String> {
    let leafnodes = options.leafnodes.iter();
    for remote in leafnodes.flat_map(|block| &block.remotes) {
        if let Some(file) = &remote.credentials {
            let read = credentials_file::read(file);
            read.map_err(|why| format!("leafnodes: remote {remote}: {why}"))?;
        }
    }
    Ok(())
}
