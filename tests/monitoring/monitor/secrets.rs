//! Secrets of the configuration, the arguments, the environment and the clients never
//! appear in any output.
//!
//! Every secret here contains [`CANARY`], and no output of midge may contain it. Each
//! place where a secret can be configured is one line of a table, and so is each kind of
//! output.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use test_support::{
    Broker, PATIENCE, RawClient, endpoints, free_port, http, pki::Pki, raw_client::Next, tools,
    wait_until,
};

/// Contained in every secret, in any case.
const CANARY: &str = "canary";

/// The same in base64, aligned with the position in a login's user and password.
const ENCODED: &str = "y2fuyxj5";

/// A bcrypt hash that matches no password.
const HASH: &str = "$2a$04$canarycanarycanarycanudjoshsIZ5vIFeg3JkRnFnUOCrm..Sui";

/// A seed instead of the public key.
const SEED: &str = "SUACANARYCANARYCANARYCANARYCANARYCANARYCANARYCANARYCANARY4";

/// Lines of the configuration that each contain a secret. `CLUSTER` and `PEER` are ports,
/// `HASH` is the hash.
const PLACES: &[&str] = &[
    "authorization { user: u, password: canary-password }",
    "authorization { token: canary-token }",
    "authorization { user: u, password: $SECRET }",
    "authorization { users: [ { user: u, password: canary-user }, { user: h, password: \"HASH\" } ] }",
    "accounts { A { users: [ { user: u, password: canary-account } ] }, \
     $SYS { users: [ { user: s, password: canary-system } ] } }",
    "cluster { listen: \"127.0.0.1:CLUSTER\", authorization { user: r, password: canary-cluster }, \
     routes: [ nats-route://r:canary-route@127.0.0.1:PEER ] }",
    "cluster { listen: \"127.0.0.1:CLUSTER\", authorization { user: r, password: $SECRET }, \
     routes: [ \"nats-route://r:canary%2Droute@127.0.0.1:PEER\" ], \
     tls { cert_file: \"KEYS/n.pem\", key_file: \"KEYS/n.key\", ca_file: \"KEYS/ca.pem\" } }",
];

/// Arguments that each contain a secret.
const ARGUMENTS: &[&[&str]] = &[
    &["--user", "u", "--pass", "canary-pass"],
    &["--auth", "canary-auth"],
    &["--cluster", "nats://r:canary-listen@127.0.0.1:CLUSTER"],
    &[
        "--cluster_listen",
        "nats://127.0.0.1:CLUSTER",
        "--routes",
        "nats-route://r:canary-flag@127.0.0.1:PEER",
    ],
];

/// Part of the configuration of every broker that runs.
const ALWAYS: &str = "monitor { unix: m.sock, token: $SECRET, user: ann, password: canary-monitor }\n\
     diagnosis { interval: 50ms, appear_after: 50ms, config_check: 50ms, login_failures: 1 }\n";

/// CONNECT messages for the client port, each with a secret. Some are valid at some of
/// the brokers.
const CONNECTS: &[&str] = &[
    "{\"user\":\"u\",\"pass\":\"canary-password\"}",
    "{\"user\":\"u\",\"pass\":\"canary-variable\"}",
    "{\"user\":\"u\",\"pass\":\"canary-user\"}",
    "{\"user\":\"u\",\"pass\":\"canary-account\"}",
    "{\"user\":\"u\",\"pass\":\"canary-pass\"}",
    "{\"user\":\"s\",\"pass\":\"canary-system\"}",
    "{\"auth_token\":\"canary-token\"}",
    "{\"auth_token\":\"canary-auth\"}",
    "{\"user\":\"u\",\"pass\":\"canary-wrong\"}",
    "{\"user\":\"nobody\",\"pass\":\"canary-wrong\"}",
    "{\"auth_token\":\"canary-wrong\"}",
    "{\"nkey\":\"SUACANARYWRONG\",\"sig\":\"canary-signature\"}",
    "{\"jwt\":\"canary-jwt\",\"sig\":\"canary-signature\"}",
    "{\"user\":\"u\",\"pass\":{\"text\":\"canary-inside\"}}",
    "{\"verbose\":\"canary-type\"}",
    "{\"pass\":\"canary-unended",
    "{\"pass\":\"canary-half\\ud800\"}",
    "canary-no-json",
];

