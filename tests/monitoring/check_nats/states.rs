//! What runs of modes that compare with the last run know of each other.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use check_nats::modes::{Compares, MODES};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    bad_peers::{peer, read_until, respond, says},
    plugin::{PluginOutput, brokers, check_ports},
};
use test_support::{free_address, wait_until};

/// A broker that has cut off as many slow consumers as the test says.
struct Counting {
    slow: Arc<AtomicU64>,
    client: SocketAddr,
    monitor: SocketAddr,
    folder: TempDir,
}

impl Counting {
    fn new() -> Self {
        Self::with(|mut stream| respond(&mut stream, "404 Not Found", "404 page not found"))
    }

    /// One that does this on all other paths but `/varz`.
    fn with(other: impl Fn(TcpStream) + Clone + Send + 'static) -> Self {
        let slow = Arc::new(AtomicU64::new(0));
        let counted = slow.clone();
        let seconds = AtomicU64::new(0);
        let clock = Arc::new(seconds);
        let monitor = peer(move |mut stream| {
            let request = read_until(&mut stream, "\r\n\r\n");
            if !request.starts_with("GET /varz ") {
                return other(stream);
            }
            // A second passes with each answer.
            let now = clock.fetch_add(1, Ordering::Relaxed);
            let varz = serde_json::json!({
                "server_id": "N1",
                "start": "2026-01-01T00:00:00Z",
                "now": format!("2026-01-01T01:{:02}:{:02}Z", now / 60 % 60, now % 60),
                "slow_consumers": counted.load(Ordering::Relaxed),
            });
            respond(&mut stream, "200 OK", &varz.to_string());
        });
        Self {
            slow,
            client: says(""),
            monitor,
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn cut_off(&self, count: u64) {
        self.slow.fetch_add(count, Ordering::Relaxed);
    }

    fn check(&self, arguments: &[&str]) -> PluginOutput {
        let common = ["--mode", "slow", "--state-dir", text(self.folder.path())];
        check_ports(self.client, self.monitor, &[&common, arguments].concat())
    }

    fn files(&self) -> usize {
        self.folder.path().read_dir().expect("a folder").count()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a readable path")
}

/// Two services with other names or thresholds do not take events from each other, and a run
/// by hand takes none.
#[test]
fn services_do_not_share_events() {
    let broker = Counting::new();
    let noc = || broker.check(&["--service-name", "NATS", "-w", "10"]);
    let page = || broker.check(&["-w", "0"]);
    let by_hand = || broker.check(&["-w", "0", "--no-state-update", "-v"]);
    noc().expect(0, "no baseline yet (first run)");
    page().expect(0, "no baseline yet (first run)");
    broker.cut_off(3);
    noc().expect(0, "3 new slow consumers");
    by_hand().expect(1, "3 new slow consumers");
    by_hand().expect(1, "3 new slow consumers");
    page().expect(1, "3 new slow consumers");
    page().expect(0, "0 new slow consumers");
    by_hand().expect(0, "0 new slow consumers");
}

#[test]
fn a_run_that_only_looks_leaves_nothing() {
    let broker = Counting::new();
    let folder = broker.folder.path().join("new");
    let look = ["--no-state-update", "--state-dir", text(&folder)];
    broker.check(&look).expect(0, "no baseline yet (first run)");
    assert!(!folder.exists());
}

/// Services that want to share say so; those of another broker are not among them.
#[test]
fn a_named_state_is_shared() {
    let (broker, other) = (Counting::new(), Counting::new());
    let shared = ["--state", "both"];
    let one = |broker: &Counting| broker.check(&[&shared[..], &["-w", "10"]].concat());
    let two = |broker: &Counting| broker.check(&[&shared[..], &["-w", "0"]].concat());
    one(&broker).expect(0, "first run");
    two(&broker).expect(0, "0 new slow consumers");
    broker.cut_off(3);
    one(&broker).expect(0, "3 new slow consumers");
    two(&broker).expect(0, "0 new slow consumers");
    one(&other).expect(0, "first run");
}

/// A retry of the scheduler does not find the service OK.
#[test]
fn an_alert_is_held() {
    let broker = Counting::new();
    let held = |arguments: &[&str]| broker.check(&[&["--hold", "15m"], arguments].concat());
    held(&[]).expect(0, "first run");
    broker.cut_off(2);
    held(&[]).expect(1, "2 new slow consumers in 1 s (warning 0)");
    let again = held(&[]);
    again.expect(1, "2 new slow consumers in 1 s (warning 0), ");
    again.expect(1, " ago").expect(1, "0 new slow consumers");
    // Only the state is held, not the number.
    assert_eq!(again.value("slow_new"), "0");
    broker.cut_off(1);
    let more = held(&[]);
    more.expect(1, "1 new slow consumer in 1 s")
        .expect(1, "2 new slow consumers in 1 s");
    held(&["--no-state-update"]).expect(1, "2 new slow consumers in 1 s");
    let short = || broker.check(&["--hold", "1s"]);
    short().expect(0, "first run");
    broker.cut_off(1);
    short().expect(1, "1 new slow consumer");
    wait_until("the time is over", || short().code == 0);
}

/// One of many runs at the same time finds an event, and no state is lost.
#[test]
fn an_event_is_found_once_by_runs_at_the_same_time() {
    let broker = Counting::new();
    broker.check(&[]).expect(0, "first run");
    broker.cut_off(1);
    let codes: Vec<i32> = thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| broker.check(&["-t", "60"]).code))
            .collect();
        runs.into_iter()
            .map(|run| run.join().expect("it ran"))
            .collect()
    });
    let found = codes.iter().filter(|code| **code == 1).count();
    let nothing = codes.iter().filter(|code| **code == 0).count();
    assert_eq!((found, nothing), (1, 7), "{codes:?}");
    // The state and its lock; no part of a write is left.
    assert_eq!(broker.files(), 2);
}

