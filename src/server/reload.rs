//! Reload: reads the configuration again and applies it to the running broker.
//!
//! SIGHUP and requests on the monitoring socket or the system account call [`Server::reload`]. It
//! runs on a thread of its own, because the files may be on a disk that hangs, or be pipes; only
//! the requester waits for it. nats-server rejects a reload as a whole if one setting cannot be
//! changed at run time; here all others are applied, and those that need a restart are named. A
//! reload that fails changes nothing: everything that can fail is prepared first ([`Prepared`]),
//! then applied by steps that cannot fail.

mod outcome;

use std::{path::Path, sync::Arc};

use chrono::Utc;
use monitor_client::control::Change;
use tracing::{error, info, warn};

pub use self::outcome::{Outcome, Purpose};
use super::{
    Server, advertised,
    exclusive::{Exclusive, ExclusiveGuard},
    federation::PreparedFederation,
    leafnodes::PreparedRemotes,
    limits,
    pid_file::PidFile,
    tls::PreparedTls,
    warnings,
    websocket::client_urls,
    writable::can_write,
};
use crate::{
    broker::{memory, server_info::Description, surplus},
    client,
    config::{Diagnostic, Options, options::plan::changes},
    log::{LogHandle, PreparedLog},
    protocol::info::Info,
    security::authentication::Authentication,
    service_manager::ServiceManager,
    telemetry::{calls::Calls, event::EventKind, threads},
};

/// Reads the file and the command line as at the start, or another file instead; the error says
/// what is wrong.
pub type ReadOptions = fn(Option<&Path>) -> Result<(Options, Vec<Diagnostic>), String>;

/// What a reload needs.
pub struct Sources {
    /// Reads the options.
    pub read_options: ReadOptions,
    /// The log.
    pub log: LogHandle,
    /// Who is told that a reload is under way.
    pub service_manager: Arc<ServiceManager>,
}

/// Reloads on a thread of its own, repeatedly if that was requested.
fn run_reload(
    guard: ExclusiveGuard,
    purpose: Purpose,
    report: impl FnOnce(Outcome) + Send + 'static,
) {
    let under_way = matches!(purpose, Purpose::Apply).then(|| UnderWay::begin(guard.server()));
    let work = move || {
        let _under_way = under_way;
        let (mut guard, mut report) = (guard, Some(report));
        loop {
            let server = guard.server();
            let outcome = match &purpose {
                Purpose::Try(file) => server.try_reload(file.as_deref()),
                Purpose::Apply => {
                    let outcome = server.reload_now();
                    if let Err(error) = server.watch_nodes() {
                        error!("The nodes are not watched, no thread could be started: {error}");
                    }
                    outcome
                }
            };
            // Before the report, so that a new request that follows it is not refused.
            let again = guard.end();
            if let Some(report) = report.take() {
                report(outcome);
            }
            match again {
                Some(again) => guard = again,
                None => return,
            }
        }
    };
    if let Err(error) = threads::spawn("reload", threads::STACK_LEN, work) {
        error!("The configuration was not read again: no thread could be started: {error}");
    }
}

/// A reload that the service manager was told of; when it is dropped, also because no thread could
/// be started, the manager is told that it is over.
struct UnderWay(Arc<ServiceManager>);

impl UnderWay {
    fn begin(server: &Server) -> Self {
        let manager = server.service_manager().clone();
        manager.reloading();
        Self(manager)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.ready();
    }
}

/// The monitoring port keeps its form until the next start.
fn check_https(options: &Options) -> Result<(), String> {
    match options.https && options.tls.is_none() {
        true => Err(
            "the monitoring port uses https until the next start, which needs the block \"tls\": \
             keep it in the file, or restart"
                .into(),
        ),
        false => Ok(()),
    }
}

/// Everything that the new options need, prepared while the old ones are still in force.
struct Prepared {
    options: Options,
    tls: PreparedTls,
    route_tls: PreparedTls,
    websocket_tls: PreparedTls,
    federation: PreparedFederation,
    remotes: PreparedRemotes,
    authentication: Authentication,
    /// The pid file, if it has another name.
    pid_file: Option<PidFile>,
    log: PreparedLog,
}

