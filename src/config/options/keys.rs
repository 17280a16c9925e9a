//! The table of the keys of the configuration file.
//!
//! Reading a file, the flags of the command line, hints for misspelled keys and
//! the test of the example file are all made from it.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    ANY_HOST, DEFAULT_PORT, HttpPort, Options, advertise, authorization::parse_authorization,
    block::Problems, cluster, describe, diagnosis::DIAGNOSIS_KEYS, monitor::MONITOR_KEYS,
    syslog::RemoteSyslog, tls::read_tls,
};
use crate::{
    config::{
        accounts,
        syntax::{Node, Value},
    },
    protocol::is_word,
};

/// A key of the configuration file.
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Other names for it. Names are in lower case and match any case.
    pub aliases: &'static [&'static str],
    /// What its value must be and where it goes.
    pub kind: Kind,
    /// Its default as it would be written; empty if it has none.
    pub default: &'static str,
    /// What it sets, in a sentence.
    pub doc: &'static str,
}

/// What the value of a key must be, and what stores it.
pub enum Kind {
    /// `port` or `host:port`.
    Address(fn(&mut Options, Option<String>, i64)),
    /// A block with keys of its own.
    Block(&'static [Key]),
    /// A boolean.
    Bool(fn(&mut Options, bool)),
    /// A duration; integers are seconds if `seconds`.
    Duration {
        /// The shortest one.
        min: Duration,
        /// Whether an integer counts seconds.
        seconds: bool,
        /// Stores it.
        set: fn(&mut Options, Duration),
    },
    /// An integer within bounds.
    Integer(RangeInclusive<i64>, fn(&mut Options, i64)),
    /// A value with a reader of its own, which tells what is wrong.
    Structure(fn(&mut Options, &Node, &mut Problems)),
    /// A string; the error says what is wrong with it.
    Text(fn(&mut Options, &str) -> Result<(), String>),
}

/// All keys, in the order of the example file.
pub const KEYS: &[Key] = &[
    Key {
        name: "listen",
        aliases: &[],
        kind: Kind::Address(|options, host, port| {
            if let Some(host) = host {
                set_host(options, &host);
            }
            options.port = client_port(port);
        }),
        default: "\"0.0.0.0:4222\"",
        doc: "Port, or host and port, of the client listener: `host` and `port` in one.",
    },
    Key {
        name: "host",
        aliases: &["net"],
        kind: Kind::Text(|options, text| {
            set_host(options, text);
            Ok(())
        }),
        default: "\"0.0.0.0\"",
        doc: "Host the client listener binds to. Without a configuration file it is 127.0.0.1.",
    },
    Key {
        name: "port",
        aliases: &[],
        kind: Kind::Integer(PORTS, |options, port| options.port = client_port(port)),
        default: "4222",
        doc: "Port of the client listener; -1 is any free one.",
    },
    Key {
        name: "client_advertise",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            if !text.is_empty() {
                advertise::split(text)?;
            }
            options.client_advertise = non_empty(text);
            Ok(())
        }),
        default: "",
        doc: "HOST or HOST:PORT that clients are told to connect to.",
    },
    Key {
        name: "server_name",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            options.server_name = non_empty(text);
            if !options.server_name.as_deref().is_none_or(is_word) {
                return Err("a server's name must not contain blanks or control characters".into());
            }
            Ok(())
        }),
        default: "",
        doc: "Name of this broker; its id if there is none.",
    },
    Key {
        name: "http",
        aliases: &[],
        kind: Kind::Address(|options, host, port| {
            if let Some(host) = host {
                options.http_host = non_empty(&host);
            }
            options.http_port = http_port(port);
            options.https = false;
        }),
        default: "\"127.0.0.1:8222\"",
        doc: "Port, or host and port, of the monitoring listener. The only way to open it to \
              other machines.",
    },
    Key {
        name: "http_port",
        aliases: &["monitor_port"],
        kind: Kind::Integer(PORTS, |options, port| {
            options.http_port = http_port(port);
            options.https = false;
        }),
        default: "8222",
        doc: "Port of the monitoring listener, on 127.0.0.1 unless `http` names a host; -1 is \
              any free one, 0 turns monitoring off.",
    },
    Key {
        name: "https",
        aliases: &[],
        kind: Kind::Address(|options, host, port| {
            if let Some(host) = host {
                options.http_host = non_empty(&host);
            }
            options.http_port = http_port(port);
            options.https = true;
        }),
        default: "",
        doc: "The same as `http` with the certificate of `tls`; no client is asked for one.",
    },
    Key {
        name: "https_port",
        aliases: &[],
        kind: Kind::Integer(PORTS, |options, port| {
            options.http_port = http_port(port);
            options.https = true;
        }),
        default: "",
        doc: "The same as `http_port` with the certificate of `tls`.",
    },
    Key {
        name: "http_base_path",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            let parts = text.split('/').filter(|part| !part.is_empty());
            options.http_base_path = format!("/{}", parts.collect::<Vec<_>>().join("/"));
            Ok(())
        }),
        default: "\"/\"",
        doc: "Path before all monitoring endpoints.",
    },
    Key {
        name: "monitor",
        aliases: &[],
        kind: Kind::Block(MONITOR_KEYS),
        default: "{}",
        doc: "Who may ask the monitoring port.",
    },
    Key {
        name: "max_connections",
        aliases: &["max_conn"],
        kind: Kind::Integer(ANY, |options, count| options.max_connections = count),
        default: "65536",
        doc: "Most client connections; 0 or less allows none.",
    },
    Key {
        name: "max_subscriptions",
        aliases: &["max_subs"],
        kind: Kind::Integer(ANY, |options, count| {
            options.max_subscriptions = or_zero(count);
        }),
        default: "0",
        doc: "Most subscriptions of one connection; 0 is unlimited.",
    },
    Key {
        name: "max_sub_tokens",
        aliases: &["max_subscription_tokens"],
        kind: Kind::Integer(1..=255, |options, count| {
            options.max_sub_tokens = or_zero(count);
        }),
        default: "",
        doc: "Most tokens in the subject of a subscription, 1 to 255; unlimited if not set.",
    },
    Key {
        name: "max_payload",
        aliases: &[],
        kind: Kind::Integer(FIT_32_BITS, |options, bytes| {
            options.max_payload = or_default(bytes, |default| default.max_payload);
        }),
        default: "1MB",
        doc: "Bytes of the largest message; not more than `max_pending`.",
    },
    Key {
        name: "max_pending",
        aliases: &["max_pending_size"],
        kind: Kind::Integer(NOT_NEGATIVE, |options, bytes| {
            options.max_pending = or_default(bytes, |default| default.max_pending);
        }),
        default: "64MB",
        doc: "Bytes that may wait for one connection before it is a slow consumer.",
    },
    Key {
        name: "max_memory",
        aliases: &[],
        kind: Kind::Integer(NOT_NEGATIVE, |options, bytes| {
            options.max_memory = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
        }),
        default: "0",
        doc: "Bytes that may wait for all connections together before the one that holds \
              most is cut; 0: half of the memory that the process may use.",
    },
    Key {
        name: "max_control_line",
        aliases: &[],
        kind: Kind::Integer(FIT_32_BITS, |options, bytes| {
            options.max_control_line = or_default(bytes, |default| default.max_control_line);
        }),
        default: "4KB",
        doc: "Bytes of the longest protocol line; before the login 32 KB at most.",
    },
    Key {
        name: "max_closed_clients",
        aliases: &[],
        kind: Kind::Integer(FIT_32_BITS, |options, count| {
            options.max_closed_clients = or_default(count, |default| default.max_closed_clients);
        }),
        default: "10000",
        doc: "Closed connections that monitoring remembers.",
    },
    Key {
        name: "ping_interval",
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::ZERO,
            seconds: true,
            set: |options, time| {
                options.ping_interval = or_default_time(time, |default| default.ping_interval);
            },
        },
        default: "\"2m\"",
        doc: "Time between the pings of an idle connection.",
    },
    Key {
        name: "ping_max",
        aliases: &[],
        kind: Kind::Integer(FIT_32_BITS, |options, count| {
            let count = u32::try_from(count).ok().filter(|count| *count > 0);
            options.ping_max = count.unwrap_or(Options::default().ping_max);
        }),
        default: "2",
        doc: "Unanswered pings before a connection is stale.",
    },
    Key {
        name: "write_deadline",
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::ZERO,
            seconds: true,
            set: |options, time| {
                options.write_deadline = or_default_time(time, |default| default.write_deadline);
            },
        },
        default: "\"10s\"",
        doc: "Longest time one write to a connection may take.",
    },
    Key {
        name: "no_fast_producer_stall",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.no_fast_producer_stall = value),
        default: "false",
        doc: "Whether publishers are not paused for clients that are behind, so that these are \
              cut sooner; for brokers of the cluster that are behind they are.",
    },
    Key {
        name: "cluster",
        aliases: &[],
        kind: Kind::Structure(cluster::read),
        default: "",
        doc: "The other brokers of the cluster.",
    },
    Key {
        name: "tls",
        aliases: &[],
        kind: Kind::Structure(read_tls),
        default: "",
        doc: "TLS for clients: `cert_file`, `key_file`, `ca_file`, `crl_file`, `verify` and more; \
              `puppet: true` finds all of them.",
    },
    Key {
        name: "allow_non_tls",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.allow_non_tls = value),
        default: "false",
        doc: "Whether clients may do without TLS where there is `tls`.",
    },
    Key {
        name: "lame_duck_duration",
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::from_secs(30),
            seconds: false,
            set: |options, time| options.lame_duck_duration = time,
        },
        default: "\"2m\"",
        doc: "Time over which lame duck mode closes the connections; at least 30s.",
    },
    Key {
        name: "lame_duck_grace_period",
        aliases: &[],
        kind: Kind::Duration {
            min: Duration::ZERO,
            seconds: false,
            set: |options, time| {
                options.lame_duck_grace_period =
                    or_default_time(time, |default| default.lame_duck_grace_period);
            },
        },
        default: "\"10s\"",
        doc: "Time before lame duck mode closes the first connection; shorter than \
              `lame_duck_duration`.",
    },
    Key {
        name: "authorization",
        aliases: &[],
        kind: Kind::Structure(parse_authorization),
        default: "",
        doc: "Who may log in, and with what: `user` and `password`, or `token`, or `users`, a \
              list of blocks with `user` and `password`, or `nkey`, each. Passwords and tokens \
              may be bcrypt hashes. `timeout` is the time to log in.",
    },
    Key {
        name: "no_auth_user",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            options.authorization.no_auth_user = non_empty(text);
            Ok(())
        }),
        default: "",
        doc: "The user that a client without credentials is.",
    },
    Key {
        name: "no_header_support",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.no_header_support = value),
        default: "false",
        doc: "Whether message headers are refused.",
    },
    Key {
        name: "debug",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.debug = value),
        default: "false",
        doc: "Whether debug lines are logged.",
    },
    Key {
        name: "trace",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.trace = value),
        default: "false",
        doc: "Whether protocol traces are logged.",
    },
    Key {
        name: "trace_verbose",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.trace_verbose = value),
        default: "false",
        doc: "Whether traces are logged and include the system account.",
    },
    Key {
        name: "logtime",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.logtime = value),
        default: "true",
        doc: "Whether log lines bear date and time.",
    },
    Key {
        name: "logtime_utc",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.logtime_utc = value),
        default: "false",
        doc: "Whether that time is UTC instead of local.",
    },
    Key {
        name: "log_file",
        aliases: &["logfile"],
        kind: Kind::Text(|options, text| {
            options.log_file = non_empty(text).map(Into::into);
            Ok(())
        }),
        default: "",
        doc: "File the log goes to; stderr if not set.",
    },
    Key {
        name: "log_size_limit",
        aliases: &["logfile_size_limit"],
        kind: Kind::Integer(ANY, |options, bytes| {
            options.log_size_limit = u64::try_from(bytes).unwrap_or(0);
        }),
        default: "0",
        doc: "Bytes at which the log file is rotated; 0 is never.",
    },
    Key {
        name: "log_max_num",
        aliases: &["logfile_max_num"],
        kind: Kind::Integer(ANY, |options, count| options.log_max_num = or_zero(count)),
        default: "0",
        doc: "Most log files, the live one included; 0 keeps all.",
    },
    Key {
        name: "pid_file",
        aliases: &["pidfile"],
        kind: Kind::Text(|options, text| {
            options.pid_file = non_empty(text).map(Into::into);
            Ok(())
        }),
        default: "",
        doc: "File to write the process id to.",
    },
    Key {
        name: "syslog",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.syslog = value),
        default: "false",
        doc: "Whether the log goes to the system's log, /dev/log, instead of stderr; `log_file` \
              comes first.",
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
        default: "",
        doc: "Log server that the log goes to instead: udp://HOST:PORT, tcp://HOST:PORT or \
              unix:///PATH; `log_file` comes first. What it does not take goes to stderr.",
    },
    Key {
        name: "ports_file_dir",
        aliases: &[],
        kind: Kind::Text(|options, text| {
            options.ports_file_dir = non_empty(text).map(Into::into);
            Ok(())
        }),
        default: "",
        doc: "Folder to write the list of listening ports to.",
    },
    Key {
        name: "max_traced_msg_len",
        aliases: &[],
        kind: Kind::Integer(ANY, |options, bytes| {
            options.max_traced_msg_len = or_zero(bytes);
        }),
        default: "0",
        doc: "Payload bytes shown in a trace; 0 is all.",
    },
    Key {
        name: "trace_headers",
        aliases: &[],
        kind: Kind::Bool(|options, value| options.trace_headers = value),
        default: "false",
        doc: "Whether traces are logged, and show of each message its headers alone.",
    },
    Key {
        name: "server_tags",
        aliases: &[],
        kind: Kind::Structure(describe::read_tags),
        default: "[]",
        doc: "Words that describe this broker: shown in /varz, by the system account and as \
              labels of a metric.",
    },
    Key {
        name: "server_metadata",
        aliases: &[],
        kind: Kind::Structure(describe::read_metadata),
        default: "{}",
        doc: "The same as pairs of a name and a text.",
    },
    Key {
        name: "accounts",
        aliases: &[],
        kind: Kind::Structure(accounts::read),
        default: "",
        doc: "Subject spaces of their own, each with users, limits, exports and imports.",
    },
    Key {
        name: "mappings",
        aliases: &["maps"],
        kind: Kind::Structure(accounts::read_global_mappings),
        default: "",
        doc: "What becomes of subjects that clients without an account publish to.",
    },
    Key {
        name: "system_account",
        aliases: &["system"],
        kind: Kind::Text(|options, text| {
            options.system_account = match text {
                "" => Options::default().system_account,
                text => text.to_owned(),
            };
            Ok(())
        }),
        default: "\"$SYS\"",
        doc: "The account in which the broker publishes events and answers requests.",
    },
    Key {
        name: "no_system_account",
        aliases: &["no_system", "no_sys_acc"],
        kind: Kind::Bool(|options, value| options.no_system_account = value),
        default: "false",
        doc: "Whether there is no such account.",
    },
    Key {
        name: "diagnosis",
        aliases: &[],
        kind: Kind::Block(DIAGNOSIS_KEYS),
        default: "{}",
        doc: "When something is worth a finding.",
    },
];

