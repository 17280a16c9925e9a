//! Findings about the fleet: nodes that are missing, lists that cannot be read, and clients that are
//! spread unevenly.

use std::fs;

use test_support::{
    Broker, RawClient, free_port, mesh::Kind, pki::Pki, tls_client::Speaker, wait_until,
};

use super::{appears, clears, quick_with, routes, stays_silent, text};

const NODE: &str = "node1.example.net";

fn config(pki: &Pki, block: &str) -> String {
    let [cert, key, ca] = ["broker.pem", "broker.key", "ca.pem"].map(|file| pki.text(file));
    format!(
        "tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true, timeout: 20 }}\n\
         server_name: n0\nnodes {{ missing_after: \"1s\", {block} }}"
    )
}

#[test]
pub fn a_missing_node_is_reported_until_it_is_back() {
    let pki = Pki::new(&["broker", NODE]);
    let broker = quick_with("", &config(&pki, &format!("expected: [{NODE:?}]"))).start();
    let finding = appears(&broker, "nodes-missing");
    assert_eq!(
        (&finding["severity"], &finding["subject"]),
        (&"warning".into(), &"nodes".into())
    );
    let words = text(&finding);
    assert!(
        words.contains("1 of 1 expected node not connected") && words.contains("never seen"),
        "{words}"
    );
    let node = node(&broker, &pki);
    clears(&broker, "nodes-missing");
    drop(node);
    let finding = appears(&broker, "nodes-missing");
    assert!(
        text(&finding).contains("last at n0 from 127.0.0.1:"),
        "{finding}"
    );
}

fn node(broker: &Broker, pki: &Pki) -> impl Sized {
    let key = pki.path(&format!("{NODE}.key"));
    let speaker = Speaker::believing(&pki.path("ca.pem"));
    let speaker = speaker.showing(&pki.path(&format!("{NODE}.pem")), &key);
    let (mut stream, _) = speaker.connect(broker.client_addr()).expect("TLS");
    std::io::Write::write_all(&mut stream, b"CONNECT {\"verbose\":false}\r\n").expect("send");
    stream
}

#[test]
pub fn a_list_that_cannot_be_read_is_reported_until_it_can() {
    let pki = Pki::new(&["broker"]);
    let list = pki.path("nodes");
    fs::write(&list, "").expect("write the list");
    let broker = quick_with("", &config(&pki, &format!("file: {:?}", pki.text("nodes")))).start();
    stays_silent(&broker, "nodes-unreadable");
    fs::write(&list, "a b\n").expect("write the list");
    let finding = appears(&broker, "nodes-unreadable");
    assert!(text(&finding).contains("nodes:1: "), "{finding}");
    fs::write(&list, "# nothing\n").expect("write the list");
    clears(&broker, "nodes-unreadable");
}

#[test]
pub fn clients_at_one_member_are_reported_until_they_are_spread() {
    let ports = [free_port(), free_port()];
    let start = |index: usize| {
        let name = format!("n{index}");
        let port = ports[index];
        routes::plan(
            Kind::Midge,
            &name,
            port,
            &[ports[1 - index]],
            "uneven_clients: 5",
        )
        .start()
    };
    let members = [start(0), start(1)];
    let connect = |member: usize, count: usize| -> Vec<RawClient> {
        let clients = (0..count).map(|_| members[member].client());
        clients.collect()
    };
    let first = connect(0, 4);
    stays_silent(&members[0].broker, "clients-uneven");
    let more = connect(0, 8);
    let finding = appears(&members[0].broker, "clients-uneven");
    assert_eq!(
        (&finding["severity"], &finding["subject"]),
        (&"info".into(), &"n0".into())
    );
    let words = text(&finding);
    assert!(
        words.contains("12 clients here") && words.contains("an even share is 6: 6 too many"),
        "{words}"
    );
    assert!(words.contains("n1 0"), "{words}");
    stays_silent(&members[1].broker, "clients-uneven");
    let others = connect(1, 8);
    clears(&members[0].broker, "clients-uneven");
    wait_until("the clients are there", || {
        members[1].broker.get_json("/varz")["connections"] == 8
    });
    drop((first, more, others));
}
