//! Mode `cert`: brokers with certificates that expire.

use super::plugin::check;
use test_support::{
    Broker, BrokerBuilder,
    pki::{Pki, Term},
    wait_until,
};

const DAY: u32 = 24 * 3600;

/// The CA of [`Pki`] is valid for 30 days, less than the default threshold.
const MODE: [&str; 4] = ["--mode", "cert", "--ca-warning", "10:"];

fn start(builder: BrokerBuilder, pki: &Pki, more: &str) -> Broker {
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true {more} }}",
        pki.text("broker.pem"),
        pki.text("broker.key"),
        pki.text("ca.pem")
    );
    builder.config(tls).start()
}

/// Whether a perfdata value is approximately this.
fn is_about(value: &str, days: f64) -> bool {
    value
        .parse::<f64>()
        .is_ok_and(|value| (value - days).abs() < 0.1)
}

/// The same certificate at every broker: taken from /varz or, where a broker does not
/// report it, from a handshake that fails for lack of a client certificate.
#[test]
fn every_brokers_certificate_is_checked() {
    let pki = Pki::new(&[]);
    for (days, code) in [(60, 0), (20, 1), (2, 2)] {
        pki.sign("broker", Term::Seconds(days * DAY));
        let midge = start(Broker::midge(), &pki, "");
        let result = check(&midge, &MODE);
        result.expect(code, "certificate \"CN=broker\" expires in");
        let about = |value: &str| is_about(value, f64::from(days));
        assert!(about(result.value("cert_days")), "{result:?}");
        assert!(is_about(result.value("ca_days"), 30.0), "{result:?}");
        for builder in [Broker::nats_server(), Broker::nats_server_29()] {
            let result = check(&start(builder, &pki, ""), &MODE[..2]);
            result.expect(code, "certificate");
            assert!(about(result.value("cert_days")), "{result:?}");
            assert_eq!(result.value("ca_days"), "U", "{result:?}");
        }
    }
}

#[test]
fn midge_reports_ca_crl_and_rejected_files() {
    let pki = Pki::new(&[]);
    pki.sign("broker", Term::Seconds(60 * DAY));
    let crl = format!(", crl_file: {:?}", pki.text("crl.pem"));
    let broker = start(Broker::midge(), &pki, &crl);
    check(&broker, &MODE).expect(0, "certificate \"CN=broker\" expires in");
    let result = check(&broker, &[&MODE[..], &["--crl-warning", "40:"]].concat());
    result.expect(1, "CRL \"CN=Puppet CA: test\" expires in");
    assert!(is_about(result.value("crl_days"), 30.0), "{result:?}");
    check(&broker, &MODE[..2]).expect(1, "CA \"CN=Puppet CA: test\" expires in");

    std::fs::write(pki.path("broker.pem"), "nonsense").expect("break the certificate");
    wait_until("the broken file is noticed", || {
        broker.get_json("/varz")["tls"]["refused_files"].is_string()
    });
    check(&broker, &MODE).expect(1, "changed files cannot be used");
}

/// The route port's certificate is checked by its own name, with and without TLS for
/// clients, and for a nats-server that reports one; it is also in `/varz` and `/metrics`.
#[test]
fn the_route_ports_certificate_is_checked() {
    let pki = Pki::new(&["node"]);
    pki.sign("broker", Term::Seconds(60 * DAY));
    pki.sign("route", Term::Seconds(3 * DAY));
    let cluster = format!(
        "cluster {{ name: c, listen: \"127.0.0.1:-1\", tls {{ cert_file: {:?}, key_file: {:?}, \
         ca_file: {:?} }} }}",
        pki.text("route.pem"),
        pki.text("route.key"),
        pki.text("ca.pem")
    );
    let more = ["--route-ca-warning", "10:"];
    let alone = Broker::midge().config(cluster.clone()).start();
    let result = check(&alone, &[&MODE[..], &more].concat());
    result.expect(
        2,
        "certificate of the route port \"CN=route\" expires in 2.99 days",
    );
    assert_eq!(result.value("cert_days"), "U", "{result:?}");

    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\n",
        pki.text("broker.pem"),
        pki.text("broker.key"),
        pki.text("ca.pem")
    );
    let both = Broker::midge().config(tls + &cluster).start();
    let result = check(&both, &[&MODE[..], &more].concat());
    result.expect(2, "certificate of the route port \"CN=route\" expires in");
    assert!(is_about(result.value("cert_days"), 60.0), "{result:?}");
    assert!(is_about(result.value("route_cert_days"), 3.0), "{result:?}");
    assert!(is_about(result.value("route_ca_days"), 30.0), "{result:?}");
    let varz = both.get_json("/varz");
    let of_routes = &varz["cluster"]["tls_cert_not_after"];
    assert!(
        of_routes.is_string() && *of_routes != varz["tls_cert_not_after"],
        "{varz}"
    );
    let metrics = both.get("/metrics").body;
    for listener in ["client", "route"] {
        let name = format!(
            "midge_tls_expiry_time_seconds{{listener=\"{listener}\",what=\"certificate\"}}"
        );
        assert!(metrics.contains(&name), "{metrics}");
    }
    wait_until("it is a finding", || {
        let explained = both.get("/explainz").body;
        explained.contains("the certificate of the route port expires in 3 days")
            || explained.contains("the certificate of the route port expires in 2 days")
    });
    let nats = Broker::nats_server().config(cluster).start();
    let result = check(&nats, &MODE[..2]);
    result.expect(2, "certificate of the route port expires in");
}
