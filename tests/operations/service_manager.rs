//! What a service manager is told: a datagram socket stands for systemd.

use std::{
    fs,
    net::TcpStream,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixStream},
    },
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use test_support::{
    Broker, HeldThreads, RawClient, Traffic, free_address, tools, wait_for, wait_until,
};

/// The manager's socket.
struct Manager {
    socket: UnixDatagram,
    /// As in `NOTIFY_SOCKET`.
    name: String,
}

impl Manager {
    fn at(path: &Path) -> Self {
        Self::new(
            UnixDatagram::bind(path).expect("a socket"),
            path.display().to_string(),
        )
    }

    fn abstract_name(name: &str) -> Self {
        let name = format!("midge-test-{name}-{}", std::process::id());
        let address = UnixAddress::from_abstract_name(&name).expect("an address");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        Self::new(socket, format!("@{name}"))
    }

    fn new(socket: UnixDatagram, name: String) -> Self {
        socket.set_nonblocking(true).expect("a socket");
        Self { socket, name }
    }

    /// The next message, if there is one.
    fn message(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        let len = self.socket.recv(&mut buffer).ok()?;
        let text = std::str::from_utf8(&buffer[..len]).expect("text");
        Some(text.to_owned())
    }

    /// The next message that begins with this; others that are no `STATUS` fail the test.
    fn state(&self, begin: &str) -> String {
        wait_for(begin, || {
            let message = self.message()?;
            if message.starts_with(begin) {
                return Some(message);
            }
            let is_status = message.starts_with("STATUS=") && !message.contains("ERRNO");
            assert!(is_status, "{message:?} before {begin}");
            None
        })
    }

    /// The next status line that `is_wanted`.
    fn status(&self, what: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        wait_for(what, || {
            let message = self.message()?;
            let line = message.strip_prefix("STATUS=")?;
            assert!(line.len() <= 200 && !line.contains('\n'), "{line:?}");
            is_wanted(line).then(|| line.to_owned())
        })
    }

    /// Forgets what has arrived.
    fn drain(&self) {
        while self.message().is_some() {}
    }
}

fn monotonic_micros() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is valid memory for the result during the whole call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    assert_eq!(result, 0);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).expect("after the boot")
}

/// Start, two reloads and stop, with a socket in a folder and with an abstract one.
#[test]
fn states_are_announced_in_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let managers = [
        Manager::at(&folder.path().join("notify")),
        Manager::abstract_name("states"),
    ];
    for manager in managers {
        let mut broker = Broker::midge()
            .config("max_payload: 1000")
            .env("NOTIFY_SOCKET", &manager.name)
            .start();
        assert_eq!(manager.state("READY=1"), "READY=1");
        let file = broker.folder().join("broker.conf");
        for (text, result) in [
            ("max_payload: 2000", "Reloaded: max_payload"),
            // A reload that fails ends, too.
            ("max_payload: {", "Failed to reload"),
        ] {
            fs::write(&file, text).expect("written");
            let before = monotonic_micros();
            broker.signal(libc::SIGHUP);
            let reloading = manager.state("RELOADING=1");
            let at = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
            let at: u64 = at.expect("a time").parse().expect("a number");
            assert!((before..=monotonic_micros()).contains(&at), "{at} {before}");
            assert_eq!(manager.state("READY=1"), "READY=1");
            broker.log().wait_for(result);
        }
        assert!(broker.stop().success());
        let stopping = manager.state("STOPPING=1");
        assert!(stopping.contains("\nEXTEND_TIMEOUT_USEC="), "{stopping}");
        let mut rest = std::iter::from_fn(|| manager.message());
        assert!(rest.all(|message| message.starts_with("STATUS=")));
    }
}

