//! The settings: the typed [`Options`] and the way from a file to
//! them.
//!
//! [`load`] reads a file; `config::flags` applies the command line over it. [`table`]
//! defines the row of a table of keys, [`keys`] has the table of the top of the file; those
//! of inner blocks are in the modules of their names. [`reading`] stores values by the
//! tables, [`plan`] determines what a reload changes. The server and the log use only
//! [`Options`] of this module.

pub mod advertise;
mod apply;
mod authorization;
pub mod cluster;
mod describe;
pub mod diagnosis;
mod duration;
pub mod federation;
pub mod keys;
pub mod leafnodes;
pub mod log_format;
pub mod monitor;
pub mod nodes;
pub(super) mod permissions;
pub mod plan;
pub mod problems;
pub(super) mod reading;
pub mod srv;
pub mod syslog;
pub mod table;
pub(super) mod tls;
pub(super) mod unsupported;
pub(super) mod users;
pub mod websocket;
pub(super) mod written;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::accounts::{AccountConfig, DEFAULT_SYSTEM_ACCOUNT, Mapping};
pub use apply::{ConfigErrors, Diagnostic, load};
use cluster::ClusterOptions;
pub use diagnosis::Diagnosis;
use federation::FederationOptions;
use leafnodes::LeafnodesOptions;
pub use log_format::LogFormat;
pub use monitor::{Monitor, MonitorLogin};
use nodes::NodesOptions;
pub use syslog::RemoteSyslog;
pub use websocket::WebSocketOptions;

use crate::security::{
    options::TlsOptions,
    sources::Network,
    users::{Authorization, User},
};

/// Default of the login timeout.
const DEFAULT_AUTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Port of the client listener.
pub const DEFAULT_PORT: u16 = 4222;
/// Port of the monitoring listener.
pub const DEFAULT_HTTP_PORT: u16 = 8222;
/// Where the client listener binds if a configuration file names no host.
pub const ANY_HOST: &str = "0.0.0.0";
/// Where monitoring binds if no host is named for it, and the client listener
/// if there is neither a configuration file nor a host nor a login.
pub const LOOPBACK_HOST: &str = "127.0.0.1";

/// The port of the monitoring listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpPort {
    /// Not configured: [`DEFAULT_HTTP_PORT`].
    #[default]
    Default,
    /// `http_port: 0`: no monitoring.
    Off,
    /// A written port; 0 is any free one.
    Listen(u16),
}

/// Most client connections, if not configured.
pub const MAX_CONNECTIONS: i64 = 65_536;