/// Logins for the monitoring port.
const LOGINS: &[&str] = &[
    "Bearer canary-bearer",
    // an:canary-pair
    "Basic YW46Y2FuYXJ5LXBhaXI=",
    "Digest canary-digest",
    "canary-scheme",
];

/// Invalid configurations, each with a secret.
const REFUSED: &[&str] = &[
    "authorization { user: u, pasword: canary-misspelt }",
    "authorization { user: u, password: [ canary-list ] }",
    "authorization { user: u, password: $canary_variable }",
    "authorization { user: u, password: \"canary-unended }",
    "authorization { user: u, password: canary-blank canary-second }",
    "authorization { token: canary-token, user: u, password: canary-both }",
    "authorization { password: canary-nobody }",
    "authorization { users: [ { user: u, password: \"$2a$11$canary\" } ] }",
    "authorization { users: [ { user: u, nkey: canary-nkey } ] }",
    "authorization { users: [ { nkey: SEED } ] }",
    "authorization { users: [ { user: u, token: canary-token } ] }",
    "authorization { auth_callout { issuer: canary-issuer } }",
    "accounts { A { users: [ { user: u, passwd: canary-misspelt } ] } }",
    "accounts { A { nkey: canary-nkey } }",
    "cluster { port: -1, authorization { user: r, token: canary-token } }",
    "cluster { port: -1, routes: [ \"nats-route://r:canary-route@host\" ] }",
    "cluster { port: -1, routes: [ \"nats-route://r:canary-route\" ] }",
    "cluster { port: -1, routes: [ \"nats-route://r:HASH@host:1\" ] }",
    "cluster { port: -1, route: [ \"nats-route://r:canary-route@host:1\" ] }",
    "cluster { listen: \"nats://r:canary-listen@host\" }",
    "listen: \"u:canary-listen@host\"",
    "monitor { token: [ canary-token ] }",
    "monitor { tokn: canary-misspelt }",
    "monitor { password: canary-lonely }",
    "monitor { user: u, password: \"HASH\" }",
    "leafnodes { remotes: [ { url: \"nats://u:canary-leaf@host\", credentials: \"site.creds\" } ] }",
    "gateway { authorization { user: g, password: canary-gateway } }",
    "websocket { token: canary-websocket }",
    "mqtt { token: canary-mqtt }",
    "operator: canary-operator",
    "resolver_preload { A: canary-jwt }",
    "tls { cert_file: \"KEYS/n.pem\", key_file: \"KEYS/n.key\", key_password: canary-key }",
    "tls { cert_file: \"KEYS/n.key\", key_file: \"KEYS/n.key\" }",
    "tls { cert_file: \"KEYS/n.pem\", key_file: \"KEYS/junk.key\" }",
];

/// Invalid arguments, each with a secret.
const REFUSED_ARGUMENTS: &[&[&str]] = &[
    &["--pass", "canary-nobody"],
    &[
        "--user",
        "u",
        "--pass",
        "canary-pass",
        "--auth",
        "canary-auth",
    ],
    &["--passwd=canary-misspelt"],
    &["--auth", "$2a$11$canary"],
    &["--routes", "nats-route://r:canary-route@host"],
    &["--routes", "nats-route://r:canary-route"],
    &["--cluster", "nats://r:canary-listen"],
    &["-a", "u:canary@host"],
];

/// Secrets passed to `check_nats` by mistake.
const CHECKS: &[&[&str]] = &[
    &["-u", "http://u:canary-url@127.0.0.1:1"],
    &["-u", "canary:canary@127.0.0.1"],
    &["--password", "canary-option"],
    &["--password=canary-option"],
];

