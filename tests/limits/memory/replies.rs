//! Requests to a service of another account that never replies.

use super::{LoadTest, MIB};
use test_support::wait_until;

const CONFIG: &str = "accounts {
  SVC: { users: [ { user: svc, password: p } ]
         exports: [ { service: \"svc.>\", threshold: 2s } ] }
  A: { users: [ { user: a, password: p }, { user: other, password: p } ]
       imports: [ { service: { account: SVC, subject: \"svc.>\" } } ] }
  B: { users: [ { user: b, password: p } ]
       imports: [ { service: { account: SVC, subject: \"svc.>\" } } ] }
}
";

/// Pending replies are limited to a share per account, in bytes; the limit is reported,
/// other accounts' requests continue, and the memory is released when the replies expire.
#[test]
fn a_service_that_never_replies_costs_only_its_requesters() {
    let threshold = CONFIG.replace("2s", "20s");
    let load_test = LoadTest::new(&threshold);
    let mut service = load_test.log_in("svc");
    service.send("SUB svc.> 1\r\n");
    service.sync();
    let mut asking = load_test.log_in("a");
    asking.send("SUB _INBOX.> 1\r\n");
    let long = "x".repeat(3500);
    let refused = load_test.while_others_are_served(|| {
        let mut refused = 0;
        for batch in 0..250 {
            for number in 0..100 {
                asking.send(format!(
                    "PUB svc.x _INBOX.{batch}.{number}.{long} 0\r\n\r\n"
                ));
            }
            // The service reads requests and sends nothing.
            service.sync();
            let reported = asking.sync();
            refused += reported
                .iter()
                .filter(|frame| frame.body.starts_with(b"NATS/1.0 503"))
                .count();
        }
        refused
    });
    assert!(
        (1..25_000 - 5000).contains(&refused),
        "{refused} were refused"
    );
    let now = load_test.adds_up();
    let held = now.cause("replies");
    assert!((16 * MIB..=64 * MIB).contains(&held), "{held}");
    assert!(
        now.resident < load_test.before.resident + 130 * MIB,
        "{now:#?}"
    );

    let mut other = load_test.log_in("b");
    other.send("SUB _INBOX.b 1\r\nPUB svc.b _INBOX.b 0\r\n\r\n");
    let reported = other.sync();
    assert!(reported.is_empty(), "{reported:?}");
    // Requests of the other account may arrive first.
    let reply = loop {
        let request = service.next_message().arguments();
        if request[0] == "svc.b" {
            break request[2].clone();
        }
    };
    service.send(format!("PUB {reply} 5\r\nhello\r\n"));
    assert_eq!(other.next_message().body, b"hello");

    let varz = load_test.broker.get_json("/varz");
    assert_eq!(varz["dropped_msgs"]["replies_full"], refused, "{varz}");
    wait_until("it is reported", || {
        let explained = load_test.broker.get_json("/explainz");
        let findings = explained["findings"].as_array().expect("findings");
        findings
            .iter()
            .any(|finding| finding["code"] == "replies-full" && finding["subject"] == "A")
    });
}

#[test]
fn pending_replies_expire() {
    let load_test = LoadTest::new(CONFIG);
    let mut service = load_test.log_in("svc");
    service.send("SUB svc.> 1\r\n");
    service.sync();
    let mut asking = load_test.log_in("a");
    let long = "x".repeat(3500);
    for number in 0..8000 {
        asking.send(format!("PUB svc.x _INBOX.{number}.{long} 0\r\n\r\n"));
        if number % 100 == 0 {
            asking.sync();
            service.sync();
        }
    }
    asking.sync();
    service.sync();
    wait_until("they have expired", || {
        super::Memory::of(&load_test.broker).cause("replies") < MIB
    });
    load_test.is_given_back(16 * MIB);
}
