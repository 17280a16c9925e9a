//! TLS of a running broker, for clients at both of their ports, routes, leafnodes and the federation:
//! loading it, announcing it in INFO, and watching its files.

use std::{
    io, ptr,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use monitor_client::text::plural;
use tracing::{error, info, warn};

use super::{Server, prepare::StartError};
use crate::{
    config::{Options, options::cluster::ClusterOptions},
    connection::{Connection, handshake::Handshakers, tls_listener::TlsListener},
    peer::certificates::close_untrusted,
    protocol::info::Info,
    security::{
        options::TlsOptions,
        store::{Loaded, TlsStore},
        tls::Material,
        validity::ValidityPeriod,
    },
    telemetry::{event::EventKind, process::system_error_in},
};

/// Interval of checking the files. A change is applied when the next check finds no further one, so
/// that files that belong together are read together.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Stack of the thread that checks, in bytes.
const STACK_LEN: usize = 512 * 1024;

/// Loads the TLS files for one listener.
///
///  # Errors
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

/// How long peers are expected to wait for their handshake at the listeners that accept them.
/// To be called when these have other settings.
pub(super) fn expect_patience(listeners: [Option<&TlsListener>; 4]) {
    let timeout = |tls: &TlsListener| tls.store.current().options.timeout;
    if let Some(longest) = listeners.into_iter().flatten().map(timeout).max() {
        Handshakers::expect(longest);
    }
}

/// Sets the TLS fields of INFO.
pub(super) fn describe(info: &mut Info, options: &Options) {
    let tls = options.tls.as_ref();
    info.tls_required = tls.is_some() && !options.allow_non_tls;
    info.tls_available = tls.is_some() && options.allow_non_tls;
    info.tls_verify = tls.is_some_and(|tls| tls.verify);
}

/// Starts the thread that checks the files as long as the server lives.
///
///  # Errors
///
/// The thread cannot be started.
pub fn watch(server: &Arc<Server>) -> io::Result<()> {
    let server = Arc::downgrade(server);
    thread::Builder::new()
        .name("tls-files".into())
        .stack_size(STACK_LEN)
        .spawn(move || check_files(&server))?;
    Ok(())
}

fn check_files(server: &Weak<Server>) {
    let mut changed_before: Vec<Arc<TlsListener>> = Vec::new();
    loop {
        thread::sleep(CHECK_INTERVAL);
        let Some(server) = server.upgrade() else {
            return;
        };
        let mut changed_now = Vec::new();
        for (port, tls) in server.all_tls() {
            let place = tls.store.current().options.place.clone();
            let calls = &server.broker.telemetry.calls;
            let _call = calls.begin("reading the TLS files of", place);
            let changed = tls.store.has_changed();
            // A file that could not be read may become readable without changing.
            let refused = tls.store.refused();
            let unread = refused.is_some_and(|error| system_error_in(&error.text).is_some());
            let has_changed = changed_before.iter().any(|it| Arc::ptr_eq(it, &tls));
            if (has_changed || unread) && !changed {
                server.reload_tls(port, &tls);
            }
            if changed {
                changed_now.push(tls);
            }
        }
        changed_before = changed_now;
    }
}

/// What uses TLS.
#[derive(Clone, Copy)]
enum Port {
    Clients,
    Routes,
    Leafnodes,
    Federation,
    WebSockets,
    /// The hub at this place in the configuration.
    Remote(usize),
}

impl Port {
    /// All but those of hubs.
    const ALL: [Self; 5] = [
        Self::Clients,
        Self::Routes,
        Self::Leafnodes,
        Self::Federation,
        Self::WebSockets,
    ];

    /// The name in metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Clients => "client",
            Self::Routes => "route",
            Self::Leafnodes => "leafnode",
            Self::Federation => "federation",
            Self::WebSockets => "websocket",
            Self::Remote(_) => "leafnode_remote",
        }
    }
}

/// The new TLS state of a listener, with its files loaded.
pub(super) enum PreparedTls {
    /// No TLS.
    Off,
    /// TLS on a listener that had none.
    New(Arc<TlsListener>),
    /// Another block, or changed files, on a listener that had TLS.
    Changed(Arc<TlsListener>, Loaded),
}

impl PreparedTls {
    /// Loads a block for a listener that has `current` now.
    ///
    ///  # Errors
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
    /// Loads TLS for clients, routes and WebSockets according to new options.
    ///
    ///  # Errors
    ///
    /// Which file cannot be used, why, and what to do.
    pub(super) fn prepare_tls(&self, options: &Options) -> Result<[PreparedTls; 3], String> {
        let clients = PreparedTls::load(self.tls_of(Port::Clients), options.tls.as_ref())?;
        let block = options.cluster.as_ref().and_then(ClusterOptions::tls);
        let routes = PreparedTls::load(self.tls_of(Port::Routes), block.as_ref())?;
        let block = options.websocket.as_ref().and_then(|it| it.tls.as_ref());
        let websockets = PreparedTls::load(self.tls_of(Port::WebSockets), block)?;
        Ok([clients, routes, websockets])
    }

    /// Applies TLS for clients and lets `update` change INFO. Returns the clients without TLS if it
    /// is newly required; those that are about to begin a handshake are not among them.
    pub(super) fn apply_client_tls(
        &self,
        prepared: PreparedTls,
        allow_non_tls: bool,
        update: impl FnOnce(&mut Info),
    ) -> Vec<Arc<Connection>> {
        let is_required = matches!(prepared, PreparedTls::New(_)) && !allow_non_tls;
        let tls = self.apply_tls(Port::Clients, prepared);
        // A new client is registered under this lock (`client::serve`): it is either among those
        // that are closed, or sees the new TLS.
        let mut current = self.client_listener.tls.write();
        let plain = match is_required {
            true => self.clients(false),
            false => Vec::new(),
        };
        update(&mut self.broker.info.write());
        *current = tls;
        plain
    }

