//! Where a broker listens, and which addresses it announces to clients and other brokers,
//! compared with a real nats-server: each notation, with the same table for both. Also
//! ports that are already in use.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use test_support::{LogFile, PATIENCE, RawClient, http, tools, wait_for, wait_until};

/// A broker that was started with only a configuration file.
struct Started {
    child: Child,
    folder: TempDir,
    log: LogFile,
}

impl Started {
    fn new(program: PathBuf, config: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("broker.conf");
        fs::write(&file, config).expect("space for a file");
        let log = folder.path().join("log");
        let stderr = fs::File::create(&log).expect("space for a log");
        let child = Command::new(program)
            .arg("-c")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(stderr)
            .current_dir(folder.path())
            .spawn()
            .expect("the program starts");
        Self {
            child,
            folder,
            log: LogFile::new(log),
        }
    }

    fn log(&self) -> &LogFile {
        &self.log
    }

    /// The port at the end of the log line that names a listen address.
    fn port(&self, what: &str) -> u16 {
        wait_for(what, || {
            let log = self.log().so_far();
            let line = log.lines().find(|line| line.contains(what))?;
            line.rsplit_once(':')?.1.trim().parse().ok()
        })
    }

    fn client_port(&self) -> u16 {
        self.port("Listening for client connections on")
    }

    fn route_port(&self) -> u16 {
        self.port("Listening for route connections on")
    }

    /// INFO, from the first loopback address that is served.
    fn info(&self) -> Value {
        let port = self.client_port();
        wait_for("INFO", || {
            let places = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            let stream = places.into_iter().find_map(|ip: IpAddr| {
                TcpStream::connect_timeout(&SocketAddr::new(ip, port), PATIENCE).ok()
            })?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).ok()?;
            serde_json::from_str(line.strip_prefix("INFO ")?).ok()
        })
    }

    /// The `connect_urls` of INFO, with this broker's ports replaced by `PORT`.
    fn connect_urls(&self, without: &str) -> BTreeSet<String> {
        let info = self.info();
        let urls = info["connect_urls"].as_array().cloned().unwrap_or_default();
        let texts = urls.iter().filter_map(Value::as_str);
        texts
            .filter(|url| *url != without)
            .map(ToOwned::to_owned)
            .collect()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // A failure of these does not matter here.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log ---\n{}--- end of log ---", self.log());
        }
    }
}

/// Addresses of this machine that are reachable from others, followed by `PORT`.
fn of_this_machine() -> BTreeSet<String> {
    let interfaces = if_addrs::get_if_addrs().expect("interfaces");
    let ips = interfaces.iter().map(if_addrs::Interface::ip);
    ips.filter_map(|ip| match ip {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_link_local() => Some(format!("{ip}:PORT")),
        IpAddr::V6(ip) if !ip.is_loopback() && !ip.is_unicast_link_local() => {
            Some(format!("[{ip}]:PORT"))
        }
        _ => None,
    })
    .collect()
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// One notation: the lines outside of the cluster block, those inside it, and the
/// expected INFO. `*` is what a wildcard resolves to, `PORT` the port in use.
struct Way {
    listen: &'static str,
    cluster: &'static str,
    host: &'static str,
    port: &'static str,
    urls: &'static [&'static str],
}

const fn way(
    listen: &'static str,
    host: &'static str,
    port: &'static str,
    urls: &'static [&'static str],
) -> Way {
    Way {
        listen,
        cluster: "",
        host,
        port,
        urls,
    }
}