/// Parameters that make an endpoint show the most; each endpoint gets all of them.
const WIDE: &[&str] = &[
    "auth=1&subs=1",
    "auth=1&subs=detail&state=any&limit=1024",
    "state=closed&auth=1",
    "subs=1",
    "subs=detail",
    "subs=1&test=a.b&acc=A",
    "auth=1&acc=A&filter_subject=a.b&subs=1",
    "auth=1&user=u",
    "acc=A",
    "acc=$G",
    "acc=$SYS",
    "unused=1",
    "connections=200&detailed=1",
    "format=text",
    "details=1",
    "probe=state",
    "limit=1000",
    "n=100",
];

/// Requests to the services of the system account.
const SERVICES: &[&str] = &[
    "SERVER.PING",
    "SERVER.PING.IDZ",
    "SERVER.PING.VARZ",
    "SERVER.PING.CONNZ",
    "SERVER.PING.ROUTEZ",
    "SERVER.PING.SUBSZ",
    "SERVER.PING.ACCOUNTZ",
    "SERVER.PING.HEALTHZ",
    "SERVER.PING.STATSZ",
    // nats-server shows its arguments there.
    "SERVER.PING.EXPVARZ",
    "SERVER.PING.PROFILEZ",
    "SERVER.PING.IPQUEUESZ",
    "SERVER.PING.GATEWAYZ",
    "SERVER.PING.LEAFZ",
    "SERVER.PING.JSZ",
    "SERVER.PING.RAFTZ",
    "ACCOUNT.A.CONNZ",
    "ACCOUNT.A.INFO",
    "ACCOUNT.A.SUBSZ",
    "ACCOUNT.A.STATZ",
    "ACCOUNT.A.CONNS",
    "USER.INFO",
    "SERVER.ID.RELOAD",
];

/// A text with its placeholders replaced.
fn filled(text: &str, ports: [u16; 2], keys: &Pki) -> String {
    text.replace("HASH", HASH)
        .replace("SEED", SEED)
        .replace("CLUSTER", &ports[0].to_string())
        .replace("PEER", &ports[1].to_string())
        .replace("KEYS/", &keys.text(""))
}

/// A key, and a file that is not a key.
fn keys() -> Pki {
    let keys = Pki::new(&["n"]);
    let junk = "-----BEGIN PRIVATE KEY-----\ncanary/canary\n-----END PRIVATE KEY-----\ncanary\n";
    fs::write(keys.path("junk.key"), junk).expect("write a file");
    keys
}

/// Asserts that `shown` contains no secret of the tables and no line of the key.
fn assert_hidden(place: &str, shown: &str, keys: &Pki) {
    let key = fs::read_to_string(keys.path("n.key")).expect("the key");
    let key = key.lines().nth(1).expect("a second line");
    for line in shown.lines() {
        let lower = line.to_ascii_lowercase();
        let is_hidden = !lower.contains(CANARY) && !lower.contains(ENCODED) && !line.contains(key);
        assert!(is_hidden, "a secret is shown by {place}: {line}");
    }
}

/// Sends a CONNECT; returns whether the client is accepted.
fn connect(client: &mut RawClient, options: &str) -> bool {
    let quiet = options.replacen('{', "{\"verbose\":false,", 1);
    client.send(format!("CONNECT {quiet}\r\nPING\r\n"));
    loop {
        match client.poll_frame(PATIENCE) {
            Next::Frame(frame) if frame.line == b"PONG" => return true,
            Next::Frame(_) => {}
            Next::Closed => return false,
            Next::Nothing => panic!("no answer to {options}"),
        }
    }
}

