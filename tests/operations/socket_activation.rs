//! Listening sockets that a service manager passes.

use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Command, Stdio},
};

use test_support::{
    Broker, BrokerBuilder, RawClient, free_address, http, tools, wait_for, wait_until,
};

/// The sockets of all listeners, as a service manager holds them.
struct Sockets {
    clients: TcpListener,
    routes: TcpListener,
    monitor: TcpListener,
    unix: UnixListener,
    folder: tempfile::TempDir,
}

impl Sockets {
    fn open() -> Self {
        let tcp = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            clients: tcp(),
            routes: tcp(),
            monitor: tcp(),
            unix: UnixListener::bind(folder.path().join("m.sock")).expect("a socket"),
            folder,
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("m.sock")
    }

    /// A broker that is configured for these addresses and gets the sockets.
    fn broker(&self, names: Option<&str>) -> BrokerBuilder {
        let config = format!(
            "http: \"{}\"\nmonitor {{ unix: {:?} }}\ncluster {{ name: c, listen: \"{}\" }}\n",
            address(&self.monitor),
            self.path(),
            address(&self.routes)
        );
        let tcp = [&self.clients, &self.routes, &self.monitor];
        let mut sockets: Vec<OwnedFd> = tcp
            .map(|it| it.try_clone().expect("a copy").into())
            .into_iter()
            .collect();
        sockets.push(self.unix.try_clone().expect("a copy").into());
        Broker::midge()
            .config(config)
            .port(address(&self.clients).port())
            .without_monitoring_flag()
            .pass(sockets, names)
    }
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("an address")
}

/// What comes first from this address.
fn first_bytes(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("connect");
    let timeout = stream.set_read_timeout(Some(test_support::PATIENCE));
    timeout.expect("a timeout");
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).expect("a greeting");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// With and without names, the broker serves on all sockets; a restart and a reload refuse nobody.
#[test]
fn passed_sockets_are_served_and_outlive_the_broker() {
    let names = [
        None,
        Some("client:cluster:monitor:monitor"),
        // systemd's own name for them.
        Some("midge.socket:midge.socket:midge.socket:midge.socket"),
    ];
    for names in names {
        let sockets = Sockets::open();
        let mut broker = sockets.broker(names).start();
        assert_eq!(broker.client_addr(), address(&sockets.clients));
        assert!(broker.connect().sync().is_empty());
        assert_eq!(broker.get("/healthz").status, 200);
        assert_eq!(first_bytes(address(&sockets.routes)), "INFO");
        let answer = http::request_unix(&sockets.path(), "GET", "/varz").json();
        let port = address(&sockets.routes).port();
        assert_eq!(answer["cluster"]["cluster_port"], port, "{answer}");

        // The listeners are not replaced by a reload, whatever the file says.
        let file = broker.folder().join("broker.conf");
        let text = fs::read_to_string(&file).expect("the configuration");
        let changed = text.replace("name: c", "name: c, no_advertise: true");
        fs::write(&file, changed + "max_payload: 2000\n").expect("written");
        broker.signal(libc::SIGHUP);
        wait_until("it has reloaded", || {
            broker.get_json("/varz")["max_payload"] == 2000
        });
        assert!(broker.connect().sync().is_empty());

        assert!(broker.stop().success());
        // The file of the socket belongs to the manager.
        assert!(sockets.path().exists());
        let waiting = UnixStream::connect(sockets.path()).expect("it waits");
        let mut client = TcpStream::connect(address(&sockets.clients)).expect("it waits");
        let broker = sockets.broker(names).start();
        let mut greeting = [0; 4];
        let timeout = client.set_read_timeout(Some(test_support::PATIENCE));
        timeout.expect("a timeout");
        client.read_exact(&mut greeting).expect("it is served");
        assert_eq!(&greeting, b"INFO");
        drop((broker, waiting));
    }
}

