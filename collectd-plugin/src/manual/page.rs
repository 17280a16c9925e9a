//! The manual page.

use std::fmt::Write;

use super::{SECTIONS, rows};
use crate::config::OPTIONS;

pub(super) const HEAD: &str = r#".\" Made from the tables of collectd-plugin/src: do not edit.
.TH COLLECTD-NATS 5 "" midge "midge manual"
.SH NAME
collectd-nats \- values, state and findings of NATS brokers for collectd
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
    #ReportFindings true
    #ReportLatency true
    #ReportRoutes true
    #ReportCeilings true
    #TopConnections 3
    #ReportAccounts false
    #ReportMemory false
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
reads the monitoring port of NATS brokers: midge, or nats-server if it was started with a
monitoring port (http_port).
Without a block, or with empty blocks, it polls one instance named
.BR local :
through the socket /run/midge/monitor.sock if it can be opened, else at http://127.0.0.1:8222. Which
of the two is looked up again after each failure. Several blocks add up.
.PP
When a broker is down, slow, or gives an invalid answer, the plugin dispatches bool-up and
bool-healthy as 0 and no other values of the broker, and keeps polling at the same interval. Each
change of state and each restart of a broker is logged once.
.PP
Only the endpoints that enabled values need are asked, one after the other. What midge has and a
nats-server does not is left out.
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
and ignored, and of a key that stands there twice the last one counts, which is logged as well.
.PP
An instance with a bad value is not polled, and has no values: an error in the log names the
instance, the option and the reason. All other instances, and all other plugins of collectd, go on.
To see such errors before a restart, run
.BR "collectd \-T \-C FILE" .
"#;

const VALUES: &str = r#".SH VALUES
The plugin is nats, the plugin instance the name of the instance. Types are those of collectd's own
.BR types.db (5).
What a broker does not report is not dispatched, and no value is ever "not a number": where a value
may be absent, the option Interesting of
.BR collectd\-threshold (5)
says whether that is to be reported.
.PP
Names of members, accounts and the like are part of the type instance. A blank, a slash and other
characters that collectd cannot keep become underscores; such a name, and one that is too long, ends
with a tilde and a checksum of the original one, so that two of them stay distinct. Of each kind the
first 100 names have values until collectd is restarted.
"#;

const NOTIFICATIONS: &str = r#".SH NOTIFICATIONS
A notification has the plugin nats, the plugin instance and the following type and type instance.
The last one of each says how it is now: the first poll after a start of collectd sends one of each,
also if nothing is wrong, and also if the broker has no findings because it is no midge.
.TP
.B bool\-up
FAILURE when /varz cannot be read, WARNING when /healthz reports trouble or cannot be read, OKAY
when both are well.
.TP
.B gauge\-findings_critical
FAILURE for each critical finding that appears, OKAY when there is none.
.TP
.B gauge\-findings_warning
WARNING for each finding of severity warning that appears, OKAY when there is none.
.TP
.B gauge\-findings_info
OKAY for findings that are worth knowing.
.PP
The message of a finding has its severity, code and subject, since when it is there, what was seen and
what to do. All of it is in the metadata: Change, Code, Level, Subject, Cid, Since, Text, Cause,
Remedy, Link. Change is present (at the first poll), appeared, worsened, eased, cleared, or flapping.
A finding that clears while others of its severity are left keeps the severity of these, and its
message counts them.
.PP
A finding that comes a third time within ten minutes is flapping: that it is over is not sent before
it has been gone for five minutes. For 20 seconds after the start of a broker no finding is
over, since it may not have looked at everything yet. At most 20 notifications are sent for the findings
of one poll; one more of each severity counts the rest.
.PP
With notify_nagios the passive services are called nats\-NAME/bool\-up,
nats\-NAME/gauge\-findings_critical and nats\-NAME/gauge\-findings_warning, where NAME is the name of
the instance.
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
logged once. When a broker goes away for the third time within ten minutes, that it is back is not logged, nor
notified, before it has lasted for five. Brokers that answer in turn at one address are one line.
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

pub(super) fn page() -> String {
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
    page.push_str(VALUES);
    for (group, heading, about) in SECTIONS {
        let _ = writeln!(page, ".SS {heading}\n{}", escape(about));
        for (name, doc, origin) in rows(*group) {
            let (name, doc, origin) = (escape(&name), escape(doc), escape(&origin));
            let _ = writeln!(page, ".TP\n.B {name}\n{doc} ({origin})");
        }
    }
    page + NOTIFICATIONS + TAIL
}

/// Escapes text for troff; none of the texts begins with a dot.
fn escape(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('"', "\\(dq")
        .replace('\u{2026}', "...")
        .replace('\u{2212}', "\\-")
}
