//! Keys of the blocks `cluster`, `federation` and `nodes`.

use super::*;
use crate::config::options::federation::Upstream;

#[test]
fn a_federation_with_every_key() {
    let text = "accounts { choria {} }\nfederation { name: \"prod-1\", account: choria, \
                collectives: [mcollective, eu], tls { cert_file: c, key_file: k }, upstream: [\n\
                \"tls://central1.example.net\", \"nats://u:p@[::1]:4333\", \
                \"srv://_mcollective-federation_server._tcp.example.net\" ] }";
    let federation = options(text).federation.expect("a federation");
    assert_eq!(federation.name, "prod-1");
    assert_eq!(federation.account.as_deref(), Some("choria"));
    assert_eq!(federation.collectives, ["mcollective", "eu"]);
    let shown: Vec<String> = federation
        .upstream
        .iter()
        .map(|upstream| match upstream {
            Upstream::Broker(url) => format!("{url} {:?}", url.user),
            Upstream::Srv(srv) => srv.to_string(),
        })
        .collect();
    let expected = [
        "central1.example.net:4222 \"\"",
        "[::1]:4333 \"u\"",
        "srv://_mcollective-federation_server._tcp.example.net",
    ];
    assert_eq!(shown, expected);
    let tls = federation.tls().expect("a block");
    assert_eq!(tls.known_hosts, ["central1.example.net", "::1"]);
    let least = options("federation { name: a, upstream: \"b:1\" }");
    let least = least.federation.expect("a federation");
    assert_eq!(least.collectives, ["mcollective"]);
    assert!(least.account.is_none() && least.tls.is_none());
}

/// The block as the legacy Puppet module's template writes it.
#[test]
fn a_cluster_as_puppet_writes_it() {
    let text = "cluster {\n  port: 4223\n  no_advertise: true\n  authorization {\n    \
                user: routes\n    password: s3cret\n    timeout: 0.75\n  }\n  routes = [\n    \
                nats-route://routes:s3cret@nats2.example.net:4223\n    \
                nats-route://routes:s3cret@nats3.example.net:4223\n  ]\n}\n";
    let cluster = options(text).cluster.expect("a cluster");
    assert_eq!((cluster.port, &*cluster.host), (Some(4223), ANY_HOST));
    assert!(cluster.no_advertise && cluster.name.is_none());
    assert_eq!(cluster.user.as_deref(), Some("routes"));
    assert_eq!(cluster.auth_timeout(), Duration::from_millis(750));
    let routes: Vec<String> = cluster.routes.iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["nats2.example.net:4223", "nats3.example.net:4223"]);
    assert_eq!(cluster.routes[0].password.reveal(), "s3cret");
}

#[test]
fn records_of_routes_and_of_a_domain() {
    let cluster = |text: &str| options(text).cluster.expect("a cluster");
    let records = |text: &str| {
        let records = cluster(text).records().into_iter();
        let records = records.map(|url| url.record.name().to_owned());
        records.collect::<Vec<_>>()
    };
    let text = "cluster { port: 1, srv_domain: example.net, routes: [\"a:1\", \
                \"srv://_midge._tcp.example.org\", \"srv://_midge._tcp.example.org\"] }";
    let expected = [
        "_midge._tcp.example.org",
        "_mcollective-broker._tcp.example.net",
    ];
    assert_eq!(records(text), expected);
    assert_eq!(cluster(text).routes.len(), 1);
    assert_eq!(records("cluster { port: 1, srv_domain: \"\" }"), [""; 0]);
    // A broker that is found by DNS alone has a port for routes.
    let cluster = cluster("cluster { srv_domain: example.net, nameserver: \"127.0.0.1:8600\" }");
    assert_eq!(cluster.port, Some(4223));
    let nameserver = "127.0.0.1:8600".parse().ok();
    assert_eq!(cluster.nameserver, nameserver);
    let record = cluster.records().remove(0).record;
    assert_eq!(record.clone().at(nameserver), record);
}

/// A listed broker is dialled with the login of its record, else with the cluster's own.
#[test]
fn the_login_for_listed_brokers() {
    let login = |text: &str| {
        let cluster = options(text).cluster.expect("a cluster");
        let url = cluster.listed(&cluster.records()[0], "n1", 4223);
        assert_eq!(url.to_string(), "n1:4223");
        (url.user, url.password.reveal().to_owned())
    };
    let routes = "port: 1, routes: \"srv://_a._tcp.example.net\"";
    let own = "authorization { user: u, password: p }";
    let expect = |user: &str, password: &str| (user.to_owned(), password.to_owned());
    assert_eq!(login(&format!("cluster {{ {routes} }}")), expect("", ""));
    assert_eq!(
        login(&format!("cluster {{ {routes}, {own} }}")),
        expect("u", "p")
    );
    let with = routes.replace("://", "://x:y@");
    assert_eq!(
        login(&format!("cluster {{ {with}, {own} }}")),
        expect("x", "y")
    );
}

#[test]
fn the_nodes_of_a_fleet() {
    let text = "nodes { expected: [a.example.net, b.example.net], file: \"/etc/midge/nodes\", learn: \
                \"2h\", certificates: \"*.example.net\", missing_after: \"1m\", state_file: s }";
    let nodes = options(text).nodes.expect("nodes");
    assert_eq!(nodes.expected, ["a.example.net", "b.example.net"]);
    assert_eq!(nodes.file, Some("/etc/midge/nodes".into()));
    assert_eq!(
        (nodes.learn, nodes.missing_after),
        (seconds(7200), seconds(60))
    );
    assert_eq!(nodes.certificates[0].text(), "*.example.net");
    assert_eq!(nodes.state_file, Some("s".into()));
    let least = options("nodes { expected: a }").nodes.expect("nodes");
    assert_eq!(
        (least.learn, least.missing_after),
        (seconds(0), seconds(300))
    );
    let rivals = "authorization { users: [ { certificate: \"a*\" }, { certificate: \"*b\" } ] }";
    assert!(warnings(rivals)[0].contains("equally specific"));
    let networks = options("allowed_sources: [\"10.0.0.0/8\"]").allowed_sources;
    assert_eq!(networks, [Network::parse("10.0.0.0/8").expect("a network")]);
}
