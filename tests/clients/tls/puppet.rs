//! The files of a real Puppet CA.

use super::clients::Libraries;
use test_support::{
    Broker,
    puppet_ca::{CA_HOST, PuppetCa},
    tls_client::Speaker,
    wait_until,
};

#[test]
fn nodes_of_a_real_puppet_ca_connect_until_revoked() {
    let puppet = PuppetCa::new();
    puppet.sign(&["node1", "gone"], "");
    let ssl_dir = puppet.ssl_dir(CA_HOST).display().to_string();
    let config = format!("tls {{ puppet: true, ssldir: {ssl_dir:?}, timeout: 10 }}");
    let broker = Broker::midge().config(config).start();
    let libraries = Libraries::new();
    let ca = puppet.certificates();
    libraries.expect(&broker, &ca, Some(&puppet.files("node1")), true);
    libraries.expect(&broker, &ca, Some(&puppet.files("gone")), true);
    libraries.expect(&broker, &ca, None, false);

    let speaker = |node: &str| {
        let [certificate, key] = puppet.files(node);
        Speaker::believing(&ca).showing(&certificate, &key)
    };
    let _kept = speaker("gone")
        .connect(broker.client_addr())
        .expect("gets in");
    puppet.revoke("gone");
    wait_until("the revoked node is disconnected", || {
        broker.get_json("/varz")["tls"]["revoked_closed"] == 1
    });
    libraries.expect(&broker, &ca, Some(&puppet.files("gone")), false);
    libraries.expect(&broker, &ca, Some(&puppet.files("node1")), true);
    let tls = broker.get_json("/varz")["tls"].clone();
    assert_eq!(tls["cert_name"], format!("CN={CA_HOST}"));
    assert!(tls["crl_days_left"].as_f64() > Some(1.0), "{tls}");
    let [certificate, _] = puppet.files(CA_HOST);
    assert!(certificate.exists());
}
