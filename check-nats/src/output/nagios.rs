//! The plugin contract: a first line with the worst and performance data, then more lines.
//!
//! Transports cut what is too long without a mark: NRPE 2 after 1024 bytes, NRPE 3 and 4
//! after 4096 as most are built, Nagios after 8192. So the first line and its performance
//! data fit into the smallest of them, and the whole output into the second one; `-v`,
//! which is for people, fits into the last.

use super::described;
use crate::{
    brokers::names,
    metric::{Planned, Threshold},
    options::Options,
    report::{Measured, Report, Statement},
    status::Status,
    text::{decimal, harmless, plural, shortened},
};

/// Characters of the first line before its performance data.
pub(super) const LINE_CHARS_MAX: usize = 240;

/// Bytes of the first line with its performance data, as far as these leave room. A byte of
/// NRPE's 1024 ends the text.
pub(super) const LINE_BYTES_MAX: usize = 1000;

/// Bytes that the text of the first line has at least, however long the performance data
/// are, and at most.
const TEXT_BYTES: (usize, usize) = (160, 480);

/// Bytes of the output, without and with `-v`.
pub(super) const OUTPUT_BYTES_MAX: (usize, usize) = (4000, 8000);

/// Characters of a further line.
const FURTHER_CHARS_MAX: usize = 500;

/// Bytes that the lines about several brokers have at least.
const BROKERS_BYTES: usize = 2000;

/// Bytes that are kept free for the line that counts the rest.
const REST_BYTES: usize = 80;

/// Between the text of the first line and its performance data.
const SEPARATOR: &str = " | ";

pub(super) fn draw(report: &Report, options: &Options) -> String {
    let perfdata = all_perfdata(report);
    let statements = report.statements();
    let room = LINE_BYTES_MAX.saturating_sub(perfdata.len() + SEPARATOR.len());
    let (head, whole) = head(
        &format!("{} {}: ", options.service_name, report.status()),
        &statements,
        // What is said of several brokers may be a list itself.
        if report.brokers().is_empty() {
            ", "
        } else {
            "; "
        },
        report.left_out(),
        room.clamp(TEXT_BYTES.0, TEXT_BYTES.1),
    );
    let mut output = head;
    if !perfdata.is_empty() {
        output.push_str(SEPARATOR);
        output.push_str(&perfdata);
    }
    output.push('\n');
    let bytes_max = match options.verbosity {
        0 => OUTPUT_BYTES_MAX.0,
        _ => OUTPUT_BYTES_MAX.1,
    };
    // Performance data of many brokers alone may be longer.
    let bytes_max = match report.brokers().is_empty() {
        true => bytes_max,
        false => bytes_max.max(output.len() + BROKERS_BYTES),
    };
    let lines = further(report, options, whole);
    let of_brokers = report.brokers().iter().map(|(_, broker)| left_out(broker));
    let left_out = left_out(report) + of_brokers.sum::<usize>();
    append(&mut output, &lines, left_out, bytes_max);
    output
}

/// What was too much to be kept in a report.
fn left_out(report: &Report) -> usize {
    report.left_out() + report.lines_left_out()
}

/// The first line of a run without a mode.
pub(super) fn draw_unnamed(report: &Report, service: &str) -> String {
    let start = format!("{service} {}: ", report.status());
    let (line, _) = head(&start, &report.statements(), ", ", 0, TEXT_BYTES.1);
    line + "\n"
}

/// The text of the first line: the worst statements that fit, and how many more there are.
/// Also returns how many are in it uncut.
fn head(
    start: &str,
    statements: &[&Statement],
    separator: &str,
    left_out: usize,
    bytes_max: usize,
) -> (String, usize) {
    let all = statements.len() + left_out;
    let more = |shown: usize| match all - shown {
        0 => String::new(),
        more => format!("{separator}{more} more"),
    };
    let mut text = start.to_owned();
    let mut whole = 0;
    for statement in statements {
        let separator = if whole == 0 { "" } else { separator };
        let next = format!("{text}{separator}{}", statement.text);
        let tail = more(whole + 1);
        let chars = next.chars().count() + tail.len();
        if chars > LINE_CHARS_MAX || next.len() + tail.len() > bytes_max {
            break;
        }
        text = next;
        whole += 1;
    }
    let shown = match statements.first() {
        // Not even the worst one fits.
        Some(worst) if whole == 0 => {
            let tail = more(1);
            let mark = '…';
            let chars = LINE_CHARS_MAX.saturating_sub(text.chars().count() + tail.len() + 1);
            let bytes = bytes_max.saturating_sub(text.len() + tail.len() + mark.len_utf8());
            text.push_str(&shortened(&worst.text, chars, bytes));
            1
        }
        _ => whole,
    };
    text.push_str(&more(shown));
    (text.trim_end().to_owned(), whole)
}

