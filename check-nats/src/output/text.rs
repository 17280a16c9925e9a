//! Several lines for people.

use std::fmt::Write;

use super::described;
use crate::{options::Options, report::Report, status::Status, text::plural};

pub(super) fn draw(report: &Report, options: &Options) -> String {
    let mut output = format!("{}: {}\n", options.service_name, report.status());
    write(&mut output, report, options);
    for (name, broker) in report.brokers() {
        let _ = writeln!(output, "{name}: {}", broker.status());
        write(&mut output, broker, options);
    }
    output
}

/// A report about one broker, or about several together.
fn write(output: &mut String, report: &Report, options: &Options) {
    for statement in report.statements() {
        let _ = writeln!(output, "  {:8} {}", statement.status.word(), statement.text);
        if statement.status == Status::Ok && options.verbosity == 0 {
            continue;
        }
        for line in &statement.lines {
            let _ = writeln!(output, "           {line}");
        }
        if !statement.remedy.is_empty() {
            let _ = writeln!(output, "           do: {}", statement.remedy);
        }
    }
    match report.left_out() + report.lines_left_out() {
        0 => {}
        more => {
            let _ = writeln!(output, "  {}", plural(more, "more line"));
        }
    }
    for verbosity in 1..=options.verbosity.min(3) {
        for detail in report.details(verbosity) {
            let _ = writeln!(output, "  {detail}");
        }
    }
    for metric in report.metrics() {
        let _ = writeln!(output, "  {}", described(metric));
    }
}
