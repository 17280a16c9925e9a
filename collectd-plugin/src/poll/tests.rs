use std::time::{Instant, SystemTime};

use monitor_client::Healthz;
use serde_json::json;

use super::*;
use crate::{
    daemon::{Value, fake::Fake},
    findings::{self, Findings},
    metrics::Answers,
};

fn poller(instance: Instance) -> Poller {
    Poller::new(instance, &Fake::default()).expect("a good URL")
}

fn instance(groups: &[Group]) -> Instance {
    Instance {
        groups: groups.iter().copied().collect(),
        ..Instance::new("a")
    }
}

fn up(server_id: &str) -> Sample {
    let varz = json!({
        "server_id": server_id, "server_name": "b", "version": "2.15.1",
        "start": "2026-01-01T00:00:00Z", "now": "2026-01-01T00:01:00Z",
        "connections": 3, "total_connections": 9, "max_pending": 64,
        "in_msgs": 0, "out_msgs": 0, "in_bytes": 0, "out_bytes": 0,
        "slow_consumers": 0, "subscriptions": 0, "mem": 1, "cpu": 0.5,
    });
    Sample {
        time: SystemTime::now(),
        at: Instant::now(),
        varz_took: Duration::from_millis(250),
        took: Duration::from_millis(300),
        broker: Ok(Broker::read(&varz).expect("a broker")),
        health: Some(Ok((200, health("ok", "")))),
        findings: Findings::Absent,
        answers: Answers::from([(Endpoint::Varz, varz)]),
        outcomes: Vec::new(),
        late: Vec::new(),
    }
}

fn health(status: &str, error: &str) -> Healthz {
    Healthz {
        status: status.to_owned(),
        error: error.to_owned(),
        ..Healthz::default()
    }
}

fn unhealthy(code: u16, error: &str) -> Sample {
    Sample {
        health: Some(Ok((code, health("unavailable", error)))),
        ..up("N1")
    }
}

fn with_findings(severities: &[&str]) -> Sample {
    let list = severities.iter().enumerate();
    let list =
        list.map(|(number, severity)| json!({"code": number.to_string(), "severity": severity}));
    let answer = json!({"findings": list.collect::<Vec<_>>()});
    let mut sample = up("N1");
    sample.findings = Findings::Known(findings::of_answer(&answer).expect("a list"));
    sample.answers.insert(Endpoint::Explainz, answer);
    sample
}

fn down(error: Error) -> Sample {
    Sample {
        broker: Err(error),
        health: None,
        answers: Answers::new(),
        ..up("N1")
    }
}

fn refused() -> Error {
    Error::Refused {
        url: "http://x/varz".to_owned(),
    }
}

fn status(code: u16) -> Error {
    Error::Status {
        url: "http://x/varz".to_owned(),
        code,
        detail: String::new(),
    }
}

fn timeout() -> Error {
    Error::Timeout {
        url: "http://x/healthz".to_owned(),
        after: Duration::from_secs(2),
        phase: monitor_client::Phase::Answer,
    }
}

/// Processes the samples and returns the recorded calls.
fn process(poller: &mut Poller, samples: impl IntoIterator<Item = Sample>) -> Fake {
    let daemon = Fake::default();
    for sample in samples {
        assert!(poller.process(&sample, &daemon));
    }
    daemon
}

fn levels(daemon: &Fake) -> Vec<Level> {
    daemon.lines.borrow().iter().map(|line| line.0).collect()
}

/// Severities and names of the notifications.
fn sent(daemon: &Fake) -> Vec<(Severity, String)> {
    let notifications = daemon.notifications.borrow();
    let sent = notifications.iter();
    sent.map(|sent| (sent.severity, sent.name.clone()))
        .collect()
}

/// Those about the state of the broker.
fn states(daemon: &Fake) -> Vec<(Severity, String)> {
    let mut sent = sent(daemon);
    sent.retain(|(_, name)| name == "bool-up");
    sent
}

