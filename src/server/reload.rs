//! Reload: the configuration is read again and a running broker takes over what
//! it can.
//!
//! SIGHUP, and whoever may ask for it over the monitoring socket or the system
//! account, end in [`Server::reload`]. It has a thread of its own and nobody but
//! whoever asked waits for it: its files may be on a disk that hangs, or be pipes. nats-server rejects a reload as a whole when one setting
//! cannot be changed while it runs; here everything else is taken over, and what
//! needs a restart is named. A reload that fails changes nothing: all that can
//! fail is made first ([`Prepared`]), then it is put in force by steps that cannot.

use std::{sync::Arc, thread};

use chrono::{DateTime, Utc};
use tracing::{error, info, warn};

use super::{
    Server, advertised, limits,
    pid_file::PidFile,
    tls::PreparedTls,
    turn::{InTurn, Turn},
    warnings,
};
use crate::{
    broker::{memory, surplus},
    client,
    config::{
        Diagnostic, Options,
        options::{
            plan::{Change, changes},
            table::ReloadKind,
        },
    },
    log::{LogHandle, PreparedLog},
    protocol::info::Info,
    security::authentication::Authentication,
    telemetry::{calls::Calls, event::EventKind},
};

/// Reads file and command line as at the start; the error says what is wrong
/// with them.
pub type ReadOptions = fn() -> Result<(Options, Vec<Diagnostic>), String>;

/// Where a reload gets what it needs.
pub struct Sources {
    /// The way to the options.
    pub read_options: ReadOptions,
    /// The log to reconfigure.
    pub log: LogHandle,
}

/// Bytes of a reload's thread's stack: the parser of the configuration recurses.
const STACK_LEN: usize = 2 * 1024 * 1024;

/// What a reload did, or would do.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When.
    pub at: DateTime<Utc>,
    /// What differs between the options in force before and those read.
    pub changes: Vec<Change>,
    /// Warnings of the new configuration, and those that are due by it and were not
    /// before.
    pub warnings: Vec<String>,
    /// Why nothing was changed.
    pub error: Option<String>,
}

impl Outcome {
    /// Nothing was changed.
    fn failed(error: String) -> Self {
        Self {
            at: Utc::now(),
            changes: Vec::new(),
            warnings: Vec::new(),
            error: Some(error),
        }
    }

    /// Settings that differ and wait for a restart.
    pub fn needs_restart(&self) -> impl Iterator<Item = &Change> {
        self.changes
            .iter()
            .filter(|change| matches!(change.takes, ReloadKind::Restart(_)))
    }
}

/// Reads the configuration on a thread of its own, again as long as that is wanted.
fn run_in_turn(in_turn: InTurn, dry_run: bool, told: impl FnOnce(Outcome) + Send + 'static) {
    let work = move || {
        let (mut in_turn, mut told) = (in_turn, Some(told));
        loop {
            let server = in_turn.server();
            let outcome = match dry_run {
                true => server.try_reload(),
                false => server.reload_now(),
            };
            // Before it is told, so that who then asks again is not refused.
            let again = in_turn.end();
            if let Some(told) = told.take() {
                told(outcome);
            }
            match again {
                Some(again) => in_turn = again,
                None => return,
            }
        }
    };
    let thread = thread::Builder::new()
        .name("reload".into())
        .stack_size(STACK_LEN)
        .spawn(work);
    if let Err(error) = thread {
        error!("The configuration was not read again: no thread could be started: {error}");
    }
}

/// All that new options need, made before anything is different.
struct Prepared {
    options: Options,
    tls: PreparedTls,
    route_tls: PreparedTls,
    authentication: Authentication,
    /// Another pid file than before.
    pid_file: Option<PidFile>,
    log: PreparedLog,
}

impl Server {
    /// Reads the configuration again and takes over what can be, on a thread of its
    /// own; with `dry_run` it only tells. While one is under way a second one is
    /// refused at once: it must see what the first put in force, and the first may
    /// hang. `told` gets what came of it, and is dropped if no thread can be had.
    pub fn reload(self: &Arc<Self>, dry_run: bool, told: impl FnOnce(Outcome) + Send + 'static) {
        let turn: fn(&Self) -> &Turn = match dry_run {
            true => |server| &server.trying,
            false => |server| &server.reloading,
        };
        let in_turn = match InTurn::take(self, turn) {
            Ok(in_turn) => in_turn,
            Err(since) => {
                let text = format!(
                    "a reload has been under way since {}; if that is long ago, it waits for a \
                     file: see /explainz",
                    since.time_of_day().format("%Y-%m-%d %H:%M:%S UTC")
                );
                warn!("Reload refused: {text}");
                return told(Outcome::failed(text));
            }
        };
        run_in_turn(in_turn, dry_run, told);
    }

    /// The same for a signal: its sender hears nothing, so while one is under way the
    /// configuration is read once more afterwards. What it says now counts in the end.
    pub fn reload_by_signal(self: &Arc<Self>) {
        match InTurn::take_or_repeat(self, |server| &server.reloading) {
            Some(in_turn) => run_in_turn(in_turn, false, drop),
            None => {
                info!("A reload is under way; the configuration will be read again after it")
            }
        }
    }

    /// What a reload would do. Waits for the files.
    pub fn try_reload(&self) -> Outcome {
        match self.plan() {
            Ok((outcome, _)) => outcome,
            Err(error) => Outcome::failed(error),
        }
    }

