//! Users with `certificate`: a pattern of certnames instead of a list of nodes. Operators and nodes
//! have certificates of one CA, and differ in what they may do and from where.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::TcpStream,
};

use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;
use test_support::{Broker, pki::Pki, tls_client::Speaker, wait_until};

const NODE: &str = "node1.example.net";
const OPERATOR: &str = "alice.mcollective";

fn tls(pki: &Pki, more: &str) -> String {
    let [cert, key, ca] = ["broker.pem", "broker.key", "ca.pem"].map(|file| pki.text(file));
    format!(
        "tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, timeout: 20, {more} }}\n"
    )
}

/// Operators give orders; a node has its own subjects alone.
fn users(of_operators: &str, of_nodes: &str) -> String {
    format!(
        "authorization {{ users = [\n\
         {{ certificate: \"*.mcollective\", {of_operators} }},\n\
         {{ certificate: \"*.example.net\", permissions {{ {of_nodes} }} }},\n\
         {{ user: admin, password: secret }}\n] }}\n"
    )
}

const OF_NODES: &str = "subscribe: [\"mcollective.node.{{certname}}\", \"mcollective.broadcast.>\"], \
     publish: \"mcollective.reply.>\"";

/// A client with a certificate.
struct Client(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Client {
    fn connect(broker: &Broker, pki: &Pki, name: &str) -> Self {
        let key = pki.path(&format!("{name}.key"));
        let speaker = Speaker::believing(&pki.path("ca.pem"));
        let speaker = speaker.showing(&pki.path(&format!("{name}.pem")), &key);
        let (stream, _) = speaker.connect(broker.client_addr()).expect("TLS");
        Self(BufReader::new(stream))
    }

    /// Sends this and a PING, and returns the first line that is no INFO, after the PONG or the
    /// end.
    fn answer(&mut self, text: &str) -> String {
        let text = format!("{text}PING\r\n");
        self.0.get_mut().write_all(text.as_bytes()).expect("send");
        let mut first = String::new();
        loop {
            let line = self.line();
            if first.is_empty() && !line.starts_with("INFO ") {
                first.clone_from(&line);
            }
            if line.is_empty() || line == "PONG\r\n" {
                return first;
            }
        }
    }

    /// The next error, which comes without being asked for.
    fn error(&mut self) -> String {
        loop {
            let line = self.line();
            if line.starts_with("-ERR") || line.is_empty() {
                return line;
            }
        }
    }

    /// The next line; empty at the end, which may be a reset.
    fn line(&mut self) -> String {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) => line,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::WouldBlock, "no answer");
                String::new()
            }
        }
    }

    /// Logs in, with more fields of CONNECT.
    fn log_in(&mut self, fields: &str) -> String {
        self.answer(&format!("CONNECT {{\"verbose\":false{fields}}}\r\n"))
    }
}

/// A client that is in.
fn logged_in(broker: &Broker, pki: &Pki, name: &str) -> Client {
    let mut client = Client::connect(broker, pki, name);
    assert_eq!(client.log_in(""), "PONG\r\n", "{name}");
    client
}

fn shown(broker: &Broker) -> Vec<Value> {
    let answer = broker.get_json("/connz?auth=1&sort=cid");
    answer["connections"].as_array().expect("a list").clone()
}

#[test]
fn operators_and_nodes_differ_without_a_list() {
    let pki = Pki::new(&[
        "broker",
        NODE,
        "node2.site.example.net",
        OPERATOR,
        "stranger",
        "mcollective",
    ]);
    let config = tls(&pki, "verify: true") + &users("", OF_NODES);
    let broker = Broker::midge().config(config).start();
    let mut node = logged_in(&broker, &pki, NODE);
    assert_eq!(
        node.answer(&format!("SUB mcollective.node.{NODE} 1\r\n")),
        "PONG\r\n"
    );
    for denied in [
        "SUB mcollective.node.> 2\r\n",
        "PUB mcollective.node.node2.site.example.net 0\r\n\r\n",
    ] {
        assert!(
            node.answer(denied)
                .starts_with("-ERR 'Permissions Violation"),
            "{denied}"
        );
    }
    let mut node2 = Client::connect(&broker, &pki, "node2.site.example.net");
    assert_eq!(node2.log_in(""), "PONG\r\n", "a subdomain");
    let mut operator = logged_in(&broker, &pki, OPERATOR);
    assert_eq!(operator.answer("SUB mcollective.reply.> 1\r\n"), "PONG\r\n");
    assert_eq!(
        operator.answer(&format!("PUB mcollective.node.{NODE} 0\r\n\r\n")),
        "PONG\r\n"
    );
    for (name, fields) in [
        ("stranger", ""),
        // The part before the dot is missing.
        ("mcollective", ""),
        // Who says who it is, is that user or none.
        (OPERATOR, ",\"user\":\"bob\",\"pass\":\"x\""),
        // A pattern is no name to log in with.
        ("stranger", ",\"user\":\"*.mcollective\",\"pass\":\"\""),
        ("stranger", ",\"user\":\"*.mcollective\""),
    ] {
        let mut client = Client::connect(&broker, &pki, name);
        assert_eq!(
            client.log_in(fields),
            "-ERR 'Authorization Violation'\r\n",
            "{name} {fields}"
        );
    }
    broker
        .log()
        .wait_for("the certificate names no user: \"CN=stranger\"");
    let mut admin = Client::connect(&broker, &pki, "stranger");
    assert_eq!(
        admin.log_in(",\"user\":\"admin\",\"pass\":\"secret\""),
        "PONG\r\n"
    );
    let users: Vec<_> = shown(&broker)
        .iter()
        .map(|it| it["authorized_user"].clone())
        .collect();
    assert_eq!(
        users,
        ["*.example.net", "*.example.net", "*.mcollective", "admin"]
    );
}

