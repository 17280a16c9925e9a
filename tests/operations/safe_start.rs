//! The listen address when none is configured, compared with a real nats-server: the same
//! with a configuration file, an address or a login. Without any of them midge listens on
//! loopback only, where nats-server listens on all addresses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use test_support::{pki::Pki, tools, wait_for};

/// Addresses on which a broker listens.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Serves {
    ThisHost,
    All,
}
use Serves::{All, ThisHost};

/// One way to start.
struct Way {
    flags: Vec<String>,
    config: Option<String>,
    serves: Serves,
    /// Whether nats-server does the same.
    as_nats_server: bool,
    /// Whether remote clients have full access, which causes a warning.
    warns: bool,
}

fn way(flags: &str, serves: Serves) -> Way {
    Way {
        flags: flags.split_whitespace().map(str::to_owned).collect(),
        config: None,
        serves,
        as_nats_server: true,
        warns: false,
    }
}

impl Way {
    fn config(self, text: &str) -> Self {
        Self {
            config: Some(text.to_owned()),
            ..self
        }
    }

    fn warns(self) -> Self {
        Self {
            warns: true,
            ..self
        }
    }

    fn unlike_nats_server(self) -> Self {
        Self {
            as_nats_server: false,
            ..self
        }
    }
}

fn ways(pki: &Pki) -> Vec<Way> {
    let certificate = format!(
        "--tlscert {} --tlskey {}",
        pki.text("broker.pem"),
        pki.text("broker.key")
    );
    let ca = pki.text("ca.pem");
    let block = |more: &str| {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {ca:?}{more} }}\n",
            pki.text("broker.pem"),
            pki.text("broker.key")
        )
    };
    let users = "authorization { users: [ { user: u, password: p } ] }\n";
    let anonymous_client = |publish: &str, subscribe: &str| {
        format!(
            "authorization {{ users: [ {{ user: g, password: p, permissions: {{ publish: \
             {publish:?}, subscribe: {subscribe:?} }} }} ] }}\n"
        )
    };
    vec![
        // Nothing that configures remote clients.
        way("", ThisHost).unlike_nats_server(),
        way("--name a -D --no_advertise", ThisHost).unlike_nats_server(),
        way("--cluster nats://127.0.0.1:-1", ThisHost).unlike_nats_server(),
        way(&format!("--tls {certificate}"), ThisHost).unlike_nats_server(),
        // An address.
        way("-a 127.0.0.1", ThisHost),
        way("--addr localhost", ThisHost),
        way("--net 0.0.0.0", All).warns(),
        way("-a 0.0.0.0 --auth t", All),
        way("-a 127.0.0.1 --auth t", ThisHost),
        // A login.
        way("--user u --pass p", All),
        way("--auth t", All),
        way(&format!("--tlsverify {certificate} --tlscacert {ca}"), All),
        // A file.
        way("", All).config("ping_max: 3\n").warns(),
        way("", ThisHost).config("host: 127.0.0.1\n"),
        way("", ThisHost).config("listen: \"127.0.0.1:-1\"\n"),
        way("-a 127.0.0.1", ThisHost).config("host: 0.0.0.0\n"),
        way("-a 0.0.0.0", All).config("host: 127.0.0.1\n").warns(),
        way("", All).config(users),
        way("", All)
            .config(&format!("{users}no_auth_user: u\n"))
            .warns(),
        way("", All).config(&format!(
            "{}no_auth_user: g\n",
            anonymous_client("a.>", "b")
        )),
        way("", All)
            .config(&format!(
                "{}no_auth_user: g\n",
                anonymous_client("a", "*.>")
            ))
            .warns(),
        way("", All).config(&block("")).warns(),
        way("", All).config(&block(", verify: true")),
        way("", All).config(&format!("{}{users}", block(""))),
        way("", All)
            .config(&format!("{}allow_non_tls: true\n", block(", verify: true")))
            .warns(),
        way("--auth t", All).config("ping_max: 3\n"),
    ]
}

#[test]
fn a_broker_serves_remote_clients_only_when_configured() {
    let pki = Pki::new(&["broker"]);
    for way in ways(&pki) {
        let name = format!("{:?} {:?}", way.flags, way.config);
        let mut midge = Started::new(&tools::midge(), &way);
        assert_eq!(midge.serves(), way.serves, "{name}");
        let log = midge.end();
        let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
        let says_how = lines("To serve other hosts: -a 0.0.0.0");
        assert_eq!(says_how, usize::from(!way.as_nats_server), "{name}: {log}");
        let warnings = lines("Add an authorization block");
        assert_eq!(warnings, usize::from(way.warns), "{name}: {log}");

        let mut peer = Started::new(&tools::nats_server(), &way);
        let expected = match way.as_nats_server {
            true => way.serves,
            false => All,
        };
        assert_eq!(peer.serves(), expected, "nats-server: {name}");
        peer.end();
    }
}

/// A broker with the flags of a case, on free ports.
struct Started {
    child: Child,
    folder: tempfile::TempDir,
    log: PathBuf,
}

impl Started {
    fn new(program: &Path, way: &Way) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("log");
        let file = fs::File::create(&log).expect("create the log");
        let mut command = Command::new(program);
        command
            .args(["-p", "-1", "-m", "-1", "--ports_file_dir"])
            .arg(folder.path())
            .args(&way.flags)
            .stdout(Stdio::null())
            .stderr(file);
        if let Some(text) = &way.config {
            let config = folder.path().join("broker.conf");
            fs::write(&config, text).expect("write the configuration");
            command.arg("-c").arg(config);
        }
        let child = command.spawn().expect("start a broker");
        Self { child, folder, log }
    }

    /// The addresses of its client port, according to the system.
    fn serves(&mut self) -> Serves {
        let port = wait_for("the ports file", || {
            let ended = self.child.try_wait().expect("ask for its state");
            assert!(ended.is_none(), "{ended:?}: {}", self.result());
            client_port(self.folder.path())
        });
        let addresses = listening(port);
        assert!(!addresses.is_empty(), "nobody listens on {port}");
        let loopback = ["0100007F", "00000000000000000000000001000000"];
        let is_loopback = |address: &String| loopback.contains(&&**address);
        match addresses.iter().all(is_loopback) {
            true => ThisHost,
            false => All,
        }
    }

    fn result(&self) -> String {
        fs::read_to_string(&self.log).expect("the log")
    }

    fn end(mut self) -> String {
        wait_for("it is ready", || {
            self.result().contains("Server is ready").then_some(())
        });
        self.child.kill().expect("end the broker");
        self.child.wait().expect("wait for the broker");
        self.result()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Failures do not matter: the child has ended, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client_port(folder: &Path) -> Option<u16> {
    let file = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "ports"))?;
    let ports: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let urls = ports["nats"].as_array().or(ports["tls"].as_array())?;
    let (_, port) = urls.first()?.as_str()?.rsplit_once(':')?;
    port.parse().ok()
}

/// The addresses that are listened on with this port, as the system writes them.
fn listening(port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let of_table = |file: &str| -> Vec<String> {
        let table = fs::read_to_string(file).unwrap_or_default();
        let rows = table.lines().map(|row| row.split_whitespace());
        rows.filter_map(|mut row| {
            let (address, hex) = row.nth(1)?.split_once(':')?;
            let state = row.nth(1)?;
            let is_it = state == LISTEN && u16::from_str_radix(hex, 16) == Ok(port);
            is_it.then(|| address.to_owned())
        })
        .collect()
    };
    [of_table("/proc/net/tcp"), of_table("/proc/net/tcp6")].concat()
}
