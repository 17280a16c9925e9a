//! Peers that have not logged in block nobody and change nothing. Each port is filled
//! with idle connections from one address and from many, and legitimate peers still
//! connect. Nothing sent on the route port before the login changes the mesh. When file
//! descriptors run out, some are reserved for monitoring and routes.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use test_support::{
    Broker, BrokerBuilder, PATIENCE, RawClient, free_address, http, tools, wait_until,
};

/// Findings appear and clear quickly.
const QUICK: &str =
    "diagnosis { interval: 50ms, appear_after: 100ms, clear_after: 2s, incident_window: 2s }\n";

/// For brokers that dial or accept routes.
const LOGIN: &str = "authorization { user: route, password: secret, timeout: 60 }";

/// A bcrypt hash of "s3cret", of cost 6: a hundred comparisons take seconds.
const SLOW_HASH: &str = "$2b$06$abcdefghijklmnopqrstuuNOnw6EGKc3988bZtxlqHMps74iVdpdC";

/// Connects from the loopback address with this number.
fn connect_from(number: usize, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let [high, low] = u16::try_from(number).expect("it fits").to_be_bytes();
    let from = SocketAddr::from(([127, 0, high, low], 0));
    socket.bind(&from.into()).expect("a loopback address");
    socket.connect(&to.into()).expect("connect");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a bound");
    stream
}

/// Opens idle connections, from one address or each from its own.
fn many_connections(count: usize, of_one: bool, to: SocketAddr) -> Vec<TcpStream> {
    let from = |number| if of_one { 2 } else { 2 + number };
    (0..count)
        .map(|number| connect_from(from(number), to))
        .collect()
}

fn metric(broker: &Broker, name: &str) -> f64 {
    let text = broker.get("/metrics").body;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
        .unwrap_or_default()
}

fn dropped(broker: &Broker, port: &str) -> f64 {
    let labels = format!("{{port=\"{port}\",reason=\"silent\"}}");
    metric(broker, &format!("midge_before_login_dropped_total{labels}"))
}

fn findings(broker: &Broker, code: &str) -> Vec<Value> {
    let answer = broker.get_json("/explainz");
    let findings = answer["findings"].as_array().expect("findings").clone();
    findings
        .into_iter()
        .filter(|it| it["code"] == code)
        .collect()
}

fn is_found(broker: &Broker, subject: &str) -> bool {
    let found = findings(broker, "unauthenticated-flood");
    found.iter().any(|finding| finding["subject"] == subject)
}

fn member(name: &str, listen: SocketAddr, routes: &[SocketAddr]) -> BrokerBuilder {
    let urls = routes
        .iter()
        .map(|it| format!("\"nats-route://route:secret@{it}\""));
    let urls = urls.collect::<Vec<_>>().join(", ");
    Broker::midge().config(format!(
        "{QUICK}server_name: {name}\ncluster {{ name: C, listen: \"{listen}\", {LOGIN}, routes: [ {urls} ] }}\n"
    ))
}

fn routes(broker: &Broker) -> u64 {
    broker.get_json("/routez")["num_routes"]
        .as_u64()
        .expect("a number")
}

/// Idle unauthenticated connections fill the route ports of two brokers; a third that
/// knows both connects, also after a restart.
#[test]
fn a_member_connects_when_unauthenticated_peers_fill_the_route_port() {
    for of_one in [true, false] {
        let [first, second, third] = [free_address(), free_address(), free_address()];
        let brokers = [
            member("a", first, &[second]).start(),
            member("b", second, &[first]).start(),
        ];
        let _crowds = [first, second].map(|port| many_connections(2500, of_one, port));
        for broker in &brokers {
            wait_until("the excess connections are closed", || {
                dropped(broker, "route") > 1000.0
            });
            wait_until("that is a finding", || is_found(broker, "route"));
        }
        for _ in 0..2 {
            let joins = member("c", third, &[first, second]).start();
            wait_until("the member is connected", || routes(&joins) == 2);
            wait_until("all members see it", || {
                brokers.iter().all(|broker| routes(broker) == 2)
            });
            drop(joins);
            wait_until("it is gone", || {
                brokers.iter().all(|broker| routes(broker) == 1)
            });
        }
        for broker in &brokers {
            wait_until("the finding has cleared", || !is_found(broker, "route"));
            let lines = broker.log().so_far().lines().count();
            assert!(lines < 400, "{lines} lines of log");
        }
    }
}

