//! Ten thousand reads of a real collectd, most of them failures: memory, threads and open files do
//! not grow. The memory is printed as a curve (`--nocapture`).
//!
//! By hand, for more reads or under valgrind, which needs a longer interval:
//!
//! ```text
//! MIDGE_READS=100000 cargo test --test collectd ten_thousand -- --nocapture
//! MIDGE_READS=100000 MIDGE_INTERVAL=1 MIDGE_UNDER="valgrind --leak-check=full --log-file=/tmp/v" …
//! ```

use std::{
    env, fs,
    io::Write,
    net::TcpStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;
use test_support::pki::Pki;

use crate::{
    broker::{Broker, Ports, pretend, pretend_answers, pretend_text, stay_mute, varz},
    collectd::{Collectd, Setup, block, instance},
};

/// Reads of the whole run.
const READS: usize = 10_000;

/// Samples of what collectd holds.
const SAMPLES: usize = 20;

/// Seconds between two reads of an instance.
const INTERVAL: f64 = 0.1;

/// KiB by which the memory of the second half may exceed that of the second quarter: the allocator
/// keeps parts of different sizes. A loss of 512 bytes with each read would be at least 1250 KiB.
const GROWTH_MAX: u64 = 1000;

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    memory_kib: u64,
    threads: usize,
    files: usize,
}

impl Held {
    fn of(pid: u32) -> Self {
        let process = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(process.join("status")).expect("a live process");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number.and_then(|number| number.parse().ok()).expect(name)
        };
        Self {
            memory_kib: number("VmRSS:"),
            threads: number("Threads:") as usize,
            files: fs::read_dir(process.join("fd")).expect("its files").count(),
        }
    }
}

#[test]
fn ten_thousand_reads_with_failures_leave_nothing_behind() {
    let reads = by_hand("MIDGE_READS").unwrap_or(READS);
    let interval = by_hand("MIDGE_INTERVAL").unwrap_or(INTERVAL);
    let under = env::var("MIDGE_UNDER").unwrap_or_default();
    let broker = Broker::start();
    let mut unsteady = Unsteady::start();
    let pki = Pki::new(&["broker"]);
    let foreign = Pki::new(&[]);
    let tls = test_support::Broker::midge()
        .without_monitoring()
        .config(format!(
            "https: \"127.0.0.1:{}\"\ntls {{ cert_file: {:?}, key_file: {:?} }}\n",
            test_support::free_port(),
            pki.text("broker.pem"),
            pki.text("broker.key")
        ))
        .start();
    let https = https_url(&tls);
    let folder = TempDir::new().expect("a folder");
    let token = folder.path().join("token");
    fs::write(&token, "one").expect("written");

    let timeout = "Timeout 30";
    let mut blocks = instance("well", &broker.url(), "")
        + &instance("unsteady", &unsteady.ports.url(), "")
        + &instance(
            "https",
            &https,
            &format!(
                "CACert {:?}\nInterval {}\nTimeout 1000",
                pki.text("ca.pem"),
                20.0 * interval
            ),
        )
        + &instance(
            "foreign",
            &https,
            &format!("CACert {:?}", foreign.text("ca.pem")),
        )
        + &instance("token", &broker.url(), &format!("TokenFile {token:?}"))
        + &block("socket", "Socket \"/no/such.sock\"")
        + &block(
            "nofile",
            "URL \"http://127.0.0.1:1\"\nTokenFile \"/no/such\"",
        )
        + &instance("name", "http://no-such-name.invalid:1", timeout)
        + &instance("flapping", &flapping(), "");
    for (name, url) in [
        ("refused", "http://127.0.0.1:1".to_owned()),
        ("mute", pretend(stay_mute)),
        ("half", pretend(half)),
        ("reset", pretend(|_| {})),
        ("drip", pretend(drip)),
        ("large", pretend(large)),
        ("deep", pretend_text("200 OK", "[".repeat(100_000).leak())),
        ("page", pretend_text("503 No", "<html>".repeat(1000).leak())),
        ("said", pretend_text("403 No", "x".repeat(100_000).leak())),
        ("hollow", pretend_text("200 OK", "{}")),
    ] {
        for copy in ["", "-2", "-3"] {
            blocks += &instance(&format!("{name}{copy}"), &url, timeout);
        }
    }
    // Ten polls a second each; enough threads, so that those that wait hold up nobody.
    blocks += "ReadThreads 20\nWriteThreads 2\n";
    let mut setup = Setup::new(&blocks);
    setup.interval = interval;
    setup.under = under.split_whitespace().map(str::to_owned).collect();
    // With an arena for each thread, the memory would depend on which thread reads what.
    setup.environment.push(("MALLOC_ARENA_MAX", "1".to_owned()));
    let collectd = Collectd::start(&setup);

    let replacing = Replacing::start(token);
    let (mut curve, mut counted) = (Vec::new(), (0, 0));
    for sample in 1..=SAMPLES {
        // What is waited for is near: with many reads, each part takes long.
        for part in 1..=SAMPLES {
            let reads = reads * ((sample - 1) * SAMPLES + part) / (SAMPLES * SAMPLES);
            collectd.wait_for_many("/bool-up ", reads, &mut counted);
        }
        curve.push(Held::of(collectd.pid()));
        unsteady.change();
    }
    drop(replacing);
    let (status, lines) = collectd.stop();
    for (held, sample) in curve.iter().zip(1..) {
        println!("{:6} reads: {held:?}", reads * sample / SAMPLES);
    }
    assert!(status.success());
    // It did work in between, and did not read less often after failures.
    for name in ["well", "unsteady", "https"] {
        let values = lines.values(&format!("test/nats-{name}/bool-up"));
        assert!(values.contains(&vec![1.0]), "{name}");
    }
    assert!(lines.with("suspend").is_empty());
    assert!(lines.with("internal error").is_empty());

    // In the first quarter buffers reach their size. Answers that are being read add to single
    // samples, so the least of the others counts.
    let (first, second) = curve.split_at(curve.len() / 2);
    let first = &first[first.len() / 2..];
    let least = |half: &[Held]| half.iter().map(|held| held.memory_kib).min();
    assert!(
        least(second) <= least(first).map(|least| least + GROWTH_MAX),
        "{curve:#?}"
    );
    // Requests under way and lookups have some of both.
    let most = |of: fn(&Held) -> usize| curve.iter().map(of).max();
    assert!(most(|held| held.threads) <= Some(20 + 10), "{curve:#?}");
    assert!(most(|held| held.files) <= Some(20 * 2 + 30), "{curve:#?}");
}