/// All settings of a broker.
///
/// The default is the start without a file and without flags: loopback only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Host the client listener binds to.
    pub host: String,
    /// Whether `host` is the loopback address only because there is neither a configuration
    /// file nor a host, and clients need not log in; worth a line in the log.
    pub host_is_safe_default: bool,
    /// Port of the client listener; 0 is any free one.
    pub port: u16,
    /// Where clients may connect from; empty for anywhere.
    pub allowed_sources: Vec<Network>,
    /// `HOST` or `HOST:PORT` announced to clients instead of the listener's own.
    pub client_advertise: Option<String>,
    /// The port for WebSockets; `None` for none.
    pub websocket: Option<WebSocketOptions>,
    /// Name shown to clients and operators; `None` is the server's id.
    pub server_name: Option<String>,
    /// Host of the monitoring listener; `None` is [`LOOPBACK_HOST`].
    /// [`Options::http_listen`] gives both parts resolved.
    pub http_host: Option<String>,
    /// Port of the monitoring listener.
    pub http_port: HttpPort,
    /// Whether monitoring is served with the certificate of `tls`.
    pub https: bool,
    /// Path before all monitoring endpoints: begins with `/` and ends with one
    /// only if it is `/`.
    pub http_base_path: String,
    /// The Unix socket of monitoring, and names of the machine.
    pub monitor: Monitor,
    /// Credentials of requests to the monitoring port.
    pub monitor_login: MonitorLogin,
    /// Most client connections; 0 or less allows none.
    pub max_connections: i64,
    /// Most subscriptions of one connection; 0 is unlimited.
    pub max_subscriptions: usize,
    /// Most tokens in the subject of a subscription; 0 is unlimited.
    pub max_sub_tokens: usize,
    /// Bytes of the largest message, its headers included.
    pub max_payload: usize,
    /// Bytes that may wait for one connection before it is a slow consumer.
    pub max_pending: usize,
    /// Bytes that all outbound queues together may hold; `None` for half of
    /// the memory that the process may use.
    pub max_memory: Option<usize>,
    /// Bytes of the longest protocol line.
    pub max_control_line: usize,
    /// Closed connections that monitoring remembers.
    pub max_closed_clients: usize,
    /// Time between the pings of an idle connection.
    pub ping_interval: Duration,
    /// Unanswered pings before a connection is stale.
    pub ping_max: u32,
    /// Longest time one write to a connection may take.
    pub write_deadline: Duration,
    /// Time over which lame duck mode closes the connections.
    pub lame_duck_duration: Duration,
    /// Time before lame duck mode closes the first connection; shorter than
    /// `lame_duck_duration`.
    pub lame_duck_grace_period: Duration,
    /// Users and passwords of clients.
    pub authorization: Authorization,
    /// Login timeout; `None` if not configured.
    pub auth_timeout: Option<Duration>,
    /// Whether headers are refused.
    pub no_header_support: bool,
    /// Whether debug lines are logged.
    pub debug: bool,
    /// Whether protocol traces are logged; true if `trace_verbose` is.
    pub trace: bool,
    /// Whether traces include the system account.
    pub trace_verbose: bool,
    /// Whether log lines bear date and time.
    pub logtime: bool,
    /// Whether that time is UTC instead of local.
    pub logtime_utc: bool,
    /// File the log goes to; `None` is stderr.
    pub log_file: Option<PathBuf>,
    /// Bytes at which the log file is rotated; 0 is never.
    pub log_size_limit: u64,
    /// Most log files, the live one included; 0 keeps all.
    pub log_max_num: usize,
    /// Age at which the log file is rotated and rotated ones are removed; zero is never.
    pub log_max_age: Duration,
    /// The form of log lines; `None`: text, or the journal's where stderr goes there.
    pub log_format: Option<LogFormat>,
    /// File to write the process id to.
    pub pid_file: Option<PathBuf>,
    /// Whether the log goes to the system's log instead of stderr.
    pub syslog: bool,
    /// The log server that it goes to instead.
    pub remote_syslog: Option<RemoteSyslog>,
    /// Folder to write the list of listening ports to.
    pub ports_file_dir: Option<PathBuf>,
    /// Payload bytes shown in a trace; 0 is all.
    pub max_traced_msg_len: usize,
    /// Whether traces show of each message its headers alone.
    pub trace_headers: bool,
    /// Whether publishers are not paused for clients that are behind.
    pub no_fast_producer_stall: bool,
    /// Words that describe this broker to operators.
    pub server_tags: Vec<String>,
    /// The same as pairs.
    pub server_metadata: BTreeMap<String, String>,
    /// The other brokers; `None` if there is no block for them.
    pub cluster: Option<ClusterOptions>,
    /// How leafnodes are served; `None` if there is no block for them.
    pub leafnodes: Option<LeafnodesOptions>,
    /// This broker as the federation broker of its site; `None` if it is none.
    pub federation: Option<FederationOptions>,
    /// Which nodes should be connected; `None` if that is not watched.
    pub nodes: Option<NodesOptions>,
    /// The accounts that are defined; the global one is always there.
    pub accounts: Vec<AccountConfig>,
    /// Mappings of the global account.
    pub mappings: Vec<Mapping>,
    /// The account of the broker's own events and services.
    pub system_account: String,
    /// Whether there is no such account.
    pub no_system_account: bool,
    /// TLS for clients; `None` for none.
    pub tls: Option<TlsOptions>,
    /// Whether clients may do without TLS where there is `tls`.
    pub allow_non_tls: bool,
    /// Thresholds of the diagnosis.
    pub diagnosis: Diagnosis,
    /// The configuration file, as it was named.
    pub config_file: Option<PathBuf>,
    /// `sha256:` and the digest of the file's values; empty without a file.
    pub config_digest: String,
}

impl Options {
    /// The login timeout of clients: as with nats-server longer by default if a TLS
    /// handshake precedes the login.
    pub fn auth_timeout(&self) -> Duration {
        let tls = self.tls.as_ref();
        let usual = tls.map(|tls| tls.timeout + cluster::AUTH_TIMEOUT_BEYOND_TLS);
        self.auth_timeout.or(usual).unwrap_or(DEFAULT_AUTH_TIMEOUT)
    }

    /// The configured name of the cluster; empty for none.
    pub fn cluster_name(&self) -> &str {
        let name = self
            .cluster
            .as_ref()
            .and_then(|cluster| cluster.name.as_deref());
        name.unwrap_or_default()
    }

