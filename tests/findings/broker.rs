//! The broker itself: its configuration, its threads, its starts.

use std::{fs, net::SocketAddr};

use crate::{
    appears, clears, quick, quick_with, stays_silent,
    support::{Broker, http, wait_until},
    text,
};

/// Nothing is wrong with a broker that was just started.
#[test]
fn a_fresh_broker_has_no_findings() {
    let broker = Broker::midge()
        .config("diagnosis { interval: 50ms }")
        .start();
    wait_until("it has looked", || {
        let explained = broker.get_json("/explainz");
        explained["looked"].as_str() > explained["now"].as_str().map(|_| "")
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
fn a_configuration_that_is_not_in_force_is_told_until_it_is() {
    let broker = quick_with("", "max_payload: 1MB").start();
    stays_silent(&broker, "config-differs");
    let file = broker.folder().join("broker.conf");
    let before = fs::read_to_string(&file).expect("the configuration");

    fs::write(
        &file,
        before.replace("max_payload: 1MB", "max_payload: 2MB"),
    )
    .expect("room");
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
    .expect("room");
    let finding = appears(&broker, "config-differs");
    assert!(text(&finding).contains("has an error"), "{finding}");
    assert!(!finding.to_string().contains(secret));
    fs::write(
        &file,
        before.replace("max_payload: 1MB", "max_payload: 2MB"),
    )
    .expect("room");
    clears(&broker, "config-differs");

    fs::write(&file, before.replace("recent: 2s", "recent: 3s")).expect("room");
    wait_until("what waits for a restart is only worth knowing", || {
        // The limit has gone back as well, which takes effect at once.
        broker.signal(libc::SIGHUP);
        appears(&broker, "config-differs")["severity"] == "info"
    });
}

/// The broker's worker threads are held as a debugger would; everything else in
/// the process goes on.
#[test]
fn workers_that_do_not_get_on_are_told() {
    let broker = quick("worker_delay: 500ms").start();
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

/// Threads of a broker that do not run until this is dropped, by the thread
/// that holds them.
struct HeldThreads(Vec<i32>);

impl HeldThreads {
    /// Holds the threads of that name.
    fn hold(broker: &Broker, name: &str) -> Self {
        let mut held = Self(Vec::new());
        let tasks = format!("/proc/{}/task", broker.pid());
        for task in fs::read_dir(tasks).expect("threads").filter_map(Result::ok) {
            let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            if comm.trim_end() == name {
                let id = task.file_name().to_string_lossy().parse().expect("an id");
                trace(libc::PTRACE_SEIZE, id);
                held.0.push(id);
                trace(libc::PTRACE_INTERRUPT, id);
                // SAFETY: no place for the state is given.
                let stopped = unsafe { libc::waitpid(id, std::ptr::null_mut(), libc::__WALL) };
                assert_eq!(stopped, id, "waitpid: {}", std::io::Error::last_os_error());
            }
        }
        assert!(!held.0.is_empty(), "the broker has no thread {name:?}");
        held
    }
}

impl Drop for HeldThreads {
    fn drop(&mut self) {
        for id in &self.0 {
            trace(libc::PTRACE_DETACH, *id);
        }
    }
}

/// A request of ptrace about one thread of a child.
fn trace(request: libc::c_uint, thread: i32) {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: these requests read and write no memory of ours.
    let result = unsafe { libc::ptrace(request, thread, none, none) };
    assert_eq!(result, 0, "ptrace: {}", std::io::Error::last_os_error());
}

#[test]
fn a_broker_that_starts_again_and_again_says_so() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("starts");
    let more = format!("recent: 5s\n starts_file: {:?}", file.display().to_string());
    for _ in 0..2 {
        let mut broker = quick(&more).start();
        stays_silent(&broker, "restart-loop");
        broker.stop();
    }
    let broker = quick(&more).start();
    let finding = appears(&broker, "restart-loop");
    assert!(text(&finding).contains("started 3 times"), "{finding}");
    clears(&broker, "restart-loop");
}

#[test]
fn doors_that_stand_open_are_told() {
    let open = quick_with("", "http: \"0.0.0.0:-1\"")
        .flag("-a")
        .flag("0.0.0.0")
        .start();
    let local = SocketAddr::from(([127, 0, 0, 1], open.monitor_addr().port()));
    wait_until("both doors are told", || {
        let explained = http::get(local, "/explainz").json();
        let has = |code: &str| {
            let all = explained["findings"].as_array().expect("findings");
            all.iter().any(|finding| finding["code"] == code)
        };
        has("unsafe-clients") && has("unsafe-monitoring")
    });
    let broker = quick("").start();
    stays_silent(&broker, "unsafe-clients");
    stays_silent(&broker, "unsafe-monitoring");
}
