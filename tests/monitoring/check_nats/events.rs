//! Modes of what happened since the last run, on real brokers.

use std::{
    fs,
    io::{Read, Write},
};

use tempfile::TempDir;

use super::plugin::{PluginOutput, brokers, check};
use test_support::{Broker, RawClient, wait_until};

/// Runs of one mode on one broker, with a state of their own.
struct Since<'a> {
    broker: &'a Broker,
    mode: &'static str,
    folder: TempDir,
}

impl<'a> Since<'a> {
    /// With the first run, which has nothing to compare with.
    fn begin(broker: &'a Broker, mode: &'static str) -> Self {
        let since = Self {
            broker,
            mode,
            folder: tempfile::tempdir().expect("a folder"),
        };
        since.run(&[]).expect(0, "no baseline yet (first run)");
        since
    }

    fn run(&self, arguments: &[&str]) -> PluginOutput {
        let folder = self.folder.path().to_str().expect("a readable path");
        let common = ["--mode", self.mode, "--state-dir", folder];
        check(self.broker, &[&common, arguments].concat())
    }

    /// A run that takes no event from the others.
    fn look(&self) -> PluginOutput {
        self.run(&["--no-state-update"])
    }
}

/// A client that subscribes to everything and never reads.
fn stuck_reader(broker: &Broker) -> RawClient {
    let mut reader = RawClient::connect(broker.client_addr());
    reader.send("CONNECT {\"verbose\":false,\"name\":\"stuck\"}\r\nSUB news.> 1\r\n");
    reader.sync();
    reader
}

#[test]
fn lost_messages_are_reported_by_reason_and_with_names() {
    let broker = Broker::midge()
        .config("max_pending: 1MB\nwrite_deadline: \"60s\"\n")
        .start();
    let losses = Since::begin(&broker, "losses");
    losses.run(&[]).expect(0, "0 messages lost in ");
    let _reader = stuck_reader(&broker);
    let mut publisher = RawClient::connect_quietly(broker.client_addr());
    let message = format!("PUB news.a 100000\r\n{}\r\n", "x".repeat(100_000));
    wait_until("the reader is cut off", || {
        publisher.send(message.repeat(10));
        publisher.sync();
        let varz = broker.get_json("/varz");
        varz["dropped_msgs"]["slow_consumer"] != 0 && losses.look().line.contains("stuck")
    });
    let lost = losses.run(&[]);
    lost.expect(1, " lost in ")
        .expect(1, "(slow_consumer ")
        .expect(1, ": \"stuck\" 127.0.0.1 (warning 0)")
        .tell("closed with Slow Consumer")
        .tell("\n  do: ");
    assert_eq!(lost.value("lost_closed_new"), "0");
    assert_ne!(lost.value("lost_bytes_new"), "0B");
    assert_ne!(lost.value("lost_slow_consumer"), "0c");
    losses.run(&[]).expect(0, "0 messages lost in ");
    losses
        .run(&["--lost-bytes-critical", "1:"])
        .expect(0, "first run");
}

#[test]
fn messages_to_nobody_are_reported_with_their_subjects() {
    let broker = Broker::midge().start();
    let nobody = Since::begin(&broker, "no-interest");
    let mut publisher = RawClient::connect_quietly(broker.client_addr());
    publisher.send("PUB nobody.here 5\r\nhello\r\n".repeat(30));
    publisher.sync();
    wait_until("the subject is known", || {
        nobody.look().line.contains("\"nobody.here\"")
    });
    let seen = nobody.run(&[]);
    seen.expect(0, "30 messages without a subscriber in ");
    assert_eq!(seen.value("no_interest_new"), "30");
    assert_eq!(seen.value("no_interest"), "30c");
    // By default nothing alerts: many publish whether somebody listens or not.
    let strict = ["-w", "29", "--state", "strict"];
    nobody.run(&strict).expect(0, "first run");
    publisher.send("PUB nobody.here 5\r\nhello\r\n".repeat(30));
    publisher.sync();
    wait_until("they are counted", || {
        nobody.look().value("no_interest") == "60c"
    });
    nobody
        .run(&strict)
        .expect(1, "30 messages without a subscriber in ")
        .tell("\n  do: start the subscriber");
}

