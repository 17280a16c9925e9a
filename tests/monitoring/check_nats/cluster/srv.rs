//! Brokers that a DNS SRV record lists; the records are those of a real DNS server.

use std::net::{SocketAddr, UdpSocket};

use test_support::{Broker, dns::Dns, free_address, mesh::Kind};

use super::{
    super::plugin::{PluginOutput, judge, mode, run},
    Cluster, line_of,
};

const NAME: &str = "_nats-server._tcp.example.net";

/// Answers with these hosts and ports for [`NAME`].
fn dns(hosts: &[(&str, u16)]) -> Dns {
    Dns::start(NAME, hosts)
}

fn look_up(nameserver: SocketAddr, arguments: &[&str]) -> PluginOutput {
    let nameserver = nameserver.to_string();
    judge(&[&["--srv", NAME, "--nameserver", &nameserver], arguments].concat())
}

/// All hosts of the record are checked, each at its own port; the order is that of the names.
#[test]
fn the_hosts_of_the_record_are_checked() {
    let mut cluster = Cluster::start(&[Kind::Nats, Kind::Midge]);
    let port = cluster.brokers[0].client_addr().port();
    let monitor = cluster.brokers[0].monitor_addr().port().to_string();
    let server = dns(&[("127.0.0.2", port), ("127.0.0.1", port)]);
    let result = look_up(server.address, &["-m", &monitor]);
    result.expect(0, "2 of 2 brokers OK");
    let labels: Vec<String> = result.labels().iter().map(|l| (*l).to_owned()).collect();
    assert_eq!(labels[1], "127.0.0.1::rtt");
    assert!(
        line_of(&result, "127.0.0.2").contains(" OK: "),
        "{result:?}"
    );
    let result = look_up(server.address, &["-m", &monitor, "--mode", "roundtrip"]);
    result.expect(0, "messages arrive between 2 brokers");
    cluster.brokers[0].kill();
    let result = look_up(server.address, &["-m", &monitor]);
    result.expect(2, "1 of 2 brokers answered; 127.0.0.1: ");
    assert_eq!(result.labels(), labels);
}

/// Two brokers at one host cannot both be asked at the same monitoring port.
#[test]
fn two_brokers_at_one_host_are_told_apart_or_not_asked() {
    let brokers = [Broker::midge().start(), Broker::nats_server().start()];
    let ports = brokers.each_ref().map(|broker| broker.client_addr().port());
    let server = dns(&[("127.0.0.1", ports[0]), ("127.0.0.1", ports[1])]);
    let result = look_up(server.address, &["--mode", "connect"]);
    result.expect(0, "2 of 2 brokers OK");
    let result = look_up(server.address, &[]);
    result.expect(3, "have one monitoring port, http://127.0.0.1:8222");
}

/// An entry of the record that cannot be checked hides none of the others, and is not OK.
#[test]
fn a_bad_entry_hides_no_other() {
    let cluster = Cluster::start(&[Kind::Nats, Kind::Nats]);
    let port = cluster.brokers[0].client_addr().port();
    let monitor = cluster.brokers[0].monitor_addr().port().to_string();
    let server = dns(&[("127.0.0.1", port), ("127.0.0.9", 0)]);
    let result = look_up(server.address, &["-m", &monitor]);
    result
        .expect(3, "not checked: SRV record ")
        .expect(3, "the port is a number from 1 to 65535")
        .expect(3, "1 of 1 broker OK");
    // Two that could not be told apart, and one that can.
    let server = dns(&[("127.0.0.1", port), ("127.0.0.1", 1), ("127.0.0.2", port)]);
    let result = look_up(server.address, &["-m", &monitor]);
    result.expect(3, "have one monitoring port, http://127.0.0.1:");
    assert!(
        line_of(&result, "127.0.0.2").contains(" OK: "),
        "{result:?}"
    );
    // Upper and lower case are one name.
    let server = dns(&[("localhost", port), ("LocalHost", port)]);
    look_up(server.address, &mode("connect")).expect(0, "1 of 1 broker OK");
}

/// One host in a record is one broker of perhaps more tomorrow: its labels have its name.
#[test]
fn a_record_with_one_host_is_a_list() {
    let cluster = Cluster::start(&[Kind::Nats]);
    let server = dns(&[("127.0.0.1", cluster.brokers[0].client_addr().port())]);
    let result = look_up(server.address, &["--mode", "connect"]);
    result.expect(0, "1 of 1 broker OK");
    assert_eq!(result.labels()[1], "127.0.0.1::rtt");
}

/// Too many for one packet: they come over TCP; too many for one call: some are left out,
/// which is not OK.
#[test]
fn a_long_record_is_read_to_its_end_and_bounded() {
    let hosts: Vec<String> = (1..=80).map(|n| format!("127.1.0.{n}")).collect();
    let port = free_address().port();
    let hosts: Vec<(&str, u16)> = hosts.iter().map(|host| (host.as_str(), port)).collect();
    let server = dns(&hosts);
    let result = look_up(server.address, &["--mode", "connect"]);
    result.expect(2, "0 of 64 brokers answered");
    assert_eq!(result.value("brokers_answering"), "0");
    let nameserver = server.address.to_string();
    let arguments = [
        "--srv",
        NAME,
        "--nameserver",
        &nameserver,
        "--mode",
        "connect",
    ];
    let (_, output) = run(&[&arguments[..], &["--format", "text"]].concat());
    assert!(
        output.contains("lists 80: 64 brokers are checked"),
        "{output}"
    );
}

#[test]
fn a_record_that_is_not_there_is_named() {
    let server = dns(&[]);
    let result = look_up(server.address, &[]);
    result.expect(
        3,
        &format!("SRV record \"{NAME}\" at name server {}: ", server.address),
    );
    result.expect(3, "there is none");
    assert_eq!(result.labels(), ["brokers_answering"]);
    assert_eq!(result.value("brokers_answering"), "U");
    // The root says that there is no such service.
    let server = dns(&[(".", 0)]);
    look_up(server.address, &[]).expect(3, "names no host");
}

/// A name server that is silent, or that says something else, takes half of the time.
#[test]
fn a_name_server_that_does_not_answer_is_named() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("its address");
    let result = look_up(address, &["-t", "2"]);
    result.expect(3, &format!("at name server {address}: no answer within "));
    let lying = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = lying.local_addr().expect("its address");
    let answers = std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = lying.recv_from(&mut buffer) {
            if length == 1 {
                return;
            }
            for nonsense in [&b"x"[..], &[0xff; 600], &buffer[..length]] {
                let _ = lying.send_to(nonsense, peer);
            }
        }
    });
    look_up(address, &["-t", "2"]).expect(3, &format!("at name server {address}: "));
    let end = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    end.send_to(b"x", address).expect("end the thread");
    answers.join().expect("the thread ends");
    look_up(free_address(), &["-t", "2"]).expect(3, ": Connection refused");
}
