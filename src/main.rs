//! The daemon `midge`: arguments in, exit code out.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use midge::{
    COMPATIBLE_VERSION, GIT_COMMIT, VERSION,
    config::{self, Diagnostic, Invocation, Options, signal},
    log,
};

fn main() -> ExitCode {
    let parsed = match config::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(error.exit_code());
        }
    };
    let (program, warnings) = (parsed.program, parsed.warnings);
    let done = match parsed.invocation {
        Invocation::Print(text) => print(&text),
        Invocation::TestConfig(text) => {
            warn(&program, &warnings);
            eprint!("{text}");
            Ok(())
        }
        Invocation::Signal { signal, target } => {
            signal::send(signal, &target).map_err(|error| error.to_string())
        }
        Invocation::Run(options) => run(&program, &options, &warnings),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints to stdout. A reader that has seen enough, such as `head`, is no error.
fn print(text: &str) -> Result<(), String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}

fn warn(program: &str, warnings: &[Diagnostic]) {
    for warning in warnings {
        eprintln!("{program}: warning: {warning}");
    }
}

/// Sets up the log and says what starts.
fn run(program: &str, options: &Options, warnings: &[Diagnostic]) -> Result<(), String> {
    let _log = log::init(options).map_err(|error| error.to_string())?;
    tracing::info!("Starting {program}");
    tracing::info!("  Version:  {VERSION} (nats-server {COMPATIBLE_VERSION} compatible)");
    tracing::info!("  Git:      [{GIT_COMMIT}]");
    if let Some(file) = &options.config_file {
        let (file, digest) = (file.display(), &options.config_digest);
        tracing::info!("Using configuration file: {file} ({digest})");
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if options.host_is_safe_default {
        tracing::info!("No host is configured: clients are served on this machine only");
    }
    Ok(())
}
