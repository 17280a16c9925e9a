//! The result of a run: statements with a status each, metrics, and details.
//!
//! The modes fill it, [`super::output`] prints it. A metric that was not measured is
//! unknown, so that every run has the same labels.

use super::{
    metric::{Planned, Threshold},
    status::{Failure, Status},
    text::harmless,
};

/// The findings of one run.
#[derive(Clone, Debug)]
pub struct Report {
    statements: Vec<Statement>,
    details: Vec<Detail>,
    metrics: Vec<Measured>,
    brokers: Vec<(String, Report)>,
}

/// One thing found, in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Statement {
    /// The status it gives the broker.
    pub status: Status,
    /// Harmless text.
    pub text: String,
}

/// A metric of the run with its value.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Label, unit and thresholds.
    pub planned: Planned,
    /// `None` when it could not be determined.
    pub value: Option<f64>,
    /// What percent thresholds refer to, and the maximum of the graph.
    pub limit: Option<f64>,
    /// The broker does not report it: whatever is set is not taken.
    missing: bool,
}

#[derive(Clone, Debug)]
struct Detail {
    verbosity: u8,
    text: String,
}

impl Report {
    /// An empty report with these metrics.
    pub fn new(metrics: &[Planned]) -> Self {
        let metrics = metrics
            .iter()
            .map(|planned| Measured {
                planned: planned.clone(),
                value: None,
                limit: None,
                missing: false,
            })
            .collect();
        Self {
            statements: Vec::new(),
            details: Vec::new(),
            metrics,
            brokers: Vec::new(),
        }
    }

    /// Adds the report of one of several brokers, by its name.
    pub fn add_broker(&mut self, name: &str, report: Self) {
        self.brokers.push((harmless(name), report));
    }

    /// The reports of several brokers with their names; none if only one is checked.
    pub fn brokers(&self) -> &[(String, Self)] {
        &self.brokers
    }

    /// Adds a statement.
    pub fn say(&mut self, status: Status, text: &str) {
        self.statements.push(Statement {
            status,
            text: harmless(text),
        });
    }

    /// Adds what ended a part of the check early.
    pub fn fail(&mut self, failure: &Failure) {
        self.say(failure.status, &failure.text);
    }

    /// Adds a line that is shown with `-v` given `verbosity` times or more.
    pub fn detail(&mut self, verbosity: u8, text: &str) {
        self.details.push(Detail {
            verbosity,
            text: harmless(text),
        });
    }

    /// Sets a metric and states it as `phrase`, with the threshold if it alerts.
    pub fn state(&mut self, label: &str, value: f64, limit: Option<f64>, phrase: &str) {
        if self.is_missing(label) {
            return;
        }
        let (status, text) = self.judge(label, value, limit, phrase);
        self.say(status, &text);
    }

    /// Sets a metric; `phrase` is stated only if the metric alerts.
    pub fn watch(&mut self, label: &str, value: f64, limit: Option<f64>, phrase: &str) {
        if self.is_missing(label) {
            return;
        }
        let (status, text) = self.judge(label, value, limit, phrase);
        if status != Status::Ok {
            self.say(status, &text);
        }
    }

    /// Sets a running total, which has no thresholds. `None` leaves it unknown:
    /// the broker does not report it.
    pub fn total(&mut self, label: &str, value: Option<f64>) {
        if !self.is_missing(label) {
            self.measured(label).value = value.filter(|value| value.is_finite());
        }
    }

    /// Whether it was reported that the broker does not provide a metric.
    pub fn is_missing(&mut self, label: &str) -> bool {
        self.measured(label).missing
    }

    /// Reports that the broker does not provide a metric: UNKNOWN if the operator set a
    /// threshold for it, else a detail.
    pub fn missing(&mut self, label: &str, why: &str) {
        let measured = self.measured(label);
        if std::mem::replace(&mut measured.missing, true) {
            return;
        }
        let planned = &measured.planned;
        let asked = [&planned.warning, &planned.critical]
            .into_iter()
            .flatten()
            .any(|threshold| threshold.explicit);
        match asked {
            true => self.say(Status::Unknown, why),
            false => self.detail(1, why),
        }
    }

