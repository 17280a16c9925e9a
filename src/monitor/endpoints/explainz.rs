//! `/explainz`: the findings: what is wrong, where, since when, why, and what to do.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use monitor_client::{
    Explainz, Finding,
    text::{escaped, plural},
};

use super::{super::Monitor, query::Query, refusal::Refusal, time_text};
use crate::observe::diagnosis;

/// Where the manual of the findings is, from the project's top.
const MANUAL: &str = "docs/findings.md";

/// The findings. It has no parameters.
pub fn answer(monitor: &Monitor, _query: &Query) -> Result<Explainz, Refusal> {
    let report = monitor.diagnosis.report();
    Ok(Explainz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        sampled: time_text::rfc3339(report.sampled.time_of_day()),
        age: report.sampled.age().as_secs_f64(),
        status: status(&report.findings).into(),
        findings: report.findings.iter().map(info).collect(),
    })
}

/// The findings as a page of text for people.
pub fn page(monitor: &Monitor) -> String {
    let report = monitor.diagnosis.report();
    let mut text = text(&monitor.server.called, Utc::now(), &report.findings);
    text += &format!(
        "\n(as of {:.1} s ago)\n",
        report.sampled.age().as_secs_f64()
    );
    text
}

/// The worst severity.
fn status(findings: &[diagnosis::Finding]) -> &'static str {
    findings.first().map_or("ok", |worst| worst.severity.name())
}

fn info(finding: &diagnosis::Finding) -> Finding {
    Finding {
        code: finding.code.into(),
        severity: finding.severity.name().into(),
        subject: finding.subject.clone(),
        cid: finding.cid,
        since: time_text::rfc3339(finding.since.time_of_day()),
        text: finding.text.clone(),
        cause: finding.cause.clone(),
        remedy: finding.remedy.into(),
        link: format!("{MANUAL}#{}", finding.code),
    }
}

/// The findings as a page of text.
fn text(name: &str, now: DateTime<Utc>, findings: &[diagnosis::Finding]) -> String {
    if findings.is_empty() {
        return format!("{name}: nothing is wrong\n");
    }
    let mut text = format!(
        "{name}: {} ({})\n",
        status(findings),
        plural(findings.len(), "finding")
    );
    for finding in findings {
        let since = finding.since.time_of_day();
        let seconds = (now - since).num_seconds().max(0);
        text += &format!(
            "\n{} {}{}\n  since {} ({seconds} s)\n  {}\n  why:  {}\n  do:   {}\n  see:  \
             {MANUAL}#{}\n",
            finding.severity.name().to_ascii_uppercase(),
            finding.code,
            who(finding),
            since.format("%Y-%m-%d %H:%M:%S UTC"),
            printable(&finding.text),
            printable(&finding.cause),
            finding.remedy,
            finding.code
        );
    }
    text
}

fn who(finding: &diagnosis::Finding) -> String {
    let subject = match &*finding.subject {
        "" => String::new(),
        subject => format!(": {}", printable(subject)),
    };
    match finding.cid {
        0 => subject,
        cid => format!("{subject} (cid {cid})"),
    }
}

/// The tracker escapes what peers wrote; this is for all other texts.
pub(in crate::monitor) fn printable(text: &str) -> Cow<'_, str> {
    escaped(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{observe::diagnosis::Severity, telemetry::MonotonicMillis};

    #[test]
    fn the_text_has_finding_subject_reason_and_advice() {
        let finding = diagnosis::Finding {
            code: "slow-consumer",
            severity: Severity::Critical,
            subject: "app\x1b[2J".into(),
            cid: 7,
            since: MonotonicMillis(0),
            ongoing: true,
            text: "64 MiB wait for it".into(),
            cause: "It does not read.".into(),
            remedy: "Look at it.",
        };
        let now = finding.since.time_of_day() + chrono::Duration::seconds(12);
        let page = text("east", now, &[finding]);
        for part in [
            "east: critical (1 finding)",
            "CRITICAL slow-consumer: app\\u{1b}[2J (cid 7)",
            "(12 s)",
            "why:  It does not read.",
            "do:   Look at it.",
            "docs/findings.md#slow-consumer",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert_eq!(text("east", now, &[]), "east: nothing is wrong\n");
    }
}
