//! `verify_and_map`: the client's certificate selects the user. Many certificates made by
//! openssl are tried against many lists of users; the result must equal that of a real
//! nats-server, and permissions and monitoring must use the selected user.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use test_support::{Broker, BrokerBuilder, PATIENCE, pki::Pki};

/// File name, subject, alternative names.
const CERTIFICATES: &[(&str, &str, &str)] = &[
    ("plain", "/CN=node1", ""),
    (
        "email",
        "/CN=node1",
        "email:ops@example.org,DNS:node1.example.org",
    ),
    (
        "dns",
        "/O=x/CN=none",
        "DNS:first.example.org,DNS:node1.example.org",
    ),
    ("uri", "/CN=none", "URI:spiffe://example.org/node1"),
    (
        "all",
        "/O=x/CN=node1",
        "URI:spiffe://example.org/node1,DNS:node1.example.org,email:ops@example.org",
    ),
    ("long", "/DC=org/DC=example/O=x/OU=a/OU=b/CN=node1", ""),
    ("order", "/CN=node1/OU=b/OU=a/O=x/DC=example/DC=org", ""),
    ("several", "/O=x/OU=a+CN=node1", ""),
    ("signs", "/O=x, y+z = \"q\"/CN= n#1 ", ""),
    ("twice", "/CN=node1/CN=node1/O=x", ""),
    ("two", "/CN=other/CN=node1/O=x", ""),
    ("userid", "/O=x/UID=7/CN=node1", ""),
    ("umlaut", "/O=Müller/CN=node1", ""),
    ("empty", "/", "DNS:elsewhere"),
    ("star", "/CN=*", "DNS:*"),
    ("rest", "/CN=node1.>", ""),
    ("braces", "/CN={{user}}", ""),
    (
        "places",
        "/DC=foo4/DC=foo3/C=US/ST=CA/L=Los Angeles/O=NATS/OU=NATS/CN=localhost",
        "",
    ),
];

/// Lists of users: one certificate may match several users of a list.
const USERS: &[&[&str]] = &[
    // Without the domain components, as Go writes it, and in no other notation.
    &["CN=localhost,OU=NATS,O=NATS,L=Los Angeles,ST=CA,C=US"],
    &["C=US,O=NATS,CN=localhost,OU=NATS,L=Los Angeles,ST=CA"],
    &["CN=localhost,OU=NATS,O=NATS,L=Los Angeles,ST=CA,C=US,DC=foo3,DC=foo4"],
    &[
        "node1",
        "ops@example.org",
        "node1.example.org",
        "spiffe://example.org/node1",
        "CN=node1",
    ],
    &[
        "node1.example.org",
        "CN=node1,O=x",
        "spiffe://example.org/node1",
    ],
    &["CN=node1,OU=b,OU=a,O=x,DC=example,DC=org", "O=x,CN=none"],
    &[
        "CN=node1,OU=a+OU=b,O=x,DC=org,DC=example",
        "CN=node1+OU=a,O=x",
    ],
    &["CN=node1,OU=a+OU=b,O=x", "CN=node1,OU=b+OU=a,O=x"],
    &[
        "cn=node1 , o=x , ou=a+ou=b",
        " cn=node1+ou=a , o=x",
        "CN=node1,CN=node1,O=x",
    ],
    &[
        "dc=org,dc=example,o=x,ou=a,ou=b,cn=node1",
        "OU=a+CN=node1,O=x",
    ],
    &[r#"CN=\ n#1\ ,O=x\, y\+z = \"q\""#, "CN=node1,O=x,O=x"],
    &[r"CN=node1,O=M\c3\bcller", "CN=node1,CN=other,O=x"],
    &["CN=node1,O=Müller", "CN=node1,UID=7,O=x"],
    &["CN=NODE1", "CN=node1,CN=node1", "CN=node1,O=x,OU=a"],
    &["node1", "first.example.org", "puppet"],
];

fn pki() -> Pki {
    let pki = Pki::new(&["server"]);
    for (name, subject, alternatives) in CERTIFICATES {
        let more = match *alternatives {
            "" => String::new(),
            names => format!("subjectAltName = {names}\n"),
        };
        let text = format!("extendedKeyUsage = clientAuth\n{more}");
        fs::write(pki.path(&format!("{name}.ext")), text).expect("write the extensions");
        pki.openssl(
            &format!(
                "req -new -utf8 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout \
                 {name}.key -out {name}.csr -config ca.cnf -subj"
            ),
            &[subject],
        );
        pki.openssl(
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -days 5 -extfile {name}.ext \
                 -out {name}.pem"
            ),
            &[],
        );
    }
    pki
}

