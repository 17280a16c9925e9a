//! What a check found, and how a scheduler reads it: one line of text, the
//! performance data behind a bar, and the exit code.

use std::fmt::{self, Write};

use super::range::{Range, decimal};

/// The states of the plugin contract.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// Checked, within all thresholds.
    Ok,
    /// Checked, above a warning threshold.
    Warning,
    /// Checked: not serving, or above a critical threshold.
    Critical,
    /// Bad arguments, or it could not be found out.
    Unknown,
}

impl Status {
    /// The exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// How bad it is: a known fault is never masked by an unknown part.
    fn rank(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Unknown => 1,
            Self::Warning => 2,
            Self::Critical => 3,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// One figure for whoever draws graphs.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its label: the same on every run.
    pub label: String,
    /// `None` when it could not be found out.
    pub value: Option<f64>,
    /// Its unit: empty, `s`, `B`, `%`, or `c` for a running total.
    pub unit: &'static str,
    /// Where it warns.
    pub warning: Option<Range>,
    /// Where it is critical.
    pub critical: Option<Range>,
    /// The most it can be.
    pub max: Option<f64>,
}

impl Figure {
    /// A figure without thresholds.
    pub fn new(label: &str, value: Option<f64>, unit: &'static str) -> Self {
        Self {
            label: label.to_owned(),
            value,
            unit,
            warning: None,
            critical: None,
            max: None,
        }
    }

    /// What its thresholds say of it.
    pub fn status(&self) -> Status {
        let alerts = |range: &Option<Range>| match (range, self.value) {
            (Some(range), Some(value)) => range.alerts(value),
            _ => false,
        };
        match (alerts(&self.critical), alerts(&self.warning)) {
            (true, _) => Status::Critical,
            (false, true) => Status::Warning,
            (false, false) => Status::Ok,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |range: &Option<Range>| range.as_ref().map(Range::to_string).unwrap_or_default();
        let value = match self.value {
            Some(value) => decimal(value) + self.unit,
            None => "U".into(),
        };
        let line = format!(
            "{}={value};{};{};0;{}",
            self.label,
            text(&self.warning),
            text(&self.critical),
            self.max.map(decimal).unwrap_or_default(),
        );
        f.write_str(line.trim_end_matches(';'))
    }
}

/// What a check found.
#[derive(Debug)]
pub struct Report {
    status: Status,
    /// What is not as it should be, with its state.
    complaints: Vec<(Status, String)>,
    /// What is as it should be.
    facts: Vec<String>,
    figures: Vec<Figure>,
    /// Lines for `-v`.
    details: Vec<String>,
}

impl Report {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self {
            status: Status::Ok,
            complaints: Vec::new(),
            facts: Vec::new(),
            figures: Vec::new(),
            details: Vec::new(),
        }
    }

    /// The worst that was found.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Something is not as it should be.
    pub fn complain(&mut self, status: Status, text: impl Into<String>) {
        if status.rank() > self.status.rank() {
            self.status = status;
        }
        self.complaints.push((status, text.into()));
    }

    /// Something worth the first line.
    pub fn note(&mut self, fact: impl Into<String>) {
        self.facts.push(fact.into());
    }

    /// Something for `-v`.
    pub fn detail(&mut self, detail: impl Into<String>) {
        self.details.push(detail.into());
    }

    /// A figure, judged by its thresholds; `text` is how the first line puts it.
    pub fn judge(&mut self, figure: Figure, text: impl Into<String>) {
        match figure.status() {
            Status::Ok => self.note(text),
            status => self.complain(status, text),
        }
        self.figures.push(figure);
    }

    /// A figure for graphs only.
    pub fn record(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// The output: the first line stands alone, what is worst comes first.
    pub fn render(&self, service: &str, verbose: u8) -> String {
        let mut complaints = self.complaints.clone();
        complaints.sort_by_key(|(status, _)| std::cmp::Reverse(status.rank()));
        let mut parts: Vec<&str> = complaints.iter().map(|(_, text)| text.as_str()).collect();
        parts.extend(self.facts.iter().map(String::as_str));
        let mut out = format!(
            "{} {}: {}",
            printable(service),
            self.status,
            printable(&parts.join(", "))
        );
        if !self.figures.is_empty() {
            out.push_str(" |");
            for figure in &self.figures {
                // Writing to a string does not fail.
                let _ = write!(out, " {figure}");
            }
        }
        out.push('\n');
        if verbose > 0 {
            for detail in &self.details {
                out.push_str(&printable(detail));
                out.push('\n');
            }
        }
        out
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new()
    }
}

/// Text as it may be printed: strangers choose names, the bar divides text from
/// performance data, and web pages show it as HTML.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '|' | '<' | '>' | '`' | '&' => '_',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::range::Scale;

    #[test]
    fn a_known_fault_is_not_masked() {
        let mut report = Report::new();
        report.complain(Status::Unknown, "no varz");
        report.complain(Status::Warning, "slow");
        assert_eq!(report.status(), Status::Warning);
        report.complain(Status::Critical, "down");
        report.note("fine");
        assert_eq!(
            report.render("NATS", 0),
            "NATS CRITICAL: down, slow, no varz, fine\n"
        );
    }

    #[test]
    fn performance_data() {
        let mut figure = Figure::new("rtt", Some(0.000_123), "s");
        assert_eq!(figure.to_string(), "rtt=0.000123s;;;0");
        figure.warning = Range::parse("@1:2", Scale::Seconds).ok();
        figure.max = Some(5.0);
        assert_eq!(figure.to_string(), "rtt=0.000123s;@1:2;;0;5");
        figure.value = None;
        assert_eq!(figure.to_string(), "rtt=U;@1:2;;0;5");
        assert_eq!(
            Figure::new("n", Some(3e20), "").to_string(),
            "n=300000000000000000000;;;0"
        );
    }

    #[test]
    fn what_strangers_write_is_tamed() {
        let mut report = Report::new();
        report.note("client \"a|b\n<c>`\"");
        assert_eq!(report.render("NATS", 0), "NATS OK: client \"a_b _c__\"\n");
    }
}