const WAYS: &[Way] = &[
    way("port: -1", "0.0.0.0", "PORT", &["*"]),
    way("listen: -1", "0.0.0.0", "PORT", &["*"]),
    way("listen: \":-1\"", "0.0.0.0", "PORT", &["*"]),
    way("listen: \"0.0.0.0:-1\"", "0.0.0.0", "PORT", &["*"]),
    way("port: -1\nhost: \"\"", "0.0.0.0", "PORT", &["*"]),
    way("listen: \"[::]:-1\"", "::", "PORT", &["*"]),
    way("port: -1\nnet: \"::\"", "::", "PORT", &["*"]),
    way(
        "listen: \"127.0.0.1:-1\"",
        "127.0.0.1",
        "PORT",
        &["127.0.0.1:PORT"],
    ),
    way("listen: \"[::1]:-1\"", "::1", "PORT", &["[::1]:PORT"]),
    way("port: -1\nhost: \"::1\"", "::1", "PORT", &["[::1]:PORT"]),
    way(
        "listen: \"localhost:-1\"",
        "localhost",
        "PORT",
        &["localhost:PORT"],
    ),
    way(
        "port: -1\nnet: localhost",
        "localhost",
        "PORT",
        &["localhost:PORT"],
    ),
    way("port: -1\nclient_advertise: \"me:1\"", "me", "1", &["me:1"]),
    way("port: -1\nclient_advertise: me", "me", "PORT", &["me:PORT"]),
    way(
        "port: -1\nclient_advertise: \"me:0\"",
        "me",
        "PORT",
        &["me:PORT"],
    ),
    way(
        "port: -1\nclient_advertise: \"me:-1\"",
        "me",
        "PORT",
        &["me:PORT"],
    ),
    way(
        "port: -1\nclient_advertise: \" me : 5 \"",
        "me",
        "5",
        &["me:5"],
    ),
    way(
        "port: -1\nclient_advertise: \"10.1.2.3:5\"",
        "10.1.2.3",
        "5",
        &["10.1.2.3:5"],
    ),
    way(
        "port: -1\nclient_advertise: \"[::1]:4333\"",
        "::1",
        "4333",
        &["[::1]:4333"],
    ),
    way(
        "port: -1\nclient_advertise: \"[::1]\"",
        "::1",
        "PORT",
        &["[::1]:PORT"],
    ),
    way(
        "listen: \"localhost:-1\"\nclient_advertise: \"b.example:4222\"",
        "b.example",
        "4222",
        &["b.example:4222"],
    ),
    Way {
        cluster: "no_advertise: true",
        ..way("port: -1", "0.0.0.0", "PORT", &[])
    },
    Way {
        cluster: "cluster_advertise: \"127.0.0.1\"",
        ..way(
            "listen: \"127.0.0.1:-1\"",
            "127.0.0.1",
            "PORT",
            &["127.0.0.1:PORT"],
        )
    },
    Way {
        cluster: "advertise: \"127.0.0.1:0\"",
        ..way(
            "listen: \"127.0.0.1:-1\"",
            "127.0.0.1",
            "PORT",
            &["127.0.0.1:PORT"],
        )
    },
];

/// Both brokers announce the same about themselves, and a member that connects to them
/// announces the same about them.
#[test]
fn clients_receive_the_configured_addresses() {
    let everywhere = of_this_machine();
    for Way {
        listen,
        cluster,
        host,
        port,
        urls,
    } in WAYS
        .iter()
        .filter(|way| has_ipv6() || !way.host.contains(':'))
    {
        for program in [tools::nats_server(), tools::midge()] {
            let broker = Started::new(
                program,
                &format!(
                    "{listen}\nhttp_port: -1\ncluster {{ name: x, listen: \"127.0.0.1:-1\"\n{cluster} }}"
                ),
            );
            let routes = broker.route_port();
            let member = Started::new(
                tools::nats_server(),
                &format!(
                    "listen: \"127.0.0.1:-1\"\ncluster {{ name: x, listen: \"127.0.0.1:-1\", \
                     routes: [\"nats://127.0.0.1:{routes}\"] }}"
                ),
            );
            let own = broker.client_port().to_string();
            let members = format!("127.0.0.1:{}", member.client_port());
            let expected: BTreeSet<String> = match urls {
                ["*"] => everywhere.clone(),
                urls => urls.iter().map(|url| (*url).to_owned()).collect(),
            };
            let expected: BTreeSet<String> = expected
                .iter()
                .map(|url| url.replace("PORT", &own))
                .collect();
            let info = broker.info();
            assert_eq!(info["host"], *host, "{listen}");
            assert_eq!(
                info["port"].to_string(),
                port.replace("PORT", &own),
                "{listen}"
            );
            assert_eq!(info["cluster"], "x", "{listen}");
            member.log().wait_for("Route connection created");
            wait_until(
                &format!("{listen}: the other member announces {expected:?}"),
                || member.connect_urls(&members) == expected,
            );
            wait_until(&format!("{listen}: it announces {expected:?}"), || {
                broker.connect_urls(&members) == expected
            });
        }
    }
}

