//! Mode `explain`: the findings of the broker itself. Only midge has them.

use monitor_client::{Explainz, Finding, Kind};

use super::{
    Check, Failure, Status,
    need::{Need, must, of_findings},
};
use crate::{
    metric::{FINDINGS_CRITICAL, FINDINGS_INFO, FINDINGS_WARNING},
    text::quoted,
};

pub(super) static NEEDS: &[Need] = &[of_findings(
    "only midge reports findings",
    &[
        must("sampled", Kind::Text),
        must("status", Kind::Word(&["ok", "info", "warning", "critical"])),
    ],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let explained: Explainz = check.ask("/explainz")?;
    for (metric, severity) in [
        (&FINDINGS_CRITICAL, "critical"),
        (&FINDINGS_WARNING, "warning"),
        (&FINDINGS_INFO, "info"),
    ] {
        let of_severity = explained.findings.iter().filter(|f| f.severity == severity);
        let count = of_severity.count() as f64;
        check.report.total(metric.label, Some(count));
    }
    let (bad, worth_knowing): (Vec<&Finding>, Vec<&Finding>) = explained
        .findings
        .iter()
        .partition(|finding| status(finding) != Status::Ok);
    if bad.is_empty() {
        if !matches!(&*explained.status, "ok" | "info") {
            return Err(Failure::unknown(format!(
                "{} has the status {}, but no finding that explains it",
                check.place("/explainz"),
                quoted(&explained.status)
            )));
        }
        check.report.say(Status::Ok, "nothing is wrong");
    }
    for finding in bad {
        say(check, finding);
    }
    for finding in worth_knowing {
        check.report.detail(1, &sentence(finding));
    }
    Ok(())
}

/// States a finding, with its likely cause and what to do; also a part of mode `config`.
pub(super) fn say(check: &mut Check, finding: &Finding) {
    let report = &mut check.report;
    report.advise(status(finding), &sentence(finding), &finding.remedy);
    if !finding.since.is_empty() {
        report.about(&format!("since: {}", finding.since));
    }
    report.about(&format!("why: {}", finding.cause));
}

fn status(finding: &Finding) -> Status {
    match &*finding.severity {
        "info" => Status::Ok,
        "warning" => Status::Warning,
        _ => Status::Critical,
    }
}

fn sentence(finding: &Finding) -> String {
    match &*finding.subject {
        "" => format!("{}: {}", finding.code, finding.text),
        subject => format!("{} {}: {}", finding.code, quoted(subject), finding.text),
    }
}
