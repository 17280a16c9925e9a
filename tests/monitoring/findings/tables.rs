//! Findings about full tables and import cycles.

use super::{appears_while, clears, quick_with, stays_silent, text};
use test_support::{Broker, RawClient, wait_until};

/// A client of a broker with several users.
fn log_in(broker: &Broker, user: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"user\":{user:?},\
         \"pass\":\"p\"}}\r\n"
    ));
    client.sync();
    client
}

/// A subject so long that few of them fill a table.
fn long(number: usize) -> String {
    format!("{number}.{}", "x".repeat(60_000))
}

#[test]
pub fn an_account_with_too_many_pending_replies_is_named() {
    let broker = quick_with(
        "",
        "max_control_line: 128KB
         accounts {
           SVC: { users: [ { user: svc, password: p } ]
                  exports: [ { service: svc, threshold: 1h } ] }
           A: { users: [ { user: a, password: p } ]
                imports: [ { service: { account: SVC, subject: svc } } ] }
         }",
    )
    .start();
    let mut service = log_in(&broker, "svc");
    service.send("SUB svc 1\r\n");
    service.sync();
    stays_silent(&broker, "replies-full");
    let mut asking = log_in(&broker, "a");
    let mut ask = |count| {
        for number in 0..count {
            asking.send(format!("PUB svc {} 0\r\n\r\n", long(number)));
        }
        asking.sync();
        service.sync();
    };
    // Just below the limit: what is pending must not take long.
    (0..40).for_each(|_| ask(20));
    let finding = appears_while(&broker, "replies-full", || ask(20));
    assert_eq!(finding["subject"], "A");
    assert!(text(&finding).contains("refused within"), "{finding}");
    clears(&broker, "replies-full");
}

#[test]
pub fn an_import_cycle_is_reported() {
    let broker = quick_with(
        "",
        "accounts {
           A: { users: [ { user: a, password: p } ]
                exports: [ { service: \"back.*.*\" } ]
                imports: [ { service: { account: B, subject: \"in.*\" }, to: \"go.*\" } ]
                mappings: { \"back.*.*\": \"go.a-b\" } }
           B: { exports: [ { service: \"in.*\" } ]
                imports: [ { service: { account: A, subject: \"back.*.*\" }, to: \"out.*.*\" } ]
                mappings: { \"in.*\": \"out.{{split(1,-)}}\" } }
         }",
    )
    .start();
    stays_silent(&broker, "imports-cut");
    let mut client = log_in(&broker, "a");
    let finding = appears_while(&broker, "imports-cut", || {
        client.send("PUB go.a-b 0\r\n\r\n");
        client.sync();
    });
    assert_eq!(finding["subject"], "A");
    // Each message is counted, not each lookup of its subscribers.
    wait_until("a hundred at once are reported", || {
        client.send("PUB go.a-b 0\r\n\r\n".repeat(100));
        client.sync();
        let reported = super::findings(&broker, "imports-cut");
        let times = reported.first().map(|it| {
            let words = text(it).split_ascii_whitespace();
            words.filter_map(|word| word.parse::<u64>().ok()).max()
        });
        times.flatten() >= Some(100)
    });
    clears(&broker, "imports-cut");
}

#[test]
pub fn a_full_table_is_reported() {
    let broker = quick_with(
        "",
        "max_control_line: 128KB
         authorization { users: [
           { user: p, password: p }
           { user: r, password: p,
             permissions: { subscribe: \">\", allow_responses: { max: 1, expires: 1h } } }
         ] }",
    )
    .start();
    stays_silent(&broker, "table-full");
    let mut responders: Vec<RawClient> = (0..8)
        .map(|_| {
            let mut responder = log_in(&broker, "r");
            responder.send("SUB ask 1\r\n");
            responder.sync();
            responder
        })
        .collect();
    let mut asking = log_in(&broker, "p");
    let mut asked = 0;
    let mut ask = |count| {
        for _ in 0..count {
            asked += 1;
            asking.send(format!("PUB ask {} 0\r\n\r\n", long(asked)));
        }
        asking.sync();
        responders.iter_mut().for_each(|responder| {
            responder.sync();
        });
    };
    // Just below the limit: what is pending must not take long.
    (0..12).for_each(|_| ask(10));
    let finding = appears_while(&broker, "table-full", || ask(10));
    assert_eq!(finding["subject"], "permissions");
    clears(&broker, "table-full");
}
