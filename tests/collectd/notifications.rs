//! Notifications: findings of a real midge, received through collectd's own plugins.

use std::{fs, time::Duration};

use serde_json::Value;
use test_support::{Broker, RawClient, free_port, mesh, wait_until};

use crate::{
    chain::{Chain, Received},
    collectd::{Collectd, Setup, instance},
};

/// Thresholds that a test reaches within a second.
const QUICK: &str = "diagnosis {\n interval: 50ms\n appear_after: 100ms\n clear_after: 200ms\n \
    incident_window: 2s\n config_check: 50ms\n worker_delay: 60s\n}\n";

/// How long after its start a broker may not have looked at everything.
const SETTLED: f64 = 20.0;

fn start(chain: &Chain, blocks: &str) -> Collectd {
    Collectd::start(&Setup::new(&(blocks.to_owned() + &chain.config())))
}

/// Waits until a broker has been up for so long that what it does not report is over.
fn settle(url: &str) {
    let client = monitor_client::Client::new(url, Duration::from_secs(5)).expect("a good URL");
    wait_until("the broker is not young any more", || {
        let varz = client.varz().expect("an answer");
        monitor_client::text::go_uptime(&varz.uptime)
            .expect("an uptime")
            .as_secs_f64()
            >= SETTLED
    });
}

fn client(broker: &Broker, name: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true,\"name\":{name:?}}}\r\n"
    ));
    client.sync();
    client
}

/// The finding of this code as port 8222 shows it.
fn explained(broker: &Broker, code: &str) -> Option<Value> {
    let answer = broker.get_json("/explainz");
    let findings = answer["findings"].as_array().expect("findings");
    findings
        .iter()
        .find(|finding| finding["code"] == code)
        .cloned()
}

/// Checks that a notification says the same as port 8222.
fn check(got: &Received, broker: &Broker, severity: &str) {
    let code = got.get("Code");
    let name = match severity {
        "FAILURE" => "gauge-findings_critical",
        "WARNING" => "gauge-findings_warning",
        _ => "gauge-findings_info",
    };
    assert_eq!(got.state(), (severity, name.to_owned()), "{got:?}");
    for (header, expected) in [
        ("Host", "test"),
        ("Plugin", "nats"),
        ("PluginInstance", "a"),
    ] {
        assert_eq!(got.get(header), expected, "{got:?}");
    }
    if let Some(finding) = explained(broker, code) {
        for (header, key) in [
            ("Subject", "subject"),
            ("Since", "since"),
            ("Remedy", "remedy"),
            ("Link", "link"),
        ] {
            assert_eq!(got.get(header), finding[key], "{got:?}");
        }
    }
    let remedy = got.get("Remedy").get(..10).expect("a remedy");
    for part in [code, got.get("Subject"), "since 20", remedy] {
        assert!(got.message.contains(part), "{part}: {got:?}");
    }
}

