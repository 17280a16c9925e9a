//! A scripted hub: what real ones do not do, or at the limits.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};
use test_support::{Broker, PATIENCE, free_port, pki::Pki, wait_until};

use super::{
    client, expect_silence, hub, knows, message,
    remotes::{HUBS, hub_of, remote, spoke},
    subscriber, wait_for_leafs,
};

/// A port on which a test is the hub.
struct Hub(TcpListener);

/// A connection of a leafnode to it.
struct Leaf(BufReader<TcpStream>);

impl Hub {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a port"))
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }

    fn accept(&self) -> Leaf {
        let (stream, _) = self.0.accept().expect("a leafnode");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        Leaf(BufReader::new(stream))
    }

    /// The first INFO, with more of it.
    fn info(&self, more: Value) -> String {
        let mut info = json!({
            "server_id": "NHUB", "server_name": "scripted", "version": "2.15.1", "proto": 3,
            "headers": true, "max_payload": 1000, "client_id": 7, "nonce": "abc",
            "info_on_connect": true, "leafnode_urls": [format!("127.0.0.1:{}", self.port())],
        });
        for (key, value) in more.as_object().expect("an object") {
            info[key] = value.clone();
        }
        format!("INFO {info}\r\n")
    }

    /// Lets the next leafnode in. Returns its CONNECT with it.
    fn let_in(&self, more: Value) -> (Leaf, Value) {
        let mut leaf = self.accept();
        leaf.send(&self.info(json!({})));
        let connect = leaf.connect();
        let mut second = json!({"connect_info": true, "remote_account": "HUB"});
        for (key, value) in more.as_object().expect("an object") {
            second[key] = value.clone();
        }
        leaf.send(&self.info(second));
        (leaf, connect)
    }
}

impl Leaf {
    fn send(&mut self, text: &str) {
        self.0
            .get_mut()
            .write_all(text.as_bytes())
            .expect("it is there");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// The CONNECT, which comes first: no INFO asks for compression.
    fn connect(&mut self) -> Value {
        let line = self.line();
        let json = line.strip_prefix("CONNECT ").expect("CONNECT");
        serde_json::from_str(json).expect("JSON")
    }

    /// Reads up to this line, answering pings.
    fn up_to(&mut self, wanted: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "closed behind {lines:?}");
            if line == "PING" {
                self.send("PONG\r\n");
            }
            if line == wanted {
                return lines;
            }
            lines.push(line);
        }
    }
}

/// What CONNECT says.
#[test]
fn the_introduction_is_that_of_a_leafnode() {
    let hub = Hub::new();
    let more = "deny_imports: [\"no.>\"], request_isolation: true";
    let leaf = spoke("site", hub.port(), "u:p@", more, "");
    let (mut session, connect) = hub.let_in(json!({}));
    let expected = json!({
        "name": "site", "cluster": "site", "user": "u", "pass": "p", "headers": true,
        "remote_account": "$G", "deny_pub": ["no.>"], "isolate": true,
        "compress_mode": "not supported",
    });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(connect[key], *value, "{key} in {connect}");
    }
    assert!(
        connect["server_id"]
            .as_str()
            .is_some_and(|id| id.len() == 56)
    );
    assert!(connect["auth_token"].is_null() && connect["is_hub"].is_null());
    let line = session.line();
    assert!(line.starts_with("LS+ $LDS."), "{line}");
    wait_for_leafs(&leaf, 1);
    let leafz = leaf.get_json("/leafz");
    assert_eq!(leafz["leafs"][0]["remote_account"], "HUB", "{leafz}");
    // Its own subject comes back: a circle.
    session.send(&format!("{line}\r\n"));
    let error = session
        .0
        .lines()
        .map_while(Result::ok)
        .find(|line| line.starts_with("-ERR"));
    let words = "Loop detected for leafnode account=\"$G\"";
    assert!(error.is_some_and(|error| error.contains(words)));
    wait_until("it shows", || {
        let remote = remote(&leaf);
        remote["connected"] == false && remote["last_error"].to_string().contains("Loop detected")
    });
}

