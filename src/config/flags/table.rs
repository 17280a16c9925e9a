//! The table of flags: parsing and `--help` are made from it.

use super::{login::LoginPart, tls::TlsFlag};
use crate::config::options::{
    Options,
    cluster::{CLUSTER, set_listen_url, set_routes},
    keys::TOP,
};

/// A flag of the command line.
pub(super) struct Flag {
    /// Its names without dashes. One or two dashes may stand before each.
    pub(super) names: &'static [&'static str],
    /// What it does.
    pub(super) action: Action,
    /// How its value is called in the help; empty for a boolean.
    pub(super) value: &'static str,
    /// The heading it stands under in the help.
    pub(super) group: Group,
    /// What it does, in a few words; empty for what its key says.
    pub(super) doc: &'static str,
}

/// What a flag does.
pub(super) enum Action {
    /// Sets something of the cluster that has a form of its own.
    Cluster(fn(&mut Options, &str) -> Result<(), String>),
    /// Sets a key of the block `cluster`.
    ClusterKey(&'static str),
    /// Names the configuration file.
    Config,
    /// Prints the help.
    Help,
    /// Sets a part of the one login there is.
    Login(LoginPart),
    /// Nothing, with a warning: why.
    Ignored(&'static str),
    /// Sets keys of the configuration file.
    Set(&'static [&'static str]),
    /// Sends a signal to a running broker.
    Signal,
    /// Tests the configuration file.
    Test,
    /// Sets something of the block `tls`.
    Tls(TlsFlag),
    /// Prints the version.
    Version,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Server,
    Cluster,
    Tls,
    Logging,
    Ignored,
    Common,
}

impl Group {
    pub(super) const ALL: [(Group, &'static str); 6] = [
        (Group::Server, "Server options"),
        (Group::Cluster, "Cluster options"),
        (Group::Tls, "TLS options"),
        (Group::Logging, "Logging options"),
        (Group::Ignored, "Options without effect"),
        (Group::Common, "Common options"),
    ];
}

impl Flag {
    /// Whether the flag stands alone or is followed by `=true` or `=false`.
    pub(super) fn is_boolean(&self) -> bool {
        self.value.is_empty()
    }

