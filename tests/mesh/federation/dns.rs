//! Upstream brokers that a DNS SRV record lists.

use test_support::{
    Broker,
    dns::{Dns, Entry},
    free_port,
    pki::Pki,
    wait_until,
};

use super::{Node, admin, connected, federationz, round_trip};

const NAME: &str = "_mcollective-federation_server._tcp.example.net";

/// A site's broker with this record and more settings of its federation.
fn site(dns: &Dns, more: &str) -> Broker {
    let text = format!(
        "server_name: fed1\ndiagnosis {{ interval: 50ms, appear_after: 100ms }}\n\
         federation {{ name: prod, upstream: \"srv://{NAME}\", nameserver: \"{}\", {more} }}\n",
        dns.address
    );
    Broker::midge().config(text).start()
}

/// Waits until this broker is the one that is used.
fn uses(site: &Broker, host: &str, port: u16) {
    let address = format!("{host}:{port}");
    wait_until(&format!("it uses {address}"), || {
        let upstream = federationz(site)["upstream"].clone();
        upstream["connected"] == true && upstream["address"] == *address
    });
}

fn entry(port: u16, priority: u16) -> Entry<'static> {
    Entry {
        name: NAME,
        host: "127.0.0.1",
        port,
        priority,
        weight: 0,
    }
}

/// The broker of the lowest priority is used, the next one while that is gone; and the record is
/// asked anew for each connection.
#[test]
fn brokers_of_a_record_are_used_by_priority() {
    let ports = [free_port(), free_port(), free_port()];
    let central = |index: usize| Broker::midge().port(ports[index]).start();
    let mut dns = Dns::start(NAME, &[]);
    dns.answer(&[entry(ports[0], 20), entry(ports[1], 10)]);
    let mut centrals = [central(0), central(1)];
    let site = site(&dns, "");
    uses(&site, "127.0.0.1", ports[1]);
    centrals[1].kill();
    uses(&site, "127.0.0.1", ports[0]);
    // Lower than both, and the former one is gone from the record.
    let third = central(2);
    dns.answer(&[entry(ports[0], 20), entry(ports[2], 1)]);
    centrals[0].kill();
    uses(&site, "127.0.0.1", ports[2]);
    let mut node = Node::at(&site, "web1");
    round_trip(&mut admin(&third), "prod", &mut node);
}

/// A record that is not there is told with its name and who was asked, and is found later.
#[test]
fn a_missing_record_is_told_and_found_later() {
    let central = Broker::midge().start();
    let mut dns = Dns::start(NAME, &[]);
    let site = site(&dns, "");
    wait_until("it is told", || {
        let error = federationz(&site)["upstream"]["error"].to_string();
        error.contains(NAME) && error.contains(&dns.address.to_string())
    });
    wait_until("it is a finding", || {
        let findings = site.get_json("/explainz").to_string();
        findings.contains("federation-unreachable") && findings.contains("there is none")
    });
    dns.list(NAME, &[("127.0.0.1", central.client_addr().port())]);
    connected(&site);
}

/// The upstream broker's certificate must be for the host that the record names.
#[test]
fn the_certificate_is_for_the_host_in_the_record() {
    let pki = Pki::new(&["fed1"]);
    let file = |name: &str| pki.text(name);
    let tls = |name: &str, more: &str| {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {more} }}",
            file(&format!("{name}.pem")),
            file(&format!("{name}.key")),
            file("ca.pem")
        )
    };
    for (host, is_accepted) in [("localhost", true), ("another.example.net", false)] {
        pki.sign_for("central", host);
        let text = tls("central", "verify: true");
        let central = Broker::midge().config(text).start();
        let port = central.client_addr().port();
        let dns = Dns::start(NAME, &[("localhost", port)]);
        let site = site(&dns, &tls("fed1", ""));
        match is_accepted {
            true => uses(&site, "localhost", port),
            false => wait_until("it is refused", || {
                let error = federationz(&site)["upstream"]["error"].to_string();
                error.contains("TLS handshake error") && error.contains(host)
            }),
        }
    }
}