fn state(severity: Severity) -> (Severity, String) {
    (severity, "bool-up".to_owned())
}

fn healthy(sample: Sample) -> Option<Vec<Value>> {
    process(&mut poller(Instance::new("a")), [sample]).value("nats-a/bool-healthy")
}

#[test]
fn a_serving_broker_has_its_values_and_one_log_line() {
    let daemon = process(&mut poller(instance(&[Group::Basic])), [up("N1"), up("N1")]);
    assert_eq!(levels(&daemon), [Level::Info]);
    assert_eq!(sent(&daemon), [state(Severity::Okay)]);
    for (name, value) in [
        ("nats-a/bool-up", Value::Gauge(1.0)),
        ("nats-a/bool-healthy", Value::Gauge(1.0)),
        ("nats-a/response_time-varz", Value::Gauge(0.25)),
        ("nats-a/duration-poll", Value::Gauge(0.3)),
        ("nats-a/uptime", Value::Gauge(60.0)),
        ("nats-a/current_connections-clients", Value::Gauge(3.0)),
        ("nats-a/total_connections", Value::Derive(9)),
    ] {
        assert_eq!(daemon.value(name), Some(vec![value]), "{name}");
    }
    assert_eq!(daemon.value("nats-a/current_connections-routes"), None);
    assert_eq!(daemon.value("nats-a/bytes-max_pending"), None);
}

#[test]
fn limits_and_old_names_are_optional() {
    let groups = [Group::Limits, Group::Legacy];
    let daemon = process(&mut poller(instance(&groups)), [up("N1")]);
    for (name, value) in [
        ("nats-a/bytes-max_pending", Value::Gauge(64.0)),
        (
            "curl_json-gnatsd/bytes-max_pending_size",
            Value::Gauge(64.0),
        ),
        ("curl_json-gnatsd/gauge-connections", Value::Gauge(3.0)),
        (
            "curl_json-gnatsd/counter-total_connections",
            Value::Counter(9),
        ),
    ] {
        assert_eq!(daemon.value(name), Some(vec![value]), "{name}");
    }
}

#[test]
fn an_outage_and_its_end_are_told_once() {
    let mut poller = poller(Instance::new("a"));
    let outage = [down(refused()), down(refused()), down(refused())];
    let daemon = process(&mut poller, outage);
    assert_eq!(levels(&daemon), [Level::Error]);
    assert_eq!(states(&daemon), [state(Severity::Failure)]);
    let message = daemon.notifications.borrow()[0].message.clone();
    assert_eq!(message, "down: http://x/varz: connection refused");
    let zero = Some(vec![Value::Gauge(0.0)]);
    assert_eq!(daemon.value("nats-a/bool-up"), zero);
    assert_eq!(daemon.value("nats-a/bool-healthy"), zero);
    // These two and the duration, for each of three polls.
    assert_eq!(daemon.values.borrow().len(), 9);
    // Another cause is logged again, but not notified again.
    let daemon = process(&mut poller, [down(status(500)), down(status(500))]);
    assert_eq!(levels(&daemon), [Level::Error]);
    assert_eq!(states(&daemon), []);
    let daemon = process(&mut poller, [up("N1"), up("N1")]);
    assert_eq!(levels(&daemon), [Level::Notice]);
    assert_eq!(states(&daemon), [state(Severity::Okay)]);
}

#[test]
fn problems_of_a_broker_that_answers_are_warnings() {
    let mut poller = poller(Instance::new("a"));
    let samples = [
        up("N1"),
        unhealthy(503, "route lost"),
        unhealthy(503, "more lost"),
    ];
    let daemon = process(&mut poller, samples);
    assert_eq!(levels(&daemon), [Level::Info, Level::Warning]);
    let expected = [state(Severity::Okay), state(Severity::Warning)];
    assert_eq!(states(&daemon), expected);
    assert!(daemon.lines.borrow()[1].1.contains("route lost"));

    let mute = Sample {
        health: Some(Err(timeout())),
        ..up("N1")
    };
    let daemon = process(&mut poller, [mute, up("N1")]);
    assert_eq!(levels(&daemon), [Level::Warning, Level::Notice]);
    assert_eq!(states(&daemon), [state(Severity::Okay)]);
}