/// A run that does not get an answer takes nothing from the next one.
#[test]
fn a_run_that_fails_takes_no_event() {
    let broker = Counting::new();
    broker.check(&[]).expect(0, "first run");
    broker.cut_off(1);
    let mute = peer(|mut stream| {
        read_until(&mut stream, "never");
    });
    let arguments = [
        "--mode",
        "slow",
        "-t",
        "200ms",
        "--state-dir",
        text(broker.folder.path()),
    ];
    check_ports(broker.client, mute, &arguments).expect(3, "no answer within");
    broker.check(&[]).expect(1, "1 new slow consumer");
}

/// What was said once is not said again because the names of the culprits could not be had.
#[test]
fn an_event_is_found_once_whatever_happens_to_its_names() {
    let others: [fn(TcpStream); 4] = [
        |mut stream| {
            read_until(&mut stream, "never");
        },
        drop,
        |mut stream| respond(&mut stream, "500 Internal Server Error", "broken"),
        |mut stream| {
            let names = "x".repeat(9 << 20);
            respond(&mut stream, "200 OK", &names);
        },
    ];
    for other in others {
        let broker = Counting::with(other);
        let check = || broker.check(&["-t", "4"]);
        check().expect(0, "first run");
        broker.cut_off(1);
        check().expect(1, "1 new slow consumer in ");
        check().expect(0, "0 new slow consumers in ");
    }
}

/// What a broker says of itself, as the test sets it.
fn varz_of(says: &Arc<Mutex<Value>>) -> SocketAddr {
    let says = says.clone();
    peer(move |mut stream| {
        read_until(&mut stream, "\r\n\r\n");
        let varz = says.lock().expect("no panic").to_string();
        respond(&mut stream, "200 OK", &varz);
    })
}

