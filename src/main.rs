//! The daemon `midge`: arguments in, exit code out.

use std::{
    env,
    ffi::OsString,
    fmt, io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use midge::{
    broker::memory,
    config::{self, Diagnostic, Invocation, Options},
    diff, log,
    monitor::{self, Monitor},
    observe,
    server::{
        announce, housekeeping,
        inherited::Inherited,
        lifecycle,
        prepare::{self, Prepared, StartError},
        reload::Sources,
        signals::Signals,
        upgrade::take_over::TakeOver,
    },
    service_manager::ServiceManager,
    signal, system,
    telemetry::process,
};
use tokio::net::TcpListener;
use tracing::{error, warn};

/// The program that `midge top` becomes.
const TOP: &str = "midge-top";

/// How long the last lines of the log may take to be written.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the thread that watches the nodes may take to write its state.
const NODES_END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the workers may take to end.
const WORKERS_END_TIMEOUT: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "top") {
        return top(&arguments.collect::<Vec<_>>());
    }
    // First, so that the process that has started this one hears of any failure.
    let mut predecessor = match TakeOver::from_environment() {
        Ok(predecessor) => predecessor,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let parsed = match config::parse(env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
            fail(&mut predecessor, &error);
            eprintln!("{error}");
            return ExitCode::from(error.exit_code());
        }
    };
    let program = parsed.program;
    match parsed.invocation {
        Invocation::Print(text) => print!("{text}"),
        Invocation::TestConfig(text) => {
            for warning in &parsed.warnings {
                eprintln!("{program}: warning: {warning}");
            }
            eprint!("{text}");
        }
        Invocation::Diff(comparison) => {
            for warning in &parsed.warnings {
                eprintln!("{program}: warning: {warning}");
            }
            return ExitCode::from(diff::run(&comparison, &program) as u8);
        }
        Invocation::Explain(explain) => {
            print!("{}", explain.text());
        }
        Invocation::Signal { signal, target } => {
            if let Err(errors) = signal::send(signal, &target, &program) {
                for error in errors {
                    eprintln!("{program}: {error}");
                }
                return ExitCode::FAILURE;
            }
        }
        Invocation::Upgrade { target } => {
            let mut is_done = true;
            for outcome in signal::upgrade(&target, &program) {
                match outcome {
                    Ok(text) => println!("{program}: {text}"),
                    Err(error) => {
                        eprintln!("{program}: {error}");
                        is_done = false;
                    }
                }
            }
            if !is_done {
                return ExitCode::FAILURE;
            }
        }
        Invocation::Run(options) => {
            // Before anything opens a file that stays open.
            let inherited = match &mut predecessor {
                Some(predecessor) => predecessor.inherited(),
                None => Inherited::from_environment(),
            };
            let log = match log::init(&options) {
                Ok(log) => log,
                Err(error) => {
                    fail(&mut predecessor, &error);
                    eprintln!("{program}: {error}");
                    return ExitCode::FAILURE;
                }
            };
            for warning in &parsed.warnings {
                warn!("{warning}");
            }
            let (service_manager, unusable) = ServiceManager::from_environment();
            if let Some(why) = unusable {
                warn!("{why}");
            }
            let sources = Sources {
                read_options,
                log: log.clone(),
                service_manager: service_manager.clone(),
            };
            let ended = run(*options, &program, sources, inherited, &mut predecessor);
            if let Err(error) = &ended {
                fail(&mut predecessor, error);
                error!(target: log::FATAL, "{error}");
                service_manager.failed(&error.to_string(), error.error.raw_os_error());
            }
            log.flush(LOG_FLUSH_TIMEOUT);
            if ended.is_err() {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Tells the process that this one was to take over from why it cannot.
fn fail(predecessor: &mut Option<TakeOver>, why: &dyn fmt::Display) {
    if let Some(predecessor) = predecessor {
        predecessor.fail(&why.to_string());
    }
}

/// Becomes the terminal view, a program of its own: the one beside this program,
/// else that of `PATH`. Comes back only if there is none.
fn top(arguments: &[OsString]) -> ExitCode {
    let own = env::current_exe().unwrap_or_default();
    let places = [own.with_file_name(TOP), TOP.into()];
    for place in places {
        let error = Command::new(&place).args(arguments).exec();
        if error.kind() != io::ErrorKind::NotFound {
            eprintln!("midge top: {}: {error}", place.display());
            return ExitCode::FAILURE;
        }
    }
    let folder = own.parent().unwrap_or(&own);
    eprintln!(
        "midge top: the program {TOP} is missing: neither in {} nor in PATH; install it beside midge",
        folder.display()
    );
    ExitCode::FAILURE
}

/// Runs the broker until a signal ends it.
fn run(
    options: Options,
    program: &str,
    sources: Sources,
    inherited: Result<Inherited, StartError>,
    predecessor: &mut Option<TakeOver>,
) -> Result<(), StartError> {
    let inherited = inherited?;
    let failed = |what: &'static str| {
        move |error| StartError {
            what: what.to_owned(),
            error,
        }
    };
    memory::prepare_process();
    let files_before = process::raise_open_files_max();
    let runtime = prepare::runtime().map_err(failed(
        "Error starting the threads that serve connections; the service needs more TasksMax, \
         LimitNPROC or memory",
    ))?;
    let mut serving = None;
    let ended = runtime.block_on(async {
        // Before anything else, so that no early signal kills half a broker.
        let signals =
            Signals::listen(sources.log.clone()).map_err(failed("Error listening to signals"))?;
        let mut prepared = prepare::prepare(options, sources, inherited)?;
        if let Some(predecessor) = predecessor {
            predecessor.prepared(&prepared)?;
        }
        let server = prepared.server.clone();
        serving = Some(server.clone());
        announce::announce(&server, program, &files_before);
        housekeeping::start(server.clone())
            .map_err(failed("Error starting the thread of housekeeping"))?;
        let runtime = tokio::runtime::Handle::current();
        let workers = runtime.metrics().num_workers();
        let diagnosis = observe::start(server.clone(), runtime)
            .map_err(failed("Error starting the observer"))?;
        let monitor = Monitor::new(server.clone(), diagnosis, workers);
        system::serve(server.clone(), monitor.clone())
            .map_err(failed("Error starting the system account"))?;
        serve_monitor(&mut prepared, &monitor).map_err(failed("Error starting the monitor"))?;
        lifecycle::run(prepared, program, signals, predecessor).await
    });
    // On this thread, which serves nobody any more.
    if let Some(server) = serving {
        server.stop_watching_nodes(NODES_END_TIMEOUT);
    }
    // Not a drop, which would wait for calls of the system that never come back.
    runtime.shutdown_timeout(WORKERS_END_TIMEOUT);
    ended
}

fn serve_monitor(prepared: &mut Prepared, monitor: &Arc<Monitor>) -> io::Result<()> {
    let tcp = prepared.monitor.take().map(TcpListener::into_std);
    let listeners = monitor::Listeners {
        tcp: tcp.transpose()?,
        unix: prepared.monitor_unix.take(),
    };
    if listeners.tcp.is_none() && listeners.unix.is_none() {
        return Ok(());
    }
    monitor::serve(monitor, listeners)
}

/// Reads file and command line once more, for a reload; or another file.
fn read_options(file: Option<&Path>) -> Result<(Options, Vec<Diagnostic>), String> {
    let parsed =
        config::parse_with(env::args_os(), file).map_err(|error| error.reason().to_owned())?;
    match parsed.invocation {
        Invocation::Run(options) => Ok((*options, parsed.warnings)),
        _ => Err("the command line does not start a broker".into()),
    }
}
