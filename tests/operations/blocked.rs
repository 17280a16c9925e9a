//! Files and pipes whose reads or writes hang: clients are still served, port 8222
//! answers and reports the problem, and a stop ends the process in bounded time.

use std::{
    fs,
    io::{BufRead, BufReader, PipeReader},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use test_support::{Broker, HeldThreads, RawClient, http, tools, wait_until};

/// Far above the maximum time of a stop, for a busy machine.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A broker that logs clients' messages to a pipe that nobody reads.
fn with_unread_log() -> (Broker, PipeReader) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let broker = Broker::midge()
        .config("diagnosis { interval: 50ms, incident_window: 200ms }")
        .flag("-DV")
        .stderr(writer)
        .start();
    (broker, reader)
}

/// Logs more than the pipe and the queue hold.
fn log_much(broker: &Broker) {
    let mut client = RawClient::connect(broker.client_addr());
    let line = format!("PUB {} 0\r\n\r\n", "x".repeat(1000));
    for _ in 0..100 {
        client.send(line.repeat(100));
        client.sync();
    }
}

fn lost(broker: &Broker) -> f64 {
    let metrics = broker.get("/metrics").body;
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix("midge_log_lost_lines_total "));
    value.expect("the figure").parse().expect("a number")
}

#[test]
fn a_blocked_stderr_does_not_block_the_broker() {
    let (mut broker, reader) = with_unread_log();
    log_much(&broker);
    RawClient::connect(broker.client_addr()).sync();
    assert!(lost(&broker) > 0.0);
    wait_until("it is reported", || {
        let explained = broker.get_json("/explainz").to_string();
        explained.contains("log-lost")
    });
    let causes = broker.get_json("/memz")["causes"].clone();
    let of_log = causes
        .as_array()
        .expect("causes")
        .iter()
        .find(|it| it["cause"] == "log");
    assert!(
        of_log.expect("the log")["bytes"].as_u64() > Some(1_000_000),
        "{causes}"
    );
    assert_eq!(broker.get("/healthz?probe=live").status, 200);
    let status = ends(&mut broker);
    assert!(status.success(), "{status}");
    drop(reader);
}

/// The reader returns: lines are complete, and missing ones are counted.
#[test]
fn lost_log_lines_are_reported_when_the_pipe_is_read() {
    let (broker, reader) = with_unread_log();
    log_much(&broker);
    wait_until("lines are lost", || lost(&broker) > 0.0);
    let (sender, lines) = mpsc::channel();
    let reading = thread::spawn(move || {
        for line in BufReader::new(reader).lines() {
            let line = line.expect("text");
            assert!(line.starts_with('['), "half a line: {line}");
            if line.contains(" of the log could not be written") {
                // Once is enough.
                let _ = sender.send(line);
            }
        }
    });
    let reported = lines
        .recv_timeout(test_support::PATIENCE)
        .expect("it is reported");
    assert!(reported.contains("[ERR] "), "{reported}");
    wait_until("the finding is gone", || {
        !broker
            .get_json("/explainz")
            .to_string()
            .contains("log-lost")
    });
    drop((broker, lines));
    reading.join().expect("whole lines");
}

/// SIGTERM and SIGINT while a reload waits for a pipe; a hanging reload over the socket
/// is reported as in progress, to itself and to the next request.
#[test]
fn a_hanging_reload_blocks_nothing_else() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut broker = Broker::midge()
            .config("monitor { unix: m.sock }\ndiagnosis { config_check: 100s }")
            .start();
        become_a_pipe(&broker.folder().join("broker.conf"));
        let socket = broker.folder().join("m.sock");
        let post = |query| http::request_unix(&socket, "POST", query);
        for query in ["/reload", "/reload?dry_run=1"] {
            let (one, other) = thread::scope(|scope| {
                let (one, other) = (scope.spawn(|| post(query)), scope.spawn(|| post(query)));
                while !(one.is_finished() && other.is_finished()) {
                    assert_eq!(broker.get("/varz").status, 200);
                }
                (one.join(), other.join())
            });
            let mut answers = [one.expect("an answer"), other.expect("an answer")];
            answers.sort_by_key(|answer| answer.status);
            let [refused, late] = answers;
            assert_eq!(
                (refused.status, late.status),
                (422, 504),
                "{refused:?} {late:?}"
            );
            assert!(
                refused.body.contains("a reload has been under way"),
                "{refused:?}"
            );
        }
        broker.signal(libc::SIGHUP);
        RawClient::connect(broker.client_addr()).sync();
        broker.signal(signal);
        let status = ended(&mut broker);
        assert!(status.success(), "{status}");
    }
}

