//! SIGHUP: a running broker applies its changed configuration.

mod clients;
mod effects;
mod failed;
mod fresh;

use std::fs;

use test_support::{Broker, RawClient, wait_for, wait_until};

/// Writes another configuration and reloads. Returns the log from then on, once it
/// contains `until`.
fn reload(broker: &Broker, text: &str, until: &str) -> String {
    let before = broker.log().so_far();
    fs::write(broker.folder().join("broker.conf"), text).expect("write the configuration");
    broker.signal(libc::SIGHUP);
    wait_for(&format!("the log says {until:?}"), || {
        let log = broker.log().so_far().since(&before);
        log.already_has(until).then(|| log.to_string())
    })
}

const DONE: &str = "Reloaded server configuration (sha256:";

#[test]
fn changed_limits_apply_to_connected_clients() {
    let broker = Broker::midge().config("max_payload: 1000").start();
    let mut client = RawClient::connect(broker.client_addr());
    client.send("CONNECT {\"verbose\":false}\r\nPUB a 20\r\n01234567890123456789\r\n");
    assert!(client.sync().is_empty());
    let log = reload(&broker, "max_payload: 10", DONE);
    assert!(log.contains("Reloaded: max_payload = 10"), "{log}");
    assert_eq!(broker.get_json("/varz")["max_payload"], 10);
    client.send("PUB a 20\r\n01234567890123456789\r\n");
    let reported = client.read_to_end();
    assert!(
        reported
            .iter()
            .any(|frame| frame.line == b"-ERR 'Maximum Payload Violation'"),
        "{reported:?}"
    );
    let new_client = RawClient::connect(broker.client_addr());
    assert_eq!(new_client.info()["max_payload"], 10);
}

#[test]
fn settings_that_need_a_restart_are_named_and_the_rest_applies() {
    let broker = Broker::midge().config("ping_max: 3").start();
    let digest = broker.get_json("/varz")["config_digest"].clone();
    let log = reload(&broker, "server_name: other\nping_max: 4", DONE);
    assert!(log.contains("Reloaded: ping_max = 4"), "{log}");
    assert!(
        log.contains("server_name is \"other\" in the configuration but stays unset"),
        "{log}"
    );
    let varz = broker.get_json("/varz");
    assert_eq!(varz["ping_max"], 4);
    assert_ne!(varz["server_name"], "other");
    assert_ne!(varz["config_digest"], digest);
    assert_ne!(varz["config_load_time"], varz["start"]);
}

/// A new user and a setting that needs a restart in one file: the user can log in
/// immediately, and the broker names the pending setting.
#[test]
fn a_new_user_applies_beside_settings_that_need_a_restart() {
    let user = "authorization { user: u, password: p }";
    let config =
        "ping_max: 3\ndiagnosis { interval: 50ms, config_check: 50ms, appear_after: 50ms }";
    let broker = Broker::midge().config(config).start();
    let log = reload(
        &broker,
        &format!("{config}\n{user}\nserver_name: other"),
        DONE,
    );
    assert!(log.contains("server_name is \"other\""), "{log}");
    let mut client = broker.connect();
    client.send("CONNECT {\"user\":\"u\",\"pass\":\"p\",\"verbose\":false}\r\n");
    assert!(client.sync().is_empty(), "the user is let in");
    test_support::wait_until("the pending setting is reported", || {
        let explained = broker.get_json("/explainz");
        let first = &explained["findings"][0];
        first["code"] == "config-differs"
            && first["severity"] == "info"
            && first["text"]
                .as_str()
                .is_some_and(|text| text.contains("server_name"))
    });
}

#[test]
fn a_file_with_an_error_changes_nothing() {
    let broker = Broker::midge().config("ping_max: 3").start();
    let before = broker.get_json("/varz");
    let log = reload(
        &broker,
        "ping_max: 4\nmax_payload: \"many\"",
        "Failed to reload server configuration",
    );
    assert!(
        log.contains("broker.conf:2:") && log.contains("max_payload"),
        "{log}"
    );
    let after = broker.get_json("/varz");
    for key in ["ping_max", "config_digest", "config_load_time"] {
        assert_eq!(after[key], before[key], "{key}");
    }
}

#[test]
fn a_reload_without_a_configuration_file_is_refused() {
    let broker = Broker::midge().start();
    broker.signal(libc::SIGHUP);
    broker
        .log()
        .wait_for("can only reload config when a file is provided using -c or --config");
    broker.connect();
}

#[test]
fn excess_clients_are_closed_newest_first() {
    let broker = Broker::midge().config("max_connections: 10").start();
    let mut first = broker.connect();
    first.send("CONNECT {}\r\n");
    first.sync();
    let mut second = broker.connect();
    reload(&broker, "max_connections: 1", DONE);
    second.read_to_end();
    assert!(first.sync().is_empty());
}
