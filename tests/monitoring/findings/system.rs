//! Findings about what the broker needs from the operating system: its log, its files,
//! and its own sampling.

use std::{
    fs,
    os::unix::fs::symlink,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    appears, channels, clears, findings, quick, quick_with, stays_silent, text,
    with_long_incidents, with_short_incidents,
};
use test_support::{Broker, HeldThreads, wait_until};

/// /dev/full fails every write, like a full disk.
#[test]
pub fn an_unwritable_log_is_reported_until_it_recovers() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let broker = quick_with("", &format!("log_file: {log:?}")).start();
    stays_silent(&broker, "log-lost");
    fs::remove_file(&log).expect("the log is there");
    symlink("/dev/full", &log).expect("a link");
    broker.signal(libc::SIGUSR1);
    let finding = appears(&broker, "log-lost");
    assert_eq!(finding["severity"], "warning");
    assert_eq!(finding["subject"], log.to_str().expect("text"));
    assert!(
        text(&finding).contains("No space left on device"),
        "{finding}"
    );
    assert!(
        broker
            .get("/metrics")
            .body
            .contains("midge_log_lost_lines_total ")
    );
    fs::remove_file(&log).expect("remove the link");
    broker.signal(libc::SIGUSR1);
    clears(&broker, "log-lost");
    wait_until("the log says how many lines were lost", || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.contains(" of the log could not be written")
    });
}

/// A pipe replaces the configuration file: reading it hangs.
#[test]
pub fn a_hanging_file_read_is_reported_and_blocks_nothing() {
    let broker = quick("").start();
    stays_silent(&broker, "blocked-call");
    let file = broker.folder().join("broker.conf");
    let before = fs::read_to_string(&file).expect("the configuration");
    become_a_pipe(&file);
    let finding = appears(&broker, "blocked-call");
    assert!(
        text(&finding).contains("reading the configuration"),
        "{finding}"
    );
    for path in broker.endpoints() {
        assert_eq!(broker.get(&path).status, 200, "{path}");
    }
    // The first request hangs; the others neither queue up nor hang.
    for _ in 0..3 {
        broker.signal(libc::SIGHUP);
        broker.log().wait_for("Trapped \"hangup\"");
    }
    wait_until("the second is recorded", || {
        broker.signal(libc::SIGHUP);
        broker.log().so_far().already_has("A reload is under way")
    });
    assert_eq!(broker.get("/varz").status, 200);
    broker.connect().sync();
    // Readers that wait for the pipe get what is written to it.
    let again = file.with_extension("new");
    fs::write(&again, &before).expect("written");
    fs::write(&file, &before).expect("somebody reads the pipe");
    fs::rename(&again, &file).expect("a file takes its name again");
    clears(&broker, "blocked-call");
}

/// The process may map no more memory for a thread's stack.
#[test]
pub fn refused_threads_are_reported_for_a_while() {
    let broker = with_long_incidents()
        // The stacks of threads that have ended are not kept for the next ones.
        .env("GLIBC_TUNABLES", "glibc.pthread.stack_cache_size=0")
        .start();
    stays_silent(&broker, "threads-exhausted");
    let is_reported = || {
        let log = broker.log().so_far();
        log.already_has("critical threads-exhausted")
    };
    wait_until("a thread is refused", || {
        let before = limit_memory(&broker, Some(mapped(&broker) + 1024 * 1024));
        // In this time, which a busy broker may need again, the configuration is to be checked, and
        // clients are served.
        let end = Instant::now() + Duration::from_millis(500);
        while !is_reported() && Instant::now() < end {
            assert!(broker.connect().sync().is_empty());
        }
        limit_memory(&broker, before);
        is_reported()
    });
    let finding = appears(&broker, "threads-exhausted");
    assert!(text(&finding).contains("\"config-check\""), "{finding}");
    with_short_incidents(&broker);
    clears(&broker, "threads-exhausted");
}

/// Bytes of the broker's address space.
fn mapped(broker: &Broker) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    1024 * kib.expect("a size").parse::<u64>().expect("a number")
}

/// Sets the limit of the broker's address space; returns the one before. `None` is the highest
/// that it may have.
fn limit_memory(broker: &Broker, bytes: Option<u64>) -> Option<u64> {
    let pid = i32::try_from(broker.pid()).expect("a pid");
    let mut before = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `before` is a valid place for the result; nothing is set.
    let result = unsafe { libc::prlimit(pid, libc::RLIMIT_AS, std::ptr::null(), &raw mut before) };
    assert_eq!(result, 0, "prlimit: {}", std::io::Error::last_os_error());
    let limit = libc::rlimit {
        rlim_cur: bytes.unwrap_or(before.rlim_max),
        ..before
    };
    let none = std::ptr::null_mut();
    // SAFETY: `limit` is valid for the whole call; the old one is not requested.
    let result = unsafe { libc::prlimit(pid, libc::RLIMIT_AS, &raw const limit, none) };
    assert_eq!(result, 0, "prlimit: {}", std::io::Error::last_os_error());
    (before.rlim_cur != before.rlim_max).then_some(before.rlim_cur)
}

/// The thread of the diagnosis is stopped as by a debugger: its last report says that all
/// is well, and is marked as old.
#[test]
pub fn a_hanging_diagnosis_shows_in_the_age_of_its_report() {
    let broker = quick("").start();
    stays_silent(&broker, "diagnosis-hangs");
    let age = |path: &str| {
        let answer = serde_json::from_str::<Value>(&broker.get(path).body).ok()?;
        answer.get("age")?.as_f64()
    };
    let mut reports = broker.endpoints();
    reports.push("/healthz?probe=state".into());
    // The nodes are looked at by a thread of their own.
    reports.retain(|path| path != "/nodesz" && age(path).is_some());
    assert!(reports.len() >= 5, "answers with an age: {reports:?}");
    for path in &reports {
        assert!(age(path).is_some_and(|age| age < 10.0), "{path}");
    }
    let held = HeldThreads::hold(&broker, "observer");
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut channels = channels::Seen::of(&broker, "diagnosis-hangs");
    let found = loop {
        if let Some(finding) = findings(&broker, "diagnosis-hangs").pop()
            && channels.all_show(&finding)
        {
            break finding;
        }
        assert!(Instant::now() < deadline, "it is never reported");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(found["severity"], "critical");
    let explained = broker.get_json("/explainz");
    assert_eq!(explained["status"], "critical");
    for path in &reports {
        assert!(age(path).is_some_and(|age| age >= 10.0), "{path}");
    }
    let state = broker.get("/healthz?probe=state").json();
    assert!(
        state["reasons"].to_string().contains("diagnosis-hangs"),
        "{state}"
    );
    while broker.get("/healthz?probe=live").status == 200 {
        assert!(Instant::now() < deadline, "it is live for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(broker.get("/healthz").status, 503);
    drop(held);
    clears(&broker, "diagnosis-hangs");
    assert_eq!(broker.get("/healthz?probe=live").status, 200);
}

/// Replaces a file with a named pipe.
fn become_a_pipe(file: &std::path::Path) {
    let pipe = file.with_extension("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    fs::rename(&pipe, file).expect("a pipe takes the name");
}
