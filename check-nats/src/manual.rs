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
    target::arguments::HEADINGS,
};

/// The page as roff.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for mode in MODES {
        write_mode(&mut page, mode);
    }
    page.push_str(".SH OPTIONS\n");
    let command = command();
    for heading in [None].into_iter().chain(HEADINGS.map(Some)) {
        if let Some(heading) = heading {
            let _ = writeln!(page, ".SS {}", roff(heading));
        }
        let of_heading = |arg: &&Arg| !arg.is_hide_set() && arg.get_help_heading() == heading;
        for arg in command.get_arguments().filter(of_heading) {
            write_option(&mut page, arg);
        }
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
    write_metrics(page, mode.metrics);
    if let Some(joint) = &mode.joint {
        let help = format!("With several brokers also whether {}.", joint.help);
        let _ = write!(page, ".br\n{}\n", roff(&help));
        write_metrics(page, joint.metrics);
    }
}

fn write_metrics(page: &mut String, metrics: &[&Metric]) {
    for metric in metrics {
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
[\\-H HOST] [\\-p PORT] [\\-m PORT | \\-u URL | \\-\\-socket PATH]
[\\-\\-puppet | \\-\\-cacert FILE \\-\\-cert FILE \\-\\-key FILE] [\\-\\-mode MODE]
[\\-w RANGE] [\\-c RANGE] [\\-t SECONDS[:STATE]] [\\-v] [OPTIONS]
.SH DESCRIPTION
.B check_nats
checks one broker, midge or nats\\-server, on its client port and its
monitoring port, and prints one line with a status and performance data; if
something is wrong, the lines after it say more.
Without options it checks the health of the broker on this machine; several brokers
can be checked in one call, see SEVERAL BROKERS.
.P
The client port is where \\-H and \\-p say. Without both, the broker's /varz says
where it is and whether it has TLS; without \\-u, \\-m and \\-\\-socket as well, and
without an answer, it is 127.0.0.1:4222. To a host that only /varz names, neither the
one that was asked nor this one, a login is sent with TLS only.
.P
TLS begins where the broker requires it, and its certificate must have the name of
the host and a CA of the system or of \\-\\-cacert. With \\-\\-tls, \\-\\-puppet or
tls:// a broker without TLS is critical and gets no login. A broker with
.B tls { puppet: true }
is checked by
.B check_nats \\-\\-puppet
on its own host, by a user who may read the agent's key.
.P
Secrets come from files or the environment. With \\-v a file that every user of the
host can read is named.
.P
midge answers requests for names of its own host. Other names and aliases are to be listed in the
broker's option
.B hosts
of the block
.BR monitor ;
otherwise the answer is HTTP status 421, whose text names the option.
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
.SH SEVERAL BROKERS
Each
.B \\-H
is a broker, and so is each
.B \\-u
where no \\-H is given.
.B \\-\\-srv
asks the DNS for them instead: all hosts of the record are checked, whatever their
priority and weight, and the monitoring port of each is that of \\-m. At most 64 are
checked, all at the same time and within the time of \\-t; up to half of it is for the
look\\-up. An entry that cannot be checked is UNKNOWN, and the others are checked. All other
options are the same for each.
.P
The status is the worst of all. The first line names the brokers that are not OK, and
says how many answered if not all did. A line for each broker follows.
.P
The labels of performance data begin with the name of the broker, as in
n1::connections: the first part of its host name, or more if that is not enough to
keep the brokers apart. The labels do not change when a broker does not answer; its
values are then U. Values of all brokers together come first: brokers_answering in each
mode, and those of the modes cluster and roundtrip. All together they may be longer than
NRPE takes (1024 or 4096 bytes): run the check on the monitoring host.
.P
Differences that are intended are no problem with another threshold:
\\-\\-configs\\-warning 3 for three files that differ, \\-\\-versions\\-warning 2 during an
upgrade.
.P
The DNS is not protected against forgery: a host that answers for the record gets the login
of the check. Give \\-\\-tls or \\-\\-puppet with it.
.SH CHECKS OF EVENTS
The modes slow, losses, no\\-interest, logins, violations and restarts report what
happened since the last run, and traffic the amount per second since then. They
keep a small file for the next run. The first run has nothing to compare with: it
returns OK and says so. After a restart of the broker the new totals are
themselves what happened since.
.P
An event is reported once, also if the names of those behind it cannot be had. A scheduler that checks again before it notifies would
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
is another name of it.
.P
Of texts of a broker or its clients, control characters, invisible ones and | < > are
shown as a question mark. What a shell understands is left as it is: keep
.B illegal_macro_output_chars
in nagios.cfg, which takes it out of the macros of notification commands.
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
the connection is refused or closed, gets no INFO or no end of the TLS handshake in
time, or the broker is full; its certificate has expired, is not valid yet or is
revoked, or lacks the given name or CA; it has no TLS where \\-\\-tls asks for it
.TP
.B 3
UNKNOWN: the check could not be made: wrong arguments, a file that cannot be used, a
name that is not resolved, an answer that is not understood or lacks a field that the
mode needs, no time left in a later step; the broker requires a login or a
certificate and has got none, or refuses that of the check; its certificate is not
signed by a CA of the system, or not for an address that was given in place of a
name; a signal; also for \\-\\-help, \\-\\-version and \\-\\-completions
.P
Of several results the worst counts, in the order CRITICAL, WARNING, UNKNOWN, OK.
.SH ENVIRONMENT
.TP
.B CHECK_NATS_USER, CHECK_NATS_PASSWORD
login at the client port
.TP
.B CHECK_NATS_TOKEN, CHECK_NATS_NKEY, CHECK_NATS_CREDS
a token, the seed of an nkey, or the text of a credentials file for the client port
.TP
.B MONITOR_USER, MONITOR_PASSWORD, MONITOR_TOKEN
login at the monitoring port
.P
Options come first. A variable is used only where no option gives a login.
.SH FILES
.TP
.B /run/midge/monitor.sock
monitoring port of midge on this host, used without \\-H, \\-m, \\-u and \\-\\-socket
.TP
.B /var/tmp/check_nats\\-UID
default folder of the state files of the user with this number
.SH EXAMPLES
.nf
check_nats
check_nats \\-\\-puppet
check_nats \\-H tls://nats1.example.net \\-\\-mode connect \\-\\-creds /etc/nagios/nats.creds
check_nats \\-u https://nats1.example.net:8222 \\-\\-cacert /etc/ssl/nats/ca.pem
check_nats \\-\\-mode connections \\-w 70% \\-c 90%
check_nats \\-\\-mode connections \\-w 10:
check_nats \\-\\-mode slow \\-\\-hold 15m
check_nats \\-\\-mode losses \\-\\-no\\-state\\-update
check_nats \\-\\-mode config \\-\\-file /etc/nats/nats.conf
check_nats \\-\\-completions bash > /etc/bash_completion.d/check_nats
check_nats \\-\\-mode connect \\-w 50ms \\-c 200ms \\-\\-connect\\-critical 2s
check_nats \\-\\-mode varz \\-\\-figure slow_consumer_stats.routes \\-w 0
check_nats \\-H n1 \\-H n2 \\-H n3 \\-\\-mode cluster
check_nats \\-\\-srv _nats\\-server._tcp.example.net \\-\\-mode roundtrip \\-\\-mesh\\-warning 100ms
.fi
.SH SEE ALSO
.BR midge (1)
";