impl Server {
    /// Reloads the configuration on a thread of its own, or reports what that would do. A second reload is refused while one is running: it would have to see the result of
    /// the first, which may hang. `report` gets the outcome; it is dropped if no thread can be
    /// started.
    pub fn reload(
        self: &Arc<Self>,
        purpose: Purpose,
        report: impl FnOnce(Outcome) + Send + 'static,
    ) {
        let turn: fn(&Self) -> &Exclusive = match purpose {
            Purpose::Try(_) => |server| &server.trying,
            Purpose::Apply => |server| &server.reloading,
        };
        let guard = match ExclusiveGuard::acquire(self, turn) {
            Ok(guard) => guard,
            Err(since) => {
                let text = format!(
                    "a reload has been under way since {}; if that is long ago, it waits for a \
                     file: see /explainz",
                    since.time_of_day().format("%Y-%m-%d %H:%M:%S UTC")
                );
                warn!("Reload refused: {text}");
                return report(Outcome::failed(text));
            }
        };
        run_reload(guard, purpose, report);
    }

    /// Reloads because of a signal. Its sender gets no answer, so if a reload is running the
    /// configuration is read once more after it: the latest content counts.
    pub fn reload_by_signal(self: &Arc<Self>) {
        match ExclusiveGuard::acquire_or_repeat(self, |server| &server.reloading) {
            Some(guard) => run_reload(guard, Purpose::Apply, drop),
            None => {
                self.service_manager().reloading();
                info!("A reload is under way; the configuration will be read again after it");
            }
        }
    }

    /// What a reload would do, perhaps with another file. Blocks until the files are read.
    pub fn try_reload(&self, file: Option<&Path>) -> Outcome {
        match self.plan(file) {
            Ok((mut outcome, options)) => {
                outcome.error = self.check(&options).err();
                outcome
            }
            Err(error) => Outcome::failed(error),
        }
    }

    fn reload_now(&self) -> Outcome {
        let outcome = match self.plan(None) {
            Ok((mut outcome, options)) => {
                match self.prepare(options) {
                    Ok(prepared) => {
                        let before = warnings::active(self);
                        self.apply(prepared);
                        let due = warnings::active(self).into_iter();
                        outcome
                            .warnings
                            .extend(due.filter(|it| !before.contains(it)));
                    }
                    Err(error) => outcome.error = Some(error),
                }
                outcome
            }
            Err(error) => Outcome::failed(error),
        };
        self.log_outcome(&outcome);
        *self.last_reload.lock() = Some(outcome.clone());
        outcome
    }

    /// What a reload does, whoever asks: a signal, a request, the diagnosis, or
    /// `midge -t --diff`.
    fn plan(&self, other: Option<&Path>) -> Result<(Outcome, Options), String> {
        let own = self.options().config_file.clone();
        let Some(file) = other.map(Path::to_owned).or(own) else {
            return Err(
                "can only reload config when a file is provided using -c or --config".into(),
            );
        };
        let reading = self
            .calls()
            .begin("reading the configuration", file.display().to_string());
        let (read, warnings) = (self.sources.read_options)(other)?;
        drop(reading);
        let file = (file, read.config_digest.clone());
        let (changes, merged) = changes(&self.options(), &read);
        let outcome = Outcome {
            at: Utc::now(),
            changes,
            warnings: warnings.iter().map(ToString::to_string).collect(),
            error: None,
            file,
        };
        Ok((outcome, merged))
    }

    /// What [`prepare`](Self::prepare) would fail with, as far as that can be known without an
    /// effect; the files of `tls` were read with the options.
    fn check(&self, options: &Options) -> Result<(), String> {
        check_https(options)?;
        let own = self.options();
        if let Some(path) = &options.pid_file
            && own.pid_file.as_ref() != Some(path)
        {
            let why = can_write(path);
            why.map_err(|why| format!("cannot write the pid file {}: {why}", path.display()))?;
        }
        if let Some(path) = &options.log_file
            && own.log_file.as_ref() != Some(path)
        {
            let why = can_write(path);
            why.map_err(|why| format!("cannot open the log file {}: {why}", path.display()))?;
        }
        Ok(())
    }

    /// Prepares everything that the options need, without any effect.
    ///
    ///  # Errors
    ///
    /// What failed, why, and what to do.
    fn prepare(&self, options: Options) -> Result<Prepared, String> {
        check_https(&options)?;
        let file = options.config_file.clone().unwrap_or_default();
        let opening = "opening the files named in the configuration";
        let _opening = self.calls().begin(opening, file.display().to_string());
        let [tls, route_tls, websocket_tls] = self.prepare_tls(&options)?;
        let federation = self.prepare_federation(&options)?;
        let remotes = PreparedRemotes::load(&options, Some(&self.leafnodes.remotes));
        let remotes = remotes.map_err(|error| error.to_string())?;
        let pid_file = match &options.pid_file {
            Some(path) if self.options().pid_file.as_ref() != Some(path) => {
                let written = PidFile::write(path);
                Some(written.map_err(|error| {
                    format!("cannot write the pid file {}: {error}", path.display())
                })?)
            }
            _ => None,
        };
        // The log comes last, so that no unused log file is left if something else fails.
        let log = self.sources.log.prepare(&options);
        Ok(Prepared {
            authentication: Authentication::new(&options.authorization),
            log: log.map_err(|error| error.to_string())?,
            pid_file,
            tls,
            route_tls,
            websocket_tls,
            federation,
            remotes,
            options,
        })
    }

