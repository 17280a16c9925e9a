//! TLS of a running broker: opening it, telling clients of it, and noticing
//! that its files have changed.

use std::{
    io,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use tracing::{error, info, warn};

use super::{Server, lifecycle::StartError};
use crate::{
    client,
    config::Options,
    connection::{handshake::Handshakers, tls_listener::TlsListener},
    protocol::info::Info,
    security::{options::TlsOptions, store::TlsStore, tls::Material},
    telemetry::event::EventKind,
};

/// Between two looks at the files. A change is acted on when the next look finds
/// no other, so that files that belong together are read together.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Bytes of the stack of the thread that looks.
const STACK_LEN: usize = 512 * 1024;

/// TLS for one listener, its files loaded.
///
/// # Errors
///
/// Which file cannot be used, why, and what to do.
pub fn open(options: &TlsOptions) -> Result<Arc<TlsListener>, StartError> {
    let failed = |error: io::Error| StartError {
        what: format!("Error starting TLS ({})", options.place),
        error,
    };
    let store = TlsStore::load(options).map_err(|error| failed(io::Error::other(error)))?;
    let handshakers = Handshakers::shared().map_err(failed)?;
    Ok(Arc::new(TlsListener::new(store, handshakers)))
}

/// What INFO says of TLS.
pub(super) fn describe(info: &mut Info, options: &Options) {
    let tls = options.tls.as_ref();
    info.tls_required = tls.is_some() && !options.allow_non_tls;
    info.tls_available = tls.is_some() && options.allow_non_tls;
    info.tls_verify = tls.is_some_and(|tls| tls.verify);
}

/// Starts the thread that looks at the files for as long as the server lives.
///
/// # Errors
///
/// The thread cannot be had.
pub fn watch(server: &Arc<Server>) -> io::Result<()> {
    let server = Arc::downgrade(server);
    thread::Builder::new()
        .name("tls-files".into())
        .stack_size(STACK_LEN)
        .spawn(move || look(&server))?;
    Ok(())
}

fn look(server: &Weak<Server>) {
    let mut due = false;
    loop {
        thread::sleep(LOOK_INTERVAL);
        let Some(server) = server.upgrade() else {
            return;
        };
        let Some(tls) = server.clients.tls.read().clone() else {
            continue;
        };
        let changed = tls.store.has_changed();
        if due && !changed {
            // Told where it happens; the files in force stay.
            let _ = server.reload_tls(&tls, None);
        }
        due = changed;
    }
}

impl Server {
    /// Puts the `tls` block of new options in force, files read again.
    ///
    /// # Errors
    ///
    /// Which file cannot be used; what was in force stays.
    pub(super) fn take_over_tls(&self, options: &Options) -> Result<(), String> {
        let current = self.clients.tls.read().clone();
        match (&current, &options.tls) {
            (Some(tls), Some(block)) => self.reload_tls(tls, Some(block))?,
            (None, Some(block)) => {
                let tls = open(block).map_err(|error| error.to_string())?;
                *self.clients.tls.write() = Some(tls);
            }
            (_, None) => *self.clients.tls.write() = None,
        }
        describe(&mut self.clients.info.write(), options);
        Ok(())
    }

    /// Reads the files again, those of another block if there is one, and closes
    /// who is revoked by now.
    fn reload_tls(&self, tls: &TlsListener, block: Option<&TlsOptions>) -> Result<(), String> {
        let read = match block {
            Some(block) => tls.store.replace(block),
            None => tls.store.reload(),
        };
        match read {
            Ok(material) => {
                self.tell_files(&material);
                let closed = client::close_revoked(&self.clients, tls);
                if closed > 0 {
                    warn!("{closed} connections closed: their certificates are revoked");
                }
                Ok(())
            }
            Err(error) => {
                let place = &tls.store.current().options.place;
                let text = format!(
                    "the TLS files ({place}) cannot be used, those read before stay in force: {error}"
                );
                error!("{text}");
                self.record_certificate(&error.file_text(), &text);
                Err(error.to_string())
            }
        }
    }

    fn tell_files(&self, material: &Material) {
        for warning in &material.warnings {
            warn!("tls: {warning}");
        }
        let until = |time: Option<chrono::DateTime<chrono::Utc>>| match time {
            Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            None => "none".into(),
        };
        let validity = &material.validity;
        let text = format!(
            "the TLS files were read again: certificate until {}, CA until {}, CRL until {}, {} \
             certificates revoked",
            until(validity.certificate),
            until(validity.ca),
            until(validity.crl),
            material.revocations.len()
        );
        info!("{text}");
        self.record_certificate(&material.options.place, &text);
    }

    fn record_certificate(&self, subject: &str, text: &str) {
        let events = &self.clients.telemetry.events;
        events.record(EventKind::Certificate, 0, subject, text);
    }
}
