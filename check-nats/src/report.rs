//! The result of a run: statements with a status each, metrics, and details.
//!
//! The modes fill it, [`super::output`] prints it. A metric that was not measured is
//! unknown, so that every run has the same labels. All text in it is harmless, and bounded
//! in length and number, whatever the broker sent.

#[cfg(test)]
mod tests;

use super::{
    metric::{Planned, Threshold},
    number::Number,
    status::{Failure, Status},
    text::{harmless, shortened},
};

/// Characters of a statement or of a line about it; what is longer is cut.
const TEXT_CHARS_MAX: usize = 1000;

/// Statements, lines about them and details that are kept; more are counted.
const ITEMS_MAX: usize = 2000;

/// The findings of one run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    statements: Vec<Statement>,
    /// How many statements were not kept, and the worst status among them.
    left_out: usize,
    left_out_status: Option<Status>,
    /// How many lines about statements were not kept.
    lines_left_out: usize,
    /// How many statements, lines and details are kept.
    items: usize,
    details: Vec<Detail>,
    metrics: Vec<Measured>,
    brokers: Vec<(String, Report)>,
}

/// One thing found, in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Statement {
    /// The status it gives the broker.
    pub status: Status,
    /// A sentence that names the culprit.
    pub text: String,
    /// More about it, a line each: who, why, since when.
    pub lines: Vec<String>,
    /// What to do; empty if that is unknown, or nothing.
    pub remedy: String,
}

/// A metric of the run with its value.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Label, unit and thresholds.
    pub planned: Planned,
    /// `None` when it could not be determined.
    pub value: Option<Number>,
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
        let metrics = metrics.iter().map(|planned| Measured {
            planned: planned.clone(),
            value: None,
            limit: None,
            missing: false,
        });
        Self {
            metrics: metrics.collect(),
            ..Self::default()
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
        self.add(status, text, "");
    }

    /// Adds a statement and what to do about it.
    pub fn advise(&mut self, status: Status, text: &str, remedy: &str) {
        self.add(status, text, remedy);
    }

    /// Adds a line about the last statement. It is shown if the statement alerts, or
    /// with `-v`.
    pub fn about(&mut self, line: &str) {
        // A statement that was not kept has no lines either.
        let has_room = self.has_room() && self.left_out == 0;
        match self.statements.last_mut() {
            Some(last) if has_room => {
                last.lines.push(clean(line));
                self.items += 1;
            }
            _ => self.lines_left_out += 1,
        }
    }

    /// Adds what ended a part of the check early.
    pub fn fail(&mut self, failure: &Failure) {
        self.add(failure.status, &failure.text, failure.remedy);
    }

    /// Adds a line that is shown with `-v` given `verbosity` times or more.
    pub fn detail(&mut self, verbosity: u8, text: &str) {
        if self.has_room() {
            let text = clean(text);
            self.details.push(Detail { verbosity, text });
            self.items += 1;
        }
    }

    /// Sets a metric and states it as `phrase`, with the threshold if it alerts.
    pub fn state(
        &mut self,
        label: &str,
        value: impl Into<Number>,
        limit: Option<f64>,
        phrase: &str,
    ) {
        if self.is_missing(label) {
            return;
        }
        let (status, text, remedy) = self.judge(label, value.into(), limit, phrase);
        self.add(status, &text, remedy);
    }

    /// Sets a metric; `phrase` is stated only if the metric alerts. Returns whether it does.
    pub fn watch(
        &mut self,
        label: &str,
        value: impl Into<Number>,
        limit: Option<f64>,
        phrase: &str,
    ) -> bool {
        if self.is_missing(label) {
            return false;
        }
        let (status, text, remedy) = self.judge(label, value.into(), limit, phrase);
        let is_alert = status != Status::Ok;
        if is_alert {
            self.add(status, &text, remedy);
        }
        is_alert
    }

    /// Sets a running total, which has no thresholds. `None` leaves it unknown:
    /// the broker does not report it.
    pub fn total(&mut self, label: &str, value: Option<impl Into<Number>>) {
        if !self.is_missing(label) {
            self.measured(label).value = value.and_then(|value| value.into().measured());
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
        let statements = self.statements.iter().map(|statement| statement.status);
        statements
            .chain(self.left_out_status)
            .max()
            .unwrap_or(Status::Unknown)
    }

    /// The statements, worst first.
    pub fn statements(&self) -> Vec<&Statement> {
        let mut statements: Vec<&Statement> = self.statements.iter().collect();
        statements.sort_by_key(|statement| std::cmp::Reverse(statement.status));
        statements
    }

    /// Statements that were too many to be kept.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Lines about statements that were too many to be kept.
    pub fn lines_left_out(&self) -> usize {
        self.lines_left_out
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

    fn add(&mut self, status: Status, text: &str, remedy: &str) {
        if !self.has_room() {
            self.left_out += 1;
            self.left_out_status = self.left_out_status.max(Some(status));
            return;
        }
        self.statements.push(Statement {
            status,
            text: clean(text),
            lines: Vec::new(),
            remedy: clean(remedy),
        });
        self.items += 1;
    }

    fn has_room(&self) -> bool {
        self.items < ITEMS_MAX
    }

    /// The status of a value, the phrase with the threshold that it crosses, and what to do.
    fn judge(
        &mut self,
        label: &str,
        value: Number,
        limit: Option<f64>,
        phrase: &str,
    ) -> (Status, String, &'static str) {
        let metric = self.measured(label);
        metric.value = value.measured();
        metric.limit = limit;
        let remedy = metric.planned.remedy;
        let [warning, critical] = metric.planned.thresholds(limit);
        let mut verdict = (Status::Ok, phrase.to_owned(), "");
        for (status, threshold) in [(Status::Critical, critical), (Status::Warning, warning)] {
            let Some(Threshold { range, explicit }) = threshold else {
                continue;
            };
            match range.limits(limit) {
                Some(limits) if limits.alerts(value.as_f64()) => {
                    let word = status.word().to_ascii_lowercase();
                    return (status, format!("{phrase} ({word} {range})"), remedy);
                }
                None if *explicit => {
                    let text = format!("{phrase} (no limit is known for {range})");
                    verdict = (Status::Unknown, text, "");
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

fn clean(text: &str) -> String {
    harmless(&shortened(text, TEXT_CHARS_MAX, usize::MAX))
}