/// Idle sockets fill the monitoring port: each health check is answered.
#[test]
fn health_checks_succeed_when_idle_connections_fill_the_port() {
    for of_one in [true, false] {
        let broker = Broker::midge().config(QUICK).start();
        let _crowd = many_connections(300, of_one, broker.monitor_addr());
        for _ in 0..20 {
            assert_eq!(broker.get("/healthz").status, 200);
        }
        assert!(dropped(&broker, "monitor") >= 200.0);
        wait_until("that is a finding", || {
            let _more = many_connections(70, of_one, broker.monitor_addr());
            is_found(&broker, "monitor")
        });
        wait_until("the finding has cleared", || !is_found(&broker, "monitor"));
    }
}

/// The same on the Unix socket.
#[test]
fn the_monitoring_socket_replies_when_it_is_full() {
    let broker = Broker::midge().config("monitor { unix: m.sock }\n").start();
    let socket = broker.folder().join("m.sock");
    let _crowd: Vec<UnixStream> = (0..200)
        .map(|_| UnixStream::connect(&socket).expect("connect"))
        .collect();
    for _ in 0..20 {
        assert_eq!(http::request_unix(&socket, "GET", "/healthz").status, 200);
    }
}

/// Unauthenticated connections fill `max_connections`: a client with a login connects
/// anyway, and connected clients stay.
#[test]
fn clients_connect_when_unauthenticated_peers_fill_max_connections() {
    let config = format!(
        "{QUICK}max_connections: 50\nauthorization {{ user: u, password: p, timeout: 60 }}\n"
    );
    for of_one in [true, false] {
        let broker = Broker::midge().config(&config).start();
        let mut served = login(&broker, "u", "p");
        let _crowd = many_connections(300, of_one, broker.client_addr());
        // Not while hundreds connect: 49 places are few.
        wait_until("all have connected", || dropped(&broker, "client") >= 251.0);
        let mut new_clients: Vec<RawClient> = (0..20).map(|_| login(&broker, "u", "p")).collect();
        served.sync();
        new_clients
            .iter_mut()
            .for_each(|client| drop(client.sync()));
        wait_until("the connections are within the limit", || {
            broker.get_json("/varz")["connections"].as_u64() <= Some(50)
        });
        // Authenticated clients are not evicted.
        new_clients.extend((0..29).map(|_| login(&broker, "u", "p")));
        let mut surplus = broker.connect();
        let reported = surplus.next_frame().expect("why");
        assert_eq!(reported.line, b"-ERR 'maximum connections exceeded'");
        served.sync();
        let closed = broker.get_json("/connz?state=closed")["total"].as_u64();
        assert!(closed < Some(50), "the crowd is not remembered: {closed:?}");
    }
}