/// A credentials file: its JWT, and the signature of its seed.
#[test]
fn credentials_are_sent_and_never_logged() {
    let hub = Hub::new();
    let seed = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.creds");
    let text = format!(
        "-----BEGIN NATS USER JWT-----\naaa.bbb.ccc\n------END NATS USER JWT------\n\n-----BEGIN USER \
         NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    let leaf = spoke(
        "site",
        hub.port(),
        "",
        &format!("credentials: {file:?}"),
        "",
    );
    wait_until("the file is missed", || {
        // The pending connection is closed by the leafnode.
        drop(
            hub.accept()
                .0
                .get_mut()
                .write_all(hub.info(json!({})).as_bytes()),
        );
        leaf.log().to_string().contains("hub.creds: No such file")
    });
    std::fs::write(&file, text).expect("write the file");
    // Attempts of before may be waiting.
    let connect = loop {
        let mut session = hub.accept();
        session.send(&hub.info(json!({})));
        let line = session.line();
        if let Some(json) = line.strip_prefix("CONNECT ") {
            break serde_json::from_str::<Value>(json).expect("JSON");
        }
    };
    assert_eq!(connect["jwt"], "aaa.bbb.ccc");
    assert!(connect["nkey"].is_null());
    let key = midge::protocol::nkey::UserSeed::parse(seed).expect("a seed");
    let key = midge::protocol::nkey::UserKey::parse(&key.public_key()).expect("a key");
    assert!(key.verify(b"abc", connect["sig"].as_str().expect("a signature")));
    let log = leaf.log().to_string();
    assert!(!log.contains(seed) && !log.contains("aaa.bbb"), "{log}");
}

/// A hub that says nothing, or does not let this broker in, is given up; so is one that talks nonsense.
#[test]
fn hubs_that_do_not_let_in_are_given_up() {
    let hub = Hub::new();
    let more = "first_info_timeout: \"50ms\"";
    let leaf = spoke("site", hub.port(), "", more, "");
    let last_error = |words: &str| {
        wait_until(words, || {
            remote(&leaf)["last_error"].to_string().contains(words)
        });
    };
    let silent = hub.accept();
    last_error("no INFO within 50ms");
    drop(silent);
    let next = || loop {
        let mut session = hub.accept();
        session.send(&hub.info(json!({})));
        // One that was given up while it waited here is closed.
        if session.line().starts_with("CONNECT ") {
            return session;
        }
    };
    let undecided = next();
    last_error("no answer to CONNECT within 2s");
    drop(undecided);
    next().send("-ERR 'Something is wrong'\r\n");
    last_error("it refuses: \\\"Something is wrong\\\"");
    next().send("HELO there\r\n");
    last_error("it sent something else than an answer to CONNECT");
    drop(next());
    last_error("it closed the connection before an answer to CONNECT");
    let mut session = hub.accept();
    session.send("INFO {\r\n");
    last_error("its INFO is");
    drop(session);
    assert_eq!(leaf.get_json("/leafz")["leafnodes"], 0);
}

/// What a hub does not take ends no connection: it is not sent.
#[test]
fn messages_that_the_hub_does_not_take_are_not_sent() {
    let hub = Hub::new();
    let leaf = spoke("site", hub.port(), "", "", "");
    let (mut session, _) = hub.let_in(json!({}));
    session.send("LS+ up.>\r\nLS+ jobs crew 1\r\n");
    wait_until("it is known", || knows(&leaf, "jobs"));
    let mut writer = client(&leaf);
    let large = "x".repeat(1001);
    writer.send(format!(
        "PUB up.a 1001\r\n{large}\r\nPUB jobs 1001\r\n{large}\r\n"
    ));
    writer.send(format!("PUB up.b 1000\r\n{}\r\n", &large[1..]));
    let before = session.up_to("LMSG up.b 1000");
    let others: Vec<_> = before.iter().filter(|it| it.contains("MSG")).collect();
    assert!(others.is_empty(), "{others:?}");
    let leafz = leaf.get_json("/leafz");
    assert_eq!(leafz["leafs"][0]["out_msgs"], 1, "{leafz}");
}

/// A hub tells of its cluster; what it permits may change, which begins a new connection.
#[test]
fn news_of_the_hub_are_heeded() {
    let (first, second) = (Hub::new(), Hub::new());
    let leaf = spoke("site", first.port(), "", "", "");
    let rules = json!({"import": {"allow": ["in.>"]}});
    let (mut session, _) = first.let_in(rules.clone());
    wait_for_leafs(&leaf, 1);
    // The same again changes nothing; many addresses are too many, and nonsense is none.
    session.send(&first.info(rules));
    let mut urls: Vec<String> = (0..1000)
        .map(|number| format!("127.0.9.{number}:x"))
        .collect();
    urls[0] = format!("127.0.0.1:{}", second.port());
    session.send(&first.info(json!({"leafnode_urls": urls})));
    session.send("PING\r\n");
    session.up_to("PONG");
    assert_eq!(remote(&leaf)["connects"], 1);
    session.send(&first.info(json!({"import": {"deny": ["in.>"]}, "leafnode_urls": urls})));
    // The next attempt is at the other one.
    let (mut session, _) = second.let_in(json!({}));
    session.up_to_interest();
    wait_until("it is connected again", || remote(&leaf)["connects"] == 2);
    let url = remote(&leaf)["url"].clone();
    assert_eq!(url, format!("127.0.0.1:{}", second.port()));
}