fn tls_block(pki: &Pki, more: &str) -> String {
    format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify_and_map: true, \
         timeout: 5 {more} }}\n",
        pki.text("server.pem"),
        pki.text("server.key"),
        pki.text("ca.pem"),
    )
}

/// Each user in its own account, whose name is the user's number.
fn accounts(users: &[&str], more: &str) -> String {
    let account = |(number, user): (usize, &&str)| {
        let user = user.replace('\\', "\\\\").replace('"', "\\\"");
        format!("  A{number} {{ users: [ {{ user: \"{user}\" {more} }} ] }}\n")
    };
    let accounts: String = users.iter().enumerate().map(account).collect();
    format!("accounts {{\n{accounts}}}\n")
}

type Tls = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// A TLS client with a certificate; it has read the INFO.
fn connect(broker: &Broker, pki: &Pki, name: &str) -> Tls {
    let mut roots = RootCertStore::empty();
    let file = |name: String| pki.path(&name);
    let load = |name: String| CertificateDer::from_pem_file(file(name)).expect("a certificate");
    roots.add(load("ca.pem".into())).expect("the CA");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_file(file(format!("{name}.key"))).expect("a key");
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![load(format!("{name}.pem"))], key)
        .expect("a certificate and its key");
    let stream = TcpStream::connect(broker.client_addr()).expect("connect");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("bound the reading");
    let mut info = String::new();
    let mut plain = BufReader::new(stream);
    plain.read_line(&mut info).expect("INFO");
    assert!(info.starts_with("INFO "), "{info}");
    let host = "localhost".try_into().expect("a name");
    let connection = ClientConnection::new(Arc::new(config), host).expect("a client");
    BufReader::new(StreamOwned::new(connection, plain.into_inner()))
}

/// The result of a CONNECT with these fields: the account, or the error.
fn outcome(tls: &mut Tls, fields: &str) -> String {
    let text = format!("CONNECT {{\"verbose\":false,\"protocol\":1{fields}}}\r\nPING\r\n");
    tls.get_mut().write_all(text.as_bytes()).expect("send");
    let mut line = String::new();
    while tls.read_line(&mut line).is_ok_and(|len| len > 0) {
        if let Some(json) = line.strip_prefix("INFO ") {
            let info: serde_json::Value = serde_json::from_str(json).expect("JSON");
            return format!("in {}", info["remote_account"]);
        }
        if line.starts_with("-ERR") {
            return line.trim().to_owned();
        }
        line.clear();
    }
    "closed".into()
}

/// Runs all cases in parallel: midge delays peers that fail repeatedly.
fn side_by_side<T: Sync>(cases: &[T], play: impl Fn(&T) + Sync) {
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| play(case));
        }
    });
}

#[test]
fn certificates_map_to_the_same_users_as_in_nats_server() {
    let pki = pki();
    let run = |builder: BrokerBuilder, users: &[&str]| {
        let broker = builder
            .config(tls_block(&pki, "") + &accounts(users, ""))
            .start();
        let outcomes = CERTIFICATES.iter().map(|(name, ..)| {
            let outcome = outcome(&mut connect(&broker, &pki, name), "");
            format!("{name}: {outcome}")
        });
        outcomes.collect::<Vec<_>>()
    };
    let admitted = AtomicUsize::new(0);
    side_by_side(USERS, |users| {
        let ours = run(Broker::midge(), users);
        let theirs = run(Broker::nats_server(), users);
        assert_eq!(ours, theirs, "users {users:?}");
        let count = ours.iter().filter(|outcome| outcome.contains("in \"A"));
        admitted.fetch_add(count.count(), Ordering::Relaxed);
    });
    let admitted = admitted.into_inner();
    assert!(admitted > 20, "only {admitted} got in: this proves little");
}

