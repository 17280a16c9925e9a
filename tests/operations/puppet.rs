//! The Puppet module `nats`: Puppet's own checks of it, its unit tests, and hosts that a real
//! `puppet apply` sets up.

mod fleet;
pub(crate) mod host;
mod module;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use test_support::tools;

/// Where Debian installs modules.
const INSTALLED_MODULES: &str = "/usr/share/puppet/modules";

/// The module.
fn module() -> PathBuf {
    tools::project().join("conf/puppet/nats")
}

/// Runs a program to its end. Returns its exit code and everything it wrote.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String) {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| {
        panic!("this test needs {program} (run tests/run, which installs it): {error}")
    });
    let written = [output.stdout, output.stderr].concat();
    let written = String::from_utf8_lossy(&written).into_owned();
    (output.status.code(), written)
}
