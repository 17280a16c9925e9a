//! Client libraries of ten years work: each version that `versions/clients.txt` lists proves what
//! the broker does for it, beside a real nats-server, which proves the test. docs/clients.md is
//! made from the same list.

mod info;
mod list;
mod page;

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
};

use tempfile::TempDir;
use test_support::{Broker, BrokerBuilder, free_port, pki::Pki, tools};

use list::{Listed, listed};

/// Clients that run at a time: they mostly wait for the start of an interpreter.
const AT_A_TIME: usize = 3;

#[test]
fn midge() {
    prove_all(Broker::midge);
}

#[test]
fn nats_server() {
    prove_all(Broker::nats_server);
}

/// Brokers with TLS, which all clients share, and what clients need to trust them.
struct Secured {
    pki: Pki,
    /// Another CA, which has signed nothing here.
    other: Pki,
    open: Broker,
    verifying: Broker,
}

impl Secured {
    fn start(broker: fn() -> BrokerBuilder) -> Self {
        let pki = Pki::new(&["broker", "node"]);
        let tls = format!(
            "cert_file: {:?}, key_file: {:?}, ca_file: {:?}, timeout: 20",
            pki.text("broker.pem"),
            pki.text("broker.key"),
            pki.text("ca.pem"),
        );
        let websocket = format!("websocket {{ listen: \"127.0.0.1:-1\", tls {{ {tls} }} }}");
        let with = |more: &str, block: &str| {
            let text = format!("tls {{ {tls}, {more} }}\n{block}\n");
            broker().config(text).start()
        };
        Self {
            open: with("", &websocket),
            verifying: with("verify: true", ""),
            other: Pki::new(&[]),
            pki,
        }
    }

    fn environment(&self) -> [(&'static str, String); 8] {
        let url = |broker: &Broker| format!("tls://localhost:{}", broker.client_addr().port());
        let websocket = self.open.websocket_addr().port();
        [
            ("TLS_URL", url(&self.open)),
            ("VERIFYING_URL", url(&self.verifying)),
            ("WEBSOCKET_TLS_URL", format!("wss://localhost:{websocket}")),
            ("CA", self.pki.text("ca.pem")),
            ("NODE_EXTRA_CA_CERTS", self.pki.text("ca.pem")),
            ("OTHER_CA", self.other.text("ca.pem")),
            ("CERT", self.pki.text("node.pem")),
            ("KEY", self.pki.text("node.key")),
        ]
    }
}

fn prove_all(broker: fn() -> BrokerBuilder) {
    let secured = Secured::start(broker);
    let folder = TempDir::new().expect("a folder for programs");
    let left = Mutex::new(listed().into_iter().filter(|client| client.runs()));
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let following = || left.lock().expect("the list").next();
                while let Some(client) = following() {
                    if let Err(why) = prove(&client, broker, &secured, folder.path()) {
                        failed
                            .lock()
                            .expect("failures")
                            .push(format!("{client}: {why}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("failures");
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Runs a client's program beside a broker of its own, which it has restarted.
fn prove(
    client: &Listed,
    broker: fn() -> BrokerBuilder,
    secured: &Secured,
    folder: &Path,
) -> Result<(), String> {
    // A restarted broker has to have the same ports.
    let websocket = free_port();
    let text = match client.package {
        "nats.ws" => {
            format!("websocket {{ listen: \"127.0.0.1:{websocket}\", no_tls: true }}\n")
        }
        _ => String::new(),
    };
    let mut running = broker().config(text.clone()).start();
    let port = running.client_addr().port();
    let errors = folder.join(format!("{}.stderr", client.folder()));
    let mut child = command(client, folder)
        .args([client.package, client.version])
        .env("URL", running.client_url())
        .env("WEBSOCKET_URL", format!("ws://127.0.0.1:{websocket}"))
        .envs(secured.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(&errors).expect("a file for errors"))
        .spawn()
        .map_err(|error| format!("cannot be started: {error}"))?;
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let mut proven = Vec::new();
    for line in output.lines().map_while(Result::ok) {
        match line.strip_suffix(": ok") {
            Some(feature) => proven.push(feature.to_owned()),
            None if line == "restart" => {
                running.kill();
                running = broker().config(text.clone()).port(port).start();
                let input = child.stdin.as_mut().expect("its input");
                // A program that has ended does not read: its status tells.
                let _ = input.write_all(b"restarted\n");
            }
            None => {}
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let said = || std::fs::read_to_string(&errors).unwrap_or_default();
    if !status.success() {
        return Err(format!("{status} after {proven:?}: {}", said()));
    }
    let mut expected = client.features();
    expected.sort_unstable();
    proven.sort_unstable();
    match proven == expected {
        true => Ok(()),
        false => Err(format!("proved {proven:?} instead of {expected:?}")),
    }
}

/// What starts the client's program, without its arguments.
fn command(client: &Listed, folder: &Path) -> Command {
    let source = tools::project()
        .join("tests/clients/versions")
        .join(client.program);
    match client.program.rsplit_once('.').map(|(_, ending)| ending) {
        Some("py") => {
            let libraries = installed("python");
            let own = existing(libraries.join(client.folder()));
            let mut command = Command::new(tools::python_with_nats());
            // The oldest ask setuptools for their own version.
            let path = [own, libraries.join("build")];
            let path = std::env::join_paths(path).expect("paths without a colon");
            command.arg(source).env("PYTHONPATH", path);
            command
        }
        Some("cjs") => {
            let modules = installed("node/node_modules");
            let module = existing(modules.join(client.folder()));
            let mut command = Command::new(tools::node_with_nats());
            if client.package == "nats.ws" {
                command.arg("--experimental-websocket");
            }
            command
                .arg("--no-warnings")
                .arg(source)
                .env("MODULE", module);
            command
        }
        Some("c") => {
            let program = folder.join("c_client");
            tools::compile_c_client(&source, &program);
            Command::new(program)
        }
        _ => Command::new(existing(installed("old-crates"))),
    }
}

fn installed(name: &str) -> PathBuf {
    tools::test_tools().join("clients").join(name)
}

fn existing(path: PathBuf) -> PathBuf {
    assert!(
        path.exists(),
        "this test needs {} (run tests/run install)",
        path.display()
    );
    path
}