/// Other settings beside a certificate: passwords, connection types, names that the
/// client sends, `no_auth_user`, nkeys.
#[test]
fn other_credentials_beside_a_certificate() {
    let pki = pki();
    let config = |more: &str, rest: &str| {
        let users = accounts(&["CN=node1", "node1.example.org"], more);
        tls_block(&pki, "") + &users + rest
    };
    let key = "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L";
    let with_key = format!("authorization {{ users: [ {{ nkey: {key} }} ] }}\n");
    let configs = [
        config("", ""),
        config(", password: p", ""),
        config(", allowed_connection_types: [WEBSOCKET]", ""),
        config("", "no_auth_user: node1.example.org\n"),
        config("", &with_key),
        config("", &format!("{with_key}no_auth_user: {key}\n")),
        tls_block(&pki, "") + "authorization { user: u, password: p }\n",
        tls_block(&pki, ""),
        tls_block(&pki, "")
            + "accounts { SYS { users: [ { user: \"CN=node1\" } ] } }\nsystem_account: SYS\n",
    ];
    let fields = [
        "".to_owned(),
        ",\"user\":\"node1.example.org\"".to_owned(),
        ",\"user\":\"u\",\"pass\":\"p\"".to_owned(),
        ",\"pass\":\"p\"".to_owned(),
        ",\"auth_token\":\"t\"".to_owned(),
        format!(",\"nkey\":\"{key}\""),
    ];
    side_by_side(&configs, |config| {
        let run = |builder: BrokerBuilder| {
            let broker = builder.config(config.clone()).start();
            let mut outcomes = Vec::new();
            for name in ["plain", "dns", "uri"] {
                for fields in &fields {
                    let outcome = outcome(&mut connect(&broker, &pki, name), fields);
                    outcomes.push(format!("{name} {fields}: {outcome}"));
                }
            }
            outcomes
        };
        assert_eq!(run(Broker::midge()), run(Broker::nats_server()), "{config}");
    });
}

/// Monitoring shows the mapped user as nats-server does, and the log names certificates
/// that match no user.
#[test]
fn the_mapped_user_is_shown() {
    let pki = pki();
    let config = tls_block(&pki, "") + &accounts(&["node1.example.org", "CN=node1"], "");
    let shown = |builder: BrokerBuilder| {
        let broker = builder.config(config.clone()).start();
        let mut clients: Vec<Tls> = ["dns", "plain"]
            .map(|name| connect(&broker, &pki, name))
            .into_iter()
            .collect();
        for client in &mut clients {
            assert!(outcome(client, ",\"user\":\"derek\"").starts_with("in"));
        }
        let answer = broker.get_json("/connz?auth=1&sort=cid");
        let connections = answer["connections"].as_array().expect("a list").clone();
        connections
            .iter()
            .map(|one| (one["authorized_user"].clone(), one["account"].clone()))
            .collect::<Vec<_>>()
    };
    let ours = shown(Broker::midge());
    assert_eq!(ours, shown(Broker::nats_server()));
    assert_eq!(ours[1].0, "CN=node1");

    let broker = Broker::midge().config(config).start();
    outcome(&mut connect(&broker, &pki, "uri"), "");
    broker
        .log()
        .wait_for("the certificate names no user: \"CN=none\"");
}

