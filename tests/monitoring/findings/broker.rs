//! Findings about the broker itself: its configuration, its threads, its starts.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{appears, channels, clears, quick, quick_with, stays_silent, text, thresholds};
use test_support::{Broker, HeldThreads, Traffic, http, pki::Pki, wait_for, wait_until};

/// A newly started broker has no problem.
#[test]
fn a_fresh_broker_has_no_findings() {
    let broker = Broker::midge()
        .config("diagnosis { interval: 50ms }")
        .start();
    wait_until("it has taken a sample", || {
        let explained = broker.get_json("/explainz");
        explained["sampled"].as_str() > explained["now"].as_str().map(|_| "")
            && broker.get_json("/memz")["ceilings"]
                .as_array()
                .is_some_and(|c| !c.is_empty())
    });
    let explained = broker.get_json("/explainz");
    assert_eq!(explained["status"], "ok", "{explained}");
    assert_eq!(
        explained["findings"].as_array().map(Vec::len),
        Some(0),
        "{explained}"
    );
    let health = broker.get_json("/healthz?probe=state");
    for (field, value) in [("live", true), ("ready", true), ("degraded", false)] {
        assert_eq!(health[field], value, "{health}");
    }
}

#[test]
pub fn a_pending_configuration_is_reported_until_it_is_active() {
    let broker = quick_with("", "max_payload: 1MB").start();
    stays_silent(&broker, "config-differs");
    let file = broker.folder().join("broker.conf");
    let before = fs::read_to_string(&file).expect("the configuration");

    fs::write(
        &file,
        before.replace("max_payload: 1MB", "max_payload: 2MB"),
    )
    .expect("written");
    let finding = appears(&broker, "config-differs");
    assert_eq!(finding["severity"], "warning");
    assert!(text(&finding).contains("max_payload"), "{finding}");
    broker.signal(libc::SIGHUP);
    clears(&broker, "config-differs");

    let secret = "canary-secret-4711";
    fs::write(
        &file,
        format!("{before}\nauthorization: {secret} {{ {secret}"),
    )
    .expect("written");
    let finding = appears(&broker, "config-differs");
    let error = format!("the next start would fail: {}:", file.display());
    assert!(text(&finding).starts_with(&error), "{finding}");
    assert!(!finding.to_string().contains(secret));
    fs::write(
        &file,
        before.replace("max_payload: 1MB", "max_payload: 2MB"),
    )
    .expect("written");
    clears(&broker, "config-differs");

    fs::write(&file, before.replace("interval: 50ms", "interval: 60ms")).expect("written");
    wait_until("the pending restart has severity info", || {
        // The limit is also restored, which takes effect immediately.
        broker.signal(libc::SIGHUP);
        appears(&broker, "config-differs")["severity"] == "info"
    });
}

/// The broker's worker threads are stopped as by a debugger; the rest of the process
/// continues.
#[test]
pub fn stalled_worker_threads_are_reported() {
    let broker = quick("worker_delay: 2s").start();
    clears(&broker, "worker-stall");
    let held = HeldThreads::hold(&broker, "tokio-rt-worker");
    let finding = appears(&broker, "worker-stall");
    assert!(
        text(&finding).contains("for a thread of the broker"),
        "{finding}"
    );
    drop(held);
    clears(&broker, "worker-stall");
}