/// Password guesses from many addresses wait for their comparisons: a correct login does
/// not wait for them.
#[test]
fn a_correct_login_is_not_delayed_by_distributed_guessing() {
    let broker = Broker::midge()
        .config(format!(
            "{QUICK}authorization {{ timeout: 5, users: [ {{ user: u, password: \"{SLOW_HASH}\" }} ] }}\n"
        ))
        .start();
    // So many that they wait for seconds even on a fast machine.
    let guesses: Vec<TcpStream> = (0..400)
        .map(|number| {
            let mut stream = connect_from(2 + number % 10, broker.client_addr());
            let text = b"CONNECT {\"user\":\"u\",\"pass\":\"x\"}\r\n";
            stream.write_all(text).expect("guess");
            stream
        })
        .collect();
    wait_until("the logins wait", || {
        metric(&broker, "midge_password_checks_waiting") > 30.0
    });
    let refused = || {
        let refused = &broker.get_json("/varz")["logins"]["refused"];
        refused["wrong_password"].as_u64().unwrap_or_default()
    };
    let before = refused();
    let mut right = login(&broker, "u", "s3cret");
    right.sync();
    let meanwhile = refused() - before;
    assert!(meanwhile < 20, "{meanwhile} guesses came before it");
    wait_until("that is a finding", || is_found(&broker, "passwords"));
    // Failed logins are not compared once their login timeout is over.
    for left in [40.0, 20.0, 1.0] {
        wait_until("the password guesses have ended", || {
            metric(&broker, "midge_password_checks_waiting") < left
        });
    }
    wait_until("the finding has cleared", || {
        !is_found(&broker, "passwords")
    });
    drop(guesses);
}

fn login(broker: &Broker, user: &str, password: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"user\":{user:?},\"pass\":{password:?},\"verbose\":false}}\r\n"
    ));
    assert!(client.sync().is_empty());
    client
}

/// Sends lines to a route port and returns what the broker sent until it closed or
/// paused.
fn say(to: SocketAddr, lines: &[String]) -> TcpStream {
    let mut stream = connect_from(1, to);
    for line in lines {
        let _ = stream.write_all(line.as_bytes());
    }
    stream
}

fn read_all(stream: &mut TcpStream) -> String {
    let mut reported = Vec::new();
    if let Err(error) = stream.read_to_end(&mut reported) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    String::from_utf8_lossy(&reported).into_owned()
}

/// A cluster with a generated name: nothing that unauthenticated, duplicate or dishonest
/// peers send to the route ports changes its name or its routes.
#[test]
fn unauthenticated_peers_cannot_change_an_unnamed_cluster() {
    for login in [
        "",
        "authorization { user: route, password: secret, timeout: 5 }",
    ] {
        let ports = [free_address(), free_address()];
        let start = |name: &str, own: usize| {
            let other = ports[1 - own];
            Broker::midge()
                .config(format!(
                    "{QUICK}server_name: {name}\ncluster {{ listen: \"{}\", {login}\n routes: [ \
                     \"nats-route://route:secret@{other}\" ] }}\n",
                    ports[own]
                ))
                .start()
        };
        let brokers = [start("a", 0), start("b", 1)];
        wait_until("they agree and have one route", || {
            // Both may have dialled: then both are about to reconnect.
            let solicited =
                |broker: &Broker| broker.get_json("/routez")["routes"][0]["did_solicit"].as_bool();
            let mut sides = brokers.each_ref().map(solicited);
            sides.sort_unstable();
            sides == [Some(false), Some(true)]
        });
        let state = |broker: &Broker| {
            let (varz, routez) = (broker.get_json("/varz"), broker.get_json("/routez"));
            let route = &routez["routes"][0];
            [
                &varz["cluster"]["name"],
                &varz["connect_urls"],
                &route["rid"],
                &route["remote_id"],
            ]
            .map(Value::clone)
        };
        let before = brokers.each_ref().map(state);
        assert_eq!(before[0][0], before[1][0]);
        let ids = brokers
            .each_ref()
            .map(|it| it.get_json("/varz")["server_id"].clone());
        for right in [false, true] {
            for (at, port) in ports.iter().enumerate() {
                let (own, other) = (&ids[at], &ids[1 - at]);
                // With the correct password, only those that do not become members.
                let pairs: &[(&Value, &Value)] = match (right, login) {
                    (false, "") | (true, _) => &[(other, other), (own, own), (other, own)],
                    (false, _) => &[
                        (other, other),
                        (own, own),
                        (other, own),
                        (other, &Value::Null),
                        (&Value::Null, &Value::Null),
                    ],
                };
                for (name, id) in pairs {
                    let evil = format!("\"cluster\":\"zz-evil{at}\",\"cluster_dynamic\":false");
                    let name = name.as_str().unwrap_or("new-broker");
                    let id = id.as_str().unwrap_or("new-broker");
                    let pass = if right { "secret" } else { "wrong" };
                    let mut stream = say(
                        *port,
                        &[
                            format!(
                                "CONNECT {{\"name\":{name:?},\"user\":\"route\",\"pass\":{pass:?},{evil}}}\r\n"
                            ),
                            format!(
                                "INFO {{\"server_id\":{id:?},\"server_name\":\"evil\",\"connect_urls\":\
                             [\"6.6.6.6:6\"],\"host\":\"127.0.0.1\",\"port\":1,{evil}}}\r\n"
                            ),
                        ],
                    );
                    read_all(&mut stream);
                    let after = brokers.each_ref().map(state);
                    assert_eq!(after, before, "{login:?}, {right}: {name} {id}");
                }
                // One id and then another one, also from a dishonest peer.
                let mut stream = say(*port, &[
                    "CONNECT {\"name\":\"new-broker\",\"user\":\"route\",\"pass\":\"secret\",\"cluster\":\"zz\",\"cluster_dynamic\":false}\r\n".into(),
                    format!("INFO {{\"server_id\":{other},\"server_name\":\"evil\",\"cluster\":\"zz\",\"cluster_dynamic\":false}}\r\n"),
                ]);
                read_all(&mut stream);
                assert_eq!(brokers.each_ref().map(state), before, "{login:?}: two ids");
            }
        }
        for broker in &brokers {
            let muster = broker.get_json("/clusterz").to_string();
            assert!(
                !muster.contains("evil") && !muster.contains("new-broker"),
                "{muster}"
            );
        }
    }
}

