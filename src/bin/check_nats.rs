//! The check plugin: all of it is in the crate `check_nats`.

use std::process::ExitCode;

/// Version of midge, with the commit where it is known.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " ", env!("MIDGE_GIT_COMMIT"));

fn main() -> ExitCode {
    check_nats::program::main(VERSION)
}
