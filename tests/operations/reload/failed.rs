//! A reload that fails changes nothing, whichever step fails: logins, the answers of port
//! 8222, the log files.

use std::{collections::BTreeSet, fs, io::Read, net::TcpStream, time::Duration};

use serde_json::{Value, json};

use super::reload;
use test_support::{Broker, pki::Pki, tls_client::Speaker};

const FAILED: &str = "Failed to reload server configuration";

/// Everything that shows the settings in force.
fn seen(broker: &Broker) -> Value {
    let varz = broker.get_json("/varz");
    let kept = [
        "auth_required",
        "auth_timeout",
        "cluster",
        "config_digest",
        "config_load_time",
        "connections",
        "max_connections",
        "max_payload",
        "ping_interval",
        "subscriptions",
        "tls_required",
        "tls_verify",
    ];
    let kept: Value = kept.iter().map(|key| (*key, varz[key].clone())).collect();
    let of = |answer: &Value, list: &str, keys: &[&str]| -> Vec<Value> {
        let entries = answer[list].as_array().cloned().unwrap_or_default();
        let pick = |entry: &Value| keys.iter().map(|key| (*key, entry[key].clone())).collect();
        entries.iter().map(pick).collect()
    };
    let connections = broker.get_json("/connz?auth=1&subs=1");
    let keys = ["cid", "authorized_user", "account", "subscriptions_list"];
    let files: BTreeSet<String> = fs::read_dir(broker.folder())
        .expect("the broker's folder")
        .map(|entry| entry.expect("a file").file_name().display().to_string())
        .collect();
    json!({
        "varz": kept,
        "connections": of(&connections, "connections", &keys),
        "accounts": broker.get_json("/accountz")["accounts"],
        "files": files,
        "pid": fs::read_to_string(broker.folder().join("old.pid")).expect("the pid file"),
    })
}

/// Whether a client without TLS and login gets anything but INFO.
fn is_open(broker: &Broker) -> bool {
    use std::io::Write;
    let mut stream = TcpStream::connect(broker.client_addr()).expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a bound");
    let _ = stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n");
    let mut reported = Vec::new();
    let _ = stream.read_to_end(&mut reported);
    reported.windows(4).any(|bytes| bytes == b"PONG")
}

#[test]
fn a_failed_reload_step_changes_nothing() {
    let pki = Pki::new(&["broker", "node"]);
    let block = |cert: &str| {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
            pki.text(cert),
            pki.text("broker.key"),
            pki.text("ca.pem")
        )
    };
    let cluster =
        |more: &str| format!("cluster {{ name: mesh, listen: \"127.0.0.1:-1\", {more} }}");
    let old = format!(
        "{}\n{}\npid_file: old.pid\nmax_payload: 1000\naccounts {{ A {{ users: [{{ user: a, password: \
         a }}] }} }}\nno_auth_user: a\n",
        block("broker.pem"),
        cluster("")
    );
    let broker = Broker::midge().config(old).start();
    let node = Speaker::believing(&pki.path("ca.pem"))
        .showing(&pki.path("node.pem"), &pki.path("node.key"));
    let (mut stays, _) = node.connect(broker.client_addr()).expect("gets in");
    {
        use std::io::Write;
        stays
            .write_all(b"CONNECT {\"verbose\":false}\r\nSUB kept 1\r\nPING\r\n")
            .expect("subscribe");
        let mut pong = [0; 6];
        stays.read_exact(&mut pong).expect("an answer");
    }
    let before = seen(&broker);

    // Everything differs in these files, and one setting cannot be applied.
    let other = |tls: &str, cluster: &str, pid: &str, log: &str| {
        format!(
            "{tls}\n{cluster}\npid_file: {pid:?}\nlog_file: {log:?}\nmax_payload: 10\nping_interval: \
             10s\nmax_connections: 0\naccounts {{ B {{ users: [{{ user: b, password: b }}] }} }}\n"
        )
    };
    let missing = "/no/such/folder/file";
    let fine = cluster("permissions { export: { deny: \">\" } }");
    let cases = [
        (
            other(&block("none.pem"), &fine, "new.pid", "new.log"),
            "none.pem",
        ),
        (
            other("", &cluster(&block("none.pem")), "new.pid", "new.log"),
            "none.pem",
        ),
        (other("", &fine, missing, "new.log"), missing),
        (other("", &fine, "new.pid", missing), missing),
        // A full disk.
        (other("", &fine, "/dev/full", "new.log"), "/dev/full"),
        // A directory is no file.
        (other("", &fine, "/tmp", "new.log"), "/tmp"),
        (other("", &fine, "new.pid", "/tmp"), "/tmp"),
        (
            other("", &fine, "new.pid", "new.log") + "max_pending: many",
            "max_pending",
        ),
    ];
    for (text, named) in cases {
        let log = reload(&broker, &text, FAILED);
        assert!(log.contains(named), "{named}: {log}");
        assert!(!log.contains("Reloaded"), "{log}");
        super::wait_until("the test clients have disconnected", || {
            broker.get_json("/connz")["num_connections"] == 1
        });
        assert_eq!(seen(&broker), before, "{text}");
        assert!(!is_open(&broker), "{text}");
        node.attempt(broker.client_addr()).expect("gets in still");
    }
    // All of it can be applied, and is.
    fs::write(
        broker.folder().join("broker.conf"),
        other("", &fine, "new.pid", "new.log"),
    )
    .expect("write the configuration");
    broker.signal(libc::SIGHUP);
    let new_log = broker.folder().join("new.log");
    super::wait_until("the new log reports the reload", || {
        fs::read_to_string(&new_log).is_ok_and(|log| log.contains(super::DONE))
    });
    let pid = fs::read_to_string(broker.folder().join("new.pid")).expect("the new pid file");
    assert_eq!(pid, broker.pid().to_string());
    assert_eq!(broker.get_json("/varz")["max_payload"], 10);
}
