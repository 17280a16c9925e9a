//! The terminal view: `midge top` becomes this program. All of it is in `midge_top`.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    midge_top::run(env::args_os().skip(1))
}