    /// Applies what was prepared. Nothing here can fail.
    fn apply(&self, prepared: Prepared) {
        let Prepared {
            options,
            tls,
            route_tls,
            websocket_tls,
            federation,
            remotes,
            authentication,
            pid_file,
            log,
        } = prepared;
        self.sources.log.apply(log);
        if let Some(file) = pid_file {
            file.keep();
        }
        let broker = &self.broker;
        let describe_info = |info: &mut Info| {
            super::tls::describe(info, &options);
            info.auth_required = authentication.asks_for_login();
            info.max_payload = i64::try_from(options.max_payload).unwrap_or(i64::MAX);
            (info.host, info.port) = advertised::host(&options, self.client_address);
        };
        let plain = self.apply_client_tls(tls, options.allow_non_tls, describe_info);
        surplus::cut_plain(&plain);
        let route_tls = self.apply_route_tls(route_tls);
        self.apply_websocket_tls(websocket_tls);
        broker.accounts.redefine(&options, options.cluster_name());
        let cluster = self.cluster.as_ref().zip(options.cluster.as_ref());
        if let Some((cluster, settings)) = cluster {
            cluster.limit_interest(settings);
        }
        *self.client_listener.authentication.write() = Arc::new(authentication);
        self.apply_websocket(&options);
        broker.registry.set_limits(
            options.max_closed_clients,
            options.max_memory.unwrap_or_else(memory::default_limit),
        );
        *broker.description.write() = Description::of(&options);
        let churn = &broker.telemetry.churn;
        churn.set_storm_rate(options.diagnosis.storm_rate);
        // Last of what sessions look at: by it they know that there is something new.
        broker.limits.replace(limits(&options));
        client::notify_all(broker);
        surplus::keep_limits(broker);
        self.recheck_leafnodes(&options);
        remotes.apply(&self.leafnodes.remotes);
        if let Some((cluster, settings)) = cluster {
            let websocket = self.websocket.as_ref().map(|it| it.address);
            let leafnodes = self.leafnodes.node.address;
            let client_urls = client_urls(&options, self.client_address, websocket, leafnodes);
            cluster.reconfigure(settings.clone(), route_tls, client_urls);
        }
        self.expect_patience();
        self.apply_federation(federation);
        *self.options.write() = Arc::new(options);
    }

    fn calls(&self) -> &Calls {
        &self.broker.telemetry.calls
    }

    fn log_outcome(&self, outcome: &Outcome) {
        let code = EventKind::Reload.name();
        let record = |text: &str| {
            let file = self.options().config_file.clone().unwrap_or_default();
            let subject = file.display().to_string();
            self.broker
                .telemetry
                .events
                .record(EventKind::Reload, 0, &subject, text);
        };
        if let Some(error) = &outcome.error {
            error!(code, "Failed to reload server configuration: {error}");
            return record(&format!(
                "the configuration was not applied, the old one stays in force: {error}"
            ));
        }
        for warning in &outcome.warnings {
            warn!(code, "{warning}");
        }
        let answer = outcome.answer(false);
        for Change { name, after, .. } in &answer.applied {
            match &**after {
                "" => info!(code, "Reloaded: {name}"),
                after => info!(code, "Reloaded: {name} = {after}"),
            }
        }
        for change in &answer.needs_restart {
            let Change {
                name,
                before,
                after,
                why,
            } = change;
            match &**after {
                "" => warn!(code, "{name} stays as it is until the next start: {why}"),
                after => warn!(
                    code,
                    "{name} is {after} in the configuration but stays {before} until the next \
                     start: {why}"
                ),
            }
        }
        info!(
            code,
            "Reloaded server configuration ({})",
            self.options().config_digest
        );
        let names = |changes: &[Change]| {
            let names: Vec<_> = changes.iter().map(|change| &*change.name).collect();
            match names.is_empty() {
                true => "nothing".to_owned(),
                false => names.join(", "),
            }
        };
        record(&format!(
            "the configuration was read again; applied: {}; needs a restart: {}",
            names(&answer.applied),
            names(&answer.needs_restart)
        ));
    }
}
