//! How findings are shown: as text, as events, in the log, by `check_nats`.

use std::process::Command;

use super::{appears, clears, client, quick_with};
use test_support::{Broker, http, wait_until};

/// `check_nats --mode explain`: its exit code and what it printed.
fn check(broker: &Broker) -> (Option<i32>, String) {
    let output = Command::new(test_support::tools::check_nats())
        .args(["--url", &broker.monitor_url(), "--mode", "explain", "-v"])
        .output()
        .expect("check_nats starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text)
}

#[test]
fn a_finding_appears_in_every_output() {
    let broker = quick_with("", "max_connections: 10").start();
    let (code, result) = check(&broker);
    assert_eq!(code, Some(0), "{result}");
    assert!(result.contains("nothing is wrong"), "{result}");

    let mut clients: Vec<_> = (0..8).map(|_| client(&broker, "some")).collect();
    let finding = appears(&broker, "ceiling-connections");
    for field in ["since", "cause", "remedy", "link"] {
        assert_ne!(finding[field], "", "{finding}");
    }
    let (code, result) = check(&broker);
    assert_eq!(code, Some(1), "{result}");
    for part in ["ceiling-connections", "findings_warning=1", "do: "] {
        assert!(result.contains(part), "{part}: {result}");
    }
    let page = broker.get("/explainz?format=text");
    assert!(
        page.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain"))
    );
    assert!(
        page.body.contains("WARNING ceiling-connections"),
        "{page:?}"
    );
    let host = broker.monitor_addr();
    let asked = format!(
        "GET /explainz HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
    );
    assert!(
        http::send(host, &asked)
            .body
            .contains("WARNING ceiling-connections")
    );
    assert_eq!(broker.get("/explainz?format=xml").status, 400);

    clients.extend((0..2).map(|_| client(&broker, "more")));
    wait_until("it is critical", || check(&broker).0 == Some(2));
    drop(clients);
    clears(&broker, "ceiling-connections");
    assert_eq!(check(&broker).0, Some(0));

    let page = broker.get_json("/eventsz?type=finding");
    let events: Vec<&str> = page["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter_map(|event| event["text"].as_str())
        .collect();
    assert!(
        events[0].starts_with("warning ceiling-connections"),
        "{events:?}"
    );
    assert!(
        events[1].starts_with("worsened from warning to critical ceiling-connections"),
        "{events:?}"
    );
    assert!(
        events[2].starts_with("cleared ceiling-connections"),
        "{events:?}"
    );
    assert_eq!(events.len(), 3, "{events:?}");
    // The level of a line is that of its finding.
    for (event, level) in events.into_iter().zip(["WRN", "ERR", "INF"]) {
        let line = format!("[{level}] Finding: {event}");
        broker.log().wait_for(&line);
    }
}
