//! A fleet on one broker.

use test_support::{Broker, wait_until};

use super::{
    ca::Ca,
    commands::{Pace, every_command_is_answered},
    nodes::{self, Fleet},
};

/// A broker with a certificate of the CA, and the fleet that connects to it. The text of the
/// configuration is made from the block `tls`.
pub(super) fn start(
    ca: &Ca,
    configuration: impl FnOnce(&str) -> String,
    password: Option<&str>,
) -> (Broker, Fleet) {
    let ssl_dir = ca.issue("broker.example.net", "localhost,IP:127.0.0.1");
    let ssl_dir = ssl_dir.display().to_string();
    let tls = format!("tls {{ puppet: true, ssldir: {ssl_dir:?}, timeout: 20 }}");
    let broker = Broker::midge().config(configuration(&tls)).start();
    let fleet = Fleet::start(ca, &[broker.client_addr().to_string()], password);
    wait_until("all nodes are connected", || {
        nodes::all_subscribed(&[broker.get_json("/connz?subs=1")])
    });
    (broker, fleet)
}

/// Thresholds that a fleet would reach within seconds if what it does were none of its habits.
const THRESHOLDS: &str = "diagnosis { no_interest: 5, no_responders: 5, leak_subscriptions: 5, \
                          login_failures: 1, violations: 1, handshake_failures: 1 }";

/// Findings about what clients do.
const ABOUT_CLIENTS: &[&str] = &[
    "connect-storm",
    "handshake-failures",
    "login-failures",
    "no-interest-subjects",
    "no-responders",
    "permission-violations",
    "slow-consumer-recent",
    "subscription-leak",
];

#[test]
fn a_fleet_answers_every_command_and_is_told_as_healthy() {
    let ca = Ca::new();
    let (broker, fleet) = start(&ca, |tls| format!("{tls}\n{THRESHOLDS}"), None);
    let pace = Pace::measure(&fleet);
    every_command_is_answered(&fleet, pace);
    // mco has gone, and nobody was too slow.
    broker.wait_for_connections(nodes::NODES as u64);
    let varz = broker.get_json("/varz");
    assert_eq!(varz["slow_consumers"], 0, "{varz}");
    wait_until("registrations have reached nobody", || {
        let topz = broker.get("/topz").body;
        topz.contains("mcollective.broadcast.agent.registration")
    });
    let explained = broker.get_json("/explainz");
    let findings = explained["findings"].as_array().expect("findings");
    let about_clients = findings.iter().find(|finding| {
        let code = finding["code"].as_str().unwrap_or_default();
        ABOUT_CLIENTS.contains(&code)
    });
    assert_eq!(about_clients, None);
}
