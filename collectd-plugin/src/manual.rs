//! The manual page `collectd-nats(5)`, made from the tables of options and metrics. The test fails
//! if the page in `conf/man` is out of date; `UPDATE_MANUAL=1 cargo test -p collectd-plugin manual`
//! writes it.

use std::fmt::Write;

use crate::{
    config::OPTIONS,
    metrics::{Group, METRICS, Metric, Source},
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/man/collectd-nats.5");

const HEAD: &str = r#".\" Made from the tables of collectd-plugin/src: do not edit.
.TH COLLECTD-NATS 5 "" midge "midge manual"
.SH NAME
collectd-nats \- values, state and restarts of NATS brokers for collectd
.SH SYNOPSIS
.nf
LoadPlugin nats
<Plugin nats>
  <Instance "broker">
    URL "http://127.0.0.1:8222"
    #Socket "/run/midge/monitor.sock"
    #TokenFile "/etc/collectd/nats.token"
    #User "ops"
    #PasswordFile "/etc/collectd/nats.password"
    #Password "secret"
    #CACert "/etc/ssl/broker-ca.pem"
    #CertificateFile "/etc/ssl/collectd.pem"
    #CertificateKey "/etc/ssl/collectd.key"
    #VerifyPeer true
    #Timeout 2000
    #Interval 10
    #Host "broker.example.net"
    #ReportNotifications true
    #ReportLimits false
    #LegacyNames false
  </Instance>
</Plugin>
.fi
.SH DESCRIPTION
The plugin
.B nats
of
.BR collectd (1)
reads /varz and /healthz from the monitoring port of NATS brokers: midge, or nats-server if it was
started with a monitoring port (http_port).
Without a block, or with empty blocks, it polls one instance named
.BR local :
through the socket /run/midge/monitor.sock if it can be opened, else at http://127.0.0.1:8222. Which
of the two is looked up again after each failure. Several blocks add up.
.PP
When a broker is down, slow, or gives an invalid answer, the plugin dispatches bool-up as 0 and no
other values, and keeps polling at the same interval. Each change of state and each restart of a
broker is logged once.
.PP
The library must be in the PluginDir as
.BR nats.so ,
and not as a symbolic link: collectd refuses those.
.SH OPTIONS
Each
.B <Instance
.IB name >
block is one broker. Its name becomes the plugin instance of all values. Two instances of one name
must have different hosts (option
.BR Host ).
Keys may be in upper or lower case, numbers with or without quotes. Unknown keys are logged
and ignored. With a bad value collectd does not start; the log says why.
"#;

const TAIL: &str = r#".SH FILES OF SECRETS AND CERTIFICATES
They are read at the first poll, again when one of them changes, and again after a poll that failed.
So renewed certificates and tokens are used without a restart of collectd. A changed file that
cannot be used is logged as a warning; the former content stays in force. Files must be regular ones;
a secret is one line of at most 4 KiB. A secret or key that every user of the host can read is logged
as a warning. Secrets are never logged.
.SH LOG
Lines begin with
.BR "nats plugin:" .
Down is logged as an error, trouble that /healthz reports as a warning, a recovery and a restart
as a notice, the first success as information. When a broker refuses a request, the line ends with
the first line of its answer, which names the option to set.
.PP
Each state is logged when it begins. Causes that alternate, such as 502 and 504 of a proxy, are
logged once. A broker that comes and goes is logged six times within ten minutes, and then again when it has
been in one state for five. Brokers that answer in turn at one address are one line.
.PP
The plugin never lets collectd poll a broker less often after failures (it always reports success):
a broker that comes back is seen within one interval.
.SH FILES
.TP
.I /etc/collectd/collectd.conf.d/nats.conf
An example of a configuration comes with midge.
.TP
.I /usr/lib/collectd/nats.so
The plugin.
.SH SEE ALSO
.BR collectd (1),
.BR collectd.conf (5),
.BR collectd-threshold (5),
.BR types.db (5)
"#;

fn page() -> String {
    let mut page = HEAD.to_owned();
    for option in OPTIONS {
        let _ = writeln!(
            page,
            ".TP\n.BI {} \" {}\"\n{}\nDefault: {}.",
            option.name,
            escape(option.argument),
            escape(option.doc),
            escape(option.default)
        );
    }
    page.push_str(
        ".SH VALUES\nThe plugin is nats, the plugin instance the name of the instance. Types are \
         those of collectd's own\n.BR types.db (5).\nA value that a broker does not report is not \
         dispatched; older nats-servers do not report all of them.\n",
    );
    write_metrics(&mut page, Group::Basic);
    page.push_str(".SS With ReportLimits\n");
    write_metrics(&mut page, Group::Limits);
    page.push_str(
        ".SS With LegacyNames\nThe plugin is curl_json and the plugin instance gnatsd. The types \
         are those of the old configuration, although some are wrong: they are for continuing \
         old data files, not for new graphs.\n",
    );
    write_metrics(&mut page, Group::Legacy);
    page.push_str(TAIL);
    page
}

fn write_metrics(page: &mut String, group: Group) {
    for metric in METRICS.iter().filter(|metric| metric.group == group) {
        let mut name = metric.kind.to_owned();
        if !metric.type_instance.is_empty() {
            name = format!("{name}-{}", metric.type_instance);
        }
        let doc = escape(metric.doc);
        let origin = escape(&origin(metric));
        let _ = writeln!(page, ".TP\n.B {}\n{doc} ({origin})", escape(&name));
    }
}

fn origin(metric: &Metric) -> String {
    match metric.source {
        Source::Healthy => "/healthz".to_owned(),
        Source::ResponseTime | Source::Up => "the plugin's own".to_owned(),
        Source::Uptime => "now \u{2212} start".to_owned(),
        Source::Varz([rx, tx]) => format!("rx: {rx}, tx: {tx}"),
        Source::Varz(keys) => keys.join(", "),
    }
}

/// Escapes text for troff; none of the texts begins with a dot.
fn escape(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('"', "\\(dq")
        .replace('\u{2026}', "...")
        .replace('\u{2212}', "\\-")
}

#[test]
fn the_manual_page_matches_the_tables() {
    let page = page();
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        std::fs::write(PAGE, &page).expect(PAGE);
    }
    let found = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        found == page,
        "{PAGE} is out of step: run UPDATE_MANUAL=1 cargo test -p collectd-plugin manual"
    );
}

/// The synopsis and the installed example show every option.
#[test]
fn examples_show_every_option() {
    const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/collectd/nats.conf");
    let example = std::fs::read_to_string(EXAMPLE).expect(EXAMPLE);
    for option in OPTIONS {
        for text in [HEAD, &example] {
            assert!(
                text.contains(&format!("{} ", option.name)),
                "{}",
                option.name
            );
        }
    }
}
