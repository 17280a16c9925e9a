//! The hubs whose leafnode this broker is: where each one can be reached, and how its connection is.
//!
//! The server sets them from the configuration at the start and in a reload; [`super::dial`] keeps one
//! connection to each. Watchers read [`Remotes::views`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::{sync::Notify, time::timeout};

use crate::{
    config::options::{
        cluster::RouteUrl,
        leafnodes::remotes::{RemoteOptions, RemoteUrl},
    },
    connection::{CloseReason, Connection, tls_listener::TlsListener},
    log,
    security::secret::Secret,
    telemetry::{MonotonicMillis, event::EventKind, pool::shorten},
};

/// Addresses that a hub may tell of.
const LEARNED_MAX: usize = 64;

/// All hubs.
#[derive(Default)]
pub struct Remotes {
    list: RwLock<Vec<Arc<Remote>>>,
    /// The list has changed.
    pub(super) changed: Notify,
    settings: RwLock<Settings>,
}

/// How hubs are dialled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// Pause before the next attempt.
    pub reconnect: Duration,
    /// How long connecting may take.
    pub dial_timeout: Duration,
}

impl Remotes {
    /// All of them, in the order of the configuration.
    pub fn all(&self) -> Vec<Arc<Remote>> {
        self.list.read().clone()
    }

    /// The one of these options, if it is there.
    pub fn find(&self, options: &RemoteOptions) -> Option<Arc<Remote>> {
        let list = self.list.read();
        list.iter().find(|it| it.options.is_same(options)).cloned()
    }

    /// Replaces them; those that are not among the new ones end.
    pub fn set(&self, list: Vec<Arc<Remote>>, settings: Settings) {
        *self.settings.write() = settings;
        let before = std::mem::replace(&mut *self.list.write(), list.clone());
        for remote in before {
            match list.iter().any(|it| Arc::ptr_eq(it, &remote)) {
                // By the new settings, and without the rest of a pause by the old ones.
                true => remote.woken.notify_one(),
                false => remote.end(CloseReason::RemoteRemoved),
            }
        }
        self.changed.notify_one();
    }

    /// Ends all connections, for good.
    pub fn stop(&self) {
        for remote in self.all() {
            remote.end(CloseReason::ServerShutdown);
        }
        self.changed.notify_one();
    }

    /// How each one is.
    pub fn views(&self) -> Vec<RemoteView> {
        self.all().iter().map(|remote| remote.view()).collect()
    }

    /// How hubs are dialled now.
    pub(super) fn settings(&self) -> Settings {
        *self.settings.read()
    }
}

/// One hub.
pub struct Remote {
    /// Its settings.
    pub options: RemoteOptions,
    /// TLS for it, made at the first need if there is no block.
    tls: Mutex<Option<Arc<TlsListener>>>,
    /// Whether its task has begun.
    pub(super) has_begun: AtomicBool,
    is_over: AtomicBool,
    /// Ends a pause or an attempt: it is over, or has other settings.
    woken: Notify,
    state: Mutex<State>,
}

struct State {
    /// Where it may be reached: what it told of, and the configured URLs.
    urls: Vec<RemoteUrl>,
    /// Whether the first of them is in use or was tried last.
    has_tried: bool,
    connection: Option<Arc<Connection>>,
    name: String,
    /// When the connection began, or when it ended; at first when the remote was made.
    since: MonotonicMillis,
    connected: bool,
    attempts: u32,
    connects: u64,
    error: String,
    /// Pause before the next attempt in place of the usual one.
    delay: Option<Duration>,
}

/// How the connection to a hub is.
#[derive(Clone, Debug)]
pub struct RemoteView {
    /// `host:port` of the configured URLs.
    pub urls: Vec<String>,
    /// The account here.
    pub account: String,
    /// Whether this broker is the hub on the connection.
    pub is_hub: bool,
    /// Whether the configuration turns it off.
    pub disabled: bool,
    /// The number of the connection, if there is one.
    pub cid: Option<u64>,
    /// Where it is reached or was tried last.
    pub url: String,
    /// The name of the broker that is or was reached.
    pub name: String,
    /// Since when it is connected or not.
    pub since: MonotonicMillis,
    /// Failed attempts since it was connected.
    pub attempts: u32,
    /// Connections since the start.
    pub connects: u64,
    /// Why the last attempt failed or the last connection ended; empty if none has.
    pub last_error: String,
    /// Round trip time of the connection.
    pub rtt: Option<Duration>,
}

impl Remote {
    /// One of these settings; `tls` is what its block asks for.
    pub fn new(options: RemoteOptions, tls: Option<Arc<TlsListener>>) -> Self {
        let mut urls = options.urls.clone();
        if !options.no_randomize {
            fastrand::shuffle(&mut urls);
        }
        Self {
            options,
            tls: Mutex::new(tls),
            has_begun: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            woken: Notify::new(),
            state: Mutex::new(State {
                urls,
                has_tried: false,
                connection: None,
                name: String::new(),
                since: MonotonicMillis::now(),
                connected: false,
                attempts: 0,
                connects: 0,
                error: String::new(),
                delay: None,
            }),
        }
    }

    /// TLS for it, if it is in use.
    pub fn tls(&self) -> Option<Arc<TlsListener>> {
        self.tls.lock().clone()
    }

    /// Sets TLS that was made because the hub asks for it. Returns what is in use.
    pub(super) fn set_tls(&self, tls: Arc<TlsListener>) -> Arc<TlsListener> {
        self.tls.lock().get_or_insert(tls).clone()
    }

