//! The input of one scrape: the other endpoints' answers and the numbers
//! that they do not show. Each connection is read once, so that the parts sum up
//! to the whole.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};

use chrono::DateTime;
use monitor_client::{AccountStat, Federationz, Healthz, Leafz, TlsVarz, Varz};
use serde_json::Value;

use crate::{
    account::{GLOBAL_ACCOUNT, latency::ServiceFigures},
    broker::{
        password_queue::PasswordQueueState,
        registry::{ConnectionView, LiveConnection, RegistrySnapshot},
    },
    config::accounts::AccountLimits,
    connection::{admission::PlacesView, handshake::Handshakers},
    log::LogState,
    monitor::{
        Monitor, cpu,
        endpoints::{
            accstatz, federationz, healthz, leafz, query::Query, refusal::Refusal, routez, subsz,
            varz,
        },
    },
    observe::diagnosis::Report,
    server::Server,
    telemetry::{Kind, Telemetry, Traffic, histogram::Distribution, slow},
};

/// Most accounts with series of their own; those with the most messages come
/// first.
pub(super) const ACCOUNTS_MAX: usize = 100;

/// Most measured services with series of their own, by name.
const SERVICES_MAX: usize = 100;

/// Most brokers with series of their own; the same.
const ROUTES_MAX: usize = 100;