/// No value is not a number: collectd's thresholds take that for well.
#[test]
fn healthy_is_always_a_number_or_absent() {
    let is = |number: f64| Some(vec![Value::Gauge(number)]);
    assert_eq!(healthy(up("N1")), is(1.0));
    assert_eq!(healthy(down(refused())), is(0.0));
    assert_eq!(healthy(unhealthy(503, "stopping")), is(0.0));
    let health = |health| Sample {
        health: Some(health),
        ..up("N1")
    };
    assert_eq!(healthy(health(Err(timeout()))), is(0.0));
    // A broker without /healthz says nothing about its health.
    assert_eq!(healthy(health(Err(status(404)))), None);
}

#[test]
fn a_broker_with_critical_findings_is_not_healthy() {
    let is = |number: f64| Some(vec![Value::Gauge(number)]);
    assert_eq!(healthy(with_findings(&["warning", "info"])), is(1.0));
    assert_eq!(healthy(with_findings(&["critical"])), is(0.0));
    // Also if findings are not reported.
    let daemon = process(
        &mut poller(instance(&[Group::Basic])),
        [with_findings(&["critical", "info"])],
    );
    assert_eq!(daemon.value("nats-a/bool-healthy"), is(0.0));
    assert_eq!(daemon.value("nats-a/gauge-findings"), None);
    assert_eq!(sent(&daemon), [state(Severity::Okay)]);
}

/// Findings that could not be read may be critical, or none.
#[test]
fn without_its_findings_a_broker_is_not_known_to_be_healthy() {
    let is = |number: f64| Some(vec![Value::Gauge(number)]);
    let mute = |sample| Sample {
        findings: Findings::Unknown,
        ..sample
    };
    assert_eq!(healthy(mute(up("N1"))), None);
    // What is known to be wrong is.
    assert_eq!(healthy(mute(unhealthy(503, "stopping"))), is(0.0));
    assert_eq!(healthy(mute(down(refused()))), is(0.0));
    // A nats-server has no findings: /healthz says all.
    assert_eq!(healthy(up("N1")), is(1.0));
}

#[test]
fn findings_are_counted_by_severity_and_notified() {
    let severities = ["critical", "warning", "warning", "info"];
    let mut poller = poller(Instance::new("a"));
    let daemon = process(&mut poller, [with_findings(&severities)]);
    for (name, count) in [
        ("findings", 3.0),
        ("findings_critical", 1.0),
        ("findings_warning", 2.0),
        ("findings_info", 1.0),
    ] {
        let found = daemon.value(&format!("nats-a/gauge-{name}"));
        assert_eq!(found, Some(vec![Value::Gauge(count)]), "{name}");
    }
    let gauge = |severity, name: &str| (severity, format!("gauge-{name}"));
    let expected = [
        state(Severity::Okay),
        gauge(Severity::Okay, "findings_info"),
        gauge(Severity::Warning, "findings_warning"),
        gauge(Severity::Warning, "findings_warning"),
        gauge(Severity::Failure, "findings_critical"),
    ];
    assert_eq!(sent(&daemon), expected);
    // An outage changes nothing of what is known.
    let daemon = process(&mut poller, [down(refused()), with_findings(&severities)]);
    let expected = [state(Severity::Failure), state(Severity::Okay)];
    assert_eq!(sent(&daemon), expected);
}

#[test]
fn a_broker_that_comes_and_goes_is_not_notified_with_every_poll() {
    let polls = (0..100).map(|poll| match poll % 2 {
        0 => up("N1"),
        _ => down(refused()),
    });
    let daemon = process(&mut poller(Instance::new("a")), polls);
    let sent = states(&daemon);
    assert_eq!(sent.len(), 6, "{sent:?}");
    assert_eq!(sent[5], state(Severity::Failure));
    let notifications = daemon.notifications.borrow();
    let last = notifications.iter().rfind(|sent| sent.name == "bool-up");
    let change = ("Change".to_owned(), "flapping".to_owned());
    assert_eq!(last.map(|last| &*last.metadata), Some(&[change][..]));
}

