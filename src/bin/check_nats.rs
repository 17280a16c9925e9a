//! The check plugin: arguments in, one line and an exit code out. All of it is
//! in `midge::check`.

use std::{
    env,
    io::{self, Write},
    panic,
    process::ExitCode,
};

fn main() -> ExitCode {
    // A panic becomes UNKNOWN on standard output; nothing else is to be printed.
    panic::set_hook(Box::new(|_| ()));
    let outcome = panic::catch_unwind(|| midge::check::run(env::args_os()))
        .unwrap_or_else(|panic| midge::check::outcome_of_panic(&*panic));
    // The exit code stays true even if nobody reads the text.
    let _ = io::stdout().write_all(outcome.output.as_bytes());
    ExitCode::from(outcome.code)
}