/// The key of a name or alias, in any case.
pub fn find_key(name: &str) -> Option<&'static Key> {
    let name = name.to_ascii_lowercase();
    KEYS.iter()
        .find(|key| key.name == name || key.aliases.contains(&&*name))
}

impl Key {
    /// The settings that a value of this key decides. Two keys that share one
    /// contradict each other.
    pub(super) fn settings(&'static self, value: &Value) -> &'static [&'static str] {
        match (self.name, value) {
            ("listen", Value::Integer(_)) | ("port", _) => &["port"],
            ("listen", _) => &["host", "port"],
            ("http" | "https", Value::Integer(_)) | ("http_port" | "https_port", _) => {
                &["http port"]
            }
            ("http" | "https", _) => &["http host", "http port"],
            _ => std::slice::from_ref(&self.name),
        }
    }
}

/// Ports as they are written: -1 is any free one.
pub(super) const PORTS: RangeInclusive<i64> = -1..=65_535;
const ANY: RangeInclusive<i64> = i64::MIN..=i64::MAX;
const NOT_NEGATIVE: RangeInclusive<i64> = 0..=i64::MAX;
const FIT_32_BITS: RangeInclusive<i64> = 0..=i32::MAX as i64;

fn set_host(options: &mut Options, host: &str) {
    options.host = non_empty(host).unwrap_or_else(|| ANY_HOST.into());
    options.host_is_safe_default = false;
}

fn client_port(port: i64) -> u16 {
    match port {
        0 => DEFAULT_PORT,
        port => u16::try_from(port).unwrap_or(0),
    }
}

fn http_port(port: i64) -> HttpPort {
    match port {
        0 => HttpPort::Off,
        port => HttpPort::Listen(u16::try_from(port).unwrap_or(0)),
    }
}

fn non_empty(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The number, or 0 if it is negative.
fn or_zero(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// The number, or what `default` finds in the defaults if it is 0.
fn or_default(number: i64, default: fn(Options) -> usize) -> usize {
    match or_zero(number) {
        0 => default(Options::default()),
        number => number,
    }
}

fn or_default_time(time: Duration, default: fn(Options) -> Duration) -> Duration {
    match time {
        Duration::ZERO => default(Options::default()),
        time => time,
    }
}
