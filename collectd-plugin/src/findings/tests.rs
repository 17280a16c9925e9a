use super::*;

/// Time between two polls.
const POLL: Duration = Duration::from_secs(10);

/// A broker that has been up for long.
const OLD: Option<f64> = Some(86_400.0);

fn finding(code: &str, severity: &str, subject: &str) -> (Level, Finding) {
    let finding = Finding {
        code: code.to_owned(),
        severity: severity.to_owned(),
        subject: subject.to_owned(),
        since: "2026-01-01T00:00:01.234567Z".to_owned(),
        text: "5.0 MiB wait for it, 30 % of max_pending".to_owned(),
        cause: "It does not read.".to_owned(),
        remedy: "Look at the named client.".to_owned(),
        ..Finding::default()
    };
    (Level::named(severity).expect("a severity"), finding)
}

/// A tracker and the time of its polls.
struct Polls {
    tracker: Tracker,
    now: Instant,
}

impl Polls {
    fn new() -> Self {
        Self {
            tracker: Tracker::default(),
            now: Instant::now(),
        }
    }

    /// After a first poll without findings.
    fn begun() -> Self {
        let mut polls = Self::new();
        assert_eq!(polls.see(&[]).len(), 2);
        polls
    }

    fn poll(&mut self, findings: &[(Level, Finding)], uptime: Option<f64>) -> Vec<Message> {
        self.now += POLL;
        self.tracker.update(findings, self.now, uptime)
    }

    /// What is sent: severity, identifier and change.
    fn see(&mut self, findings: &[(Level, Finding)]) -> Vec<(Severity, &'static str, String)> {
        self.poll(findings, OLD).iter().map(sent).collect()
    }
}

fn sent(message: &Message) -> (Severity, &'static str, String) {
    let change = value(message, "Change").to_owned();
    (message.severity, message.type_instance(), change)
}

fn value<'a>(message: &'a Message, name: &str) -> &'a str {
    let found = message.metadata.iter().find(|(known, _)| *known == name);
    found.map_or("", |(_, value)| value)
}

fn one(
    severity: Severity,
    type_instance: &'static str,
    change: &str,
) -> (Severity, &'static str, String) {
    (severity, type_instance, change.to_owned())
}

use Severity::{Failure, Okay, Warning};

const CRITICAL: &str = "findings_critical";
const WARNINGS: &str = "findings_warning";

#[test]
fn the_first_poll_tells_the_state_whatever_it_is() {
    let mut polls = Polls::new();
    let nothing = [one(Okay, WARNINGS, "none"), one(Okay, CRITICAL, "none")];
    assert_eq!(polls.see(&[]), nothing);
    assert_eq!(polls.see(&[]), []);

    let mut polls = Polls::new();
    let bad = [finding("route-missing", "critical", "east")];
    let present = [
        one(Okay, WARNINGS, "none"),
        one(Failure, CRITICAL, "present"),
    ];
    assert_eq!(polls.see(&bad), present);
    assert_eq!(polls.see(&bad), []);
}

#[test]
fn a_finding_that_appears_worsens_eases_and_clears_is_told_each_time() {
    let mut polls = Polls::begun();
    let at = |severity: &str| [finding("slow-consumer", severity, "app")];
    assert_eq!(
        polls.see(&at("warning")),
        [one(Warning, WARNINGS, "appeared")]
    );
    assert_eq!(polls.see(&at("warning")), []);
    let worse = [
        one(Okay, WARNINGS, "none"),
        one(Failure, CRITICAL, "worsened"),
    ];
    assert_eq!(polls.see(&at("critical")), worse);
    let eased = [one(Warning, WARNINGS, "eased"), one(Okay, CRITICAL, "none")];
    assert_eq!(polls.see(&at("warning")), eased);
    assert_eq!(polls.see(&[]), [one(Okay, WARNINGS, "cleared")]);
    assert_eq!(polls.see(&[]), []);
}