/// What is shown of a client names it by its certificate, whatever it calls itself.
#[test]
fn views_and_events_prefer_the_certname() {
    let pki = Pki::new(&["broker", NODE, "stranger"]);
    let config = tls(&pki, "verify: true") + &users("", OF_NODES);
    let broker = Broker::midge().config(config).start();
    let mut node = Client::connect(&broker, &pki, NODE);
    assert_eq!(node.log_in(",\"name\":\"mcollectived\""), "PONG\r\n");
    node.answer("SUB mcollective.broadcast.agent.rpcutil 1\r\n");
    node.answer("SUB others 1\r\n");
    let mut stranger = Client::connect(&broker, &pki, "stranger");
    stranger.log_in("");
    let connection = &shown(&broker)[0];
    assert_eq!(
        (&connection["name"], &connection["certname"]),
        (&"mcollectived".into(), &NODE.into())
    );
    let who = format!("{NODE} (mcollectived)");
    let topz = broker.get_json("/topz?sort=subs");
    assert_eq!(topz["connections"][0]["name"], who);
    let subject_of = |kind: &str| {
        let events = broker.get_json(&format!("/eventsz?type={kind}"));
        events["events"][0]["subject"].clone()
    };
    wait_until("the refused login is recorded", || {
        subject_of("auth.failed") == "stranger"
    });
    assert_eq!(subject_of("auth.violation"), who);
    let metrics = broker.get("/metrics?connections=5").body;
    assert!(metrics.contains(&format!("name=\"{who}\"")), "{metrics}");
}

/// Of several patterns the most specific one counts, also over accounts, and in whichever order.
#[test]
fn the_most_specific_pattern_counts_over_all_accounts() {
    let pki = Pki::new(&["broker", NODE, "db1.example.net", "db2.example.net"]);
    let account = |name: &str, pattern: &str| {
        format!("{name} {{ users: [ {{ certificate: {pattern:?} }} ] }}\n")
    };
    let all = [
        account("HOSTS", "*"),
        account("NODES", "*.example.net"),
        account("DB", "db*.example.net"),
        account("ONE", "db2.example.net"),
    ];
    let mut reversed = all.clone();
    reversed.reverse();
    for accounts in [all, reversed] {
        let config = tls(&pki, "verify: true") + "accounts {\n" + &accounts.concat() + "}\n";
        let broker = Broker::midge().config(config).start();
        let _clients = [NODE, "db1.example.net", "db2.example.net", "broker"]
            .map(|name| logged_in(&broker, &pki, name));
        let accounts: Vec<_> = shown(&broker)
            .iter()
            .map(|it| it["account"].clone())
            .collect();
        assert_eq!(accounts, ["NODES", "DB", "ONE", "HOSTS"]);
    }
}

/// With `verify_and_map`, a user that the certificate names comes before patterns, and one that may
/// not come in as this user does not become another one.
#[test]
fn verify_and_map_looks_for_the_name_first() {
    let pki = Pki::new(&[
        "broker",
        OPERATOR,
        "bob.mcollective",
        "carol.mcollective",
        "stranger",
    ]);
    let users = "accounts { A { users: [ { user: \"CN=alice.mcollective\" }, \
                 { user: \"CN=bob.mcollective\", allowed_sources: \"192.0.2.1\" } ] }\n\
                 B { users: [ { certificate: \"*.mcollective\" } ] } }\n";
    let config = tls(&pki, "verify_and_map: true") + users;
    let broker = Broker::midge().config(config).start();
    let _alice = logged_in(&broker, &pki, OPERATOR);
    let mut carol = Client::connect(&broker, &pki, "carol.mcollective");
    // The certificate alone decides.
    assert_eq!(carol.log_in(",\"user\":\"x\",\"pass\":\"y\""), "PONG\r\n");
    for name in ["bob.mcollective", "stranger"] {
        let mut client = Client::connect(&broker, &pki, name);
        assert_eq!(
            client.log_in(""),
            "-ERR 'Authorization Violation'\r\n",
            "{name}"
        );
    }
    let refused = broker.get_json("/varz")["logins"]["refused"].clone();
    assert_eq!(
        (&refused["source"], &refused["unmapped_certificate"]),
        (&1.into(), &1.into())
    );
    let accounts: Vec<_> = shown(&broker)
        .iter()
        .map(|it| it["account"].clone())
        .collect();
    assert_eq!(accounts, ["A", "B"]);
}