/// A restart is none of another broker behind the same address, and is one whatever the clock
/// of the broker shows.
#[test]
fn a_restart_is_one_of_a_broker_and_not_of_a_clock() {
    for names in [["a", "b"], ["N1", "N9"]] {
        let run = |id: &str, name: usize, start: &str, uptime: &str| {
            let name = match names[name].starts_with('N') {
                true => id,
                false => names[name],
            };
            json!({
                "server_id": id, "server_name": name, "start": start, "now": start,
                "uptime": uptime,
            })
        };
        let says = Arc::new(Mutex::new(Value::Null));
        let (monitor, folder) = (varz_of(&says), tempfile::tempdir().expect("a folder"));
        let check = |varz: Value| {
            *says.lock().expect("no panic") = varz;
            let state = ["--state-dir", text(folder.path())];
            check_ports(
                monitor,
                monitor,
                &[&["--mode", "restarts"][..], &state].concat(),
            )
        };
        let first = run("N1", 0, "2026-01-01T10:00:00Z", "1d0h0m0s");
        check(first.clone()).expect(0, "first run");
        // Another broker, whose clock is ahead or behind.
        for (id, start) in [
            ("N2", "2027-01-01T00:00:00Z"),
            ("N3", "2025-01-01T00:00:00Z"),
        ] {
            check(run(id, 1, start, "2h0m0s")).expect(0, "another broker answers here");
            check(run(id, 1, start, "2h0m1s")).expect(0, "no restart in ");
        }
        check(first).expect(0, "no restart in ");
        // The first one is started again, with its clock set back or forward.
        for (id, start) in [
            ("N4", "2020-01-01T00:00:00Z"),
            ("N5", "2030-01-01T00:00:00Z"),
        ] {
            check(run(id, 0, start, "0s")).expect(1, "was restarted ");
            check(run(id, 0, start, "0s")).expect(0, "no restart in ");
        }
    }
}

/// Another run that hangs is named, and does not hold this one for longer than its time.
#[test]
fn a_state_that_another_run_has_is_named() {
    let broker = Counting::new();
    broker.check(&[]).expect(0, "first run");
    let lock = broker
        .folder
        .path()
        .read_dir()
        .expect("a folder")
        .map(|file| file.expect("a file").path())
        .find(|path| path.extension().is_some_and(|ending| ending == "lock"))
        .expect("a lock file");
    let file = std::fs::File::open(lock).expect("opened");
    // SAFETY: flock gets an open descriptor and touches no memory.
    let locked = unsafe { libc::flock(std::os::fd::AsRawFd::as_raw_fd(&file), libc::LOCK_EX) };
    assert_eq!(locked, 0);
    let result = broker.check(&["-t", "300ms"]);
    result.expect(3, "another run has the state file ");
    // A run that only looks needs no lock.
    broker
        .check(&["--no-state-update"])
        .expect(0, "0 new slow consumers");
}

/// Whatever a mode counts: after a restart the new totals are what happened since.
#[test]
fn a_restart_loses_nothing_in_any_mode() {
    for builder in brokers() {
        let is_midge = builder.program_path() == test_support::tools::midge();
        let (client, monitor) = (free_address(), free_address());
        let folder = tempfile::tempdir().expect("a folder");
        let start = |program: std::path::PathBuf| {
            test_support::Broker::program(program)
                .without_monitoring()
                .flag("-m")
                .flag(monitor.port().to_string())
                .port(client.port())
                .start()
        };
        let modes: Vec<&str> = MODES
            .iter()
            .filter(|mode| mode.compares != Compares::Nothing)
            .map(|mode| mode.name)
            .filter(|name| is_midge || !["losses", "no-interest", "violations"].contains(name))
            .collect();
        let run = |client: SocketAddr, mode: &str| {
            let arguments = ["--mode", mode, "--state-dir", text(folder.path())];
            check_ports(client, monitor, &arguments)
        };
        let first = start(builder.program_path());
        for mode in &modes {
            run(first.client_addr(), mode).expect(0, "no baseline yet (first run)");
        }
        drop(first);
        let second = start(builder.program_path());
        for mode in modes {
            let result = run(second.client_addr(), mode);
            match mode {
                "restarts" => result.expect(1, " was restarted "),
                _ => result.expect(0, "since its restart "),
            };
            run(second.client_addr(), mode).expect(0, " in ");
        }
    }
}