    /// The worst status. A report without statements is UNKNOWN: nothing was found out.
    pub fn status(&self) -> Status {
        self.statements
            .iter()
            .map(|statement| statement.status)
            .max()
            .unwrap_or(Status::Unknown)
    }

    /// The statements, worst first.
    pub fn statements(&self) -> Vec<&Statement> {
        let mut statements: Vec<&Statement> = self.statements.iter().collect();
        statements.sort_by_key(|statement| std::cmp::Reverse(statement.status));
        statements
    }

    /// The details for exactly this verbosity.
    pub fn details(&self, verbosity: u8) -> impl Iterator<Item = &str> {
        self.details
            .iter()
            .filter(move |detail| detail.verbosity == verbosity)
            .map(|detail| detail.text.as_str())
    }

    /// All metrics of the mode in the order of its table.
    pub fn metrics(&self) -> &[Measured] {
        &self.metrics
    }

    fn judge(
        &mut self,
        label: &str,
        value: f64,
        limit: Option<f64>,
        phrase: &str,
    ) -> (Status, String) {
        let metric = self.measured(label);
        metric.value = Some(value).filter(|value| value.is_finite());
        metric.limit = limit;
        let thresholds = [
            (Status::Critical, &metric.planned.critical),
            (Status::Warning, &metric.planned.warning),
        ];
        let mut verdict = (Status::Ok, phrase.to_owned());
        for (status, threshold) in thresholds {
            let Some(Threshold { range, explicit }) = threshold else {
                continue;
            };
            match range.limits(limit) {
                Some(limits) if limits.alerts(value) => {
                    let word = status.word().to_ascii_lowercase();
                    return (status, format!("{phrase} ({word} {range})"));
                }
                None if *explicit => {
                    verdict = (
                        Status::Unknown,
                        format!("{phrase} (no limit is known for {range})"),
                    );
                }
                _ => (),
            }
        }
        verdict
    }

    /// A metric of the mode's table; any other label is an error in the table.
    fn measured(&mut self, label: &str) -> &mut Measured {
        self.metrics
            .iter_mut()
            .find(|measured| measured.planned.label == label)
            .unwrap_or_else(|| panic!("the table of this mode lacks the value {label}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::range::{Range, Unit};

    fn report(warning: &str, critical: &str, explicit: bool) -> Report {
        let threshold = |text: &str| {
            Some(Threshold {
                range: Range::parse(text, Unit::Count).ok()?,
                explicit,
            })
        };
        Report::new(&[Planned {
            label: "x".into(),
            unit: Unit::Count,
            warning: threshold(warning),
            critical: threshold(critical),
        }])
    }

    #[test]
    fn the_worse_threshold_decides_and_is_named() {
        let mut found = report("10", "20", true);
        found.state("x", 5.0, None, "five");
        found.state("x", 15.0, None, "15 of them");
        found.state("x", 25.0, None, "25 of them");
        assert_eq!(found.status(), Status::Critical);
        let texts: Vec<&str> = found.statements().iter().map(|s| &*s.text).collect();
        assert_eq!(
            texts,
            [
                "25 of them (critical 20)",
                "15 of them (warning 10)",
                "five"
            ]
        );
    }

    /// A default in percent is passed over without a limit; one that the
    /// operator wrote is not, but does not hide another threshold's alert.
    #[test]
    fn percent_without_a_limit() {
        let mut found = report("80%", "90%", false);
        found.state("x", 85.0, None, "85");
        assert_eq!(found.status(), Status::Ok);
        let mut found = report("80%", "90%", true);
        found.state("x", 85.0, None, "85");
        assert_eq!(found.status(), Status::Unknown);
        let mut found = report("10", "90%", true);
        found.state("x", 85.0, None, "85");
        assert_eq!(found.status(), Status::Warning);
    }

    #[test]
    fn no_answer_is_unknown_and_untrusted_text_is_made_harmless() {
        let mut found = report("", "", true);
        assert_eq!(found.status(), Status::Unknown);
        found.say(Status::Ok, "a|b");
        assert_eq!(found.statements()[0].text, "a?b");
    }
}
