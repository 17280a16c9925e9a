//! The manual page `midge(8)`, made from the table of flags. The test here compares the page
//! in `conf/man`.

use std::fmt::Write as _;

use super::{
    list::FLAGS,
    table::{Group, dashed},
};
use crate::config::options::manual::escape;

const HEAD: &str = r#".\" Made from the table of src/config/flags: do not edit.
.TH MIDGE 8 "" midge "System Administration"
.SH NAME
midge \- message broker for NATS clients
.SH SYNOPSIS
.B midge
.RI [ options ]
.br
.B midge \-t \-c
.I FILE
.br
.B midge \-\-signal
.IR SIGNAL [= PID ]
.br
.B midge config explain
.RI [ KEY ]
.RI [ options ]
.br
.B midge top
.RI [ options ]
.RI [ URL ]
.br
.B midge help
|
.B version
.SH DESCRIPTION
.B midge
passes messages from clients that publish to clients that subscribe, alone or as a member of a
cluster of midge and nats\-server. It takes the flags, files and signals of nats\-server, and runs
in the foreground.
.PP
Without a file, an address (\-a) and a login (\-\-user, \-\-auth, \-\-tlsverify, \-\-puppet) it
serves this host only. A file without
.I host
serves every address; the log warns if clients need no login then.
.PP
.B midge top
shows what is wrong with a broker and who is busy, live in a terminal: see
.BR midge\-top (1).
.PP
.B midge config explain
prints the effective configuration: each setting with its value and where that comes from, a line of a
file, a flag, or the default. Blocks and lists are shown in their whole depth, such as
.IR "accounts A users[0] user" ;
passwords, tokens and what may hold them are not shown. With a
.I KEY
.RB ( "max_payload" ", " "cluster.name" ", " accounts.A )
it also says what the key means and whether a reload suffices. The other options are those of a start,
above all
.BR \-c .
.B \-\-format json
is for programs.
.PP
.B midge \-t \-\-diff
asks the running broker what a reload would do with the file: by its monitoring socket, or, as root or
the broker's user, by its process id.
.SH OPTIONS
A flag has one dash or two. Its value follows as the next argument or after an equals sign; a flag
without a value may be followed by
.BR =false .
Of a flag that is given twice the later one counts. Flags override the configuration file.
"#;

const TAIL: &str = r#".SH SIGNALS
The names are those of
.BR \-\-signal .
.TP
.BR reload " (SIGHUP)"
Reads the configuration again. A file with an error changes nothing. Clients that the new file lets
in stay connected. The log says what changed, and what needs a restart.
.TP
.BR reopen " (SIGUSR1)"
Opens the log file again, after it was renamed.
.TP
.BR ldm " (SIGUSR2)"
Lame duck mode: takes no new clients, closes those that are there one after the other over
.IR lame_duck_duration ,
so that they move to other brokers, and stops.
.TP
.BR quit " (SIGINT), " term " (SIGTERM)"
Stops.
.TP
.BR stop " (SIGKILL)"
Ends at once.
.TP
.B upgrade
No signal of the system: has the broker start its program anew and hand over to that process, without
refusing a client. Waits for the outcome; exit status 1 means that the old process serves on.
.SH EXIT STATUS
.TP
.B 0
It was stopped, or did what was asked.
.TP
.B 1
The command line or the configuration is wrong, a port or file cannot be used, or no broker got the
signal. The reason is on standard error, or in the log once the broker has opened it.
.SH ENVIRONMENT
.TP
.B STATE_DIRECTORY
Folder of the file that remembers the last starts; systemd sets it.
.PP
In the configuration file,
.I $NAME
stands for the variable of this name.
.SH FILES
.TP
.I /etc/midge/midge.conf
The configuration of the service; see
.BR midge.conf (5).
.TP
.I /run/midge/monitor.sock
The Unix socket that
.BR midge\-top (1),
.BR check_nats (1)
and collectd use if they may.
.TP
.I /var/lib/midge/starts
The last starts.
.TP
.I /var/log/midge
The place for a log file. Without one, a service logs to the journal or to the system log.
.TP
.I /etc/default/midge
Settings of the init script, on hosts without systemd.
.SH EXAMPLES
.nf
midge
midge \-t \-c /etc/midge/midge.conf
midge \-t \-\-diff \-c /etc/midge/midge.conf
midge config explain \-c /etc/midge/midge.conf
midge \-\-signal reload
midge \-a 0.0.0.0 \-\-puppet
midge top
.fi
.SH SEE ALSO
.BR midge.conf (5),
.BR midge\-top (1),
.BR check_nats (1),
.BR collectd\-nats (5)
"#;

fn page() -> String {
    let mut page = HEAD.to_owned();
    for (group, title) in Group::ALL {
        let _ = writeln!(page, ".SS {}", escape(title));
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            let names: Vec<String> = flag.names.iter().map(|name| dashed(name)).collect();
            let names = escape(&names.join(", "));
            let _ = write!(page, ".TP\n.B {names}");
            if !flag.value.is_empty() {
                let _ = write!(page, " {}", escape(flag.value));
            }
            let _ = writeln!(page, "\n{}.", escape(&flag.doc()));
        }
    }
    page += TAIL;
    page
}

#[test]
fn the_manual_page_is_up_to_date() {
    test_support::generated::assert_up_to_date("conf/man/midge.8", &page());
}

/// The page has each flag with all its names, and each signal.
#[test]
fn the_page_has_every_flag_and_signal() {
    let page = page();
    for name in FLAGS.iter().flat_map(|flag| flag.names) {
        assert!(page.contains(&escape(&dashed(name))), "{name}");
    }
    let (_, signals) = page.split_once(".SH SIGNALS").expect("the section");
    for name in super::Signal::NAMES.split(", ") {
        let entries = [format!("{name} \" (SIG"), format!(".B {name}\n")];
        assert!(entries.iter().any(|it| signals.contains(it)), "{name}");
    }
}