#[test]
fn refused_logins_are_reported_with_their_addresses() {
    for builder in brokers() {
        let is_midge = builder.program_path() == test_support::tools::midge();
        let broker = builder
            .flag("--user")
            .flag("a")
            .flag("--pass")
            .flag("b")
            .start();
        let logins = Since::begin(&broker, "logins");
        logins.run(&[]).expect(0, "0 refused logins in ");
        for _ in 0..2 {
            let mut client = RawClient::connect(broker.client_addr());
            client
                .send("CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"wrong\"}\r\nPING\r\n");
            client.read_to_end();
        }
        wait_until("both are counted", || {
            logins.look().value("logins_refused_new") == "2"
        });
        let refused = logins.run(&[]);
        refused
            .expect(1, "2 refused logins in ")
            .expect(1, "127.0.0.1")
            .expect(1, "(warning 0)")
            .tell("\n  do: ");
        let totals = if is_midge { ["2c", "0c"] } else { ["U", "U"] };
        assert_eq!(refused.value("logins_refused"), totals[0]);
        assert_eq!(refused.value("logins_accepted"), totals[1]);
        logins.run(&[]).expect(0, "0 refused logins in ");
    }
}

#[test]
fn failed_handshakes_are_reported() {
    let pki = test_support::pki::Pki::new(&[]);
    pki.sign("broker", test_support::pki::Term::Seconds(86_400));
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\n",
        pki.text("broker.pem"),
        pki.text("broker.key"),
        pki.text("ca.pem")
    );
    for builder in brokers() {
        let broker = builder.config(&*tls).start();
        let logins = Since::begin(&broker, "logins");
        // Begins to speak TLS, and breaks off.
        let mut client = RawClient::connect(broker.client_addr());
        client.send("this is no TLS record\r\n");
        let mut alert = Vec::new();
        let _ = client.stream().read_to_end(&mut alert);
        wait_until("it is counted", || {
            logins.look().value("tls_failed_new") == "1"
        });
        let failed = logins.run(&["--tls-failed-warning", "0", "--no-state-update"]);
        failed.expect(0, "first run");
        let failed = logins.run(&[]);
        failed.expect(0, "0 refused logins in ");
        assert_eq!(failed.value("tls_failed_new"), "1");
        assert_eq!(logins.run(&[]).value("tls_failed_new"), "0");
    }
}

/// A refused login does not name those whose handshake failed, nor the other way round.
#[test]
fn each_reason_names_its_own() {
    let pki = test_support::pki::Pki::new(&["broker"]);
    let options = format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}\nauthorization {{ user: a, password: b }}\n",
        pki.text("broker.pem"),
        pki.text("broker.key")
    );
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("password");
    fs::write(&wrong, "wrong").expect("written");
    let wrong = wrong.to_str().expect("a readable path");
    for builder in brokers() {
        let broker = builder.config(&*options).start();
        let logins = Since::begin(&broker, "logins");
        let failed = ["--tls-failed-warning", "0", "--state", "tls"];
        logins.run(&failed).expect(0, "first run");
        let mut client = RawClient::connect(broker.client_addr());
        client.send("this is no TLS record\r\n");
        let _ = client.stream().read_to_end(&mut Vec::new());
        let refused = ["--mode", "connect", "--cacert", &*pki.text("ca.pem")];
        let login = ["--user", "a", "--password-file", wrong];
        check(&broker, &[refused, login].concat()).expect(3, "check the name and the password");
        wait_until("both are counted", || {
            let seen = logins.look();
            seen.value("logins_refused_new") == "1" && seen.value("tls_failed_new") == "1"
        });
        let found = logins.run(&[]);
        let about: Vec<&str> = found
            .output
            .lines()
            .filter(|it| it.starts_with("  "))
            .collect();
        // One line about who it was, and what to do.
        assert_eq!(about.len(), 2, "{found:?}");
        assert!(about[0].contains("uthentication"), "{found:?}");
        let found = logins.run(&failed);
        found.expect(1, "1 failed TLS handshake in ").tell("TLS ");
    }
}

