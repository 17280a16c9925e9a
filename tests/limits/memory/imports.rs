//! Import cycles, and which account the subscriptions of imports count for.

use std::process::Command;

use super::{LoadTest, MIB, address_space::limited};
use test_support::{Broker, RawClient, tools, wait_until};

/// A cycle through mappings is refused like any other.
#[test]
fn an_import_cycle_through_mappings_is_refused() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("broker.conf");
    for (mapping, is_circle) in [
        ("out.$1", true),
        ("out.{{random(5)}}", true),
        ("elsewhere.$1", false),
    ] {
        let config = format!(
            "accounts {{
              A: {{ exports: [ {{ service: \"back.*\" }} ]
                   imports: [ {{ service: {{ account: B, subject: \"in.*\" }}, to: \"go.*\" }} ]
                   mappings: {{ \"back.*\": \"go.$1\" }} }}
              B: {{ exports: [ {{ service: \"in.*\" }} ]
                   imports: [ {{ service: {{ account: A, subject: \"back.*\" }}, to: \"out.*\" }} ]
                   mappings: {{ \"in.*\": {mapping:?} }} }}
            }}\n"
        );
        std::fs::write(&file, config).expect("written");
        let output = Command::new(tools::midge())
            .args(["-t", "-c"])
            .arg(&file)
            .output()
            .expect("run midge");
        let reported = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), !is_circle, "{mapping}: {reported}");
        assert_eq!(
            reported.contains("imports form a cycle"),
            is_circle,
            "{reported}"
        );
    }
}

/// A cycle that the configuration does not show: each message is dropped eventually, as
/// in nats-server, and it is reported.
#[test]
fn an_undetected_import_cycle_terminates() {
    let load_test = LoadTest::new(
        "accounts {
          A: { users: [ { user: a, password: p }, { user: other, password: p } ]
               exports: [ { service: \"back.*.*\" } ]
               imports: [ { service: { account: B, subject: \"in.*\" }, to: \"p-q.*\" }
                          { service: { account: B, subject: \"also.*\" }, to: \"*.a-b\" } ]
               mappings: { \"back.*.*\": \"p-q.a-b\" } }
          B: { users: [ { user: b, password: p } ]
               exports: [ { service: \"in.*\" }, { service: \"also.*\" } ]
               imports: [ { service: { account: A, subject: \"back.*.*\" }, to: \"out.*.*\" } ]
               mappings: { \"in.*\": \"out.{{split(1,-)}}\"
                           \"also.*\": [ { destination: \"out.{{split(1,-)}}\", weight: 99% } ] } }
        }",
    );
    let mut client = load_test.log_in("a");
    client.send("SUB _INBOX.> 1\r\n");
    let mut service = load_test.log_in("b");
    service.send("SUB out.> 1\r\n");
    service.sync();
    load_test.while_others_are_served(|| {
        for number in 0..100 {
            client.send(format!("PUB p-q.a-b _INBOX.{number} 0\r\n\r\n"));
        }
        client.sync();
    });
    let received = service.sync();
    let received = received.iter().filter(|frame| frame.is_message()).count();
    assert!((100..=1000).contains(&received), "{received}");
    let now = load_test.adds_up();
    assert!(
        now.resident < load_test.before.resident + 24 * MIB,
        "{now:#?}"
    );
    wait_until("it is reported", || {
        let explained = load_test.broker.get_json("/explainz");
        let findings = explained["findings"].as_array().expect("findings");
        findings
            .iter()
            .any(|finding| finding["code"] == "imports-cut")
    });
}

/// Endless subscriptions to another account's export use the importing account's share of
/// memory, however many imports each subscription passes.
#[test]
fn import_subscriptions_count_for_the_importing_account() {
    let broker = limited(
        "max_control_line: 128KB
         accounts {
           EXPORTER: { users: [ { user: exporter, password: p } ]
                       exports: [ { stream: \">\" } ] }
           IMPORTER: { users: [ { user: importer, password: p } ]
                       imports: [
                         { stream: { account: EXPORTER, subject: \"a.>\" }, to: \"in.>\" }
                         { stream: { account: EXPORTER, subject: \"b.>\" }, to: \"in.>\" }
                         { stream: { account: EXPORTER, subject: \"c.>\" }, to: \"in.>\" }
                       ] }
         }",
    );
    let log_in = |broker: &Broker, user: &str| {
        let mut client: RawClient = broker.connect();
        client.send(format!(
            "CONNECT {{\"verbose\":false,\"user\":{user:?},\"pass\":\"p\"}}\r\n"
        ));
        client.sync();
        client
    };
    let mut sid = 0;
    let mut is_taken = |client: &mut RawClient, len: usize| {
        sid += 1;
        client.send(format!("SUB in.{sid}.{} {sid}\r\n", "x".repeat(len)));
        let answers = client.sync();
        !answers.iter().any(|it| it.verb() == b"-ERR")
    };
    let mut importer = log_in(&broker, "importer");
    let mut taken = 0;
    while is_taken(&mut importer, 60_000) {
        taken += 1;
        assert!(taken < 5000, "no end of it");
    }
    while is_taken(&mut importer, 2000) {}
    let mut exporter = log_in(&broker, "exporter");
    for _ in 0..20 {
        assert!(is_taken(&mut exporter, 60_000));
    }
    // All of it is released, from the account it was counted for.
    drop(importer);
    broker.wait_for_connections(1);
    let mut importer = log_in(&broker, "importer");
    for _ in 0..taken / 2 {
        assert!(is_taken(&mut importer, 60_000));
    }
}