/// One worker thread is stopped while it works; the others go on.
#[test]
pub fn a_worker_that_hangs_alone_is_reported() {
    let broker = Broker::midge()
        .config(thresholds("").replace("worker_delay: 60s", "worker_delay: 100ms"))
        .env("TOKIO_WORKER_THREADS", "3")
        .start();
    let traffic = Traffic::start(&broker);
    // Busy threads are no finding.
    stays_silent(&broker, "worker-stuck");
    let held = wait_for("one is held at its work", || {
        let held = HeldThreads::hold_at_work(&broker, "tokio-rt-worker");
        let lines = || broker.log().so_far().count("critical worker-stuck");
        let (before, deadline) = (lines(), Instant::now() + Duration::from_secs(20));
        // It may have been about to wait, and then hangs nowhere.
        while lines() == before {
            if Instant::now() > deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(held)
    });
    let finding = appears(&broker, "worker-stuck");
    assert!(
        text(&finding).contains(" of 3 threads that serve "),
        "{finding}"
    );
    assert!(broker.connect().sync().is_empty());
    drop((held, traffic));
    clears(&broker, "worker-stuck");
}

#[test]
pub fn repeated_restarts_are_reported() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("starts");
    let more = format!(
        "incident_window: 1h\n starts_file: {:?}",
        file.display().to_string()
    );
    for _ in 0..2 {
        let mut broker = quick(&more).start();
        stays_silent(&broker, "restart-loop");
        broker.stop();
    }
    let broker = quick(&more).start();
    let finding = appears(&broker, "restart-loop");
    assert!(text(&finding).contains("started 3 times"), "{finding}");
    let config = broker.folder().join("broker.conf");
    let before = fs::read_to_string(&config).expect("the configuration");
    fs::write(&config, before.replace("window: 1h", "window: 1s")).expect("written");
    broker.signal(libc::SIGHUP);
    clears(&broker, "restart-loop");
}

#[test]
pub fn open_ports_are_reported() {
    let open = Broker::midge()
        .config(thresholds("") + "http: \"0.0.0.0:-1\"\n")
        .flag("-a")
        .flag("0.0.0.0")
        .start();
    let port = open.monitor_addr().port();
    channels::attach_at(&open, format!("http://127.0.0.1:{port}"));
    for code in OPEN_PORTS {
        let mut channels = channels::Seen::of(&open, code);
        wait_until(&format!("{code} appears"), || {
            reported(&open, code, "").is_some_and(|finding| channels.all_show(&finding))
        });
    }
    wait_until("both are warned of", || open_port_warnings(&open) == 2);
    let file = open.folder().join("broker.conf");
    for (code, lock) in OPEN_PORTS.iter().zip(["authorization", "monitor"]) {
        let before = fs::read_to_string(&file).expect("the configuration");
        fs::write(&file, format!("{before}{lock} {{ token: canary }}\n")).expect("written");
        open.signal(libc::SIGHUP);
        wait_until(&format!("{code} clears"), || {
            reported(&open, code, "Authorization: Bearer canary\r\n").is_none()
        });
        // The other channels have no token for the second one.
        if lock == "authorization" {
            channels::note_cleared(&open, code);
        }
    }
    let broker = quick("").start();
    for code in OPEN_PORTS {
        stays_silent(&broker, code);
    }
}

const OPEN_PORTS: [&str; 2] = ["unsafe-clients", "unsafe-monitoring"];

/// The finding of this code, requested with additional headers.
fn reported(broker: &Broker, code: &str, headers: &str) -> Option<Value> {
    let local = SocketAddr::from(([127, 0, 0, 1], broker.monitor_addr().port()));
    let request =
        format!("GET /explainz HTTP/1.1\r\nHost: {local}\r\nConnection: close\r\n{headers}\r\n");
    let explained = http::send(local, &request).json();
    let all = explained["findings"].as_array().expect("findings");
    all.iter().find(|finding| finding["code"] == code).cloned()
}

/// Warnings about open ports at the start.
fn open_port_warnings(broker: &Broker) -> usize {
    let log = broker.log().so_far();
    let warns = |line: &&str| {
        line.contains("Add an authorization block") || line.contains("open to other machines")
    };
    log.lines().filter(warns).count()
}