#[test]
fn an_endpoint_that_cannot_be_read_is_logged_once() {
    let memz = |outcome| Sample {
        outcomes: vec![(Endpoint::Memz, outcome)],
        ..up("N1")
    };
    let mut poller = poller(Instance::new("a"));
    let failed = || memz(Outcome::Failed(refused()));
    let samples = [memz(Outcome::Read), failed(), failed()];
    let daemon = process(&mut poller, samples);
    assert_eq!(levels(&daemon), [Level::Info, Level::Warning]);
    assert!(daemon.lines.borrow()[1].1.contains("no values of /memz: "));
    for (outcome, text) in [
        (Outcome::Read, "/memz is read again"),
        (
            Outcome::Absent,
            "the broker has no /memz: it is not asked for until it restarts",
        ),
    ] {
        process(&mut poller, [failed()]);
        let daemon = process(&mut poller, [memz(outcome), memz(Outcome::Read)]);
        let lines = daemon.lines.borrow();
        assert!(lines[0].1.ends_with(text), "{lines:?}");
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
    // One that was never there is no trouble.
    let samples = [memz(Outcome::Absent), up("N1")];
    let daemon = process(&mut self::poller(Instance::new("a")), samples);
    assert_eq!(levels(&daemon), [Level::Info]);
}

#[test]
fn endpoints_that_are_late_are_one_line() {
    let late = || Sample {
        late: vec![Endpoint::Memz, Endpoint::Connz],
        ..up("N1")
    };
    let samples = [up("N1"), late(), late(), up("N1"), up("N1")];
    let daemon = process(&mut poller(Instance::new("a")), samples);
    let lines = daemon.lines.borrow();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let text = "no values of /memz, /connz: not read within the 2000 ms";
    assert!(lines[1].1.contains(text), "{lines:?}");
    assert!(lines[2].1.contains("read in time again"), "{lines:?}");
}

#[test]
fn what_is_missing_or_wrong_is_logged_once() {
    let sparse = || {
        let mut sample = up("N1");
        let varz = sample.answers.get_mut(&Endpoint::Varz).expect("varz");
        let varz = varz.as_object_mut().expect("an object");
        varz.remove("mem");
        varz.insert("slow_consumers".to_owned(), (-5).into());
        let broker = Broker::read(&json!(varz)).expect("a broker");
        sample.broker = Ok(broker);
        sample
    };
    let daemon = process(&mut poller(instance(&[Group::Basic])), [sparse(), sparse()]);
    let lines = daemon.lines.borrow();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[1].1.ends_with("no values of mem: not in the answer"));
    assert!(lines[2].1.contains("slow_consumers: -5 is out of range"));
}

#[test]
fn a_restart_is_logged_once() {
    let restarted = || {
        let mut sample = up("N2");
        if let Ok(broker) = &mut sample.broker {
            // Younger than the poll before.
            broker.uptime = Some(1.0);
        }
        sample
    };
    let samples = [up("N1"), up("N1"), restarted(), restarted()];
    let daemon = process(&mut poller(Instance::new("a")), samples);
    assert_eq!(levels(&daemon), [Level::Info, Level::Notice]);
    let line = &daemon.lines.borrow()[1].1;
    assert!(line.contains("server id N1 is now N2"), "{line}");
}

#[test]
fn notifications_can_be_turned_off() {
    let instance = Instance {
        report_notifications: false,
        ..Instance::new("a")
    };
    let samples = [down(refused()), with_findings(&["critical"])];
    let daemon = process(&mut poller(instance), samples);
    assert_eq!(sent(&daemon), []);
    assert_eq!(levels(&daemon), [Level::Error, Level::Notice]);
}