/// Several findings of one broker, each of which names its culprit.
#[test]
fn findings_are_notified_with_culprit_and_remedy_until_they_clear() {
    let users = "authorization { users: [ { user: a, password: right, permissions: { publish: { \
                 deny: \"secret.>\" } } } ]\n }\nno_auth_user: a\n";
    let limit = "max_pending: 16MB\nwrite_deadline: 60s\nmax_payload: 1MB\n";
    let broker = Broker::midge()
        .config(format!("{QUICK}{users}{limit}"))
        .start();
    settle(&broker.monitor_url());
    let chain = Chain::new();
    let collectd = start(&chain, &instance("a", &broker.monitor_url(), ""));
    for name in [
        "bool-up",
        "gauge-findings_warning",
        "gauge-findings_critical",
    ] {
        chain.wait_for_state("OKAY", name);
    }

    // A reader that does not read: first a warning, then critical.
    let mut stuck = client(&broker, "stuck-app");
    stuck.send("SUB a 1\r\n");
    stuck.sync();
    let mut publisher = client(&broker, "publisher");
    let mut fill = |bytes: u64| {
        let message = format!("PUB a 65536\r\n{}\r\n", "x".repeat(65536));
        wait_until("the queue is that long", || {
            publisher.send(message.repeat(8));
            publisher.sync();
            let connz = broker.get_json("/connz?sort=pending&limit=1");
            connz["connections"][0]["pending_bytes"].as_u64() >= Some(bytes)
        });
    };
    fill(5_000_000);
    let got = chain.wait_for_finding("slow-consumer", "appeared");
    assert_eq!(got.get("Subject"), "stuck-app");
    check(&got, &broker, "WARNING");
    fill(13_000_000);
    let got = chain.wait_for_finding("slow-consumer", "worsened");
    check(&got, &broker, "FAILURE");
    wait_until("the broker is not healthy", || {
        chain.value("test/nats-a/bool-healthy") == Some(0.0)
            && chain.value("test/nats-a/gauge-findings_critical") == Some(1.0)
    });
    drop(stuck);
    let got = chain.wait_for_finding("slow-consumer", "cleared");
    assert_eq!(got.state(), ("OKAY", "gauge-findings_critical".to_owned()));
    wait_until("the broker is healthy", || {
        chain.value("test/nats-a/bool-healthy") == Some(1.0)
    });

    // Requests that nobody answers.
    let mut asker = client(&broker, "asker");
    asker.send("SUB inbox 1\r\n");
    asker.send("PUB typo.servce inbox 0\r\n\r\n".repeat(20));
    asker.sync();
    let got = chain.wait_for_finding("no-responders", "appeared");
    assert_eq!(got.get("Subject"), "typo.servce");
    check(&got, &broker, "WARNING");

    // Publishes that are not allowed.
    asker.send("PUB secret.1 0\r\n\r\n".repeat(30));
    asker.sync();
    let got = chain.wait_for_finding("permission-violations", "appeared");
    check(&got, &broker, "WARNING");

    // A configuration that was not reloaded.
    let file = broker.folder().join("broker.conf");
    let before = fs::read_to_string(&file).expect("the configuration");
    let after = before.replace("max_payload: 1MB", "max_payload: 2MB");
    fs::write(&file, after).expect("written");
    let got = chain.wait_for_finding("config-differs", "appeared");
    check(&got, &broker, "WARNING");
    assert!(got.get("Text").contains("max_payload"), "{got:?}");
    fs::write(&file, before).expect("written");
    for code in ["no-responders", "permission-violations", "config-differs"] {
        chain.wait_for_finding(code, "cleared");
    }

    // What Nagios ends with, after all of this.
    wait_until("the passive services are well", || {
        let commands = chain.nagios();
        [
            "bool-up",
            "gauge-findings_warning",
            "gauge-findings_critical",
        ]
        .iter()
        .all(|name| {
            let service = format!("PROCESS_SERVICE_CHECK_RESULT;test;nats-a/{name};");
            let mut of = commands
                .iter()
                .filter_map(|line| line.split_once(&*service));
            of.next_back()
                .is_some_and(|(_, result)| result.starts_with("0;"))
        })
    });
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    // The log has them too.
    assert!(
        !lines
            .with("message = critical slow-consumer: stuck-app, since")
            .is_empty(),
        "{lines:#?}"
    );
}

/// A member that is gone is named in a notification, and its route is down.
#[test]
fn a_missing_member_is_notified_by_its_name() {
    let ports = [free_port(), free_port()];
    let member = |index: usize| {
        let other = [ports[1 - index]];
        let plan = mesh::Plan::new(
            mesh::Kind::Midge,
            &format!("n{index}"),
            ports[index],
            &other,
        );
        mesh::Plan {
            config: QUICK.into(),
            ..plan
        }
    };
    let (own, other) = (member(0).start(), member(1).start());
    mesh::wait_for_mesh(&[&own, &other]);
    settle(&own.broker.monitor_url());
    let chain = Chain::new();
    let collectd = start(&chain, &instance("a", &own.broker.monitor_url(), ""));
    let value = |name: &str| chain.value(&format!("test/nats-a/{name}"));
    wait_until("the member is up", || {
        value("bool-route_up-n1") == Some(1.0)
    });
    drop(other);
    let got = chain.wait_for_finding("route-missing", "appeared");
    assert!(got.get("Subject").contains("n1"), "{got:?}");
    check(&got, &own.broker, "FAILURE");
    wait_until("the member is down", || {
        value("bool-route_up-n1") == Some(0.0)
            && value("count-members_expected") == Some(2.0)
            && value("count-members_present") == Some(1.0)
    });
    let _other = member(1).start();
    let got = chain.wait_for_finding("route-missing", "cleared");
    assert_eq!(got.get("Severity"), "OKAY");
    assert!(collectd.stop().0.success());
}

/// An alarm must not outlive its sender: what cleared while collectd was stopped is OKAY after its
/// start, and what is still there is reported again.
#[test]
fn a_restarted_collectd_tells_the_state() {
    let broker = Broker::midge()
        .config(format!("{QUICK}max_payload: 1MB\n"))
        .start();
    settle(&broker.monitor_url());
    let chain = Chain::new();
    let blocks = instance("a", &broker.monitor_url(), "");
    let collectd = start(&chain, &blocks);
    let file = broker.folder().join("broker.conf");
    let before = fs::read_to_string(&file).expect("the configuration");
    let after = before.replace("1MB", "2MB");
    fs::write(&file, &after).expect("written");
    chain.wait_for_finding("config-differs", "appeared");
    assert!(collectd.stop().0.success());

    chain.forget();
    let collectd = start(&chain, &blocks);
    let got = chain.wait_for_finding("config-differs", "present");
    check(&got, &broker, "WARNING");
    chain.wait_for_state("OKAY", "gauge-findings_critical");
    assert!(collectd.stop().0.success());

    fs::write(&file, &before).expect("written");
    wait_until("the finding is over", || {
        explained(&broker, "config-differs").is_none()
    });
    chain.forget();
    let collectd = start(&chain, &blocks);
    for name in [
        "bool-up",
        "gauge-findings_warning",
        "gauge-findings_critical",
    ] {
        chain.wait_for_state("OKAY", name);
    }
    assert!(collectd.stop().0.success());
    assert_eq!(chain.received().len(), 3, "{:#?}", chain.received());
}