/// The lines after the first one. `whole` is how many statements that has uncut.
fn further(report: &Report, options: &Options, whole: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, statement) in report.statements().into_iter().enumerate() {
        let has_more = !statement.lines.is_empty() || !statement.remedy.is_empty();
        let is_open = statement.status != Status::Ok || options.verbosity > 0;
        if index >= whole || (is_open && has_more) {
            lines.push(format!("{}: {}", statement.status, statement.text));
        }
        if is_open {
            lines.extend(more_about(statement));
        }
    }
    for (name, broker) in report.brokers() {
        lines.push(line_of(name, broker));
        let is_open =
            |statement: &&&Statement| statement.status != Status::Ok || options.verbosity > 0;
        let statements = broker.statements();
        lines.extend(
            statements
                .iter()
                .filter(is_open)
                .flat_map(|one| more_about(one)),
        );
    }
    lines.extend(details("", report, options));
    for (name, broker) in report.brokers() {
        lines.extend(details(&format!("{name}: "), broker, options));
    }
    lines
}

/// One of several brokers in one line, the worst first.
fn line_of(name: &str, broker: &Report) -> String {
    let statements = broker.statements();
    let texts: Vec<&str> = statements.iter().map(|one| one.text.as_str()).collect();
    format!("{name} {}: {}", broker.status(), texts.join(", "))
}

fn more_about(statement: &Statement) -> Vec<String> {
    let lines = statement.lines.iter().map(|line| format!("  {line}"));
    let remedy = Some(&statement.remedy).filter(|remedy| !remedy.is_empty());
    lines
        .chain(remedy.map(|remedy| format!("  do: {remedy}")))
        .collect()
}

/// What `-v` adds, with `start` before each line.
fn details(start: &str, report: &Report, options: &Options) -> Vec<String> {
    let mut lines = Vec::new();
    for verbosity in 1..=options.verbosity.min(3) {
        let details = report.details(verbosity);
        lines.extend(details.map(|detail| format!("{start}{detail}")));
    }
    if options.verbosity >= 3 {
        let metrics = report.metrics().iter().map(described);
        lines.extend(metrics.map(|metric| format!("{start}{metric}")));
    }
    lines
}

/// Adds the lines that fit, and how many there are besides, those included that the report
/// has left out.
fn append(output: &mut String, lines: &[String], left_out: usize, bytes_max: usize) {
    let full = bytes_max.saturating_sub(REST_BYTES);
    let mut written = 0;
    for line in lines {
        let line = shortened(line, FURTHER_CHARS_MAX, usize::MAX);
        if output.len() + line.len() + 1 > full {
            break;
        }
        output.push_str(&line);
        output.push('\n');
        written += 1;
    }
    match lines.len() - written + left_out {
        0 => {}
        more => {
            let more = plural(more, "more line");
            let text = format!("{more}; --format text has more of them\n");
            output.push_str(&text);
        }
    }
}

/// The metrics of the run. Those of several brokers begin with the broker's name and come last:
/// Icinga takes a label without `::` after one with it for that broker's.
fn all_perfdata(report: &Report) -> String {
    let mut all: Vec<String> = report
        .metrics()
        .iter()
        .map(|own| perfdata("", own))
        .collect();
    for (name, broker) in report.brokers() {
        let prefix = format!("{}::", names::in_label(name));
        all.extend(
            broker
                .metrics()
                .iter()
                .map(|metric| perfdata(&prefix, metric)),
        );
    }
    all.join(" ")
}

/// `label=value[UOM];[warn];[crit];[min];[max]`
fn perfdata(prefix: &str, metric: &Measured) -> String {
    let Planned { label, unit, .. } = &metric.planned;
    let value = match metric.value {
        Some(value) => format!("{value}{}", unit.uom()),
        None => "U".to_owned(),
    };
    let range = |threshold: Option<&Threshold>| {
        threshold
            .and_then(|threshold| threshold.range.perfdata(metric.limit))
            .unwrap_or_default()
    };
    let [warning, critical] = metric.planned.thresholds(metric.limit).map(range);
    let (min, max) = match metric.limit {
        Some(limit) => ("0", decimal(limit)),
        None => ("", String::new()),
    };
    format!(
        "{prefix}{}={value};{warning};{critical};{min};{max}",
        safe(label)
    )
    .trim_end_matches(';')
    .to_owned()
}

/// A label that needs no quotes: what would end it, or is not the same everywhere, is
/// replaced.
fn safe(label: &str) -> String {
    let fits = |c: char| match c {
        '=' | '\'' | '"' | ';' | '%' | '\\' => false,
        c => c.is_ascii_graphic(),
    };
    harmless(label)
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect()
}