/// All values of one moment.
pub(super) struct Snapshot {
    /// The answer of `/varz`.
    pub(super) varz: Varz,
    /// The answers of the endpoints whose numbers the exporter's names are made
    /// from.
    pub(super) answers: [(&'static str, Value); 3],
    /// Traffic and losses of clients and routes.
    pub(super) traffic: Traffic,
    /// Accounts, at most [`ACCOUNTS_MAX`].
    pub(super) accounts: Vec<AccountStat>,
    /// Subscriptions here, of all accounts.
    pub(super) subscriptions: u64,
    /// The same for each account of the list.
    pub(super) account_subscriptions: Vec<(String, u64)>,
    /// The limits of each of them.
    pub(super) account_settings: Vec<AccountSettings>,
    /// The answer of `/healthz`.
    pub(super) health: Healthz,
    /// The same with what the exporter asks for besides, by its name for it.
    pub(super) jetstream_health: [(&'static str, Healthz); 2],
    /// The findings of the last sample.
    pub(super) report: Arc<Report>,
    /// Readers that fell behind.
    pub(super) slow: slow::Counts,
    /// How long messages stay.
    pub(super) latency: Latency,
    /// Measured services by account and subject, at most [`SERVICES_MAX`].
    pub(super) services: Vec<((String, String), ServiceFigures)>,
    /// Routes, at most [`ROUTES_MAX`].
    pub(super) routes: Vec<RouteFigures>,
    /// The answer of `/federationz`.
    pub(super) federation: Federationz,
    /// How long its requests took, if there is a federation.
    pub(super) federation_round_trips: Option<Distribution>,
    /// The answer of `/leafz`.
    pub(super) leafz: Leafz,
    /// The open connections.
    pub(super) connections: Connections,
    /// Closed connections so far, by reason.
    pub(super) closed: Vec<(String, u64)>,
    /// Look-ups in, insertions into and removals from the subscription index.
    pub(super) index: [(&'static str, u64); 3],
    /// Bytes in outbound queues that do not flow, and how many there may be.
    pub(super) queue_inspection: (usize, usize),
    /// Resources used by the process.
    pub(super) process: Process,
    /// Start of the broker, in seconds of Unix time.
    pub(super) start: f64,
    /// Events so far, by type.
    pub(super) events: Vec<(&'static str, u64)>,
    /// Connections that ended without a byte of protocol.
    pub(super) probes: u64,
    /// When the last reload was, in seconds of Unix time, and whether it was
    /// taken over.
    pub(super) reload: Option<(f64, bool)>,
    /// How the log gets on.
    pub(super) log: LogState,
    /// Notices to the system account that did not fit.
    pub(super) notices_dropped: u64,
    /// When certificate, CA and CRL end, by listener and what ends, in seconds of
    /// Unix time.
    pub(super) tls_ends: Vec<(&'static str, &'static str, f64)>,
    /// TLS, by listener.
    pub(super) tls: Vec<(&'static str, TlsVarz)>,
    /// Durations of the finished TLS handshakes, by listener.
    pub(super) handshakes: Vec<(&'static str, Distribution)>,
    /// The places before the login.
    pub(super) places: Vec<PlacesView>,
    /// Logins whose passwords wait to be compared.
    pub(super) passwords: PasswordQueueState,
}

/// The limits of an account.
pub(super) struct AccountSettings {
    /// Whether it is the system account.
    pub(super) is_system: bool,
    /// Its limits.
    pub(super) limits: AccountLimits,
}

/// How long messages stay in the broker, since its start.
pub(super) struct Latency {
    /// By kind of the receiving connection.
    pub(super) by_kind: BTreeMap<&'static str, Distribution>,
    /// By account, at most [`ACCOUNTS_MAX`].
    pub(super) by_account: Vec<(String, Distribution)>,
    /// How late the broker's threads get to run.
    pub(super) worker_delay: Distribution,
}

/// The route to one broker.
pub(super) struct RouteFigures {
    /// Name of that broker.
    pub(super) remote: String,
    /// Its id.
    pub(super) remote_id: String,
    /// Round trip, if measured.
    pub(super) rtt: Option<Duration>,
    /// Bytes that wait.
    pub(super) pending: usize,
    /// Its interest.
    pub(super) subscriptions: usize,
    /// The traffic of the route.
    pub(super) traffic: Traffic,
}

/// The open connections.
#[derive(Default)]
pub(super) struct Connections {
    /// Bytes in all outbound queues.
    pub(super) pending: usize,
    /// Bytes in the longest one.
    pub(super) longest: usize,
    /// Subscriptions of all.
    pub(super) subscriptions: usize,
    /// What all have moved so far.
    pub(super) traffic: Traffic,
    /// Round trips, of each the last one.
    pub(super) rtt: Distribution,
    /// Those with the most bytes waiting, then those that moved the most.
    pub(super) top: Vec<ConnectionView>,
}

/// Resources used by the process.
pub(super) struct Process {
    /// Processor time of all threads.
    pub(super) cpu: Duration,
    /// Open file descriptors, if the system reports them.
    pub(super) descriptors: Option<u64>,
    /// Most file descriptors, if they are limited.
    pub(super) descriptors_max: Option<u64>,
}

impl Snapshot {
    /// Takes the values; `top` connections are read one by one.
    ///
    /// # Errors
    ///
    /// An answer cannot be made.
    pub(super) fn take(monitor: &Monitor, top: usize) -> Result<Self, Refusal> {
        let server = &monitor.server;
        let telemetry = &server.broker.telemetry;
        let registry = &server.broker.registry;
        let query = Query::parse("");
        let registered = registry.snapshot();
        let totals = registered.totals();
        let traffic = totals.traffic();
        let varz = varz::build_of(monitor, &totals);
        let subsz = subsz::answer(monitor, &query)?;
        let index = [
            ("insert", subsz.num_inserts),
            ("remove", subsz.num_removes),
            ("lookup", subsz.num_matches),
        ];
        let answers = [
            ("varz", to_json(&varz)?),
            ("subsz", to_json(&subsz)?),
            ("routez", to_json(&routez::build(monitor))?),
        ];
        let mut accounts =
            accstatz::build_of(monitor, true, registered.totals_by_account()).account_statz;
        // Before those that move least are left out.
        let here = |stat: &AccountStat| {
            let account = server.broker.accounts.find(&stat.acc);
            account.map_or(0, |account| account.sublist.stats().subscriptions)
        };
        // Before those that move least are left out.
        let subscriptions = accounts.iter().map(here).sum();
        accounts.sort_by_key(|stat| Reverse(stat.sent.msgs.saturating_add(stat.received.msgs)));
        accounts.truncate(ACCOUNTS_MAX);
        let account_subscriptions = accounts
            .iter()
            .map(|stat| (stat.acc.clone(), here(stat)))
            .collect();
        let health = |query: &str| healthz::build(monitor, &Query::parse(query)).1;
        let reload = server.last_reload();
        Ok(Self {
            answers,
            traffic,
            account_settings: account_settings(monitor, &accounts),
            health: health(""),
            jetstream_health: [
                ("healthz_js_enabled_only", health("js-enabled-only=true")),
                ("healthz_js_server_only", health("js-server-only=true")),
            ],
            report: monitor.diagnosis.report(),
            slow: telemetry.slow.counts(),
            latency: Latency::of(telemetry, &accounts),
            services: {
                let figures = server.broker.accounts.latencies.figures();
                figures.into_iter().take(SERVICES_MAX).collect()
            },
            routes: RouteFigures::of(monitor),
            federation: federationz::build(monitor),
            federation_round_trips: server.federation().map(|it| it.figures.round_trips().all),
            leafz: leafz::build(monitor),
            connections: Connections::take(&registered, top),
            closed: registered.of[Kind::Client]
                .ended
                .iter()
                .map(|(reason, count)| (reason.to_string(), *count))
                .collect(),
            index,
            queue_inspection: (registry.budget.used(), registry.budget.limit()),
            process: Process::take(),
            start: server.start().timestamp_millis() as f64 / 1000.0,
            events: telemetry
                .events
                .counts()
                .map(|(kind, count)| (kind.name(), count))
                .collect(),
            probes: telemetry.churn.probes(),
            reload: reload.map(|last| {
                let at = last.at.timestamp_millis() as f64 / 1000.0;
                (at, last.error.is_none())
            }),
            notices_dropped: server.broker.system.dropped() + server.broker.system.too_large(),
            log: server.log_state(),
            tls_ends: tls_ends(&tls_blocks(&varz)),
            tls: tls_blocks(&varz)
                .into_iter()
                .map(|(listener, _, block)| (listener, block))
                .collect(),
            handshakes: server
                .tls_listeners()
                .into_iter()
                .map(|(listener, tls)| (listener, tls.view().times))
                .collect(),
            places: places(server),
            passwords: server.password_queue_state(),
            accounts,
            subscriptions,
            account_subscriptions,
            varz,
        })
    }
}

fn places(server: &Server) -> Vec<PlacesView> {
    let ports = server.broker.admission.all().map(|port| port.view());
    let long = Handshakers::long_places().map(|long| long.view());
    ports.into_iter().chain(long).collect()
}

fn account_settings(monitor: &Monitor, accounts: &[AccountStat]) -> Vec<AccountSettings> {
    let options = monitor.server.options();
    let system = monitor.server.broker.accounts.system_name();
    accounts
        .iter()
        .map(|stat| {
            let config = options.accounts.iter().find(|known| known.name == stat.acc);
            AccountSettings {
                is_system: stat.acc == system,
                limits: config.map(|config| config.limits).unwrap_or_default(),
            }
        })
        .collect()
}

/// TLS of all that has it, as `/varz` shows it, by the listener's name and with the end of the
/// certificate.
fn tls_blocks(varz: &Varz) -> Vec<(&'static str, Option<String>, TlsVarz)> {
    let of = |block: &serde_json::Value| {
        let end = block["tls_cert_not_after"].as_str().map(str::to_owned);
        let tls = block.get("tls").cloned();
        (end, tls.and_then(|tls| serde_json::from_value(tls).ok()))
    };
    let federation = varz.federation.clone().unwrap_or_default();
    [
        (
            "client",
            (varz.tls_cert_not_after.clone(), varz.tls.clone()),
        ),
        ("route", of(&varz.cluster)),
        ("leafnode", of(&varz.leaf)),
        (
            "federation",
            (federation.tls_cert_not_after, federation.tls),
        ),
        ("websocket", of(&varz.websocket)),
    ]
    .into_iter()
    .filter_map(|(listener, (end, block))| Some((listener, end, block?)))
    .collect()
}

/// The ends in these blocks, by listener and what ends.
fn tls_ends(
    blocks: &[(&'static str, Option<String>, TlsVarz)],
) -> Vec<(&'static str, &'static str, f64)> {
    let all = blocks.iter().flat_map(|(listener, end, tls)| {
        [
            (*listener, "certificate", end.as_ref()),
            (*listener, "ca", tls.ca_not_after.as_ref()),
            (*listener, "crl", tls.crl_next_update.as_ref()),
        ]
    });
    all.filter_map(|(listener, what, end)| {
        let end = DateTime::parse_from_rfc3339(end?).ok()?;
        Some((listener, what, end.timestamp() as f64))
    })
    .collect()
}

impl Latency {
    fn of(telemetry: &Telemetry, accounts: &[AccountStat]) -> Self {
        let measured = telemetry.latency.measured();
        let mut by_kind: BTreeMap<_, Distribution> = BTreeMap::new();
        let mut by_account = Vec::new();
        for (series, times) in measured.series {
            let kind = match series.kind {
                Kind::Client => "client",
                Kind::Router => "route",
                Kind::Leafnode => "leafnode",
            };
            by_kind.entry(kind).or_default().add(&times.all);
            let has_series = accounts.iter().any(|stat| stat.acc == series.account);
            if series.kind == Kind::Client && has_series {
                by_account.push((series.account, times.all));
            }
        }
        Self {
            by_kind,
            by_account,
            worker_delay: measured.scheduling.all,
        }
    }
}

impl RouteFigures {
    fn of(monitor: &Monitor) -> Vec<Self> {
        let Some(cluster) = &monitor.server.cluster else {
            return Vec::new();
        };
        let mut routes: Vec<_> = cluster
            .routes()
            .iter()
            .map(|route| Self {
                remote: route.remote_name.clone(),
                remote_id: route.remote_id.clone(),
                rtt: route.connection.rtt(),
                pending: route.connection.outbound().backlog().pending,
                subscriptions: route.interest.count(),
                traffic: route.connection.traffic(),
            })
            .collect();
        routes.sort_by_key(|route| Reverse(route.traffic.in_msgs + route.traffic.out_msgs));
        routes.truncate(ROUTES_MAX);
        routes
    }
}

impl Connections {
    fn take(registered: &RegistrySnapshot, top: usize) -> Self {
        let mut all = Self::default();
        let mut ranked: Vec<_> = registered.of[Kind::Client]
            .open
            .iter()
            .map(|moving| {
                let connection = &moving.connection;
                let pending = connection.outbound().backlog().pending;
                all.pending += pending;
                all.longest = all.longest.max(pending);
                all.subscriptions += connection.subscriptions.lock().len();
                if let Some(rtt) = connection.rtt() {
                    all.rtt
                        .record(u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
                }
                let traffic = &moving.traffic;
                all.traffic += *traffic;
                let moved = traffic.in_bytes.saturating_add(traffic.out_bytes);
                (Reverse((pending, moved)), connection.cid, moving)
            })
            .collect();
        // A total order, so that the same connections lead in each scrape.
        ranked.sort_unstable_by_key(|(rank, cid, _)| (*rank, *cid));
        all.top = ranked
            .iter()
            .take(top)
            .map(|(_, _, moving)| view(moving))
            .collect();
        all
    }
}

/// The connection with its traffic; the global account is shown as none.
fn view(moving: &LiveConnection) -> ConnectionView {
    let mut view = moving.connection.view();
    view.traffic = moving.traffic;
    if view.identity.account.is_empty() {
        view.identity.account = GLOBAL_ACCOUNT.into();
    }
    view
}

impl Process {
    fn take() -> Self {
        Self {
            cpu: cpu::cpu_time(),
            descriptors: crate::telemetry::process::open_files().ok(),
            descriptors_max: crate::telemetry::process::open_files_max(),
        }
    }
}

fn to_json(answer: &impl serde::Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(answer).map_err(Refusal::unwritable)
}