/// A passive service shows its last notification: it must not be OKAY while something is wrong.
#[test]
fn while_others_are_left_a_cleared_finding_is_not_okay() {
    let mut polls = Polls::begun();
    let app = finding("slow-consumer", "warning", "app");
    let other = finding("slow-consumer", "warning", "other");
    assert_eq!(polls.see(&[app, other.clone()]).len(), 2);
    let messages = polls.poll(&[other], OLD);
    assert_eq!(
        messages.iter().map(sent).collect::<Vec<_>>(),
        [one(Warning, WARNINGS, "cleared")]
    );
    assert!(
        messages[0].text.ends_with("; 1 warning finding is left"),
        "{messages:?}"
    );
    assert_eq!(polls.see(&[]), [one(Okay, WARNINGS, "cleared")]);
}

#[test]
fn what_is_worth_knowing_is_told_as_okay() {
    let mut polls = Polls::begun();
    let info = [finding("members-differ", "info", "east")];
    let name = "findings_info";
    assert_eq!(polls.see(&info), [one(Okay, name, "appeared")]);
    assert_eq!(polls.see(&[]), [one(Okay, name, "cleared")]);
}

#[test]
fn a_client_that_reconnects_is_the_same() {
    let mut polls = Polls::begun();
    let at = |cid: u64| {
        let (level, finding) = finding("slow-consumer", "warning", "app");
        [(level, Finding { cid, ..finding })]
    };
    assert_eq!(polls.see(&at(7)).len(), 1);
    assert_eq!(polls.see(&at(8)), []);
    let both = [at(8), at(9)].concat();
    assert_eq!(polls.see(&both), []);
}

#[test]
fn a_flapping_finding_is_not_sent_every_time() {
    let mut polls = Polls::begun();
    let bad = [finding("route-slow", "warning", "east")];
    let mut changes = Vec::new();
    for poll in 0..200 {
        let findings = if poll % 2 == 0 { &bad[..] } else { &[] };
        changes.extend(polls.see(findings).into_iter().map(|sent| sent.2));
    }
    let expected = ["appeared", "cleared", "appeared", "cleared", "flapping"];
    assert_eq!(changes, expected);
    let mut quiet = Vec::new();
    for _ in 0..40 {
        quiet.extend(polls.see(&[]));
    }
    assert_eq!(quiet, [one(Okay, WARNINGS, "cleared")]);
}

/// A broker that has just started has not looked at everything.
#[test]
fn a_restart_of_the_broker_repeats_and_clears_nothing() {
    let mut polls = Polls::begun();
    let bad = [finding("unsafe-clients", "warning", "")];
    assert_eq!(polls.see(&bad).len(), 1);
    for (findings, uptime) in [(&[][..], 1.0), (&bad[..], 11.0), (&bad[..], 21.0)] {
        assert!(polls.poll(findings, Some(uptime)).is_empty(), "{uptime}");
    }
    // What does not come back is over.
    assert!(polls.poll(&[], Some(3.0)).is_empty());
    let messages = polls.poll(&[], Some(23.0));
    assert_eq!(
        messages.iter().map(sent).collect::<Vec<_>>(),
        [one(Okay, WARNINGS, "cleared")]
    );
}

#[test]
fn a_young_broker_is_told_to_be_well_a_little_later() {
    let mut polls = Polls::new();
    assert!(polls.poll(&[], Some(2.0)).is_empty());
    assert_eq!(polls.poll(&[], Some(22.0)).len(), 2);
}

#[test]
fn many_at_once_are_counted() {
    let mut polls = Polls::begun();
    let many: Vec<_> = (0..60)
        .map(|number| finding("slow-consumer", "warning", &number.to_string()))
        .collect();
    let messages = polls.poll(&many, OLD);
    assert_eq!(messages.len(), MESSAGES_MAX + 1);
    let last = &messages[MESSAGES_MAX];
    assert_eq!(sent(last), one(Warning, WARNINGS, "more"));
    assert!(
        last.text.starts_with("40 more warning findings"),
        "{last:?}"
    );
    // The worst are reported one by one.
    let mut more = many.clone();
    more.extend((0..30).map(|number| finding("slow-consumer", "warning", &format!("n{number}"))));
    more.push(finding("worker-stall", "critical", ""));
    let critical = polls.see(&more);
    assert!(critical.contains(&one(Failure, CRITICAL, "appeared")));
}