/// With a token for the monitoring port, and a login or certificates for clients, there
/// is neither a finding nor a warning.
#[test]
fn secured_ports_are_not_reported() {
    let pki = Pki::new(&["broker"]);
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        pki.text("broker.pem"),
        pki.text("broker.key"),
        pki.text("ca.pem")
    );
    let monitor = "http: \"0.0.0.0:-1\"\nmonitor { token: canary }";
    for lock in [&*tls, "authorization { token: t }"] {
        let broker = quick_with("", &format!("{monitor}\n{lock}"))
            .flag("-a")
            .flag("0.0.0.0")
            .start();
        let bearer = "Authorization: Bearer canary\r\n";
        // Enough samples for a finding to appear.
        for _ in 0..10 {
            for code in OPEN_PORTS {
                assert!(reported(&broker, code, bearer).is_none(), "{code}: {lock}");
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(open_port_warnings(&broker), 0, "{}", broker.log());
    }
    // Certificates do not help while plain connections are accepted too.
    let both = format!("{tls}\nallow_non_tls: true\n{monitor}");
    let broker = quick_with("", &both).flag("-a").flag("0.0.0.0").start();
    wait_until("the open port is reported", || {
        let bearer = "Authorization: Bearer canary\r\n";
        reported(&broker, "unsafe-clients", bearer).is_some()
    });
}

#[test]
pub fn a_failed_reload_is_reported_until_one_succeeds() {
    let broker = quick_with("", "max_payload: 1MB").start();
    let file = broker.folder().join("broker.conf");
    let before = fs::read_to_string(&file).expect("the configuration");
    broker.signal(libc::SIGHUP);
    broker.log().wait_for("Reloaded server configuration");
    stays_silent(&broker, "reload-failed");
    // Where, what, and how many more.
    let line = before.lines().count() + 1;
    let errors = "max_paylod: 5\nport: []\nauthorization { user: u, password: [ canary ] }\n";
    fs::write(&file, format!("{before}\n{errors}")).expect("written");
    broker.signal(libc::SIGHUP);
    let finding = appears(&broker, "reload-failed");
    let place = format!(
        "{}:{}:1: unknown key \"max_paylod\"",
        file.display(),
        line + 1
    );
    assert!(text(&finding).starts_with(&place), "{finding}");
    for part in ["and 2 more errors", "nothing was changed"] {
        assert!(text(&finding).contains(part), "{finding}");
    }
    assert!(!finding.to_string().contains("canary"));
    // A file that another one names.
    let missing = broker.folder().join("missing.pem");
    let tls = format!("tls {{ cert_file: {missing:?}, key_file: {missing:?} }}");
    fs::write(&file, format!("{before}\n{tls}\n")).expect("written");
    broker.signal(libc::SIGHUP);
    wait_until("the finding names the file", || {
        let finding = appears(&broker, "reload-failed");
        let named = missing.display().to_string();
        text(&finding).contains(&named) && text(&finding).contains("No such file")
    });
    fs::write(&file, before).expect("written");
    broker.signal(libc::SIGHUP);
    clears(&broker, "reload-failed");
}

/// The finding is available through the socket, and says what to do. It stays until the
/// next start, when the port may be free.
#[test]
pub fn a_missing_default_monitoring_port_is_reported() {
    // If this fails, another process has the port, which has the same effect.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 8222));
    let broker = Broker::midge()
        .config(format!("{}monitor {{ unix: m.sock }}\n", thresholds("")))
        .without_monitoring()
        .start();
    let socket = broker.folder().join("m.sock");
    channels::attach_at(&broker, format!("unix:{}", socket.display()));
    let mut channels = channels::Seen::of(&broker, "no-monitoring");
    let finding = wait_for("no-monitoring appears", || {
        let explained = http::request_unix(&socket, "GET", "/explainz").json();
        let all = explained["findings"].as_array().expect("findings");
        let found = all.iter().find(|it| it["code"] == "no-monitoring")?;
        channels.all_show(found).then(|| found.clone())
    });
    assert!(text(&finding).contains("127.0.0.1:8222"), "{finding}");
    drop(taken);
    stays_silent(&quick("").start(), "no-monitoring");
}
