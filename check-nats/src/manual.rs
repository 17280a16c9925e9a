//! The manual page, made from the command line and the table of modes.
//!
//! `conf/man/check_nats.1` holds it for installation; `check_nats --man` prints
//! it, and a test compares the two.

use std::fmt::Write;

use clap::Arg;

use super::{
    args::{STATE_HEADING, command, threshold_options},
    metric::Metric,
    modes::{MODES, Mode},
};

/// The page as roff.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for mode in MODES {
        write_mode(&mut page, mode);
    }
    page.push_str(".SH OPTIONS\n");
    let command = command();
    let plain = |arg: &&Arg| !arg.is_hide_set() && arg.get_help_heading().is_none();
    for arg in command.get_arguments().filter(plain) {
        write_option(&mut page, arg);
    }
    let _ = writeln!(page, ".SS {STATE_HEADING}");
    let of_state = |arg: &&Arg| arg.get_help_heading() == Some(STATE_HEADING);
    for arg in command.get_arguments().filter(of_state) {
        write_option(&mut page, arg);
    }
    page.push_str(".SS Thresholds of single values\n");
    for metric in threshold_options() {
        write_threshold_option(&mut page, metric);
    }
    page.push_str(TAIL);
    page
}

fn write_mode(page: &mut String, mode: &Mode) {
    let _ = write!(
        page,
        ".TP\n.B {}\n{}.\n",
        mode.name,
        roff(&sentence(mode.help))
    );
    for metric in mode.metrics {
        let _ = write!(page, ".br\n{}\n", roff(&metric_line(metric)));
    }
}

fn write_threshold_option(page: &mut String, metric: &Metric) {
    let Some(stem) = metric.option.map(roff) else {
        return;
    };
    let _ = write!(
        page,
        ".TP\n.B \\-\\-{stem}\\-warning, \\-\\-{stem}\\-critical RANGE\n{}.\n",
        roff(&format!("{}: {}", metric.label, metric.help))
    );
}

fn metric_line(metric: &Metric) -> String {
    let mut line = format!("{}: {}", metric.label, metric.help);
    for (word, range) in [("warning", metric.warning), ("critical", metric.critical)] {
        if !range.is_empty() {
            let _ = write!(line, "; {word} {range}");
        }
    }
    line + "."
}

fn write_option(page: &mut String, arg: &Arg) {
    let mut names = Vec::new();
    if let Some(short) = arg.get_short() {
        names.push(format!("\\-{short}"));
    }
    if let Some(long) = arg.get_long() {
        names.push(format!("\\-\\-{}", roff(long)));
    }
    let _ = write!(page, ".TP\n.B {}", names.join(", "));
    let value = arg
        .get_value_names()
        .filter(|_| arg.get_action().takes_values());
    if let Some([value]) = value {
        let _ = write!(page, " {}", roff(value));
    }
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let _ = write!(page, "\n{}.", roff(&help));
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .filter(|_| arg.get_action().takes_values())
        .map(|value| value.to_string_lossy())
        .collect();
    if !defaults.is_empty() {
        let _ = write!(page, " The default is {}.", roff(&defaults.join(", ")));
    }
    page.push('\n');
}

/// The first letter in upper case.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Text in which roff sees no command.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

const HEAD: &str = "\
.TH CHECK_NATS 1 \"\" midge \"User Commands\"
.SH NAME
check_nats \\- check a NATS broker, as a Nagios plugin
.SH SYNOPSIS
.B check_nats
[\\-H HOST] [\\-p PORT] [\\-m PORT | \\-u URL] [\\-\\-mode MODE]
[\\-w RANGE] [\\-c RANGE] [\\-t SECONDS[:STATE]] [\\-v] [OPTIONS]
.SH DESCRIPTION
.B check_nats
checks one broker, midge or nats\\-server, on its client port and its
monitoring port, and prints one line with a status and performance data; if
something is wrong, the lines after it say more.
Without options it checks the health of the broker on this machine.
.P
An option that is given twice counts as it is given last.
.SH MODES
The first value of a mode is its main one:
.B \\-w
and
.B \\-c
apply to it.
";