/// One rule for all mapped users: each may use the subjects with its own name.
#[test]
fn a_mapped_user_cannot_act_for_another() {
    let pki = pki();
    let users = "authorization { default_permissions: { publish: \"of.{{user}}\" }, users: [ { user: \
                 \"node1.example.org\" }, { user: \"CN=node1\" } ] }\n";
    let broker = Broker::midge().config(tls_block(&pki, "") + users).start();
    for (name, own, other) in [
        ("dns", "of.node1.example.org", "of.CN=node1"),
        ("plain", "of.CN=node1", "of.node1.example.org"),
    ] {
        let mut client = connect(&broker, &pki, name);
        assert!(outcome(&mut client, "").starts_with("in"), "{name}");
        let text = format!("PUB {own} 0\r\n\r\nPUB {other} 0\r\n\r\nPING\r\n");
        client.get_mut().write_all(text.as_bytes()).expect("send");
        let mut line = String::new();
        client.read_line(&mut line).expect("an answer");
        let refused = format!("-ERR 'Permissions Violation for Publish to \"{other}\"'\r\n");
        assert_eq!(line, refused);
        line.clear();
        client.read_line(&mut line).expect("an answer");
        assert_eq!(line, "PONG\r\n");
    }
}

/// The configuration of docs/fleet.md: one rule for all nodes, each of which may use only
/// its own subjects.
#[test]
fn a_node_of_the_documented_fleet_cannot_act_for_another() {
    let pki = pki();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fleet.md");
    let page = fs::read_to_string(page).expect("the page");
    let config = page.split("```").nth(1).expect("a configuration");
    let tls = tls_block(&pki, "").replace("verify_and_map", "verify");
    let config = config.replace("tls { puppet: true }", &tls);
    assert!(config.contains("cert_file"), "{config}");
    let broker = Broker::midge()
        .config(config)
        .env("OPERATOR_PASSWORD", "p")
        .start();
    let mut node = connect(&broker, &pki, "plain");
    assert!(outcome(&mut node, "").starts_with("in"));
    let mut operator = connect(&broker, &pki, "uri");
    assert!(outcome(&mut operator, ",\"user\":\"operator\",\"pass\":\"p\"").starts_with("in"));
    let mut ask = |text: &str| {
        node.get_mut().write_all(text.as_bytes()).expect("send");
        node.get_mut().write_all(b"PING\r\n").expect("send");
        let lines = (&mut node).lines().map(|line| line.expect("a line"));
        let reported = lines.take_while(|line| line != "PONG");
        reported.collect::<Vec<_>>()
    };
    for permitted in [
        "SUB mcollective.node.node1 1\r\n",
        "SUB mcollective.broadcast.agent.rpcutil 2\r\n",
        "SUB mcollective.broadcast.service.x x 3\r\n",
        "PUB mcollective.reply.abc.1 0\r\n\r\n",
        "PUB choria.lifecycle.event.startup.server 0\r\n\r\n",
        "PUB mcollective.broadcast.agent.registration 0\r\n\r\n",
    ] {
        assert_eq!(ask(permitted), Vec::<String>::new(), "{permitted}");
    }
    for refused in [
        "SUB mcollective.node.node2 5\r\n",
        "SUB mcollective.node.> 6\r\n",
        "SUB mcollective.> 7\r\n",
        "SUB > 8\r\n",
        "SUB mcollective.reply.> 9\r\n",
        "PUB mcollective.node.node2 0\r\n\r\n",
        "PUB mcollective.broadcast.agent.rpcutil 0\r\n\r\n",
    ] {
        let reported = ask(refused);
        assert!(
            reported.len() == 1 && reported[0].contains("Permissions Violation"),
            "{refused}: {reported:?}"
        );
    }
    // A certname that would widen the rule is refused.
    for name in ["signs", "star", "rest", "braces", "empty"] {
        let mut hostile = connect(&broker, &pki, name);
        let reported = outcome(&mut hostile, "");
        assert_eq!(reported, "-ERR 'Authorization Violation'", "{name}");
    }
    let refused = &broker.get_json("/varz")["logins"]["refused"];
    assert_eq!(refused["name_unfit"], 5, "{refused}");
    let request = b"PUB mcollective.node.node1 2\r\nhi\r\nPING\r\n";
    operator.get_mut().write_all(request).expect("send");
    let mut line = String::new();
    node.read_line(&mut line).expect("a message");
    assert_eq!(line, "MSG mcollective.node.node1 1 2\r\n");
}
