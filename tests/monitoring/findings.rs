//! Findings: the tests cause each rule's condition for real, and check that the finding
//! appears at `/explainz`, in collectd and in `check_nats`, clears, and does not appear in
//! the wrong cases.

mod broker;
mod causes;
mod ceilings;
mod certificates;
mod channels;
mod clients;
mod dns;
mod federation;
mod leafnodes;
mod members_differ;
mod nodes;
mod proofs;
mod proxy;
mod readers;
mod routes;
mod shown;
mod silent_nodes;
mod system;
mod tables;

use serde_json::Value;
use test_support::{Broker, BrokerBuilder, RawClient, wait_for, wait_until};

/// A broker with thresholds that a test reaches within a second. `more` adds to them.
fn quick(more: &str) -> BrokerBuilder {
    quick_with(more, "")
}

/// The same with options outside the block.
fn quick_with(more: &str, options: &str) -> BrokerBuilder {
    Broker::midge()
        .config(format!("{}{options}\n", thresholds(more)))
        .on_start(channels::attach)
}

/// The block of thresholds that a test reaches within a second.
fn thresholds(more: &str) -> String {
    format!(
        "diagnosis {{\n interval: 50ms\n appear_after: 100ms\n clear_after: 200ms\n incident_window: 4s\n \
         growth_window: 2s\n config_check: 50ms\n worker_delay: 60s\n {more}\n}}\n"
    )
}

/// A broker that reports for long what happened once.
fn with_long_incidents() -> BrokerBuilder {
    Broker::midge().config(thresholds("").replace("incident_window: 4s", "incident_window: 1h"))
}

/// Lets what such a broker reports be over soon.
fn with_short_incidents(broker: &Broker) {
    std::fs::write(broker.folder().join("broker.conf"), thresholds("")).expect("written");
    broker.signal(libc::SIGHUP);
}

/// The current findings with this code.
fn findings(broker: &Broker, code: &str) -> Vec<Value> {
    let explained = broker.get_json("/explainz");
    let all = explained["findings"].as_array().expect("findings");
    let found = all.iter().filter(|finding| finding["code"] == code);
    found
        .inspect(|finding| is_documented(finding))
        .cloned()
        .collect()
}

/// Checks that the manual says when a finding of this code has this severity.
fn is_documented(finding: &Value) {
    const MANUAL: &str = include_str!("../../docs/findings.md");
    let word = |key: &str| finding[key].as_str().expect(key);
    let section = MANUAL.split_once(&format!("\n## {}\n", word("code")));
    let levels =
        section.and_then(|(_, section)| section.split("Severity: ").nth(1)?.lines().next());
    let levels = levels.unwrap_or_else(|| panic!("it is not in the manual: {finding}"));
    let mut cases = levels.trim_end_matches('.').split("; ");
    let is_named = cases.any(|case| case.split([' ', ',']).next() == Some(word("severity")));
    assert!(is_named, "the manual says {levels:?} of {finding}");
}

/// Waits until a finding is shown by all channels.
fn appears(broker: &Broker, code: &str) -> Value {
    appears_while(broker, code, || {})
}

/// Repeats an action until a finding is shown by all channels.
fn appears_while(broker: &Broker, code: &str, mut cause: impl FnMut()) -> Value {
    let mut channels = channels::Seen::of(broker, code);
    wait_for(&format!("{code} appears"), || {
        cause();
        let finding = findings(broker, code).into_iter().next()?;
        channels.all_show(&finding).then_some(finding)
    })
}

/// Waits until there is no finding with this code.
fn clears(broker: &Broker, code: &str) {
    wait_until(&format!("{code} clears"), || {
        findings(broker, code).is_empty()
    });
    channels::note_cleared(broker, code);
}

/// Waits for enough samples for any finding to appear, and checks that none with this
/// code does.
fn stays_silent(broker: &Broker, code: &str) {
    let mut samples = 0;
    let mut last = Value::Null;
    wait_until("the broker takes samples", || {
        let explained = broker.get_json("/explainz");
        let found = findings(broker, code);
        assert!(found.is_empty(), "{found:?}");
        samples += usize::from(explained["sampled"] != last);
        last = explained["sampled"].clone();
        samples > 20
    });
}

/// A client that has logged in with a name.
fn client(broker: &Broker, name: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"name\":{name:?}}}\r\n"
    ));
    client.sync();
    client
}

/// The text of a finding.
fn text(finding: &Value) -> &str {
    finding["text"].as_str().expect("a text")
}

/// Makes reader threads stop, also when the test fails in between: a scope waits for
/// its threads.
struct StopsAtEnd<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for StopsAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
