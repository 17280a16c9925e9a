//! The federation of a running broker: a reload ends it, begins it, or begins it anew.

use std::sync::Arc;

use tracing::error;

use super::{Server, tls};
use crate::{
    config::{
        Options,
        options::federation::{FederationOptions, is_same},
    },
    federation::Federation,
};

/// What new options make of the federation.
pub(super) enum PreparedFederation {
    /// It stays as it is.
    Unchanged,
    /// There is none.
    Off,
    /// Another one, which has not started.
    New(Arc<Federation>),
}

impl Server {
    /// Prepares the federation of new options, with its TLS files loaded.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub(super) fn prepare_federation(
        &self,
        options: &Options,
    ) -> Result<PreparedFederation, String> {
        if is_same(&self.options(), options) {
            return Ok(PreparedFederation::Unchanged);
        }
        let Some(block) = options.federation.clone() else {
            return Ok(PreparedFederation::Off);
        };
        let tls = FederationOptions::tls(&block);
        let tls = tls.as_ref().map(tls::open).transpose();
        let tls = tls.map_err(|error| error.to_string())?;
        let interval = options.diagnosis.interval;
        let federation = Federation::new(self.broker.clone(), block, tls, &self.called, interval);
        Ok(PreparedFederation::New(Arc::new(federation)))
    }

    /// Puts it in force. The one before leaves its queue groups.
    pub(super) fn apply_federation(&self, prepared: PreparedFederation) {
        let new = match prepared {
            PreparedFederation::Unchanged => return,
            PreparedFederation::Off => None,
            PreparedFederation::New(federation) => Some(federation),
        };
        let before = std::mem::replace(&mut *self.federation.write(), new.clone());
        if let Some(before) = before {
            before.leave();
        }
        if let Some(Err(error)) = new.map(|federation| federation.start()) {
            error!("The federation does not run, no thread could be started: {error}");
        }
    }
}