/// However many warnings are remembered, a critical finding is reported.
#[test]
fn many_warnings_do_not_hide_a_critical_finding() {
    let mut polls = Polls::begun();
    let mut all: Vec<_> = (0..KNOWN_MAX)
        .map(|number| finding("slow-consumer", "warning", &number.to_string()))
        .collect();
    polls.see(&all);
    all.push(finding("slow-consumer", "critical", "victim"));
    assert!(
        polls
            .see(&all)
            .contains(&one(Failure, CRITICAL, "appeared"))
    );
    all.pop();
    assert!(polls.see(&all).contains(&one(Okay, CRITICAL, "cleared")));
}

/// What a midge reported is over when a broker without findings is at its place.
#[test]
fn a_broker_without_findings_has_none() {
    let mut polls = Polls::new();
    assert!(polls.tracker.without(polls.now).is_empty());
    polls.see(&[finding("slow-consumer", "critical", "app")]);
    let messages = polls.tracker.without(polls.now);
    assert!(
        messages
            .iter()
            .map(sent)
            .any(|sent| sent == one(Okay, CRITICAL, "cleared"))
    );
}

/// A lying broker cannot make it grow.
#[test]
fn what_is_known_is_bounded() {
    let mut polls = Polls::begun();
    for turn in 0..10 {
        let new: Vec<_> = (0..KNOWN_MAX)
            .map(|number| finding("slow-consumer", "warning", &format!("{turn} {number}")))
            .collect();
        polls.see(&new);
        assert!(polls.tracker.known.len() <= KNOWN_MAX);
    }
}

#[test]
fn the_message_names_the_culprit_and_what_to_do() {
    let mut polls = Polls::begun();
    let messages = polls.poll(&[finding("slow-consumer", "warning", "app")], OLD);
    assert_eq!(
        messages[0].text,
        "warning slow-consumer: app, since 2026-01-01T00:00:01Z: 5.0 MiB wait for it, 30 % of \
         max_pending; do: Look at the named client."
    );
    for (name, expected) in [
        ("Code", "slow-consumer"),
        ("Level", "warning"),
        ("Subject", "app"),
        ("Since", "2026-01-01T00:00:01.234567Z"),
        ("Cause", "It does not read."),
        ("Remedy", "Look at the named client."),
        ("Cid", ""),
    ] {
        assert_eq!(value(&messages[0], name), expected, "{name}");
    }
    let messages = polls.poll(&[], OLD);
    assert_eq!(
        messages[0].text,
        "over: slow-consumer: app, since 2026-01-01T00:00:01Z; no warning findings"
    );
}

#[test]
fn a_message_fits_and_forges_nothing() {
    let (level, mut evil) = finding("slow-consumer", "critical", &"a|b\nc\u{202e}".repeat(50));
    evil.text = "x".repeat(300);
    evil.remedy = "y".repeat(900);
    let messages = Polls::begun().poll(&[(level, evil)], OLD);
    let text = &messages[0].text;
    assert_eq!(text.len(), 255, "{text}");
    assert!(!text.contains(['|', '\n', '\u{202e}']), "{text}");
    assert!(
        text.contains("; do: yyy") && text.ends_with("..."),
        "{text}"
    );
}

#[test]
fn findings_are_taken_from_the_answer() {
    let answer = serde_json::json!({"findings": [
        {"code": "a", "severity": "critical", "subject": "s", "cid": 3},
        {"code": "b", "severity": "unheard of"},
        {"code": 7, "severity": "info"},
        "no object",
    ]});
    let found = of_answer(&answer).expect("a list");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1.cid), (Level::Critical, 3));
    let none = of_answer(&serde_json::json!({"findings": []}));
    assert!(none.is_some_and(|none| none.is_empty()));
    for other in [
        serde_json::json!({}),
        serde_json::json!({"findings": 3}),
        serde_json::json!([]),
    ] {
        assert!(of_answer(&other).is_none(), "{other}");
    }
}