const TAIL: &str = "\
.SH CHECKS OF EVENTS
The modes slow, losses, no\\-interest, logins, violations and restarts report what
happened since the last run, and traffic the amount per second since then. They
keep a small file for the next run. The first run has nothing to compare with: it
returns OK and says so. After a restart of the broker the new totals are
themselves what happened since.
.P
An event is reported once. A scheduler that checks again before it notifies would
find the service OK: set
.B max_check_attempts 1
and
.B is_volatile 1
for services of these modes (in Icinga
.B max_check_attempts = 1
and
.BR \"volatile = true\" ),
or let the check say an alert again for some time, as in
.BR \"\\-\\-hold 15m\" .
Performance data are never held.
.P
Each set of options has a file of its own, so that two services with other
thresholds, names or targets do not take events from each other. Checks that
should share one have the same
.BR \"\\-\\-state NAME\" .
A run by hand with the same options and
.B \\-\\-no\\-state\\-update
shows what the next run will find, and takes nothing from it. A file belongs to one
user; those that were not used for 90 days are removed.
.SH OUTPUT
The first line has at most 240 characters before the performance data, the worst
first, and fits with these into 1024 bytes (NRPE 2). The lines after it name
everybody and say what to do; all together they have at most 4000 bytes, with
.B \\-v
8000, and the rest is counted.
.B \\-\\-format text
has more.
.B \\-\\-format openmetrics
has the performance data for Prometheus, as in a file for the textfile collector of
its node exporter;
.B prometheus
is another name of it. Text of a broker or its clients is shown without the
characters that have a meaning for schedulers, shells or web pages.
.SH RANGES
A threshold is the range of good values, written [@]start:end:
.TP
.B 10
alert below 0 or above 10
.TP
.B 10:
alert below 10
.TP
.B ~:10
alert above 10
.TP
.B 10:20
alert below 10 or above 20
.TP
.B @10:20
alert from 10 to 20
.P
If only one threshold of a value is given, the default of the other one applies
too, unless the warning would have no effect then:
.B \\-w 2s
beside a default critical range of 0.5 s is a warning from 2 s on, and nothing is
critical. A pair of which the warning has no effect is refused if both were given.
.P
Both ends belong to the range. Times take the suffixes us, ms, s, m, h, d and w;
bytes take B, KB, MB, GB, TB, KiB, MiB, GiB and TiB. N% is a share of the limit of
the value where it has one.
.SH EXIT STATUS
.TP
.B 0
OK: checked, within all thresholds
.TP
.B 1
WARNING: a warning threshold is crossed
.TP
.B 2
CRITICAL: a critical threshold is crossed, or the broker does not serve:
the connection is refused or closed, or gets no INFO in time
.TP
.B 3
UNKNOWN: the check could not be made: wrong arguments, a name that is not
resolved, an answer that is not understood or lacks a field that the mode needs,
no time left in a later step, a signal; also for \\-\\-help, \\-\\-version and
\\-\\-completions
.P
Of several results the worst counts, in the order CRITICAL, WARNING, UNKNOWN, OK.
.SH FILES
.TP
.B /var/tmp/check_nats\\-UID
default folder of the state files of the user with this number
.SH EXAMPLES
.nf
check_nats
check_nats \\-\\-mode connections \\-w 70% \\-c 90%
check_nats \\-\\-mode connections \\-w 10:
check_nats \\-\\-mode slow \\-\\-hold 15m
check_nats \\-\\-mode losses \\-\\-no\\-state\\-update
check_nats \\-\\-mode config \\-\\-file /etc/nats/nats.conf
check_nats \\-\\-completions bash > /etc/bash_completion.d/check_nats
check_nats \\-\\-mode connect \\-w 50ms \\-c 200ms \\-\\-connect\\-critical 2s
check_nats \\-\\-mode varz \\-\\-figure slow_consumer_stats.routes \\-w 0
.fi
.SH SEE ALSO
.BR midge (1)
";
