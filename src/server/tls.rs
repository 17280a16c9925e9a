//! TLS of a running broker, of clients and of routes: opening it, telling
//! clients of it, and noticing
//! that its files have changed.

use std::{
    io, ptr,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use tracing::{error, info, warn};

use super::{Server, lifecycle::StartError};
use crate::{
    client,
    config::{Options, options::cluster::ClusterOptions},
    connection::{Connection, handshake::Handshakers, tls_listener::TlsListener},
    protocol::info::Info,
    security::{
        options::TlsOptions,
        store::{Loaded, TlsStore},
        tls::Material,
        validity::ValidityPeriod,
    },
    telemetry::{event::EventKind, process::system_error_in},
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
    let mut due = [false; Port::ALL.len()];
    loop {
        thread::sleep(LOOK_INTERVAL);
        let Some(server) = server.upgrade() else {
            return;
        };
        for (port, due) in Port::ALL.into_iter().zip(&mut due) {
            let Some(tls) = server.tls_of(port) else {
                continue;
            };
            let place = tls.store.current().options.place.clone();
            let calls = &server.clients.telemetry.calls;
            let _call = calls.begin("reading the TLS files of", place);
            let changed = tls.store.has_changed();
            // What could not be read may be there the next time, unchanged.
            let refused = tls.store.refused();
            let unread = refused.is_some_and(|error| system_error_in(&error.text).is_some());
            if (*due || unread) && !changed {
                server.reload_tls(port, &tls);
            }
            *due = changed;
        }
    }
}

/// Whose TLS it is.
#[derive(Clone, Copy)]
enum Port {
    Clients,
    Routes,
}

impl Port {
    const ALL: [Self; 2] = [Self::Clients, Self::Routes];

    /// What it is called where there are figures.
    fn name(self) -> &'static str {
        match self {
            Self::Clients => "client",
            Self::Routes => "route",
        }
    }
}

/// The TLS that a listener is to have, its files loaded.
pub(super) enum PreparedTls {
    /// None.
    Off,
    /// Where there was none.
    New(Arc<TlsListener>),
    /// Another block, or other files, where there was some.
    Changed(Arc<TlsListener>, Loaded),
}

impl PreparedTls {
    /// Loads a block for a listener that has `current` now.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub(super) fn load(
        current: Option<Arc<TlsListener>>,
        block: Option<&TlsOptions>,
    ) -> Result<Self, String> {
        let Some(block) = block else {
            return Ok(Self::Off);
        };
        match current {
            None => open(block).map(Self::New).map_err(|it| it.to_string()),
            Some(tls) => match Loaded::load(block) {
                Ok(loaded) => Ok(Self::Changed(tls, loaded)),
                Err(error) => Err(format!("TLS ({}): {error}", block.place)),
            },
        }
    }
}

impl Server {
    /// Prepares TLS for clients and for routes by new options.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub(super) fn prepare_tls(
        &self,
        options: &Options,
    ) -> Result<(PreparedTls, PreparedTls), String> {
        let clients = PreparedTls::load(self.tls_of(Port::Clients), options.tls.as_ref())?;
        let block = options.cluster.as_ref().and_then(ClusterOptions::tls);
        let routes = PreparedTls::load(self.tls_of(Port::Routes), block.as_ref())?;
        Ok((clients, routes))
    }

    /// Puts TLS for clients in force, and has `tell` put it into INFO. Returns the
    /// clients without TLS where it is new and required: those that cannot be waiting
    /// for a handshake that is about to begin.
    pub(super) fn put_client_tls(
        &self,
        prepared: PreparedTls,
        allow_non_tls: bool,
        tell: impl FnOnce(&mut Info),
    ) -> Vec<Arc<Connection>> {
        let is_required = matches!(prepared, PreparedTls::New(_)) && !allow_non_tls;
        let tls = self.put_tls(Port::Clients, prepared);
        // Whoever comes is counted in under this lock (`client::serve`): it is among
        // those that are cut, or it finds the new TLS.
        let mut current = self.clients.tls.write();
        let plain = match is_required {
            true => self.clients.registry.open(),
            false => Vec::new(),
        };
        tell(&mut self.clients.info.write());
        *current = tls;
        plain
    }

    /// TLS on routes, its files in force, to be handed to the cluster.
    pub(super) fn put_route_tls(&self, prepared: PreparedTls) -> Option<Arc<TlsListener>> {
        self.put_tls(Port::Routes, prepared)
    }

    fn put_tls(&self, port: Port, prepared: PreparedTls) -> Option<Arc<TlsListener>> {
        match prepared {
            PreparedTls::Off => None,
            PreparedTls::New(tls) => Some(tls),
            PreparedTls::Changed(tls, loaded) => {
                let material = tls.store.put(loaded);
                self.take_up(port, &tls, &material);
                Some(tls)
            }
        }
    }

    /// TLS of clients and of routes, as far as there is any, by the listener's name.
    pub fn tls_listeners(&self) -> Vec<(&'static str, Arc<TlsListener>)> {
        let ports = Port::ALL.into_iter();
        let listeners = ports.filter_map(|port| Some((port.name(), self.tls_of(port)?)));
        listeners.collect()
    }

    fn tls_of(&self, port: Port) -> Option<Arc<TlsListener>> {
        match port {
            Port::Clients => self.clients.tls.read().clone(),
            Port::Routes => self.cluster.as_ref()?.tls(),
        }
    }

    /// Whether it is still that of the port.
    fn is_of(&self, port: Port, tls: &TlsListener) -> bool {
        self.tls_of(port).is_some_and(|now| ptr::eq(&*now, tls))
    }

    fn close_unwelcome(&self, port: Port, tls: &TlsListener) -> usize {
        match port {
            Port::Clients => client::close_unwelcome(&self.clients, tls),
            Port::Routes => {
                let cluster = self.cluster.as_ref();
                cluster.map_or(0, |cluster| cluster.close_unwelcome(tls))
            }
        }
    }

    /// Reads the files again, and closes whom they let in no more. If they cannot be
    /// used, that is told, and those in force stay.
    fn reload_tls(&self, port: Port, tls: &TlsListener) {
        let refused = tls.store.refused();
        match tls.store.reload() {
            Ok(Some(material)) if self.is_of(port, tls) => self.take_up(port, tls, &material),
            // A reload was faster.
            Ok(_) => {}
            // Told once, however often it is tried.
            Err(error) if refused.as_ref() == Some(&error) => {}
            Err(error) => {
                let place = &tls.store.current().options.place;
                let text = format!(
                    "the TLS files ({place}) cannot be used, those read before stay in force: {error}"
                );
                error!("{text}");
                self.record_certificate(&error.file_text(), &text);
            }
        }
    }

    /// Other files or another block are in force: whom they let in no more is
    /// closed.
    fn take_up(&self, port: Port, tls: &TlsListener, material: &Material) {
        self.tell_files(material);
        let closed = self.close_unwelcome(port, tls);
        if closed > 0 {
            warn!("{closed} connections closed: TLS does not let their peers in any more");
        }
    }

    fn tell_files(&self, material: &Material) {
        for warning in &material.warnings {
            warn!("tls: {warning}");
        }
        let until = |period: &Option<ValidityPeriod>| match period {
            Some(period) => period
                .until
                .to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            None => "none".into(),
        };
        let validity = &material.validity;
        let text = format!(
            "the TLS files were read again: certificate until {}, CA until {}, CRL until {}, {} \
             certificates revoked",
            until(&validity.certificate),
            until(&validity.ca),
            until(&validity.crl),
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