impl Leaf {
    /// Reads up to the first interest.
    fn up_to_interest(&mut self) {
        let line = self.line();
        assert!(line.starts_with("LS+ $LDS."), "{line}");
    }
}

/// A hub that reads nothing is closed like any other broker, and dialled again.
#[test]
fn a_hub_that_reads_nothing_is_cut() {
    let hub = Hub::new();
    let text = format!(
        "server_name: site\nleafnodes {{ write_deadline: \"200ms\", remotes: [ {{ url: \
         \"nats://127.0.0.1:{}\" }} ] }}\n",
        hub.port()
    );
    let leaf = Broker::midge().config(text).start();
    let mut session = hub.accept();
    session.send(&hub.info(json!({"max_payload": 10_000_000})));
    session.connect();
    session.send(&hub.info(json!({"connect_info": true})));
    session.send("LS+ flood\r\n");
    wait_until("it is known", || knows(&leaf, "flood"));
    let mut writer = client(&leaf);
    let large = "x".repeat(1_000_000);
    wait_until("it is cut", || {
        writer.send(format!("PUB flood {}\r\n{large}\r\n", large.len()));
        writer.sync();
        leaf.get_json("/varz")["slow_consumer_stats"]["leafs"].as_u64() > Some(0)
    });
    let _again = hub.accept();
}

/// Isolation that the leafnode asks for, and that it keeps itself.
#[test]
fn isolation_holds_on_either_side() {
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, "", "");
        let own = free_port();
        let text = format!(
            "server_name: site\nleafnodes {{ listen: \"127.0.0.1:{own}\", remotes: [ {{ url: \
             \"nats://127.0.0.1:{port}\", request_isolation: true, isolate: true }} ] }}\n"
        );
        let site = Broker::midge().config(text).start();
        let other = spoke("other", port, "", "", "");
        let below = spoke("below", own, "", "", "");
        wait_for_leafs(&hub, 2);
        wait_for_leafs(&site, 2);
        drop(below.connect());
        // The hub does not tell of the other one, and is not told of the one below.
        let _far = subscriber(&other, &hub, "of.other");
        let _below = subscriber(&below, &site, "of.below");
        let _own = subscriber(&site, &hub, "of.site");
        let mut at_hub = subscriber(&hub, &site, "of.hub");
        assert!(!knows(&site, "of.other"));
        assert!(!knows(&hub, "of.below"));
        client(&site).send("PUB of.hub 1\r\nx\r\n");
        assert_eq!(message(&mut at_hub).1, b"x");
        expect_silence(&mut at_hub);
    }
}

/// Other certificate files begin the connection anew.
#[test]
fn new_certificates_begin_a_new_connection() {
    let pki = Pki::new(&["hub", "leaf"]);
    let tls = |name: &str| {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?} }}",
            pki.text(&format!("{name}.pem")),
            pki.text(&format!("{name}.key")),
            pki.text("ca.pem")
        )
    };
    let port = free_port();
    let hub = hub(Broker::midge(), port, &tls("hub"), "");
    let leaf = spoke("leaf", port, "", &tls("leaf"), "");
    wait_for_leafs(&hub, 1);
    wait_for_leafs(&leaf, 1);
    pki.sign("leaf", test_support::pki::Term::Valid);
    wait_until("the connection is a new one", || {
        let remote = remote(&leaf);
        remote["connects"].as_u64() > Some(1) && remote["connected"] == true
    });
    drop(subscriber(&leaf, &hub, "still.here"));
}

/// A hub whose lines are too long, or have no end, is cut.
#[test]
fn lines_without_an_end_are_cut() {
    let hub = Hub::new();
    let leaf = spoke("site", hub.port(), "", "", "");
    let (mut session, _) = hub.let_in(json!({}));
    wait_for_leafs(&leaf, 1);
    session
        .0
        .get_mut()
        .set_write_timeout(Some(Duration::from_secs(5)))
        .expect("a time limit");
    let much = vec![b'x'; 1024 * 1024];
    // It is cut while this is written.
    let written = session.0.get_mut().write_all(&much);
    wait_until("it is cut", || remote(&leaf)["connected"] == false);
    drop(written);
    assert_eq!(leaf.get_json("/healthz")["status"], "ok");
}