    /// What it does; of a flag for one key what the table says of the key.
    fn doc(&self) -> String {
        let (doc, usual) = match self.action {
            Action::Set([name]) if self.doc.is_empty() => match TOP.find(name) {
                Some(key) => (key.doc, key.usual.default()),
                None => return String::new(),
            },
            Action::ClusterKey(name) => match CLUSTER.find(name) {
                Some(key) => (key.doc, key.usual.default()),
                None => return String::new(),
            },
            _ => return self.doc.into(),
        };
        let doc = doc.replace('`', "");
        match usual {
            Some(usual) => format!("{} ({})", doc.trim_end_matches('.'), usual.replace('"', "")),
            None => doc.trim_end_matches('.').into(),
        }
    }
}

pub(super) const FLAGS: &[Flag] = &[
    Flag {
        names: &["a", "addr", "net"],
        action: Action::Set(&["host"]),
        value: "HOST",
        group: Group::Server,
        doc: "",
    },
    Flag {
        names: &["p", "port"],
        action: Action::Set(&["port"]),
        value: "PORT",
        group: Group::Server,
        doc: "",
    },
    Flag {
        names: &["n", "name", "server_name"],
        action: Action::Set(&["server_name"]),
        value: "NAME",
        group: Group::Server,
        doc: "",
    },
    Flag {
        names: &["client_advertise"],
        action: Action::Set(&["client_advertise"]),
        value: "HOST[:PORT]",
        group: Group::Server,
        doc: "",
    },
    Flag {
        names: &["m", "http_port"],
        action: Action::Set(&["http_port"]),
        value: "PORT",
        group: Group::Server,
        doc: "",
    },
    Flag {
        names: &["user"],
        action: Action::Login(LoginPart::User),
        value: "NAME",
        group: Group::Server,
        doc: "Clients must log in as this user",
    },
    Flag {
        names: &["pass"],
        action: Action::Login(LoginPart::Password),
        value: "PASSWORD",
        group: Group::Server,
        doc: "Password of that user; a bcrypt hash is safer, and a configuration file safer still",
    },
    Flag {
        names: &["auth"],
        action: Action::Login(LoginPart::Token),
        value: "TOKEN",
        group: Group::Server,
        doc: "Clients must log in with this token",
    },
    Flag {
        names: &["ms", "https_port"],
        action: Action::Set(&["https_port"]),
        value: "PORT",
        group: Group::Server,
        doc: "",
    },
    Flag {
        names: &["c", "config"],
        action: Action::Config,
        value: "FILE",
        group: Group::Server,
        doc: "Configuration file; flags override it",
    },
    Flag {
        names: &["t"],
        action: Action::Test,
        value: "",
        group: Group::Server,
        doc: "Test the configuration file and exit",
    },
    Flag {
        names: &["P", "pid"],
        action: Action::Set(&["pid_file"]),
        value: "FILE",
        group: Group::Server,
        doc: "",
    },
    Flag {
        names: &["ports_file_dir"],
        action: Action::Set(&["ports_file_dir"]),
        value: "DIR",
        group: Group::Server,
        doc: "",
    },
    Flag {
        names: &["sl", "signal"],
        action: Action::Signal,
        value: "SIGNAL[=PID]",
        group: Group::Server,
        doc: "Signal a running broker (ldm, quit, reload, reopen, stop, term); PID is a process id, or the begin of some and *, or a pid file, or several with *",
    },
    Flag {
        names: &["cluster"],
        action: Action::Cluster(set_listen_url),
        value: "URL",
        group: Group::Cluster,
        doc: "Where other brokers connect to: nats://[USER:PASSWORD@]HOST:PORT",
    },
    Flag {
        names: &["cluster_listen"],
        action: Action::Cluster(set_listen_url),
        value: "URL",
        group: Group::Cluster,
        doc: "The same as --cluster",
    },
    Flag {
        names: &["cluster_name"],
        action: Action::ClusterKey("name"),
        value: "NAME",
        group: Group::Cluster,
        doc: "",
    },
    Flag {
        names: &["cluster_advertise"],
        action: Action::ClusterKey("advertise"),
        value: "HOST[:PORT]",
        group: Group::Cluster,
        doc: "",
    },
    Flag {
        names: &["routes"],
        action: Action::Cluster(set_routes),
        value: "URLS",
        group: Group::Cluster,
        doc: "Other brokers to connect to, with commas between",
    },
    Flag {
        names: &["no_advertise"],
        action: Action::ClusterKey("no_advertise"),
        value: "",
        group: Group::Cluster,
        doc: "",
    },
    Flag {
        names: &["connect_retries"],
        action: Action::ClusterKey("connect_retries"),
        value: "COUNT",
        group: Group::Cluster,
        doc: "",
    },
    Flag {
        names: &["queue_policy"],
        action: Action::ClusterKey("queue_policy"),
        value: "POLICY",
        group: Group::Cluster,
        doc: "",
    },
    Flag {
        names: &["tls"],
        action: Action::Tls(TlsFlag::On),
        value: "",
        group: Group::Tls,
        doc: "TLS for clients; false turns the block tls of the file off",
    },
    Flag {
        names: &["tlscert"],
        action: Action::Tls(TlsFlag::Certificate),
        value: "FILE",
        group: Group::Tls,
        doc: "This broker's certificate",
    },
    Flag {
        names: &["tlskey"],
        action: Action::Tls(TlsFlag::Key),
        value: "FILE",
        group: Group::Tls,
        doc: "The certificate's key",
    },
    Flag {
        names: &["tlsverify"],
        action: Action::Tls(TlsFlag::Verify),
        value: "",
        group: Group::Tls,
        doc: "Ask clients for a certificate and verify it",
    },
    Flag {
        names: &["tlscacert"],
        action: Action::Tls(TlsFlag::Ca),
        value: "FILE",
        group: Group::Tls,
        doc: "The CAs that sign clients' certificates",
    },
    Flag {
        names: &["puppet"],
        action: Action::Tls(TlsFlag::Puppet),
        value: "",
        group: Group::Tls,
        doc: "All of this from the Puppet agent of this host: only certificates of its CA get in",
    },
    Flag {
        names: &["l", "log"],
        action: Action::Set(&["log_file"]),
        value: "FILE",
        group: Group::Logging,
        doc: "",
    },
    Flag {
        names: &["s", "syslog"],
        action: Action::Set(&["syslog"]),
        value: "",
        group: Group::Logging,
        doc: "",
    },
    Flag {
        names: &["r", "remote_syslog"],
        action: Action::Set(&["remote_syslog"]),
        value: "URL",
        group: Group::Logging,
        doc: "",
    },
    Flag {
        names: &["log_size_limit"],
        action: Action::Set(&["log_size_limit"]),
        value: "BYTES",
        group: Group::Logging,
        doc: "",
    },
    Flag {
        names: &["T", "logtime"],
        action: Action::Set(&["logtime"]),
        value: "",
        group: Group::Logging,
        doc: "",
    },
    Flag {
        names: &["logtime_utc"],
        action: Action::Set(&["logtime_utc"]),
        value: "",
        group: Group::Logging,
        doc: "",
    },
    Flag {
        names: &["max_traced_msg_len"],
        action: Action::Set(&["max_traced_msg_len"]),
        value: "BYTES",
        group: Group::Logging,
        doc: "",
    },
    Flag {
        names: &["D", "debug"],
        action: Action::Set(&["debug"]),
        value: "",
        group: Group::Logging,
        doc: "",
    },
    Flag {
        names: &["V", "trace"],
        action: Action::Set(&["trace"]),
        value: "",
        group: Group::Logging,
        doc: "",
    },
    Flag {
        names: &["VV"],
        action: Action::Set(&["trace_verbose"]),
        value: "",
        group: Group::Logging,
        doc: "",
    },
    Flag {
        names: &["DV"],
        action: Action::Set(&["debug", "trace"]),
        value: "",
        group: Group::Logging,
        doc: "-D and -V",
    },
    Flag {
        names: &["DVV"],
        action: Action::Set(&["debug", "trace_verbose"]),
        value: "",
        group: Group::Logging,
        doc: "-D and -VV",
    },
    Flag {
        names: &["js", "jetstream"],
        action: Action::Ignored("streams are not served"),
        value: "",
        group: Group::Ignored,
        doc: "Accepted with a warning: streams are not served",
    },
    Flag {
        names: &["sd", "store_dir"],
        action: Action::Ignored("streams are not served"),
        value: "DIR",
        group: Group::Ignored,
        doc: "Accepted with a warning: streams are not served",
    },
    Flag {
        names: &["profile"],
        action: Action::Ignored("there is no profiling port"),
        value: "PORT",
        group: Group::Ignored,
        doc: "Accepted with a warning: there is no profiling port",
    },
    Flag {
        names: &["h", "help", "help_tls"],
        action: Action::Help,
        value: "",
        group: Group::Common,
        doc: "Show this text; so does the word help",
    },
    Flag {
        names: &["v", "version"],
        action: Action::Version,
        value: "",
        group: Group::Common,
        doc: "Show the version; so does the word version",
    },
];

/// The flag of a name without dashes.
pub(super) fn find_flag(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.names.contains(&name))
}

/// The help text.
pub(super) fn help(program: &str) -> String {
    let mut text = format!(
        "Usage: {program} [options]\n       {program} top [options] [URL]    what is wrong with a broker, live ({program} top --help)\n"
    );
    for (group, title) in Group::ALL {
        text.push_str(&format!("\n{title}:\n"));
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            let names: Vec<String> = flag.names.iter().map(|name| dashed(name)).collect();
            let head = format!("{} {}", names.join(", "), flag.value);
            text.push_str(&format!("    {head:<36} {}\n", flag.doc()));
        }
    }
    text
}

