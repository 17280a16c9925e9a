//! The daemon `midge`: arguments in, exit code out.

use std::{
    env,
    ffi::OsString,
    io,
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
        housekeeping,
        lifecycle::{self, Prepared, StartError},
        reload::Sources,
        signals::Signals,
    },
    signal, system,
};
use tokio::net::TcpListener;
use tracing::{error, warn};

/// The program that `midge top` becomes.
const TOP: &str = "midge-top";

/// How long the last lines of the log may take to be written.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the workers may take to end.
const WORKERS_END_TIMEOUT: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "top") {
        return top(&arguments.collect::<Vec<_>>());
    }
    let parsed = match config::parse(env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
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
        Invocation::Run(options) => {
            let log = match log::init(&options) {
                Ok(log) => log,
                Err(error) => {
                    eprintln!("{program}: {error}");
                    return ExitCode::FAILURE;
                }
            };
            for warning in &parsed.warnings {
                warn!("{warning}");
            }
            let ended = run(*options, &program, log.clone());
            if let Err(error) = &ended {
                error!(target: log::FATAL, "{error}");
            }
            log.flush(LOG_FLUSH_TIMEOUT);
            if ended.is_err() {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
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
fn run(options: Options, program: &str, log: log::LogHandle) -> Result<(), StartError> {
    let failed = |what: &'static str| {
        move |error| StartError {
            what: what.to_owned(),
            error,
        }
    };
    memory::prepare_process();
    let runtime = lifecycle::runtime().map_err(failed("Error starting the workers"))?;
    let ended = runtime.block_on(async {
        // Before anything else, so that no early signal kills half a broker.
        let signals = Signals::listen(log.clone()).map_err(failed("Error listening to signals"))?;
        let sources = Sources { read_options, log };
        let mut prepared = lifecycle::prepare(options, sources)?;
        let server = prepared.server.clone();
        lifecycle::announce(&server, program);
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
        lifecycle::run(prepared, program, signals).await
    });
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
    let parsed = config::parse_with(env::args_os(), file).map_err(|error| error.to_string())?;
    match parsed.invocation {
        Invocation::Run(options) => Ok((*options, parsed.warnings)),
        _ => Err("the command line does not start a broker".into()),
    }
}