/// An accepted peer caused two brokers to use different cluster names, and left: they
/// connect again.
#[test]
fn an_adopted_cluster_name_blocks_no_member() {
    let ports = [free_address(), free_address()];
    let start = |name: &str, own: usize| {
        Broker::midge()
            .config(format!(
                "server_name: {name}\ncluster {{ listen: \"{}\", routes: [ \"nats-route://{}\" ] }}\n",
                ports[own],
                ports[1 - own]
            ))
            .start()
    };
    let brokers = [start("a", 0), start("b", 1)];
    let mesh_stands = || brokers.iter().all(|broker| routes(broker) == 1);
    wait_until("they have a route", mesh_stands);
    let peers: Vec<TcpStream> = ports
        .iter()
        .enumerate()
        .map(|(at, port)| {
            let name = format!("\"cluster\":\"evil{at}\",\"cluster_dynamic\":false");
            say(*port, &[
                format!("CONNECT {{\"name\":\"new-broker{at}\",{name}}}\r\n"),
                format!("INFO {{\"server_id\":\"new-broker{at}\",\"server_name\":\"new{at}\",\"host\":\"127.0.0.1\",\"port\":1,{name}}}\r\n"),
            ])
        })
        .collect();
    wait_until("the names are adopted", || {
        let name = |broker: &Broker| broker.get_json("/varz")["cluster"]["name"].clone();
        brokers.iter().any(|broker| {
            name(broker)
                .as_str()
                .is_some_and(|it| it.starts_with("evil"))
        })
    });
    drop(peers);
    let is_theirs = |broker: &Broker| {
        broker
            .get_json("/routez")
            .to_string()
            .contains("\"remote_name\": \"new")
    };
    wait_until("they are connected again", || {
        mesh_stands() && !brokers.iter().any(is_theirs)
    });
}