/// A broker that is ready accepts connections at each of its listeners.
#[test]
fn ready_means_that_all_listeners_are_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let manager = Manager::at(&folder.path().join("notify"));
    let [clients, routes, monitor] = [(); 3].map(|()| free_address());
    let socket = folder.path().join("m.sock");
    let config = format!(
        "listen: \"{clients}\"\nhttp: \"{monitor}\"\nmonitor {{ unix: {socket:?} }}\n\
         cluster {{ name: c, listen: \"{routes}\" }}\n"
    );
    let file = folder.path().join("broker.conf");
    fs::write(&file, config).expect("written");
    let mut child = Command::new(tools::midge())
        .arg("-c")
        .arg(&file)
        .env("NOTIFY_SOCKET", &manager.name)
        .spawn()
        .expect("midge starts");
    manager.state("READY=1");
    let listening: [Result<TcpStream, _>; 3] = [clients, routes, monitor].map(TcpStream::connect);
    let unix = UnixStream::connect(&socket);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(unix.is_ok());
    for stream in listening {
        stream.expect("it listens");
    }
}

/// A start that fails says why, with the system's error.
#[test]
fn a_failed_start_is_explained() {
    let manager = Manager::abstract_name("failed");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let status = Command::new(tools::midge())
        .args(["-a", "127.0.0.1", "-p", &address.port().to_string()])
        .env("NOTIFY_SOCKET", &manager.name)
        .status()
        .expect("midge runs");
    assert_eq!(status.code(), Some(1));
    let message = manager.message().expect("a message");
    assert!(
        message.starts_with("STATUS=Error listening on port")
            && message.contains(&address.to_string()),
        "{message}"
    );
    let number = format!("\nERRNO={}", libc::EADDRINUSE);
    assert!(message.ends_with(&number), "{message}");
    assert_eq!(manager.message(), None);
}

/// The status line has the connections and the worst finding, and is not sent more often than
/// once a second.
#[test]
fn the_status_line_tells_how_the_broker_is() {
    let manager = Manager::abstract_name("status");
    let begin = Instant::now();
    let broker = Broker::midge()
        .config("diagnosis { interval: 50ms, appear_after: 50ms, clear_after: 50ms }")
        .env("NOTIFY_SOCKET", &manager.name)
        .start();
    manager.status("it is idle", |line| line == "0 clients; no findings");
    let mut client = broker.connect();
    client.sync();
    manager.status("a client", |line| line == "1 client; no findings");
    let file = broker.folder().join("broker.conf");
    fs::write(&file, "port: {").expect("written");
    broker.signal(libc::SIGHUP);
    let line = manager.status("a finding", |line| line.contains("; warning"));
    assert!(
        line.starts_with("1 client; warning") && line.contains(&*file.display().to_string()),
        "{line}"
    );
    let mut sent = 0;
    while sent < 5 {
        // Each of them changes the line.
        client = broker.connect();
        client.sync();
        sent += usize::from(
            manager
                .message()
                .is_some_and(|it| it.starts_with("STATUS=")),
        );
        let clients: Vec<RawClient> = (0..sent).map(|_| broker.connect()).collect();
        drop(clients);
    }
    let most = begin.elapsed().as_secs() + 2;
    assert!(sent as u64 <= most, "{sent} lines in {most} s");
}

/// The manager's queue is full, or its socket is gone: the broker serves, reloads and stops as
/// without one.
#[test]
fn a_manager_that_takes_nothing_holds_nothing_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let full = Manager::at(&folder.path().join("notify"));
    let sender = UnixDatagram::unbound().expect("a socket");
    sender.set_nonblocking(true).expect("a socket");
    while sender.send_to(b"x", folder.path().join("notify")).is_ok() {}
    let gone = folder.path().join("gone").display().to_string();
    for name in [&full.name, &gone, "vsock:2:1", "no-path"] {
        let mut broker = Broker::midge()
            .config("max_payload: 1000")
            .env("NOTIFY_SOCKET", name)
            .env("WATCHDOG_USEC", "1000000")
            .start();
        let file = broker.folder().join("broker.conf");
        fs::write(&file, "max_payload: 2000").expect("written");
        broker.signal(libc::SIGHUP);
        wait_until("it has reloaded", || {
            broker.get_json("/varz")["max_payload"] == 2000
        });
        assert!(broker.connect().sync().is_empty());
        match name.starts_with('/') {
            true => broker.log().assert_lacks("NOTIFY_SOCKET is"),
            false => broker.log().wait_for("NOTIFY_SOCKET is"),
        }
        assert!(broker.stop().success());
    }
    // What waits is sent when there is room.
    let broker = Broker::midge().env("NOTIFY_SOCKET", &full.name).start();
    while full.message().is_some_and(|message| message == "x") {}
    full.state("READY=1");
    drop(broker);
}