/// Requests every path, without parameters and with those that show the most.
fn request_endpoints(socket: &Path, shown: &mut Vec<(String, String)>) {
    for path in endpoints::of(&http::request_unix(socket, "GET", "/").body) {
        let answer = http::request_unix(socket, "GET", &path);
        assert!([200, 503].contains(&answer.status), "{path}: {answer:?}");
        for parameters in WIDE {
            let query = format!("{path}?{parameters}");
            // Refusals too: not every endpoint accepts all of them.
            let answer = http::request_unix(socket, "GET", &query);
            shown.push((query, answer.body));
        }
        shown.push((path, answer.body));
    }
}

/// All events from the first on, as a browser reads them.
fn follow_events(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).expect("the monitoring socket");
    let request = "GET /eventsz HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
                   Last-Event-ID: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("ask");
    let mut reported = Vec::new();
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("bound the reading");
    let mut part = [0; 65536];
    while let Ok(len @ 1..) = stream.read(&mut part) {
        reported.extend_from_slice(&part[..len]);
    }
    let reported = String::from_utf8_lossy(&reported).into_owned();
    assert!(reported.contains("event:"), "{reported}");
    reported
}

/// The events of the system account, and the replies of its services.
fn request_services(client: &mut RawClient, broker: &Broker) -> String {
    let varz = http::request_unix(&broker.folder().join("m.sock"), "GET", "/varz").json();
    let id = varz["server_id"].as_str().expect("an id");
    client.send("SUB > 7\r\n");
    for service in SERVICES {
        let service = service.replace("ID.", &format!("{id}."));
        let body =
            "{\"auth\":true,\"subscriptions\":true,\"subscriptions_detail\":true,\"state\":2}";
        client.send(format!(
            "PUB $SYS.REQ.{service} in.{service} {}\r\n{body}\r\n",
            body.len()
        ));
    }
    let mut reported = String::new();
    let is_answered = |reported: &str, service: &&str| {
        reported.contains(&format!(
            "MSG in.{}",
            service.replace("ID.", &format!("{id}."))
        ))
    };
    while let Some(missing) = SERVICES
        .iter()
        .find(|service| !is_answered(&reported, service))
    {
        let Next::Frame(frame) = client.poll_frame(PATIENCE) else {
            panic!("no answer of {missing}: {reported}");
        };
        for part in [&frame.line, &frame.body] {
            reported.push_str(&String::from_utf8_lossy(part));
            reported.push('\n');
        }
    }
    reported
}

/// Connects to the route port as an unknown member.
fn connect_to_route_port(port: u16) {
    let Ok(mut stream) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))) else {
        return;
    };
    let line = "CONNECT {\"user\":\"r\",\"pass\":\"canary-wrong\",\"name\":\"N\"}\r\n";
    stream.write_all(line.as_bytes()).expect("knock");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("bound the reading");
    // The log matters more than the answer; over TLS the answer is a reset.
    let _ = stream.read_to_end(&mut Vec::new());
}

