//! Members that are found by DNS: brokers with no list of each other, and a real DNS server.

use std::collections::BTreeSet;

use serde_json::Value;
use test_support::{
    Broker,
    dns::{Dns, Entry},
    free_port,
    mesh::{self, Kind, Member, Plan},
    pki::Pki,
    wait_for, wait_until,
};

use crate::cluster::tls;

/// The record of the brokers of example.net.
const NAME: &str = "_mcollective-broker._tcp.example.net";

/// A member that knows no other, but the domain.
fn plan(dns: &Dns, name: &str, port: u16) -> Plan {
    let mut plan = Plan::new(Kind::Midge, name, port, &[]);
    plan.cluster += &format!(
        "\n  srv_domain: example.net\n  nameserver: \"{}\"",
        dns.address
    );
    plan.config = "diagnosis { interval: 50ms, appear_after: 100ms, clear_after: 100ms }".into();
    plan
}

fn hosts(ports: &[u16]) -> Vec<(&'static str, u16)> {
    ports.iter().map(|port| ("127.0.0.1", *port)).collect()
}

/// What a member knows of the record.
fn record(member: &Member) -> Value {
    member.broker.get_json("/clusterz")["srv"][0].clone()
}

/// The addresses that a member has found.
fn listed(member: &Member) -> BTreeSet<String> {
    let record = record(member);
    let listed = record["listed"].as_array().cloned().unwrap_or_default();
    let texts = listed.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn findings(member: &Member, code: &str) -> Vec<Value> {
    let explained = member.broker.get_json("/explainz");
    let all = explained["findings"].as_array().cloned();
    let mut all = all.unwrap_or_default();
    all.retain(|finding| finding["code"] == code);
    all
}

/// Waits for enough samples for any finding to appear.
fn has_none(member: &Member, code: &str) {
    let mut samples = BTreeSet::new();
    wait_until("it takes samples", || {
        let found = findings(member, code);
        assert!(found.is_empty(), "{found:?}");
        let explained = member.broker.get_json("/explainz");
        samples.insert(explained["sampled"].to_string());
        samples.len() > 20
    });
}

/// Members without any list find each other, a nats-server among them, and leave themselves out.
#[test]
fn members_find_each_other_with_no_list() {
    let ports = [free_port(), free_port(), free_port()];
    let dns = Dns::start(NAME, &hosts(&ports));
    let mut members: Vec<Member> = (0..2)
        .map(|index| plan(&dns, &format!("n{index}"), ports[index]).start())
        .collect();
    members.push(Plan::new(Kind::Nats, "n2", ports[2], &[]).start());
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    for (member, port) in members[..2].iter().zip(ports) {
        wait_until("it knows that one of them is itself", || {
            let clusterz = member.broker.get_json("/clusterz");
            clusterz["expected"] == 3 && clusterz["present"] == 3
        });
        assert_eq!(listed(member).len(), 3);
        wait_until("none is missing", || {
            findings(member, "route-missing").is_empty()
        });
        has_none(member, "route-missing");
        let log = member.broker.log();
        log.wait_for(&format!("SRV record {NAME:?} lists 3 brokers: 127.0.0.1:"));
        log.wait_for(&format!("127.0.0.1:{port} leads to this broker itself"));
        let routez = member.broker.get_json("/routez");
        assert_eq!(routez["srv"][0]["name"], NAME);
        assert_ne!(routez["srv"][0]["answered"], "");
        let clusterz = member.broker.get_json("/clusterz");
        let others = clusterz["members"].as_array().cloned().unwrap_or_default();
        for other in others.iter().filter(|other| other["own"] != true) {
            assert_eq!(other["srv"], NAME, "{other}");
        }
    }
}

/// The same on the command line, without a file.
#[test]
fn a_broker_finds_its_peers_by_flags_alone() {
    let ports = [free_port(), free_port()];
    let dns = Dns::start(NAME, &hosts(&ports));
    let start = |port: u16| {
        Broker::midge()
            .flag("--discover-domain")
            .flag("example.net")
            .flag("--nameserver")
            .flag(dns.address.to_string())
            .flag("--cluster")
            .flag(format!("nats://127.0.0.1:{port}"))
            .start()
    };
    let brokers = ports.map(start);
    for broker in &brokers {
        wait_until("there is a route", || {
            broker.get_json("/routez")["num_routes"] == 1
        });
    }
}

/// A broker that is added to the record is dialled, though nobody else knows it. One that is
/// removed keeps its route, and is not missed when it has gone.
#[test]
fn members_join_and_leave_with_the_record() {
    let ports = [free_port(), free_port(), free_port()];
    let mut dns = Dns::start(NAME, &hosts(&ports[..2]));
    let first = plan(&dns, "n0", ports[0]).start();
    let mut second = plan(&dns, "n1", ports[1]).start();
    let mut third = Plan::new(Kind::Midge, "n2", ports[2], &[]).start();
    mesh::wait_for_mesh(&[&first, &second]);
    dns.list(NAME, &hosts(&ports));
    mesh::wait_for_mesh(&[&first, &second, &third]);
    let rids = || -> Vec<u64> {
        let routes = first.routes().into_iter();
        routes.filter_map(|route| route["rid"].as_u64()).collect()
    };
    let before = rids();

    dns.list(NAME, &hosts(&ports[..2]));
    wait_until("the record is asked again", || listed(&first).len() == 2);
    assert_eq!(rids(), before);
    third.broker.kill();
    wait_until("its route is gone", || first.routes().len() == 1);
    has_none(&first, "route-missing");

    second.broker.kill();
    let missing = wait_for("the one that the record lists is missing", || {
        findings(&first, "route-missing").into_iter().next()
    });
    assert_eq!(missing["severity"], "critical", "{missing}");
    assert!(missing["text"].to_string().contains(NAME), "{missing}");
    dns.list(NAME, &hosts(&ports[..1]));
    wait_until("it is not missed any more", || {
        findings(&first, "route-missing").is_empty()
    });
    assert_eq!(first.broker.get_json("/clusterz")["expected"], 1);
}

/// An answer that may be kept for an hour is not, once a broker of it cannot be reached.
#[test]
fn a_broker_that_moved_is_found_again() {
    let [own, old, new] = [free_port(), free_port(), free_port()];
    let mut dns = Dns::start(NAME, &[]);
    dns.ttl = 3600;
    dns.list(NAME, &hosts(&[old]));
    let first = plan(&dns, "n0", own).start();
    let mut other = Plan::new(Kind::Midge, "n1", old, &[]).start();
    mesh::wait_for_mesh(&[&first, &other]);
    assert_eq!(record(&first)["ttl"], 3600);
    dns.list(NAME, &hosts(&[new]));
    other.broker.kill();
    let other = Plan::new(Kind::Midge, "n1", new, &[]).start();
    mesh::wait_for_mesh(&[&first, &other]);
}

/// Without an answer of the DNS the routes stay, and those that end come back.
#[test]
fn a_fault_of_the_dns_ends_no_route() {
    let ports = [free_port(), free_port()];
    let mut dns = Dns::start(NAME, &hosts(&ports));
    let first = plan(&dns, "n0", ports[0]).start();
    let other = Plan::new(Kind::Midge, "n1", ports[1], &[]);
    let mut second = other.start();
    mesh::wait_for_mesh(&[&first, &second]);
    for is_silent in [true, false] {
        // No answer at all, or that there is no such record.
        match is_silent {
            true => dns.stop(),
            false => dns.answer(&[]),
        }
        let finding = wait_for("it is a finding", || {
            findings(&first, "srv-failing").into_iter().next()
        });
        assert_eq!(finding["severity"], "warning", "{finding}");
        assert_eq!(listed(&first).len(), 2);
        second.broker.kill();
        wait_until("the route is lost", || first.routes().is_empty());
        second = other.start();
        mesh::wait_for_mesh(&[&first, &second]);
        assert_ne!(record(&first)["failing_since"], "");
        dns.list(NAME, &hosts(&ports));
        wait_until("it is over", || findings(&first, "srv-failing").is_empty());
        assert_eq!(record(&first)["failing_since"], "");
    }
}

/// `srv://` in `routes`, beside addresses, with a login of its own or the cluster's.
#[test]
fn a_record_stands_among_the_routes() {
    let record = "_midge._tcp.example.net";
    for login in ["", "routes:s3cret@"] {
        let ports = [free_port(), free_port(), free_port()];
        let dns = Dns::start(record, &hosts(&ports[1..]));
        let others =
            [1, 2].map(|n| Plan::new(Kind::Midge, &format!("n{n}"), ports[n], &[]).start());
        let mut first = Plan::new(Kind::Midge, "n0", ports[0], &[]);
        first.cluster += &format!("\n  nameserver: \"{}\"", dns.address);
        let text = first.text();
        let (head, tail) = text.split_once("routes = [\n").expect("a list of routes");
        let text = format!("{head}routes = [\n    srv://{login}{record}\n{tail}");
        let first = first.start_with(text);
        mesh::wait_for_mesh(&[&first, &others[0], &others[1]]);
        first.broker.log().assert_lacks("s3cret");
        assert!(!first.broker.get("/clusterz").body.contains("s3cret"));
    }
}

/// The certificate of a broker that a record lists must be for the host that the record names.
#[test]
fn certificates_are_for_the_host_in_the_record() {
    let pki = Pki::new(&[]);
    for (host, name) in [("localhost", "good"), ("another.example.net", "wrong")] {
        pki.sign_for(name, host);
    }
    pki.sign_for("n0", "localhost");
    let secured = |mut plan: Plan, certificate: &str| {
        let block = tls::block(&pki, certificate, &pki, "");
        plan.cluster += &format!("\n  {block}");
        plan
    };
    let ports = [free_port(), free_port(), free_port()];
    let listed: Vec<(&str, u16)> = ports.iter().map(|port| ("localhost", *port)).collect();
    let dns = Dns::start(NAME, &listed);
    let first = secured(plan(&dns, "n0", ports[0]), "n0").start();
    let good = secured(Plan::new(Kind::Midge, "n1", ports[1], &[]), "good").start();
    let _wrong = secured(Plan::new(Kind::Midge, "n2", ports[2], &[]), "wrong").start();
    mesh::wait_for_mesh(&[&first, &good]);
    let text = first
        .broker
        .log()
        .wait_for_line(&[&format!("localhost:{}", ports[2]), "TLS handshake error"]);
    assert!(text.contains("another.example.net"), "{text}");
    assert_eq!(first.routes().len(), 1);
}

/// Of a record that is too long those with the best priority are dialled, and the rest is told.
#[test]
fn a_long_record_is_bounded() {
    let own = free_port();
    let hosts: Vec<String> = (1..=80).map(|n| format!("127.1.0.{n}")).collect();
    let port = free_port();
    let entries = (0..).zip(&hosts).map(|(priority, host)| Entry {
        name: NAME,
        host,
        port,
        priority,
        weight: 0,
    });
    let mut dns = Dns::start(NAME, &[]);
    dns.answer(&entries.collect::<Vec<_>>());
    let member = plan(&dns, "n0", own).start();
    let finding = wait_for("it is a finding", || {
        findings(&member, "srv-failing").into_iter().next()
    });
    assert_eq!(finding["severity"], "warning");
    assert!(finding["text"].to_string().contains("16 more"), "{finding}");
    let listed = listed(&member);
    assert_eq!(listed.len(), 64);
    assert!(listed.contains(&format!("127.1.0.64:{port}")));
    assert!(!listed.contains(&format!("127.1.0.65:{port}")));
    assert_eq!(record(&member)["left_out"], 16);
}