/// Who may not come in by its certificate does not become the user of those without credentials.
#[test]
fn sources_and_connection_types_narrow_a_pattern() {
    let pki = Pki::new(&["broker", NODE, OPERATOR, "stranger"]);
    let guest = "no_auth_user: admin\n";
    for (of_operators, reason) in [
        ("allowed_sources: \"192.0.2.0/24\"", "source"),
        ("allowed_connection_types: [WEBSOCKET]", "connection_type"),
    ] {
        let config = tls(&pki, "verify: true") + &users(of_operators, OF_NODES) + guest;
        let broker = Broker::midge().config(config).start();
        let _guest = logged_in(&broker, &pki, "stranger");
        let _node = logged_in(&broker, &pki, NODE);
        let mut operator = Client::connect(&broker, &pki, OPERATOR);
        assert_eq!(operator.log_in(""), "-ERR 'Authorization Violation'\r\n");
        let refused = broker.get_json("/varz")["logins"]["refused"].clone();
        assert_eq!(refused[reason], 1, "{refused}");
        let users: Vec<_> = shown(&broker)
            .iter()
            .map(|it| it["authorized_user"].clone())
            .collect();
        assert_eq!(users, ["admin", "*.example.net"]);
    }
}

/// A reload narrows what connected clients may do; only who is no user any more leaves.
#[test]
fn a_reload_applies_to_connected_clients() {
    let pki = Pki::new(&["broker", NODE, OPERATOR]);
    let tls = tls(&pki, "verify: true");
    let broker = Broker::midge()
        .config(tls.clone() + &users("", OF_NODES))
        .start();
    let mut node = logged_in(&broker, &pki, NODE);
    let mut operator = logged_in(&broker, &pki, OPERATOR);
    assert_eq!(
        node.answer("SUB mcollective.broadcast.agent.rpcutil 1\r\n"),
        "PONG\r\n"
    );
    assert_eq!(
        node.answer(&format!("SUB mcollective.node.{NODE} 2\r\n")),
        "PONG\r\n"
    );
    broker.reload(
        &(tls.clone()
            + &users(
                "",
                "subscribe: \"mcollective.node.{{certname}}\", publish: \"mcollective.reply.>\"",
            )),
    );
    assert!(node.error().contains("mcollective.broadcast.agent.rpcutil"));
    assert_eq!(node.answer(""), "PONG\r\n", "it stays connected");
    let subscriptions = || shown(&broker)[0]["subscriptions"].clone();
    wait_until("one subscription is left", || subscriptions() == 1);
    assert_eq!(operator.answer("SUB mcollective.reply.> 1\r\n"), "PONG\r\n");
    // A more specific pattern takes this one node out.
    let more = format!(
        "accounts {{ OUT {{ users: [ {{ certificate: \"{NODE}\", allowed_sources: \"192.0.2.1\" }} ] }} }}\n"
    );
    broker.reload(&(tls.clone() + &users("", OF_NODES) + &more));
    assert!(node.error().contains("Authorization Violation"));
    assert_eq!(operator.answer(""), "PONG\r\n");
    broker.reload(&(tls + "authorization { users: [ { user: admin, password: secret } ] }\n"));
    assert!(operator.error().contains("Authorization Violation"));
}

/// What cannot work is told before the start.
#[test]
fn mistakes_are_errors_and_rivals_are_warnings() {
    let pki = Pki::new(&["broker"]);
    let verify = tls(&pki, "verify: true");
    let rivals =
        "authorization { users: [ { certificate: \"web*\" }, { certificate: \"*web\" } ] }\n";
    let twice = "authorization { users: [ { certificate: \"*.a\" }, { certificate: \"*.a\" } ] }\n";
    let one = "authorization { users: [ { certificate: \"*.a\" } ] }\n";
    let named = "authorization { users: [ { certificate: \"*.a\", user: x } ] }\n";
    let guest = one.to_owned() + "no_auth_user: \"*.b\"\n";
    for (config, expected) in [
        (verify.clone() + twice, "the user \"*.a\" is written twice"),
        (
            tls(&pki, "") + one,
            "clients are not asked for a certificate",
        ),
        (verify.clone() + named, "has neither a name nor a password"),
        (verify.clone() + &guest, "is not in a list of users"),
        (
            verify.clone() + &guest.replace("*.b", "*.a"),
            "is not in a list of users",
        ),
        (
            verify.clone() + &one.replace("*.a", "CN=a"),
            "is no certname",
        ),
    ] {
        let file = pki.path("test.conf");
        std::fs::write(&file, &config).expect("write the configuration");
        let output = std::process::Command::new(Broker::midge().program_path())
            .arg("-t")
            .arg("-c")
            .arg(&file)
            .output()
            .expect("run midge");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(expected),
            "{config}: {said}"
        );
    }
    let broker = Broker::midge().config(verify + rivals).start();
    broker
        .log()
        .wait_for("equally specific, and some names match both");
}