/// Lame duck mode asks for the time that it needs, and says how many clients are left.
#[test]
fn lame_duck_mode_extends_the_time_of_a_stop() {
    let manager = Manager::abstract_name("lame-duck");
    let mut broker = Broker::midge()
        .config("lame_duck_duration: 100s\nlame_duck_grace_period: 99s")
        .env("NOTIFY_SOCKET", &manager.name)
        .start();
    manager.state("READY=1");
    let client = broker.connect();
    manager.status("a client", |line| line.starts_with("1 client;"));
    broker.signal(libc::SIGUSR2);
    let stopping = manager.state("STOPPING=1");
    let time = stopping.strip_prefix("STOPPING=1\nEXTEND_TIMEOUT_USEC=");
    let time: u64 = time.expect("a time").parse().expect("a number");
    assert!((100_000_000..120_000_000).contains(&time), "{time}");
    manager.status("it says so", |line| line.starts_with("stopping, 1 client;"));
    drop(client);
    broker.signal(libc::SIGINT);
    assert!(broker.wait_exit().success());
}

/// A broker with a watchdog, and a manager that has had a sign of life.
fn watched(manager: &Manager) -> Broker {
    let broker = Broker::midge()
        .config("diagnosis { interval: 50ms, appear_after: 50ms, clear_after: 50ms, worker_delay: 100ms }")
        .env("NOTIFY_SOCKET", &manager.name)
        .env("WATCHDOG_USEC", "2000000")
        .env("TOKIO_WORKER_THREADS", "3")
        .start();
    sign_of_life(manager);
    broker
}

fn sign_of_life(manager: &Manager) {
    wait_until("a sign of life", || {
        manager.message().is_some_and(|it| it == "WATCHDOG=1")
    });
}

/// Signs of life come while connections are served, and end when no thread serves them,
/// although the rest of the broker runs.
#[test]
fn the_watchdog_is_not_fed_while_all_workers_hang() {
    let manager = Manager::abstract_name("watchdog");
    let broker = watched(&manager);
    for _ in 0..3 {
        sign_of_life(&manager);
    }
    let held = HeldThreads::hold(&broker, "tokio-rt-worker");
    manager.drain();
    // The observer goes on telling how long it lasts.
    let (mut lines, mut signs) = (0, 0);
    wait_until("it reports the stall", || {
        let message = manager.message().unwrap_or_default();
        lines += usize::from(message.contains("worker-stall"));
        signs += usize::from(message == "WATCHDOG=1");
        lines == 4
    });
    // One may have been due for what ran before.
    assert!(signs <= 1, "{signs}");
    drop(held);
    sign_of_life(&manager);
}

/// One of several threads hangs in its work: signs of life go on, and the status says it.
#[test]
fn one_hanging_worker_is_reported_and_the_watchdog_is_fed() {
    let manager = Manager::abstract_name("one-worker");
    let mut broker = watched(&manager);
    let traffic = Traffic::start(&broker);
    let held = wait_for("one is held at its work while others run", || {
        let held = HeldThreads::hold_at_work(&broker, "tokio-rt-worker");
        manager.drain();
        let (mut is_reported, mut signs) = (false, 0);
        let deadline = Instant::now() + Duration::from_secs(20);
        // It may have been about to wait, and then hangs nowhere, or holds what others need.
        while Instant::now() < deadline {
            let message = manager.message().unwrap_or_default();
            is_reported |= message.contains("worker-stuck");
            // Those after the report are for work of the others.
            signs += usize::from(is_reported && message == "WATCHDOG=1");
            if signs == 3 {
                return Some(held);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    });
    assert!(broker.connect().sync().is_empty());
    drop(held);
    drop(traffic);
    manager.status("it is over", |line| !line.contains("worker-stuck"));
    assert!(broker.stop().success());
}