/// What a midge had is over when a broker without findings has taken its place, also if that was done
/// while collectd was stopped.
#[test]
fn findings_do_not_outlive_the_midge_that_had_them() {
    let midge = Broker::midge()
        .config(format!("{QUICK}max_payload: 1MB\n"))
        .start();
    let chain = Chain::new();
    let collectd = start(&chain, &instance("a", &midge.monitor_url(), ""));
    let file = midge.folder().join("broker.conf");
    let before = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, before.replace("1MB", "2MB")).expect("written");
    chain.wait_for_state("WARNING", "gauge-findings_warning");
    assert!(collectd.stop().0.success());

    chain.forget();
    let other = Broker::nats_server().start();
    let collectd = start(&chain, &instance("a", &other.monitor_url(), ""));
    for name in [
        "bool-up",
        "gauge-findings_warning",
        "gauge-findings_critical",
    ] {
        chain.wait_for_state("OKAY", name);
    }
    assert!(collectd.stop().0.success());
    assert_eq!(chain.received().len(), 3, "{:#?}", chain.received());
}

/// A finding that is still there after a restart of the broker is not sent twice, and one that is
/// gone clears.
#[test]
fn a_restarted_broker_repeats_nothing() {
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    // Monitoring with a login is needed nowhere; a port for all hosts without one is a finding.
    let midge = |address: &str| {
        Broker::midge()
            .without_monitoring()
            .config(format!("{QUICK}http: \"{address}:{port}\"\n"))
            .start()
    };
    let broker = midge("0.0.0.0");
    let chain = Chain::new();
    let collectd = start(&chain, &instance("a", &url, ""));
    let got = chain.wait_for("unsafe-monitoring", |got| {
        got.get("Code") == "unsafe-monitoring"
    });
    drop(broker);
    chain.wait_for_state("FAILURE", "bool-up");
    let broker = midge("0.0.0.0");
    wait_until("the broker is back", || {
        let okay = ("OKAY", "bool-up".to_owned());
        chain
            .received()
            .iter()
            .filter(|got| got.state() == okay)
            .count()
            == 2
    });
    settle(&url);
    let findings = || {
        let all = chain.received().into_iter();
        all.filter(|got| got.get("Code") == "unsafe-monitoring")
            .count()
    };
    let polls = |count: usize| {
        collectd.wait_for("some polls", |lines| {
            lines.values("test/nats-a/bool-up").len() >= count
        })
    };
    let begun = polls(1).values("test/nats-a/bool-up").len();
    polls(begun + 5);
    assert_eq!(findings(), 1, "after {got:?}: {:#?}", chain.received());

    drop(broker);
    let _broker = midge("127.0.0.1");
    let got = chain.wait_for_finding("unsafe-monitoring", "cleared");
    assert_eq!(got.get("Severity"), "OKAY");
    assert_eq!(findings(), 2);
    assert!(collectd.stop().0.success());
}

/// A client that is slow again and again is reported a few times, not each time.
#[test]
fn a_flapping_finding_is_not_sent_every_time() {
    let broker = Broker::midge()
        .config(format!("{QUICK}max_payload: 1MB\n"))
        .start();
    settle(&broker.monitor_url());
    let chain = Chain::new();
    let collectd = start(&chain, &instance("a", &broker.monitor_url(), ""));
    chain.wait_for_state("OKAY", "gauge-findings_warning");
    let file = broker.folder().join("broker.conf");
    let before = fs::read_to_string(&file).expect("the configuration");
    let after = before.replace("1MB", "2MB");
    let gauge = |expected: f64| {
        wait_until("collectd has seen it", || {
            chain.value("test/nats-a/gauge-findings_warning") == Some(expected)
        });
    };
    for _ in 0..6 {
        fs::write(&file, &after).expect("written");
        gauge(1.0);
        fs::write(&file, &before).expect("written");
        gauge(0.0);
    }
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    let notified = lines.with("Notification: ");
    let notified = notified
        .iter()
        .filter(|line| line.contains("config-differs"));
    assert_eq!(notified.count(), 5, "{lines:#?}");
    assert_eq!(lines.with("comes and goes").len(), 1, "{lines:#?}");
}