/// A signal during a hanging reload is not lost: the file's latest content is finally in
/// force.
#[test]
fn a_reload_requested_during_a_reload_runs_afterwards() {
    let config = |max: u32| {
        format!(
            "max_payload: {max}\nmonitor {{ unix: m.sock }}\ndiagnosis {{ config_check: 100s }}"
        )
    };
    let broker = Broker::midge().config(config(1000)).start();
    let file = broker.folder().join("broker.conf");
    let text = |max| {
        let whole = fs::read_to_string(broker.folder().join("broker.conf.kept"));
        whole
            .expect("what it was started with")
            .replace("max_payload: 1000", &format!("max_payload: {max}"))
    };
    fs::copy(&file, broker.folder().join("broker.conf.kept")).expect("keep the configuration");
    become_a_pipe(&file);
    let pipe = broker.folder().join("pipe");
    broker.signal(libc::SIGHUP);
    wait_until("the read of the pipe hangs", || {
        broker
            .get("/explainz?format=text")
            .body
            .contains("blocked-call")
    });
    fs::rename(&file, &pipe).expect("move the pipe away");
    fs::write(&file, text(3000)).expect("the newest configuration");
    broker.signal(libc::SIGHUP);
    broker.log().wait_for("A reload is under way");
    fs::write(&pipe, text(2000)).expect("somebody reads the pipe");
    wait_until("the latest configuration is in force", || {
        broker.get_json("/varz")["max_payload"] == 3000
    });
    broker.log().wait_for("max_payload = 3000");
    let log = broker.log().to_string();
    let first = log.find("max_payload = 2000").expect("the first was done");
    assert!(log[first..].contains("max_payload = 3000"), "{log}");
}

/// The worker threads do not run, so that no graceful stop is possible and their locks
/// stay held: the process ends within its maximum time.
#[test]
fn a_stop_ends_the_process_when_something_hangs() {
    let mut broker = Broker::midge().start();
    let _client = broker.connect();
    let held = HeldThreads::hold(&broker, "tokio-rt-worker");
    broker.signal(libc::SIGTERM);
    // A traced thread disappears when its tracer has seen its exit.
    held.reap(STOP_PATIENCE);
    let status = ended(&mut broker);
    // By the system, if the log hung as well.
    let by_alarm = status.signal() == Some(libc::SIGALRM);
    assert!(status.code() == Some(1) || by_alarm, "{status}");
}

/// A start that waits for a file can be stopped: in bounded time, and immediately by a
/// second signal.
#[test]
fn a_hanging_start_can_be_stopped() {
    for (times, last_words) in [(1, "did not stop in time"), (2, "ends at once")] {
        let folder = tempfile::tempdir().expect("a folder");
        let pid_file = folder.path().join("pid");
        become_a_pipe(&pid_file);
        let mut child = Command::new(tools::midge())
            .args(["-a", "127.0.0.1", "-p", "-1", "-P"])
            .arg(&pid_file)
            .stderr(Stdio::piped())
            .spawn()
            .expect("midge starts");
        let stderr = child.stderr.take().expect("a pipe");
        let mut lines = BufReader::new(stderr)
            .lines()
            .map(|line| line.expect("text"));
        let mut says = |words| lines.any(|line| line.contains(words));
        assert!(says("Listening"));
        for _ in 0..times {
            // Signal handlers are installed before it logs anything.
            signal(&child, libc::SIGTERM);
            assert!(says("Trapped \"terminated\""));
        }
        assert!(says(last_words));
        let status = child.wait().expect("a child");
        assert_eq!(status.code(), Some(1), "{status}");
    }
}

/// The file of starts is a pipe: nothing waits for its other end, and the log names it.
#[test]
fn a_starts_file_that_is_a_pipe_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let starts = folder.path().join("starts");
    become_a_pipe(&starts);
    let mut broker = Broker::midge()
        .config(format!(
            "diagnosis {{ interval: 50ms, starts_file: {starts:?} }}"
        ))
        .start();
    let refused = format!("{}: not a regular file", starts.display());
    broker.log().wait_for(&refused);
    assert!(ends(&mut broker).success());
}

fn ends(broker: &mut Broker) -> std::process::ExitStatus {
    broker.signal(libc::SIGTERM);
    ended(broker)
}

fn ended(broker: &mut Broker) -> std::process::ExitStatus {
    let until = Instant::now() + STOP_PATIENCE;
    while !broker.has_exited() {
        assert!(Instant::now() < until, "the broker does not end");
        thread::sleep(Duration::from_millis(10));
    }
    broker.wait_exit()
}

fn signal(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).expect("a pid fits in an i32");
    // SAFETY: kill takes two integers; the child has not been waited for.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

fn become_a_pipe(file: &Path) {
    let pipe = file.with_extension("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    fs::rename(&pipe, file).expect("a pipe takes the name");
}
