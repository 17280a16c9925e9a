//! The daemon `midge`: arguments in, exit code out.

use std::process::ExitCode;

use midge::config::{self, Invocation, signal};

fn main() -> ExitCode {
    let parsed = match config::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(error.exit_code());
        }
    };
    let program = parsed.program;
    for warning in &parsed.warnings {
        eprintln!("{program}: warning: {warning}");
    }
    match parsed.invocation {
        Invocation::Print(text) => print!("{text}"),
        Invocation::TestConfig(text) => eprint!("{text}"),
        Invocation::Signal { signal, target } => {
            if let Err(error) = signal::send(signal, &target) {
                eprintln!("{program}: {error}");
                return ExitCode::FAILURE;
            }
        }
        Invocation::Run(_options) => {}
    }
    ExitCode::SUCCESS
}
