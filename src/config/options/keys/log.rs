//! Keys of the log and of files that the broker writes.

use std::time::Duration;

use super::{ANY, non_empty, or_zero};
use crate::config::options::{
    LogFormat, Options,
    syslog::RemoteSyslog,
    table::{Key, Kind, Reload, Usual, field},
};

/// The log.
pub(super) const LOG: &[Key<Options>] = &[
    Key {
        name: "debug",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.debug = value),
        usual: Usual::Default("false"),
        doc: "Whether debug lines are logged.",
        reload: Reload::Live(field!(debug)),
    },
    Key {
        name: "trace",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.trace = value),
        usual: Usual::Default("false"),
        doc: "Whether protocol traces are logged.",
        reload: Reload::Live(field!(trace)),
    },
    Key {
        name: "trace_verbose",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.trace_verbose = value),
        usual: Usual::Default("false"),
        doc: "Whether protocol traces are logged, including the system account's.",
        reload: Reload::Live(field!(trace_verbose)),
    },
    Key {
        name: "max_traced_msg_len",
        aliases: &[],
        kind: Kind::Size(ANY, |options, bytes| {
            options.max_traced_msg_len = or_zero(bytes);
        }),
        usual: Usual::Default("0"),
        doc: "Payload bytes shown in a trace; 0: all.",
        reload: Reload::Live(field!(bytes max_traced_msg_len)),
    },
    Key {
        name: "trace_headers",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.trace_headers = value),
        usual: Usual::Default("false"),
        doc: "Whether protocol traces are logged, with the headers of each message but not its \
              payload.",
        reload: Reload::Live(field!(trace_headers)),
    },
    Key {
        name: "logtime",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.logtime = value),
        usual: Usual::Default("true"),
        doc: "Whether log lines have date and time.",
        reload: Reload::Live(field!(logtime)),
    },
    Key {
        name: "logtime_utc",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.logtime_utc = value),
        usual: Usual::Default("false"),
        doc: "Whether that time is UTC instead of local.",
        reload: Reload::Live(field!(logtime_utc)),
    },
    Key {
        name: "log_file",
        aliases: &["logfile"],
        kind: Kind::Text(|options, text| {
            options.log_file = non_empty(text).map(Into::into);
            Ok(())
        }),
        usual: Usual::Example("\"/var/log/midge/midge.log\""),
        doc: "File of the log; stderr if not set.",
        reload: Reload::Live(field!(log_file)),
    },
    Key {
        name: "log_size_limit",
        aliases: &["logfile_size_limit"],
        kind: Kind::Size(ANY, |options, bytes| {
            options.log_size_limit = u64::try_from(bytes).unwrap_or(0);
        }),
        usual: Usual::Default("0"),
        doc: "Size at which the log file is rotated; 0: never.",
        reload: Reload::Live(field!(bytes log_size_limit)),
    },
    Key {
        name: "log_max_num",
        aliases: &["logfile_max_num"],
        kind: Kind::Integer(ANY, |options, count| options.log_max_num = or_zero(count)),
        usual: Usual::Default("0"),
        doc: "Maximum number of log files, including the current one; 0 keeps all.",
        reload: Reload::Live(field!(log_max_num)),
    },
    Key {
        name: "log_max_age",
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::ZERO,
            seconds: false,
            set: |options, time| options.log_max_age = time,
        },
        usual: Usual::Default("\"0s\""),
        doc: "Age at which the log file is rotated, and at which rotated ones are removed: no \
              line is kept for more than twice as long. 0: never.",
        reload: Reload::Live(field!(log_max_age)),
    },
    Key {
        name: "log_format",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            options.log_format = LogFormat::parse(text)?;
            Ok(())
        }),
        usual: Usual::Example("\"json\""),
        doc: "Form of log lines: text as nats-server has them, json, logfmt, or journald for the \
              systemd journal with fields. If not set: journald if stderr goes to the journal, \
              else text. docs/logging.md has the fields.",
        reload: Reload::Live(field!(log_format)),
    },
    Key {
        name: "syslog",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.syslog = value),
        usual: Usual::Default("false"),
        doc: "Whether the log goes to the system log (/dev/log) instead of stderr. `log_file` has \
              precedence.",
        reload: Reload::Live(field!(syslog)),
    },
    Key {
        name: "remote_syslog",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            options.remote_syslog = match text {
                "" => None,
                text => Some(RemoteSyslog::parse(text)?),
            };
            Ok(())
        }),
        usual: Usual::Example("\"udp://localhost:514\""),
        doc: "Log server for the log: udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH. `log_file` \
              has precedence. Lines that the server does not accept go to stderr.",
        reload: Reload::Live(field!(remote_syslog)),
    },
];

/// Files.
pub(super) const FILES: &[Key<Options>] = &[
    Key {
        name: "pid_file",
        aliases: &["pidfile"],
        kind: Kind::Text(|options, text| {
            options.pid_file = non_empty(text).map(Into::into);
            Ok(())
        }),
        usual: Usual::Example("\"/run/midge/midge.pid\""),
        doc: "File for the process id.",
        reload: Reload::Live(field!(pid_file)),
    },
    Key {
        name: "ports_file_dir",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            options.ports_file_dir = non_empty(text).map(Into::into);
            Ok(())
        }),
        usual: Usual::Example("\"/run/midge\""),
        doc: "Folder for a file with the listening ports.",
        reload: Reload::Restart("the file is written at the start", field!(ports_file_dir)),
    },
];