/// Who knocks at the route port is no client, and is counted by itself.
#[test]
fn failed_handshakes_of_routes_are_reported() {
    let pki = test_support::pki::Pki::new(&["broker"]);
    let route_port = test_support::free_address();
    let text = format!(
        "cluster {{ name: mesh, listen: \"{route_port}\", tls {{ cert_file: {:?}, key_file: {:?}, \
         ca_file: {:?} }} }}\n",
        pki.text("broker.pem"),
        pki.text("broker.key"),
        pki.text("ca.pem")
    );
    let broker = Broker::midge().config(text).start();
    let logins = Since::begin(&broker, "logins");
    let mut stranger = std::net::TcpStream::connect(route_port).expect("the route port");
    stranger
        .write_all(b"this is no TLS record\r\n")
        .expect("sent");
    let _ = stranger.read_to_end(&mut Vec::new());
    wait_until("it is counted", || {
        logins.look().value("route_tls_new") == "1"
    });
    let failed = logins.run(&["--route-tls-warning", "0", "--no-state-update"]);
    failed.expect(0, "first run");
    assert_eq!(failed.value("route_tls_failed"), "1c");
    let found = logins.run(&[]);
    found.expect(0, "0 refused logins in ");
    assert_eq!(logins.run(&[]).value("route_tls_new"), "0");
}

#[test]
fn permission_violations_are_reported_with_names_and_subjects() {
    let text = "no_auth_user: a\nauthorization { users: [\n\
                { user: a, password: b, permissions: { publish: { deny: \"secret.>\" } } } ] }\n";
    let broker = Broker::midge().config(text).start();
    let violations = Since::begin(&broker, "violations");
    let mut client = RawClient::connect(broker.client_addr());
    client.send("CONNECT {\"verbose\":false,\"name\":\"curious\"}\r\n");
    // Events leave out most of those that follow each other.
    client.send("PUB secret.a 1\r\nx\r\n".repeat(25));
    client.sync();
    let found = violations.run(&[]);
    found
        .expect(1, "25 permission violations in ")
        .expect(1, ": \"curious\" (warning 0)")
        .tell("secret.a")
        .tell("\n  do: correct the subjects");
    assert_eq!(found.value("violations_new"), "25");
    assert_eq!(found.value("violations"), "25c");
    let metrics = broker.get("/metrics").body;
    assert!(
        metrics.contains("\nmidge_permission_violations_total 25\n"),
        "{metrics}"
    );
    violations.run(&[]).expect(0, "0 permission violations in ");
}

#[test]
fn what_only_midge_counts_is_said_of_others() {
    for builder in [Broker::nats_server(), Broker::nats_server_29()] {
        let broker = builder.start();
        for mode in ["losses", "no-interest", "violations"] {
            check(&broker, &["--mode", mode, "--sample", "1ms"])
                .expect(3, "NATS UNKNOWN: only midge counts ");
        }
    }
}

/// A midge says itself what is wrong with its configuration.
#[test]
fn a_configuration_that_is_not_in_force_is_reported() {
    let settings = "diagnosis { interval: 50ms, config_check: 50ms, appear_after: 50ms, \
                    clear_after: 50ms }\n";
    let broker = Broker::midge()
        .config(format!("max_payload: 1MB\n{settings}"))
        .start();
    let config = |arguments: &[&str]| check(&broker, &[&["--mode", "config"], arguments].concat());
    config(&[]).expect(0, "configuration loaded ");
    let file = broker.folder().join("broker.conf");
    let before = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, before.replace("1MB", "2MB")).expect("written");
    wait_until("the difference is reported", || config(&[]).code == 1);
    config(&[])
        .expect(1, "config-differs")
        .expect(1, "max_payload")
        .tell("\n  do: ");
    fs::write(&file, format!("{before}\nnonsense")).expect("written");
    broker.signal(libc::SIGHUP);
    wait_until("the failed reload is reported", || {
        config(&[]).output.contains("reload-failed")
    });
    fs::write(&file, &before).expect("written");
    broker.signal(libc::SIGHUP);
    wait_until("all is well", || config(&[]).code == 0);
}

/// Of any broker, a file that was changed after it was loaded.
#[test]
fn a_file_that_is_newer_than_what_runs_is_reported() {
    for builder in brokers() {
        let broker = builder.config("max_payload: 1MB\n").start();
        let file = broker.folder().join("broker.conf");
        let path = file.to_str().expect("a readable path");
        let config = |file: &str| check(&broker, &["--mode", "config", "--file", file]);
        config(path).expect(0, "not changed since");
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
        let opened = fs::File::options().append(true).open(&file);
        opened.expect("a file").set_modified(later).expect("a time");
        config(path)
            .expect(1, "broker.conf was changed ")
            .expect(1, " after the broker loaded it")
            .tell("\n  do: check the file, and reload");
        config("/nonsense").expect(3, "/nonsense: No such file");
    }
}