/// A midge with this limit of open files.
fn with_files(limit: u32, folder: &Path) -> BrokerBuilder {
    let script = folder.join("midge-with-few-files");
    let program = tools::midge();
    let text = format!(
        "#!/bin/sh\nulimit -n {limit}\nexec {:?} \"$@\"\n",
        program.display()
    );
    fs::write(&script, text).expect("write the script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("make it run");
    Broker::program(script)
}

/// Clients use all descriptors available to them: further clients get an error,
/// monitoring answers, a member connects, and the finding is about descriptors and not
/// about the configuration.
#[test]
fn descriptors_are_reserved_for_monitoring_routes_and_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_address();
    let broker = with_files(256, folder.path())
        .config(format!(
            "diagnosis {{ interval: 50ms, appear_after: 100ms, clear_after: 2s, incident_window: 2s, config_check: 100ms }}\n\
             cluster {{ name: C, listen: \"{port}\", {LOGIN} }}\n"
        ))
        .start();
    let mut clients = Vec::new();
    let mut refused = 0;
    for _ in 0..400 {
        let mut stream = connect_from(1, broker.client_addr());
        let mut reported = [0; 5];
        match stream.read_exact(&mut reported) {
            Ok(()) if reported == *b"INFO " => clients.push(stream),
            Ok(()) => {
                assert!(read_all(&mut stream).contains("'maximum connections exceeded'"));
                refused += 1;
            }
            Err(error) => panic!("neither served nor refused: {error}"),
        }
    }
    assert!(
        clients.len() > 50 && refused > 100,
        "{} served",
        clients.len()
    );
    for _ in 0..20 {
        assert_eq!(broker.get("/healthz?probe=live").status, 200);
    }
    let joins = member("c", free_address(), &[port]).start();
    wait_until("a member connects", || routes(&joins) == 1);
    wait_until("that is a finding", || {
        // Each sample reports what is new.
        drop(connect_from(1, broker.client_addr()));
        let found = findings(&broker, "descriptors-exhausted");
        found
            .iter()
            .any(|it| it["subject"] == "client" && it["severity"] == "critical")
    });
    for code in ["config-differs", "reload-failed", "tls-files"] {
        assert_eq!(findings(&broker, code), [Value::Null; 0]);
    }
    let lines = broker.log().so_far().lines().count();
    assert!(lines < 300, "{lines} lines of log");
    drop(clients);
    wait_until("the finding has cleared", || {
        let found = findings(&broker, "descriptors-exhausted");
        found.iter().all(|it| it["subject"] != "client")
    });
    assert!(broker.connect().sync().is_empty());
}

/// Unauthenticated connections arrive and stay while some hundred clients are connected:
/// evicted ones free descriptors, which are not counted as available twice.
#[test]
fn evicted_unauthenticated_connections_free_their_descriptors() {
    const LIMIT: u32 = 256;
    const CLIENTS: usize = 100;
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("{QUICK} authorization {{ user: u, password: p, timeout: 60 }}");
    let broker = with_files(LIMIT, folder.path()).config(config).start();
    let log_in = || {
        let mut client = broker.connect();
        client.send("CONNECT {\"verbose\":false,\"user\":\"u\",\"pass\":\"p\"}\r\n");
        assert!(client.sync().is_empty());
        client
    };
    let clients: Vec<RawClient> = (0..CLIENTS).map(|_| log_in()).collect();
    let open = || {
        let files = fs::read_dir(format!("/proc/{}/fd", broker.pid()));
        files.expect("the broker's files").count()
    };
    let mut unauthenticated_peers = Vec::new();
    for number in 0..600 {
        unauthenticated_peers.push(connect_from(2 + number, broker.client_addr()));
        if number % 50 == 0 {
            assert_eq!(broker.get("/healthz?probe=live").status, 200);
        }
    }
    // A quarter of them is reserved for routes, monitoring and files.
    wait_until("the clients' share is not exceeded", || open() <= 200);
    assert_eq!(broker.get("/varz").status, 200);
    drop(log_in());
    for mut client in clients {
        client.sync();
    }
}
