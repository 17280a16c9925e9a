//! The check plugin: arguments in, one line and an exit code out. All of it is
//! in the crate `check_nats`.

use std::{
    env,
    io::{self, Write},
    panic,
    process::ExitCode,
};

/// Version of midge, with the commit where it is known.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " ", env!("MIDGE_GIT_COMMIT"));

fn main() -> ExitCode {
    // A panic becomes UNKNOWN on standard output; nothing else is to be printed.
    panic::set_hook(Box::new(|_| ()));
    let outcome = panic::catch_unwind(|| check_nats::run(env::args_os(), VERSION))
        .unwrap_or_else(|panic| check_nats::outcome_of_panic(&*panic));
    // The exit code stays true even if nobody reads the text.
    let _ = io::stdout().write_all(outcome.output.as_bytes());
    ExitCode::from(outcome.code)
}
