//! `check_nats`: arguments in, exit code out; see [`midge::check`].

use std::{io::Write, panic, process::ExitCode};

fn main() -> ExitCode {
    // Nothing but the report may be printed, and 101 is no exit code of ours.
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(|| midge::check::run(std::env::args_os()));
    let (text, code) = result.unwrap_or_else(|_| {
        let text = "NATS UNKNOWN: check_nats failed inside; please report it\n";
        (text.to_owned(), 3)
    });
    // Whoever closed the output does not read an error either.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(code)
}