    fn reload_now(&self) -> Outcome {
        let outcome = match self.plan() {
            Ok((mut outcome, options)) => {
                match self.prepare(options) {
                    Ok(prepared) => {
                        let before = warnings::due(self);
                        self.put(prepared);
                        let due = warnings::due(self).into_iter();
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
        self.tell(&outcome);
        *self.last_reload.lock() = Some(outcome.clone());
        outcome
    }

    fn plan(&self) -> Result<(Outcome, Options), String> {
        let Some(file) = &self.options().config_file else {
            return Err(
                "can only reload config when a file is provided using -c or --config".into(),
            );
        };
        let file = file.display().to_string();
        let reading = self.calls().begin("reading the configuration", file);
        let (read, warnings) = (self.sources.read_options)()?;
        drop(reading);
        let (changes, merged) = changes(&self.options(), &read);
        let outcome = Outcome {
            at: Utc::now(),
            changes,
            warnings: warnings.iter().map(ToString::to_string).collect(),
            error: None,
        };
        Ok((outcome, merged))
    }

    /// Makes all that the options need. Nothing is different yet.
    ///
    /// # Errors
    ///
    /// What cannot be had, why, and what to do.
    fn prepare(&self, options: Options) -> Result<Prepared, String> {
        if options.https && options.tls.is_none() {
            return Err(
                "the monitoring port uses https until the next start, which needs the block \
                 \"tls\": keep it in the file, or restart"
                    .into(),
            );
        }
        let file = options.config_file.clone().unwrap_or_default();
        let opening = "opening the files named in the configuration";
        let _opening = self.calls().begin(opening, file.display().to_string());
        let (tls, route_tls) = self.prepare_tls(&options)?;
        let pid_file = match &options.pid_file {
            Some(path) if self.options().pid_file.as_ref() != Some(path) => {
                let written = PidFile::write(path);
                Some(written.map_err(|error| {
                    format!("cannot write the pid file {}: {error}", path.display())
                })?)
            }
            _ => None,
        };
        // Last: a new log file that is not used after all would stay behind.
        let log = self.sources.log.prepare(&options);
        Ok(Prepared {
            authentication: Authentication::new(&options.authorization),
            log: log.map_err(|error| error.to_string())?,
            pid_file,
            tls,
            route_tls,
            options,
        })
    }

    /// Puts in force what was prepared. Nothing here can fail.
    fn put(&self, prepared: Prepared) {
        let Prepared {
            options,
            tls,
            route_tls,
            authentication,
            pid_file,
            log,
        } = prepared;
        self.sources.log.apply(log);
        if let Some(file) = pid_file {
            file.keep();
        }
        let broker = &self.broker;
        let tell = |info: &mut Info| {
            super::tls::describe(info, &options);
            info.auth_required = authentication.asks_for_login();
            info.max_payload = i64::try_from(options.max_payload).unwrap_or(i64::MAX);
            (info.host, info.port) = advertised::host(&options, self.client_address);
        };
        let plain = self.put_client_tls(tls, options.allow_non_tls, tell);
        surplus::cut_plain(&plain);
        let route_tls = self.put_route_tls(route_tls);
        broker.accounts.redefine(&options, options.cluster_name());
        let cluster = self.cluster.as_ref().zip(options.cluster.as_ref());
        if let Some((cluster, settings)) = cluster {
            cluster.limit_interest(settings);
        }
        *self.client_listener.authentication.write() = Arc::new(authentication);
        broker.registry.set_limits(
            options.max_closed_clients,
            options.max_memory.unwrap_or_else(memory::default_limit),
        );
        // Last of what sessions look at: by it they know that there is something new.
        broker.limits.replace(limits(&options));
        client::tell_all(broker);
        surplus::keep_limits(broker);
        if let Some((cluster, settings)) = cluster {
            let client_urls = advertised::urls(&options, self.client_address);
            cluster.reconfigure(settings.clone(), route_tls, client_urls);
        }
        *self.options.write() = Arc::new(options);
    }

    fn calls(&self) -> &Calls {
        &self.broker.telemetry.calls
    }

    fn tell(&self, outcome: &Outcome) {
        let record = |text: &str| {
            let file = self.options().config_file.clone().unwrap_or_default();
            let subject = file.display().to_string();
            self.broker
                .telemetry
                .events
                .record(EventKind::Reload, 0, &subject, text);
        };
        if let Some(error) = &outcome.error {
            error!("Failed to reload server configuration: {error}");
            return record(&format!(
                "the configuration was not applied, the old one stays in force: {error}"
            ));
        }
        for warning in &outcome.warnings {
            warn!("{warning}");
        }
        for Change {
            name,
            values,
            takes,
        } in &outcome.changes
        {
            match (takes, values) {
                (ReloadKind::Live, Some((_, new))) => info!("Reloaded: {name} = {new}"),
                (ReloadKind::Live, None) => info!("Reloaded: {name}"),
                (ReloadKind::Restart(why), Some((old, new))) => warn!(
                    "{name} is {new} in the configuration but stays {old} until the next start: \
                     {why}"
                ),
                (ReloadKind::Restart(why), None) => {
                    warn!("{name} stays as it is until the next start: {why}");
                }
            }
        }
        info!(
            "Reloaded server configuration ({})",
            self.options().config_digest
        );
        let names = |is_live: bool| {
            let of_kind = outcome
                .changes
                .iter()
                .filter(|change| (change.takes == ReloadKind::Live) == is_live);
            let names: Vec<_> = of_kind.map(|change| &*change.name).collect();
            match names.is_empty() {
                true => "nothing".to_owned(),
                false => names.join(", "),
            }
        };
        record(&format!(
            "the configuration was read again; applied: {}; needs a restart: {}",
            names(true),
            names(false)
        ));
    }
}