    /// Settings that follow from keys together, after all have been read: a specific kind
    /// of trace enables tracing.
    pub(super) fn settle(&mut self) {
        self.trace |= self.trace_verbose || self.trace_headers;
    }

    /// Checks that the log is asked for in one place.
    pub(super) fn check_log(&self) -> Result<(), String> {
        if self.log_format != Some(LogFormat::Journald) {
            return Ok(());
        }
        let other = match (&self.log_file, &self.remote_syslog) {
            (Some(_), _) => "log_file",
            (None, Some(_)) => "remote_syslog",
            (None, None) if self.syslog => "syslog",
            (None, None) => return Ok(()),
        };
        Err(format!(
            "log_format journald sends the log to the systemd journal, and {other} to another \
             place: remove one of them"
        ))
    }

    /// Checks that clients show the certificates by which users are known.
    pub(super) fn check_certificate_users(&self) -> Result<(), String> {
        let mut users = self.authorization.users.iter();
        let pattern = users.find_map(User::certnames);
        let verifies = self.tls.as_ref().is_some_and(|tls| tls.verify);
        match pattern.filter(|_| !verifies) {
            None => Ok(()),
            Some(pattern) => Err(format!(
                "the user with certificate: {:?} could not log in, because clients are not asked \
                 for a certificate: write verify: true or puppet: true in the block \"tls\"",
                pattern.text()
            )),
        }
    }

    /// The settings of the cluster, made if there are none yet.
    pub(super) fn cluster_mut(&mut self) -> &mut ClusterOptions {
        self.cluster.get_or_insert_default()
    }

    /// Whether clients have to log in or to show a certificate.
    pub(super) fn asks_who_clients_are(&self) -> bool {
        let authorization = &self.authorization;
        authorization.sole.is_some()
            || !authorization.users.is_empty()
            || self.tls.as_ref().is_some_and(|tls| tls.verify)
    }

    /// Host and port of the monitoring listener, port 0 being any free one;
    /// `None` if there is no monitoring.
    pub fn http_listen(&self) -> Option<(&str, u16)> {
        let port = match self.http_port {
            HttpPort::Default => DEFAULT_HTTP_PORT,
            HttpPort::Off => return None,
            HttpPort::Listen(port) => port,
        };
        Some((self.http_host.as_deref().unwrap_or(LOOPBACK_HOST), port))
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            host: LOOPBACK_HOST.into(),
            host_is_safe_default: true,
            port: DEFAULT_PORT,
            allowed_sources: Vec::new(),
            client_advertise: None,
            websocket: None,
            server_name: None,
            http_host: None,
            http_port: HttpPort::Default,
            https: false,
            http_base_path: "/".into(),
            monitor: Monitor::default(),
            monitor_login: MonitorLogin::default(),
            max_connections: MAX_CONNECTIONS,
            max_subscriptions: 0,
            max_sub_tokens: 0,
            max_payload: 1024 * 1024,
            max_pending: 64 * 1024 * 1024,
            max_memory: None,
            max_control_line: 4096,
            max_closed_clients: 10_000,
            ping_interval: Duration::from_secs(2 * 60),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            lame_duck_duration: Duration::from_secs(2 * 60),
            lame_duck_grace_period: Duration::from_secs(10),
            authorization: Authorization::default(),
            auth_timeout: None,
            no_header_support: false,
            debug: false,
            trace: false,
            trace_verbose: false,
            logtime: true,
            logtime_utc: false,
            log_file: None,
            log_size_limit: 0,
            log_max_num: 0,
            log_max_age: Duration::ZERO,
            log_format: None,
            pid_file: None,
            syslog: false,
            remote_syslog: None,
            ports_file_dir: None,
            max_traced_msg_len: 0,
            trace_headers: false,
            no_fast_producer_stall: false,
            server_tags: Vec::new(),
            server_metadata: BTreeMap::new(),
            cluster: None,
            leafnodes: None,
            federation: None,
            nodes: None,
            accounts: Vec::new(),
            mappings: Vec::new(),
            system_account: DEFAULT_SYSTEM_ACCOUNT.into(),
            no_system_account: false,
            tls: None,
            allow_non_tls: false,
            diagnosis: Diagnosis::default(),
            config_file: None,
            config_digest: String::new(),
        }
    }
}

#[cfg(test)]
mod example;
#[cfg(test)]
pub(in crate::config) mod manual;
#[cfg(test)]
mod tests;