/// Starts a broker with secrets, causes everything that could show them, and checks all
/// output.
fn check_all_output(place: &str, arguments: &[&str], keys: &Pki) {
    let ports = [free_port(), free_port()];
    let text = filled(&format!("{ALWAYS}{place}\n"), ports, keys);
    let mut builder = Broker::midge()
        .config(text.clone())
        .env("SECRET", "canary-variable")
        .env("UNUSED", "canary-unused")
        .flag("-DV");
    for argument in arguments {
        builder = builder.flag(filled(argument, ports, keys));
    }
    let broker = builder.start();
    let socket = broker.folder().join("m.sock");
    let mut shown = Vec::new();
    for login in LOGINS {
        let request = format!(
            "GET /varz HTTP/1.1\r\nHost: localhost\r\nAuthorization: {login}\r\n\
             Connection: close\r\n\r\n"
        );
        let refused = http::send(broker.monitor_addr(), &request);
        assert_eq!(refused.status, 401);
        shown.push(("a refused login".into(), format!("{refused:?}")));
    }
    connect_to_route_port(ports[0]);
    let mut inside: Vec<(RawClient, &str)> = Vec::new();
    for options in CONNECTS {
        let mut client = broker.connect();
        if connect(&mut client, options) {
            inside.push((client, options));
        }
    }
    assert!(
        !inside.is_empty() || place.contains(HASH),
        "nobody got in: {place}"
    );
    let post = |path: &str| http::request_unix(&socket, "POST", path).body;
    for user in ["u", "s", "[REDACTED]"] {
        shown.push((
            "trace".into(),
            post(&format!("/trace?user={user}&seconds=60")),
        ));
    }
    for (client, options) in &mut inside {
        assert!(connect(client, options), "{options}");
        client.send("SUB a.b 1\r\nPUB a.c 2\r\nhi\r\n");
        client.sync();
        if options.contains("canary-system") && place.contains("canary-system") {
            // A failed login and a disconnect are reported there too.
            let mut other = broker.connect();
            connect(&mut other, CONNECTS[0]);
            shown.push((
                "the system account".into(),
                request_services(client, &broker),
            ));
        }
    }
    let file = broker.folder().join("broker.conf");
    let changed = text.replace("canary-", "canary-other-");
    let refused = REFUSED.iter().map(|text| filled(text, ports, keys));
    for other in std::iter::once(changed).chain(refused) {
        fs::write(&file, other).expect("write the configuration");
        shown.push(("a dry run".into(), post("/reload?dry_run=1")));
        shown.push(("a reload".into(), post("/reload")));
    }
    wait_until("the failed reload is reported", || {
        let findings = http::request_unix(&socket, "GET", "/explainz").body;
        findings.contains("config-") && findings.contains("\"code\"")
    });
    request_endpoints(&socket, &mut shown);
    shown.push(("the events".into(), follow_events(&socket)));
    shown.push(("the log".into(), broker.log().to_string()));
    for file in fs::read_dir(broker.folder()).expect("the folder") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|end| end == "ports") {
            shown.push((
                "the ports file".into(),
                fs::read_to_string(path).expect("it"),
            ));
        }
    }
    broker.log().wait_for("[TRC]");
    for (by, text) in shown {
        assert_hidden(&format!("{by} with {place} {arguments:?}"), &text, keys);
    }
}

#[test]
fn no_output_contains_a_secret() {
    let keys = &keys();
    thread::scope(|scope| {
        for place in PLACES {
            scope.spawn(move || check_all_output(place, &[], keys));
        }
        for arguments in ARGUMENTS {
            scope.spawn(move || check_all_output("", arguments, keys));
        }
    });
}

/// The output of a program that must fail.
fn error_output(program: &Path, arguments: &[String], folder: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("run the program");
    assert!(!output.status.success(), "{arguments:?}: {output:?}");
    let result = [output.stdout, output.stderr].concat();
    assert!(
        !result.is_empty(),
        "{arguments:?} is refused without a word"
    );
    String::from_utf8_lossy(&result).into_owned()
}

#[test]
fn no_error_message_contains_a_secret() {
    let keys = keys();
    let folder = tempfile::tempdir().expect("a folder");
    let fill = |text: &str| filled(text, [4223, 4223], &keys);
    for text in REFUSED {
        fs::write(folder.path().join("c.conf"), fill(text)).expect("write the configuration");
        let arguments = ["-t", "-c", "c.conf"].map(String::from);
        let result = error_output(&tools::midge(), &arguments, folder.path());
        assert_hidden(text, &result, &keys);
    }
    for arguments in REFUSED_ARGUMENTS {
        let mut given: Vec<String> = arguments.iter().map(|text| fill(text)).collect();
        given.push("-t".into());
        let result = error_output(&tools::midge(), &given, folder.path());
        assert_hidden(&format!("{arguments:?}"), &result, &keys);
    }
    let check = tools::check_nats();
    for arguments in CHECKS {
        let given: Vec<String> = arguments.iter().map(|text| fill(text)).collect();
        let result = error_output(&check, &given, folder.path());
        assert_hidden(&format!("{arguments:?}"), &result, &keys);
    }
}