    /// Applies TLS for routes; the caller hands the result to the cluster.
    pub(super) fn apply_route_tls(&self, prepared: PreparedTls) -> Option<Arc<TlsListener>> {
        self.apply_tls(Port::Routes, prepared)
    }

    /// Applies TLS for WebSockets. Whether there is any never changes.
    pub(super) fn apply_websocket_tls(&self, prepared: PreparedTls) {
        self.apply_tls(Port::WebSockets, prepared);
    }

    fn apply_tls(&self, port: Port, prepared: PreparedTls) -> Option<Arc<TlsListener>> {
        match prepared {
            PreparedTls::Off => None,
            PreparedTls::New(tls) => Some(tls),
            PreparedTls::Changed(tls, loaded) => {
                let material = tls.store.put(loaded);
                self.use_material(port, &tls, &material);
                Some(tls)
            }
        }
    }

    /// The listeners that use TLS, with their names; of hubs the first one, as all have names of
    /// their own.
    pub fn tls_listeners(&self) -> Vec<(&'static str, Arc<TlsListener>)> {
        let mut listeners: Vec<_> = self
            .all_tls()
            .into_iter()
            .map(|(port, tls)| (port.name(), tls))
            .collect();
        listeners.dedup_by_key(|(name, _)| *name);
        listeners
    }

    /// All that uses TLS.
    fn all_tls(&self) -> Vec<(Port, Arc<TlsListener>)> {
        let remotes = self.leafnodes.remotes.all().len();
        let ports = Port::ALL.into_iter().chain((0..remotes).map(Port::Remote));
        let all = ports.filter_map(|port| Some((port, self.tls_of(port)?)));
        all.collect()
    }

    /// Applies what the present settings say about the patience of peers.
    pub(super) fn expect_patience(&self) {
        let ports = [
            Port::Clients,
            Port::Routes,
            Port::Leafnodes,
            Port::WebSockets,
        ];
        let listeners = ports.map(|port| self.tls_of(port));
        expect_patience(listeners.each_ref().map(Option::as_deref));
    }

    fn tls_of(&self, port: Port) -> Option<Arc<TlsListener>> {
        match port {
            Port::Clients => self.client_listener.tls.read().clone(),
            Port::Routes => self.cluster.as_ref()?.tls(),
            Port::Leafnodes => self.leafnodes.tls.clone(),
            Port::Remote(place) => self.leafnodes.remotes.all().get(place)?.tls(),
            Port::Federation => self.federation()?.tls.clone(),
            Port::WebSockets => self.websocket.as_ref()?.listener.tls.read().clone(),
        }
    }

    /// Whether the port still uses this TLS.
    fn is_current(&self, port: Port, tls: &TlsListener) -> bool {
        self.tls_of(port).is_some_and(|now| ptr::eq(&*now, tls))
    }

    fn close_untrusted(&self, port: Port, tls: &TlsListener) -> usize {
        match port {
            Port::Clients | Port::WebSockets => {
                let clients = self.clients(matches!(port, Port::WebSockets));
                close_untrusted(&self.broker, tls, &clients)
            }
            Port::Routes => {
                let cluster = self.cluster.as_ref();
                let routes = cluster.map(|cluster| cluster.routes()).unwrap_or_default();
                let connections = routes.iter().map(|route| &route.connection);
                close_untrusted(&self.broker, tls, connections)
            }
            Port::Leafnodes => {
                let leafs = self.leafnodes.all();
                let accepted = leafs.iter().filter(|leaf| leaf.remote.is_none());
                close_untrusted(&self.broker, tls, accepted.map(|leaf| &leaf.connection))
            }
            // The connection begins anew, with the other certificate.
            Port::Remote(place) => {
                if let Some(remote) = self.leafnodes.remotes.all().get(place) {
                    remote.reconnect();
                }
                0
            }
            // Its one connection begins anew, with the other certificate.
            Port::Federation => {
                if let Some(federation) = self.federation() {
                    federation.reconnect();
                }
                0
            }
        }
    }

    /// Reads the files again and closes connections whose peers they do not accept any more. If the
    /// files cannot be used, logs that; the old ones stay in force.
    fn reload_tls(&self, port: Port, tls: &TlsListener) {
        let refused = tls.store.refused();
        match tls.store.reload() {
            Ok(Some(material)) if self.is_current(port, tls) => {
                self.use_material(port, tls, &material)
            }
            // A reload has replaced it meanwhile.
            Ok(_) => {}
            // Logged only once, however often it is tried.
            Err(error) if refused.as_ref() == Some(&error) => {}
            Err(error) => {
                let place = &tls.store.current().options.place;
                let text = format!(
                    "the TLS files ({place}) cannot be used, the old ones stay in force: {error}"
                );
                error!("{text}");
                self.record_certificate(&error.file_text(), &text);
            }
        }
    }

    /// Other files or another block are in force: closes connections whose peers they do not
    /// accept.
    fn use_material(&self, port: Port, tls: &TlsListener, material: &Material) {
        self.log_files(material);
        let closed = self.close_untrusted(port, tls);
        if closed > 0 {
            warn!(
                "Closed {} whose peers no longer pass the TLS checks",
                plural(closed, "connection")
            );
        }
    }

    fn log_files(&self, material: &Material) {
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
        let events = &self.broker.telemetry.events;
        events.record(EventKind::Certificate, 0, subject, text);
    }
}