/// The address in the log of a broker whose monitoring port speaks https.
fn https_url(broker: &test_support::Broker) -> String {
    test_support::wait_for("the log names the monitoring port", || {
        let log = broker.log().so_far();
        let line = log
            .lines()
            .find(|line| line.contains("Starting https monitor on"))?;
        let port: u16 = line.rsplit(':').next()?.trim().parse().ok()?;
        Some(format!("https://localhost:{port}"))
    })
}

/// Answers, fails, and answers as another broker.
fn flapping() -> String {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    pretend_answers(
        move |path| match (path, count.fetch_add(1, Ordering::Relaxed) % 3) {
            ("/varz", 0) => ("200 OK", varz("N1", "2026-01-01T00:00:00Z")),
            ("/varz", 1) => ("200 OK", varz("N2", "yesterday")),
            ("/varz", _) => ("500 No", "no\n".to_owned()),
            _ => (
                "200 OK",
                "{\"status\":\"unavailable\",\"error\":\"why\"}".to_owned(),
            ),
        },
    )
}

/// A setting of a run by hand.
fn by_hand<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    let value = text.parse().ok();
    Some(value.unwrap_or_else(|| panic!("{name} is no number: {text}")))
}

/// A broker that hangs, goes on, is killed and comes back, in turn.
struct Unsteady {
    ports: Ports,
    broker: Option<Broker>,
    changes: usize,
}

impl Unsteady {
    fn start() -> Self {
        let ports = Ports::free();
        Self {
            ports,
            broker: Some(Broker::start_on(ports)),
            changes: 0,
        }
    }

    fn change(&mut self) {
        match (self.changes % 4, &self.broker) {
            (0, Some(broker)) => broker.signal("STOP"),
            (1, Some(broker)) => broker.signal("CONT"),
            (2, _) => self.broker = None,
            _ => self.broker = Some(Broker::start_on(self.ports)),
        }
        self.changes += 1;
    }
}

/// Announces more than it sends.
fn half(stream: &mut TcpStream) {
    // The client may disconnect early.
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{{\"server_id\":"
    );
}

/// Sends a byte from time to time.
fn drip(stream: &mut TcpStream) {
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    while stream.write_all(b" ").is_ok() {
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sends more than is accepted.
fn large(stream: &mut TcpStream) {
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    let chunk = vec![b' '; 64 << 10];
    while stream.write_all(&chunk).is_ok() {}
}

/// Replaces a file again and again until dropped.
struct Replacing {
    ended: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Replacing {
    fn start(file: std::path::PathBuf) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let new = file.with_extension("new");
            // A usable content, and one that is refused.
            for text in ["two", "", "three", "a\nb"].iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                fs::write(&new, text).expect("written");
                fs::rename(&new, &file).expect("replaced");
                thread::sleep(Duration::from_millis(50));
            }
        });
        Self {
            ended,
            thread: Some(thread),
        }
    }
}

impl Drop for Replacing {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic there");
        }
    }
}