/// A flag's name with the dashes it is usually written with.
pub(super) fn dashed(name: &str) -> String {
    let long = name.len() > 3 || name == "net" || name == "pid" || name == "log";
    format!("{}{name}", if long { "--" } else { "-" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::table::Kind;

    /// A flag without a value sets only booleans, one with a value none.
    #[test]
    fn flags_fit_the_keys_they_set() {
        for flag in FLAGS {
            let Action::Set(keys) = flag.action else {
                continue;
            };
            for name in keys {
                let key = TOP.find(name).unwrap_or_else(|| panic!("{name} is no key"));
                let boolean = matches!(key.kind, Kind::Bool(_));
                assert_eq!(boolean, flag.is_boolean(), "{name}");
            }
        }
        for flag in FLAGS {
            if let Action::ClusterKey(name) = flag.action {
                let key = CLUSTER.find(name);
                let key = key.unwrap_or_else(|| panic!("{name} is no key of the cluster"));
                let boolean = matches!(key.kind, Kind::Bool(_));
                assert_eq!(boolean, flag.is_boolean(), "{name}");
            }
            assert!(!flag.doc().is_empty(), "{:?} says nothing", flag.names);
        }
    }

    #[test]
    fn no_name_is_used_twice() {
        let mut names: Vec<&str> = FLAGS.iter().flat_map(|flag| flag.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_help_names_every_flag() {
        let help = help("midge");
        for name in FLAGS.iter().flat_map(|flag| flag.names) {
            assert!(help.contains(&dashed(name)), "{name}");
        }
    }
}