/// The name of a cluster without a route port is in INFO as well.
#[test]
fn a_cluster_without_a_port_has_its_name_in_info() {
    for program in [tools::nats_server(), tools::midge()] {
        let config = "listen: \"127.0.0.1:-1\"\nhttp_port: -1\ncluster { name: x }";
        let broker = Started::new(program, config);
        assert_eq!(broker.info()["cluster"], "x");
    }
}

/// The oldest clients split INFO at spaces and use the second word.
#[test]
fn info_starts_with_one_space_in_every_configuration() {
    let broker = Started::new(
        tools::midge(),
        "listen: \"127.0.0.1:-1\"\nhttp_port: -1\nclient_advertise: \" me : 5 \"\n\
         server_tags: [\"a b\", \" c\"]\nserver_metadata { \"a b\": \"c d\" }\n\
         cluster { name: x }\naccounts { AB: { users: [ { user: u } ] } }\nno_auth_user: u",
    );
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, broker.client_port()));
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .write_all(b"CONNECT {\"protocol\":1}\r\nPING\r\n")
        .expect("it reads");
    let mut infos = Vec::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if line.starts_with("INFO") {
            assert_eq!(line.matches(' ').count(), 1, "{line:?}");
            let json = line.split(' ').nth(1).expect("a second word");
            let info: Value = serde_json::from_str(json).expect("JSON");
            infos.push(info);
        }
        if infos.len() == 2 {
            break;
        }
    }
    assert_eq!(infos[1]["remote_account"], "AB");
}

/// A client that leaves after it has read INFO is logged as such.
#[test]
fn a_client_that_closes_after_info_is_logged_as_such() {
    let pki = test_support::pki::Pki::new(&["broker"]);
    let (certificate, key) = (pki.text("broker.pem"), pki.text("broker.key"));
    let tls = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, timeout: 0.3 }}");
    for more in ["", &tls] {
        let broker = Started::new(
            tools::midge(),
            &format!("listen: \"127.0.0.1:-1\"\nhttp_port: -1\n{more}"),
        );
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, broker.client_port()));
        drop(RawClient::connect(address));
        broker.log().wait_for("or a client that cannot read INFO");
        broker.log().assert_lacks("TLS handshake");
        if more.is_empty() {
            continue;
        }
        let stays = RawClient::connect(address);
        broker
            .log()
            .wait_for("TLS handshake timeout: the client sent nothing");
        drop(stays);
    }
}