/// Only some of the listeners are passed: the broker opens the others.
#[test]
fn listeners_that_are_not_passed_are_opened() {
    let clients = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = address(&clients).port();
    let broker = Broker::midge()
        .port(port)
        .pass(
            vec![clients.try_clone().expect("a copy").into()],
            Some("client"),
        )
        .start();
    assert!(broker.connect().sync().is_empty());
    assert_eq!(broker.get("/healthz").status, 200);
}

/// A start that must fail; returns what it logged.
fn refused(builder: BrokerBuilder) -> String {
    let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.start()));
    let panic = started.err().expect("the start fails");
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.expect("a text");
    assert!(
        text.contains("ended at start with exit status: 1"),
        "{text}"
    );
    text
}

#[test]
fn sockets_without_a_listener_end_the_start() {
    let passed = || TcpListener::bind("127.0.0.1:0").expect("a port");
    // Another port than the configured one.
    let other = passed();
    let text = refused(
        Broker::midge()
            .port(free_address().port())
            .pass(vec![other.try_clone().expect("a copy").into()], None),
    );
    let named = format!("descriptor 3: it is on {}; no configured", address(&other));
    assert!(
        text.contains(&named) && text.contains("client 127.0.0.1:"),
        "{text}"
    );
    // The right port for another listener.
    let other = passed();
    let text = refused(Broker::midge().port(address(&other).port()).pass(
        vec![other.try_clone().expect("a copy").into()],
        Some("monitor"),
    ));
    let named = "Descriptor 3 (\"monitor\") was passed for 127.0.0.1:";
    assert!(
        text.contains(named) && text.contains("not for client"),
        "{text}"
    );
    // On all addresses, where this host alone is to be served.
    let open = TcpListener::bind("0.0.0.0:0").expect("a port");
    let text = refused(Broker::midge().port(address(&open).port()).pass(
        vec![open.try_clone().expect("a copy").into()],
        Some("client"),
    ));
    let named = format!("was passed for {}, and is not for client", address(&open));
    assert!(text.contains(&named), "{text}");
    // Not a listener.
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let text = refused(Broker::midge().pass(vec![datagrams.into()], Some("client")));
    assert!(text.contains("Accept=no"), "{text}");
    // More than there are.
    let builder = Broker::midge().pass(vec![passed().into()], None);
    let text = refused(builder.env("LISTEN_FDS", "40"));
    assert!(text.contains("descriptor "), "{text}");
    let builder = Broker::midge().pass(vec![passed().into()], Some("client:monitor"));
    let text = refused(builder);
    assert!(text.contains("2 names for 1 socket"), "{text}");
}

/// What another process was passed is none of the broker's business.
#[test]
fn variables_for_another_process_are_ignored() {
    let broker = Broker::midge()
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "3")
        .start();
    assert!(broker.connect().sync().is_empty());
}

/// systemd's own tool opens the socket and starts the broker for the first client.
#[test]
fn systemd_socket_activate_starts_the_broker() {
    let address = free_address();
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let mut child = Command::new(systemd("systemd-socket-activate"))
        .args(["--fdname=client", "-l"])
        .arg(address.to_string())
        .arg(tools::midge())
        .args(["-a", "127.0.0.1", "-m", "-1", "-p"])
        .arg(address.port().to_string())
        .arg("-l")
        .arg(&log)
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut client = wait_for("it listens", || TcpStream::connect(address).ok());
    // The broker has the tool's process id.
    let mut greeting = [0; 4];
    let timeout = client.set_read_timeout(Some(test_support::PATIENCE));
    timeout.expect("a timeout");
    let read = client.read_exact(&mut greeting);
    let mut second = read.is_ok().then(|| RawClient::connect(address));
    let served = second.as_mut().map(RawClient::sync);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(
        read.is_ok(),
        "{}",
        fs::read_to_string(&log).unwrap_or_default()
    );
    assert_eq!((&greeting, served.is_some()), (b"INFO", true));
}

/// A program of systemd.
pub(super) fn systemd(name: &str) -> std::path::PathBuf {
    tools::on_path(name)
        .filter(|path| Path::new(path).is_file())
        .unwrap_or_else(|| {
            panic!("this test needs {name} (`apt-get install systemd`, or run tests/run)")
        })
}
