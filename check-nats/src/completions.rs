//! Completions for shells, made from the command line. `check_nats --completions bash`
//! prints them.

use clap_complete::{Shell, generate};

use super::args::command;

/// The shells by the names of `--completions`.
pub const SHELLS: [(&str, Shell); 3] = [
    ("bash", Shell::Bash),
    ("fish", Shell::Fish),
    ("zsh", Shell::Zsh),
];

/// The script that a shell loads.
pub fn script(shell: Shell) -> String {
    // Options that --help leaves out for shortness are completed as well.
    let mut command = command()
        .version(env!("CARGO_PKG_VERSION"))
        .mut_args(|arg| arg.hide(false));
    let mut script = Vec::new();
    generate(shell, &mut command, "check_nats", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