/// A wildcard listens on both address families at each port, and an IPv4 client is shown
/// with its plain address.
#[test]
fn a_wildcard_is_dual_stack_at_each_port() {
    let mut places: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
    if has_ipv6() {
        places.push(Ipv6Addr::LOCALHOST.into());
    }
    for host in ["0.0.0.0", "::"] {
        if host == "::" && !has_ipv6() {
            continue;
        }
        let listen = support_join(host);
        let broker = Started::new(
            tools::midge(),
            &format!(
                "listen: {listen:?}\nhttp: {listen:?}\ncluster {{ name: x, listen: {listen:?} }}"
            ),
        );
        let http_port = broker.port("Starting http monitor on");
        let shown = format!(
            "Listening for client connections on {}",
            listen.trim_end_matches("-1")
        );
        let client_port = broker.client_port();
        broker.log().wait_for(&shown);
        for ip in &places {
            let client = RawClient::connect(SocketAddr::new(*ip, client_port));
            assert_eq!(client.info()["client_ip"], ip.to_string());
            let connz = http::get(SocketAddr::new(*ip, http_port), "/connz").json();
            assert_eq!(connz["connections"][0]["ip"], ip.to_string(), "{connz}");
            TcpStream::connect(SocketAddr::new(*ip, broker.route_port())).expect("routes");
            drop(client);
            wait_until("the client has disconnected", || {
                let varz = http::get(SocketAddr::new(*ip, http_port), "/varz").json();
                varz["connections"] == 0
            });
        }
        let member = Started::new(
            tools::nats_server(),
            &format!(
                "listen: \"127.0.0.1:-1\"\ncluster {{ name: x, listen: \"127.0.0.1:-1\", \
                 routes: [\"nats://{}\"] }}",
                SocketAddr::new(*places.last().expect("one"), broker.route_port())
            ),
        );
        wait_until("a member dials it by the last of them", || {
            let routez = http::get(SocketAddr::new(places[0], http_port), "/routez").json();
            routez["num_routes"].as_u64() > Some(0)
        });
        drop(member);
    }
}

fn support_join(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]:-1"),
        false => format!("{host}:-1"),
    }
}

/// Another program uses the default monitoring port: the broker continues without it,
/// logs it once, and has a finding that says what to do.
#[test]
fn an_occupied_default_port_does_not_stop_the_broker() {
    // If this fails, another process has the port, which has the same effect.
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 8222));
    let broker = Started::new(
        tools::midge(),
        "listen: \"127.0.0.1:-1\"\nmonitor { unix: m.sock }",
    );
    assert_eq!(broker.info()["host"], "127.0.0.1");
    broker.log().wait_for_line(&["[WRN]", "8222", "http_port"]);
    let log = broker.log().so_far();
    let warnings = log.lines().filter(|line| line.contains("[WRN]"));
    assert_eq!(warnings.filter(|line| line.contains("8222")).count(), 1);
    let socket = broker.folder.path().join("m.sock");
    let finding = wait_for("the finding", || {
        let explained = http::request_unix(&socket, "GET", "/explainz").json();
        let findings = explained["findings"].as_array()?;
        findings
            .iter()
            .find(|it| it["code"] == "no-monitoring")
            .cloned()
    });
    assert!(
        finding["text"]
            .as_str()
            .expect("a text")
            .contains("127.0.0.1:8222")
    );
    assert!(finding.to_string().contains("http_port: 8223"), "{finding}");
    assert_eq!(
        http::request_unix(&socket, "GET", "/varz").json()["http_port"],
        0
    );
    drop(taken);
}

/// An occupied configured port stays fatal, and the error names it clearly.
#[test]
fn an_occupied_configured_port_is_fatal() {
    let ips: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for ip in ips.into_iter().filter(|ip| ip.is_ipv4() || has_ipv6()) {
        let taken = TcpListener::bind((ip, 0)).expect("a free port");
        let address = taken.local_addr().expect("an address");
        let other = SocketAddr::new(ip, 0).to_string().replace(":0", ":-1");
        for config in [
            format!("listen: {:?}\nhttp_port: -1", address.to_string()),
            format!("listen: {other:?}\nhttp: {:?}", address.to_string()),
            format!(
                "listen: {other:?}\nhttp_port: -1\ncluster {{ listen: {:?} }}",
                address.to_string()
            ),
        ] {
            let mut broker = Started::new(tools::midge(), &config);
            let status = wait_for("it ends", || broker.child.try_wait().expect("a child"));
            assert_eq!(status.code(), Some(1), "{config}");
            broker.log().wait_for(&format!(": {address}: "));
        }
    }
}