    /// The connection, if there is one.
    pub fn connection(&self) -> Option<Arc<Connection>> {
        self.state.lock().connection.clone()
    }

    /// How it is.
    pub fn view(&self) -> RemoteView {
        let state = self.state.lock();
        let RemoteOptions { urls, account, .. } = &self.options;
        let connection = state.connection.as_ref();
        RemoteView {
            urls: urls.iter().map(|it| it.url.to_string()).collect(),
            account: account.clone(),
            is_hub: self.options.is_hub,
            disabled: self.options.disabled,
            cid: connection.map(|connection| connection.cid),
            url: state
                .urls
                .first()
                .map(|it| it.url.to_string())
                .unwrap_or_default(),
            name: state.name.clone(),
            since: state.since,
            attempts: state.attempts,
            connects: state.connects,
            last_error: state.error.clone(),
            rtt: connection.and_then(|connection| connection.rtt()),
        }
    }

    /// Whether it is not to be dialled any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Ends its connection, and dials no more.
    fn end(&self, reason: CloseReason) {
        self.is_over.store(true, Ordering::SeqCst);
        self.woken.notify_one();
        if let Some(connection) = self.connection() {
            connection.close(reason);
        }
    }

    /// Begins the connection anew, with other certificate files.
    pub fn reconnect(&self) {
        if let Some(connection) = self.connection() {
            log::about(&connection)
                .code(EventKind::Leafnode.name())
                .info(format_args!(
                    "Connects anew, with the other certificate files"
                ));
            connection.close(CloseReason::ClientClosed);
        }
    }

    /// Waits until it is over, or has other settings; to be awaited by its own task alone.
    pub(super) async fn until_woken(&self) {
        if !self.is_over() {
            self.woken.notified().await;
        }
    }

    /// Waits, but not longer than until then.
    pub(super) async fn pause(&self, time: Duration) {
        // What the timeout says does not matter: the caller looks whether it is over.
        let _ = timeout(time, self.until_woken()).await;
    }

    /// The next place to dial. One that was tried goes to the end.
    pub(super) fn next_url(&self) -> Option<RemoteUrl> {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.has_tried, true) && !state.urls.is_empty() {
            state.urls.rotate_left(1);
        }
        state.urls.first().cloned()
    }

    /// Takes the places that the hub tells of, behind the configured ones.
    pub(super) fn learn(&self, told: &[String]) {
        if self.options.ignores_discovered {
            return;
        }
        let configured = &self.options.urls;
        let is_configured = |url: &RouteUrl| {
            let same = |it: &RemoteUrl| it.url.host == url.host && it.url.port == url.port;
            configured.iter().any(same)
        };
        // The login is the same as at the first that has one.
        let login = configured.iter().find(|it| !it.url.user.is_empty());
        let mut urls = Vec::new();
        for text in told.iter().take(LEARNED_MAX) {
            // What is no address is passed over: the configured ones are there.
            let Ok(RemoteUrl { mut url, .. }) = RemoteUrl::parse(text) else {
                continue;
            };
            (url.user, url.password) = (String::new(), Secret::default());
            if let Some(login) = login {
                url.user.clone_from(&login.url.user);
                url.password.clone_from(&login.url.password);
            }
            let url = RemoteUrl {
                is_tls: configured.iter().any(|it| it.is_tls),
                url,
            };
            if !is_configured(&url.url) && !urls.contains(&url) {
                urls.push(url);
            }
        }
        // After a loss the configured ones come first: a hub may tell of what cannot be reached.
        urls.splice(..0, configured.iter().cloned());
        let mut state = self.state.lock();
        // What is in use stays in front, so that another one comes next.
        let current = state.urls.first();
        match urls.iter().position(|url| Some(url) == current) {
            Some(at) => urls.rotate_left(at),
            None => state.has_tried = false,
        }
        state.urls = urls;
    }

    /// Notes that it is connected. `false`: it is over.
    pub(super) fn note_connected(&self, connection: &Arc<Connection>, name: &str) -> bool {
        let mut state = self.state.lock();
        state.connection = Some(connection.clone());
        name.clone_into(&mut state.name);
        state.since = MonotonicMillis::now();
        state.connected = true;
        state.attempts = 0;
        state.connects += 1;
        !self.is_over()
    }

    /// Notes that its connection has ended, and why.
    pub(super) fn note_end(&self, why: &str) {
        let mut state = self.state.lock();
        state.connection = None;
        if std::mem::replace(&mut state.connected, false) {
            state.since = MonotonicMillis::now();
        }
        // What the hub said about it tells more.
        if state.error.is_empty() {
            state.error = shorten(why).into_owned();
        }
    }

    /// Notes that an attempt failed, and why.
    pub(super) fn note_failure(&self, why: &str) {
        let mut state = self.state.lock();
        state.attempts = state.attempts.saturating_add(1);
        state.error = shorten(why).into_owned();
    }

    /// Notes an error of the connection.
    pub(super) fn note_error(&self, why: &str) {
        self.state.lock().error = shorten(why).into_owned();
    }

    /// Forgets earlier errors: a new connection begins.
    pub(super) fn forget_error(&self) {
        self.state.lock().error.clear();
    }

    /// Sets the pause before the next attempt.
    pub(super) fn delay_next(&self, time: Duration) {
        self.state.lock().delay = Some(time);
    }

    /// The pause that was set.
    pub(super) fn take_delay(&self) -> Option<Duration> {
        self.state.lock().delay.take()
    }
}
